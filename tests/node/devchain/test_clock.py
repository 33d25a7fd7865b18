"""The chain's time."""

import pytest

from node.devchain import clock as clock_module
from node.devchain.clock import Clock
from node.devchain.constants import MAX_TIMESTAMP
from node.devchain.errors import InvalidParams

NOW = 1_900_000_000


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """A clock whose machine stands still at NOW."""
    monkeypatch.setattr(clock_module.time, "time", lambda: NOW + 0.9)
    return Clock()


def test_blocks_carry_the_machines_time(clock: Clock) -> None:
    """Whole seconds, and the parent's where the machine's clock was set back."""
    assert clock.take(NOW - 5) == NOW
    assert clock.take(NOW) == NOW
    assert clock.take(NOW + 7) == NOW + 7


def test_advancing_adds_up(clock: Clock) -> None:
    """The whole offset is returned."""
    assert (clock.advance(100), clock.advance(50), clock.advance(0)) == (100, 150, 150)
    assert clock.take(NOW) == NOW + 150


def test_a_fixed_time_is_used_once_and_time_goes_on_from_it(clock: Clock) -> None:
    """Looking at it does not use it up."""
    clock.fix(NOW + 1000, parent=NOW)
    assert [clock.next(NOW), clock.next(NOW), clock.take(NOW)] == [NOW + 1000] * 3
    assert clock.fixed is None
    assert clock.take(NOW + 1000) == NOW + 1000
    assert clock.offset == 1000


def test_time_does_not_run_backwards(clock: Clock) -> None:
    """The parent's own time is the earliest."""
    clock.fix(NOW, parent=NOW)
    with pytest.raises(InvalidParams, match="lower than"):
        clock.fix(NOW - 1, parent=NOW)


def test_time_ends_where_the_contracts_can_store_no_more(clock: Clock) -> None:
    """At 2^40 - 1, for both ways of moving it."""
    clock.fix(MAX_TIMESTAMP, parent=NOW)
    with pytest.raises(InvalidParams, match="past"):
        clock.fix(MAX_TIMESTAMP + 1, parent=NOW)
    assert clock.advance(MAX_TIMESTAMP - NOW) == MAX_TIMESTAMP - NOW
    with pytest.raises(InvalidParams, match="past"):
        clock.advance(1)


def test_a_copy_does_not_share(clock: Clock) -> None:
    """A snapshot's clock stays as it was."""
    copy = clock.copy()
    clock.advance(5)
    assert copy.offset == 0
