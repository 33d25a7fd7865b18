"""Stakes: what a slash takes, from where, and where it goes.

The real Court always takes the whole. The arithmetic of parts is tried on a second pair of contracts whose judge
slashes what it is told; test_court.py judges with the real one.
"""

import pytest

from incentives.chain import Event
from tests.contracts.world import (
    GRAVE,
    MIN_STAKE,
    PEER,
    UNBONDING,
    ZERO,
    World,
    dev,
    hot,
)

OWNER, BYSTANDER, STRANGER = dev(1), dev(2), dev(9)
SIGNER = hot("signer")
STAKE = 1001


@pytest.fixture
def judged(lenient: World, chain_snapshot: str) -> World:
    """A node with 1001 and a bystander with the minimum."""
    lenient.join(OWNER, SIGNER, STAKE)
    lenient.join(BYSTANDER, hot("bystander"), MIN_STAKE)
    return lenient


def _try(world: World, bps: int) -> int:
    """What a slash would burn."""
    return int(world.view(world.court, "slash", world.stakes.address, OWNER.address, bps, ZERO))


def _slash(world: World, bps: int) -> Event:
    block = world.send(STRANGER, world.court, "slash", world.stakes.address, OWNER.address, bps, ZERO).block
    (event,) = world.chain.events(world.stakes, "Slashed", block)
    return event


def test_a_slash_rounds_up_and_stops_at_the_whole(judged: World) -> None:
    """ceil(total x bps / 10,000), at most everything."""
    parts = {1: 1, 9: 1, 10: 2, 3000: 301, 9_999: 1001, 10_000: 1001, 10_001: 1001, 2**256 - 1: 1001}
    assert {bps: _try(judged, bps) for bps in parts} == parts


def test_what_is_slashed_is_burnt(judged: World) -> None:
    """Whenever anybody wants to: it goes where nobody has a key; the rest stays, and everybody else's."""
    grave, held = judged.balance(GRAVE), judged.balance(judged.stakes.address)
    event = _slash(judged, 3000)
    assert dict(event.args) == {"node": OWNER.address, "finder": ZERO, "exiting": 0, "bonded": 301, "fee": 0}
    assert judged.stake(OWNER)[0] == STAKE - 301
    assert judged.balance(judged.stakes.address) == held
    assert judged.view(judged.stakes, "owedTo", GRAVE) == 301
    judged.send(STRANGER, judged.stakes, "payOut", GRAVE)
    assert judged.balance(GRAVE) - grave == 301 == held - judged.balance(judged.stakes.address)
    assert judged.stake(BYSTANDER)[0] == MIN_STAKE


@pytest.mark.parametrize("leaving", [1, 301, 302, STAKE])
def test_an_exit_shelters_nothing(judged: World, leaving: int) -> None:
    """However much is leaving, and even after its time has come, a slash takes the same total, and from there first."""
    judged.send(OWNER, judged.stakes, "exit", leaving)
    judged.pass_time(UNBONDING)
    event = _slash(judged, 3000)
    assert (event.args["exiting"], event.args["bonded"]) == (min(leaving, 301), max(301 - leaving, 0))
    bonded, _, exiting, exit_at, _ = judged.stake(OWNER)
    assert (bonded, exiting) == (STAKE - leaving - max(301 - leaving, 0), max(leaving - 301, 0))
    assert (exit_at == 0) == (exiting == 0)


def test_repeated_slashes_end_with_nothing(judged: World) -> None:
    """Rounding up means that even the smallest slash gets there; then there is nothing to take."""
    for bps, left in ((5000, 500), (5000, 250), (9960, 1), (1, 0)):
        _slash(judged, bps)
        assert judged.stake(OWNER)[0] == left
    assert judged.refusal(STRANGER, judged.court, "slash", judged.stakes.address, OWNER.address, 1, ZERO) == (
        "NothingToSlash",
        (OWNER.address,),
    )
    assert judged.balance(judged.stakes.address) == MIN_STAKE + judged.view(judged.stakes, "owedTo", GRAVE)


def test_a_slash_of_nothing_is_refused(judged: World) -> None:
    """Zero ten-thousandths, or somebody who never joined."""
    call = judged.court, "slash", judged.stakes.address
    assert judged.refusal(STRANGER, *call, OWNER.address, 0, ZERO) == ("NothingToSlash", (OWNER.address,))
    assert judged.refusal(STRANGER, *call, STRANGER.address, 1, ZERO) == ("NothingToSlash", (STRANGER.address,))


def test_only_the_court_slashes(judged: World) -> None:
    """Neither a stranger, nor the deployer, nor the node itself."""
    for who in (STRANGER, dev(0), OWNER):
        assert judged.refusal(who, judged.stakes, "slash", OWNER.address, 1, ZERO) == ("NotCourt", (who.address,))


def test_a_slashed_node_below_the_minimum_tops_up_or_leaves(judged: World) -> None:
    """It may not announce; every way on ends with nothing or with the minimum."""
    _slash(judged, 9500)
    left = judged.stake(OWNER)[0]
    assert 0 < left < MIN_STAKE
    low = ("StakeTooLow", (left, MIN_STAKE))
    assert judged.refusal(OWNER, judged.stakes, "announce", OWNER.address, PEER, 0, 1, 1, "x") == low
    almost = MIN_STAKE - left - 1
    assert judged.refusal(OWNER, judged.stakes, "addStake", almost) == ("StakeTooLow", (MIN_STAKE - 1, MIN_STAKE))
    assert judged.refusal(OWNER, judged.stakes, "exit", 1) == ("StakeTooLow", (left - 1, MIN_STAKE))
    judged.send(OWNER, judged.stakes, "exit", left)
    assert judged.refusal(OWNER, judged.stakes, "cancelExit") == low
    judged.pass_time(UNBONDING)
    judged.send(OWNER, judged.stakes, "withdraw")
    judged.send(STRANGER, judged.stakes, "payOut", GRAVE)
    assert judged.balance(judged.stakes.address) == MIN_STAKE


def test_a_slashed_out_node_may_start_over(judged: World) -> None:
    """With the same signer, and with nothing of the old stake."""
    judged.send(OWNER, judged.stakes, "exit", 500)
    _slash(judged, 10_000)
    assert judged.refusal(OWNER, judged.stakes, "withdraw") == ("NothingExiting", (OWNER.address,))
    judged.join(OWNER, SIGNER, MIN_STAKE)
    assert judged.stake(OWNER)[0] == MIN_STAKE


def test_the_greatest_stake_is_slashed_without_overflow(judged: World) -> None:
    """2^96 - 1 bonded and as much again leaving."""
    judged.give(OWNER, 2**98)
    judged.send(OWNER, judged.stakes, "exit", STAKE)
    judged.send(OWNER, judged.stakes, "cancelExit")
    judged.send(OWNER, judged.stakes, "addStake", 2**96 - 1 - STAKE)
    judged.send(OWNER, judged.stakes, "exit", 2**96 - 1 - MIN_STAKE)
    judged.send(OWNER, judged.stakes, "addStake", 2**96 - 1 - MIN_STAKE)
    event = _slash(judged, 10_000)
    assert (event.args["exiting"], event.args["bonded"]) == (2**96 - 1 - MIN_STAKE, 2**96 - 1)
