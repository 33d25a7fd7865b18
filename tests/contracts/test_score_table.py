"""Who is in the table and with how many tickets; and what a Reliability refuses to be built of."""

from collections.abc import Iterator
from typing import Any

import pytest

from incentives.chain import Contract
from incentives.errors import Reverted
from sharding.hashing import keccak256
from tests.contracts.score_world import (
    BOND,
    CAPACITY,
    CLOCKS,
    OWNERS,
    REWARD,
    STAKES,
    STRANGER,
    Play,
    ScoreWorld,
)
from tests.contracts.world import FOREVER, MIN_STAKE, UNBONDING, ZERO, dev, hot, shipped
from verification.addresses import to_address

FIRST, SECOND, THIRD, FOURTH = OWNERS


def test_anybody_enrols_a_bonded_node_with_its_bond(play: Play) -> None:
    """It counts from the running epoch on."""
    epoch = play.epoch
    (event,) = play.scored.send(STRANGER, "enrol", FIRST.address).logs
    assert dict(event.args) == {"node": FIRST.address, "stake": STAKES[0], "epoch": epoch}
    assert play.scored.view("stakeAt", epoch, FIRST.address) == STAKES[0]
    assert play.scored.view("totalAt", epoch) == STAKES[0]
    assert play.scored.view("enrolled") == [1, CAPACITY]


def test_a_change_counts_for_its_own_epoch_and_not_for_the_one_before(play: Play) -> None:
    """Several changes in one epoch are one; each epoch's end is what counts."""
    play.enrol(FIRST, SECOND)
    world, view, epoch = play.scored.world, play.scored.view, play.epoch
    play.mine_at(play.end(epoch))
    for amount in (40, 60):
        world.send(FIRST, world.stakes, "addStake", amount)
        play.enrol(FIRST)
    asked = [(view("stakeAt", at, FIRST.address), view("totalAt", at)) for at in (epoch, epoch + 1, epoch + 2)]
    assert asked == [(300, 800), (400, 900), (400, 900)]


def test_who_left_is_taken_out(play: Play) -> None:
    """By anybody; there is room for another then, and coming back is a new start."""
    play.enrol(FIRST, SECOND)
    world = play.scored.world
    world.send(FIRST, world.stakes, "exit", STAKES[0])
    play.enrol(FIRST)
    assert play.scored.view("enrolled")[0] == 1
    assert play.scored.view("totalAt", play.epoch) == STAKES[1]
    world.send(FIRST, world.stakes, "cancelExit")
    play.enrol(FIRST)
    assert (play.scored.view("enrolled")[0], play.scored.view("totalAt", play.epoch)) == (2, STAKES[0] + STAKES[1])


def test_nothing_to_enrol_is_an_error(play: Play) -> None:
    """No bond, or no change of it."""
    assert play.scored.refusal(STRANGER, "enrol", STRANGER.address) == ("NothingToEnrol", (STRANGER.address,))
    play.enrol(FIRST)
    assert play.scored.refusal(STRANGER, "enrol", FIRST.address) == ("NothingToEnrol", (FIRST.address,))


def test_the_table_takes_as_many_nodes_as_it_can_show(play: Play) -> None:
    """The last fits, the next does not, and those inside may still change."""
    world = play.scored.world
    play.enrol(*OWNERS)
    for owner in (dev(5), dev(6)):
        world.give(owner, MIN_STAKE)
        world.send(owner, world.token, "approve", world.stakes.address, FOREVER)
        world.join(owner, hot(owner.address), MIN_STAKE)
    play.enrol(dev(5))
    assert play.scored.refusal(STRANGER, "enrol", dev(6).address) == ("TableFull", (CAPACITY,))
    world.send(FIRST, world.stakes, "addStake", 1)
    play.enrol(FIRST)


def test_it_tells_what_it_was_built_of(play: Play) -> None:
    """Every constant, so that a deployment can be checked."""
    world, view = play.scored.world, play.scored.view
    assert view("times")[1:] == list(CLOCKS.words[:5])
    assert (view("halfLife"), view("amounts")) == (CLOCKS.half_life, [BOND, REWARD])
    assert (view("token"), view("stakes")) == (world.token.address, world.stakes.address)
    assert view("court") == view("evidence") == world.court.address
    assert view("endOf", 0) == view("times")[0]


def _clocks(**changes: int) -> tuple[int, ...]:
    return tuple(changes.get(name, getattr(CLOCKS, name)) for name in CLOCKS.__slots__)


WRONG: dict[str, tuple[dict[str, Any], str, tuple[Any, ...]]] = {
    "no epoch": ({"clocks": _clocks(epoch=0)}, "EpochInvalid", (0,)),
    "an epoch beyond 20 bits": ({"clocks": _clocks(epoch=2**20)}, "EpochInvalid", (2**20,)),
    "nobody has the first right": ({"clocks": _clocks(exclusive=0)}, "ClocksInvalid", (0, 150)),
    "nobody has the second": ({"clocks": _clocks(exclusive=150)}, "ClocksInvalid", (150, 150)),
    "no time to challenge": ({"clocks": _clocks(activation=0)}, "ClocksInvalid", (1, 0)),
    "no time to answer": ({"clocks": _clocks(response=0)}, "ClocksInvalid", (1, 0)),
    "a path longer than the epoch": ({"clocks": _clocks(response=111)}, "ClocksInvalid", (401, 400)),
    "stakes that leave too soon": ({"clocks": _clocks(epoch=501)}, "ClocksInvalid", (1_002, UNBONDING)),
    "no half-life": ({"clocks": _clocks(half_life=0)}, "HalfLifeInvalid", (0,)),
    "a half-life of centuries": (
        {"clocks": _clocks(half_life=3_650 * 86_400 + 1)}, "HalfLifeInvalid", (3_650 * 86_400 + 1,),
    ),
    "no room": ({"capacity": 0}, "CapacityInvalid", (0,)),
    "more than can be shown": ({"capacity": 3_001}, "CapacityInvalid", (3_001,)),
    "a first epoch to come": ({"genesis": 2**39}, "GenesisAhead", (2**39,)),
    "no evidence": ({"evidence": ZERO}, "AddressMissing", ()),
    "a demand for nothing": ({"bond": 0}, "AmountZero", ()),
}  # fmt: skip
NAMES = ("stakes", "court", "evidence", "clocks", "genesis", "capacity", "bond", "reward")


def _deploy(scored: ScoreWorld, **changes: Any) -> Contract:
    world = scored.world
    court, genesis = world.court.address, world.chain.head().timestamp
    right = world.stakes.address, court, court, CLOCKS.words, genesis, CAPACITY, BOND, REWARD
    arguments = [changes.get(name, value) for name, value in zip(NAMES, right, strict=True)]
    return world.chain.deploy(STRANGER, shipped("Reliability"), *arguments).contract


@pytest.mark.parametrize("name", WRONG)
def test_a_reliability_that_could_not_work_is_never_built(play: Play, name: str) -> None:
    """One past each limit."""
    changes, error, numbers = WRONG[name]
    with pytest.raises(Reverted) as caught:
        _deploy(play.scored, **changes)
    assert (caught.value.name, caught.value.arguments) == (error, numbers)


def test_stakes_of_another_court_are_refused(play: Play) -> None:
    """A poster could not be slashed."""
    with pytest.raises(Reverted) as caught:
        _deploy(play.scored, court=STRANGER.address)
    assert (caught.value.name, to_address(caught.value.arguments[0])) == (
        "StakesForeign",
        play.scored.world.stakes.address,
    )


def _limits() -> Iterator[dict[str, Any]]:
    yield {"clocks": _clocks(response=110)}
    yield {"clocks": _clocks(epoch=500)}
    yield {"clocks": _clocks(exclusive=149, half_life=3_650 * 86_400)}
    yield {"clocks": _clocks(exclusive=1, half_life=1), "capacity": 3_000, "bond": 1, "reward": 0}
    yield {"capacity": 1}


@pytest.mark.parametrize("changes", list(_limits()))
def test_everything_at_its_limit_is_built(play: Play, changes: dict[str, Any]) -> None:
    """The neighbours of those that are refused."""
    assert play.scored.world.view(_deploy(play.scored, **changes), "currentEpoch") == 1


def test_a_first_epoch_of_its_own_posts_nothing(play: Play) -> None:
    """A contract without a finished epoch has no root to take."""
    fresh, world = _deploy(play.scored), play.scored.world
    for epoch in (0, 1):
        words = epoch, keccak256(b"root"), 1, FIRST.address
        assert world.refusal(FIRST, fresh, "post", *words) == ("EpochUnfinished", ())


def test_epochs_end_with_their_numbers(play: Play) -> None:
    """The last that 24 bits can name is counted; then the contract is over, and refuses rather than begin anew."""
    clocks = (5, 1, 2, 1, 1, 840)
    brief, world = _deploy(play.scored, clocks=clocks), play.scored.world
    over = world.view(brief, "times")[0] + 5 * (2**24 - 1)
    play.mine_at(over - 1)
    assert world.view(brief, "currentEpoch") == 2**24 - 1
    play.mine_at(over)
    assert world.refusal(STRANGER, brief, "enrol", FIRST.address) == ("EpochsOver", ())
