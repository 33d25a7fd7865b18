"""What goes wrong with one act of a node's duty about scores, and what it does all the same."""

import pytest

from incentives.chain_types import Sent
from incentives.errors import ChainError, ChainUnavailable, TransactionLost, TransactionRefused
from incentives.reliability import Reliability
from incentives.units import ONE
from node.epoch_duty import MAX_TRIES
from tests.node.epoch_nodes import DutyNet, bring_up

LATE = 120
"""Seconds after an epoch's end: any node may post."""


@pytest.fixture(scope="module")
def brought_up(chain_url: str) -> DutyNet:
    return bring_up(chain_url)


@pytest.fixture
def net(brought_up: DutyNet, chain_snapshot: str) -> DutyNet:
    """All are in the table, the first of them has staked more since, and the epoch is over."""
    net = brought_up.as_new()
    net.look()
    epoch, owner = net.epoch, net.nodes[0].owner
    net.network.token.ensure_allowance(owner, net.network.stakes.contract.address, ONE)
    net.network.stakes.add_stake(owner, ONE)
    net.at(LATE, epoch)
    return net


def failing(monkeypatch: pytest.MonkeyPatch, error: ChainError) -> list[str]:
    """Enrolling fails from now on; every try is counted."""
    tries: list[str] = []

    def enrol(*_: object) -> Sent:
        tries.append("enrol")
        raise error

    monkeypatch.setattr(Reliability, "enrol", enrol)
    return tries


@pytest.mark.parametrize(
    "error", [TransactionRefused(-32000, "insufficient funds"), TransactionLost(bytes(32), 60.0, "no block has it")]
)
def test_an_act_that_is_refused_does_not_hold_up_the_others(
    net: DutyNet, monkeypatch: pytest.MonkeyPatch, error: ChainError
) -> None:
    """A poster whose leaves are demanded loses its stake where something else comes first, and fails each time."""
    tries = failing(monkeypatch, error)
    assert net.nodes[0].look() == ["post"]
    for _ in range(MAX_TRIES + 2):
        assert net.nodes[0].look() == []
    assert len(tries) == MAX_TRIES


def test_a_chain_that_is_down_ends_the_look_and_costs_no_try(net: DutyNet, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is tried again at every look."""
    tries = failing(monkeypatch, ChainUnavailable("http://down", "silent"))
    for _ in range(MAX_TRIES + 2):
        with pytest.raises(ChainUnavailable):
            net.nodes[0].look()
    assert len(tries) == MAX_TRIES + 2
