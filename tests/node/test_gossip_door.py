"""Allowances for the exchange of records: each at its limit and one past it, by a clock that the test holds."""

from collections.abc import Callable
from contextlib import ExitStack

import pytest

from node.gossip_door import BARRED_SECONDS, BURST, MAX_OPEN, MAX_REMEMBERED, STRANGERS_BURST, Door
from node.refusals import FailureCode, Refused
from tests.node.clocks import Clock
from tests.node.records import address
from verification.addresses import Address


@pytest.fixture
def clock() -> Clock:
    """A clock of its own for each test."""
    return Clock()


@pytest.fixture
def door(clock: Clock) -> Door:
    """Nobody has come yet."""
    return Door(clock)


def come(door: Door, remote: Address, *, staked: bool = True) -> bool:
    """Whether somebody is let in."""
    try:
        with door.enter(remote, staked=staked):
            return True
    except Refused as error:
        return bool(error.code != FailureCode.BUSY)


@pytest.mark.parametrize("staked", [True, False])
def test_a_burst_is_let_in_and_one_more_waits_a_second(door: Door, clock: Clock, staked: bool) -> None:
    """The refusal says how long; somebody else is let in meanwhile."""
    assert [come(door, address(1), staked=staked) for _ in range(int(BURST))] == [True] * int(BURST)
    with pytest.raises(Refused, match="wait") as caught, door.enter(address(1), staked=staked):
        pass
    assert (caught.value.code, caught.value.retry_after_ms) == (FailureCode.BUSY, 1001)
    assert come(door, address(2), staked=staked)

    clock.now += 0.999
    assert not come(door, address(1), staked=staked)
    clock.now += 0.002
    assert come(door, address(1), staked=staked)
    assert not come(door, address(1), staked=staked)


def test_an_allowance_does_not_grow_past_its_burst(door: Door, clock: Clock) -> None:
    """However long nobody came."""
    come(door, address(1))
    clock.now += 1e6

    assert sum(come(door, address(1)) for _ in range(20)) == BURST


def test_a_crowd_of_strangers_is_bounded_and_leaves_the_nodes_their_own(door: Door) -> None:
    """New addresses cost nothing, so all strangers share one allowance."""
    crowd = [come(door, address(number), staked=False) for number in range(100)]

    assert crowd == [True] * int(STRANGERS_BURST) + [False] * (100 - int(STRANGERS_BURST))
    assert come(door, address(500))


def test_so_many_at_one_time_and_no_more(door: Door) -> None:
    """Places are given back, also by whoever fails."""
    with ExitStack() as inside:
        for number in range(MAX_OPEN):
            inside.enter_context(door.enter(address(number), staked=True))
        assert not come(door, address(99))
    with pytest.raises(ValueError, match="inside"), door.enter(address(1), staked=True):
        raise ValueError("inside")

    with ExitStack() as inside:
        for number in range(MAX_OPEN):
            inside.enter_context(door.enter(address(number), staked=True))


def test_who_is_barred_is_refused_for_its_time(door: Door, clock: Clock) -> None:
    """By name, and not a second longer."""
    door.bar(address(1))
    clock.now += BARRED_SECONDS - 0.1
    with pytest.raises(Refused, match="forged") as caught, door.enter(address(1), staked=True):
        pass
    assert caught.value.code == FailureCode.PROTOCOL
    assert door.is_barred(address(1))
    assert not door.is_barred(address(2))

    clock.now += 0.1
    assert not door.is_barred(address(1))
    assert come(door, address(1))


@pytest.mark.parametrize(
    "act", [lambda door, who: door.bar(who), lambda door, who: come(door, who)], ids=["bar", "come"]
)
def test_memory_is_bounded(door: Door, act: Callable[[Door, Address], object]) -> None:
    """Whoever was there longest ago is forgotten."""
    for number in range(MAX_REMEMBERED + 1):
        act(door, address(number + 1))

    assert max(len(door._barred), len(door._nodes)) == MAX_REMEMBERED
