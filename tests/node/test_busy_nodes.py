"""A node that said when to come back is not asked before."""

import pytest

from node.attempts import MAX_BUSY_SECONDS
from node.busy_nodes import BusyNodes
from node.client_errors import SessionFailed
from node.refusals import FailureCode
from tests.node.clocks import Clock
from verification.addresses import Address, to_address

NODE, OTHER = to_address(b"\x01" * 20), to_address(b"\x02" * 20)


@pytest.fixture
def clock() -> Clock:
    return Clock()


def busy(milliseconds: int, node: Address = NODE) -> SessionFailed:
    return SessionFailed(FailureCode.BUSY, "64 sessions are running here", 1, node, retry_after_ms=milliseconds)


def test_nobody_is_busy_at_first() -> None:
    """Also by the clock of the machine."""
    nodes = BusyNodes()
    assert (nodes.nodes(), nodes.first_refusal()) == (frozenset(), None)


def test_a_busy_node_is_not_asked_until_it_said(clock: Clock) -> None:
    """To the last moment, and again at its end."""
    nodes = BusyNodes(clock)
    nodes.note(NODE, busy(500))
    clock.now += 0.499
    assert nodes.nodes() == {NODE}
    clock.now += 0.001
    assert (nodes.nodes(), nodes.first_refusal()) == (frozenset(), None)


def test_the_refusal_says_what_is_left_of_the_time(clock: Clock) -> None:
    """Of the node that is free first, in its own words."""
    nodes = BusyNodes(clock)
    nodes.note(NODE, busy(2000))
    nodes.note(OTHER, busy(500, OTHER))
    clock.now += 0.2
    refusal = nodes.first_refusal()
    assert refusal is not None
    assert (refusal.code, refusal.node, refusal.stage, refusal.retry_after_ms) == (FailureCode.BUSY, OTHER, 1, 300)
    clock.now += 0.2999
    last = nodes.first_refusal()
    assert last is not None
    assert last.retry_after_ms == 1  # never "at once" of a node that is left out


def test_a_node_that_names_no_time_may_be_asked_at_once(clock: Clock) -> None:
    """It has room: this session's channel was in use."""
    nodes = BusyNodes(clock)
    nodes.note(NODE, busy(0))
    assert nodes.nodes() == frozenset()


def test_no_node_is_left_out_for_long_by_its_own_word(clock: Clock) -> None:
    """Fifty days are five seconds; another stage may have said it of this one."""
    nodes = BusyNodes(clock)
    nodes.note(NODE, busy(2**32 - 1))
    clock.now += MAX_BUSY_SECONDS
    assert nodes.nodes() == frozenset()
