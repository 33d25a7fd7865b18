"""A node that failed is left out for a while, longer each time."""

import pytest

from node.shunned import SHUN_SECONDS, Shunned
from tests.node.clocks import Clock
from verification.addresses import to_address

NODE, OTHER = to_address(b"\x01" * 20), to_address(b"\x02" * 20)


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_nobody_is_left_out_at_first() -> None:
    """Also by the clock of the machine."""
    assert Shunned().nodes() == frozenset()


def test_a_node_is_left_out_for_thirty_seconds(clock: Clock) -> None:
    """To the last moment, and not at its end; others are not."""
    shunned = Shunned(clock)
    shunned.add(NODE)
    clock.now += SHUN_SECONDS - 0.001
    shunned.add(OTHER)
    assert shunned.nodes() == {NODE, OTHER}
    clock.now += 0.001
    assert shunned.nodes() == {OTHER}


def test_each_failure_doubles_the_time_up_to_eight_times(clock: Clock) -> None:
    """A node that was back in between is not forgiven what it did before."""
    shunned = Shunned(clock)
    for times in (1, 2, 4, 8, 8, 8):
        shunned.add(NODE)
        clock.now += times * SHUN_SECONDS - 0.001
        assert shunned.nodes() == {NODE}
        clock.now += 0.001
        assert shunned.nodes() == frozenset()


def test_a_failure_while_it_is_left_out_counts_from_then(clock: Clock) -> None:
    """Sixty seconds after the second one, not after the first."""
    shunned = Shunned(clock)
    shunned.add(NODE)
    clock.now += 10
    shunned.add(NODE)
    clock.now += 2 * SHUN_SECONDS - 0.001
    assert shunned.nodes() == {NODE}
