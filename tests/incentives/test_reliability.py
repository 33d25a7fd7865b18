"""The wrapper of Reliability: what is written is read back, and a challenger needs nothing but the chain."""

import pytest

from incentives.epochs import Evidence, build
from incentives.errors import Reverted
from incentives.reliability import Demand, Published, Reliability
from incentives.score_challenges import Case, evidence_commitment, find_challenge
from incentives.score_tree import NO_POSTING, Posting, ScoreTable
from incentives.scores import ONE, Masses
from tests.contracts.score_world import (
    BOND,
    CLOCKS,
    DEMANDER,
    OWNERS,
    REWARD,
    SALT,
    STRANGER,
    Play,
    changed,
    deploy_scores,
)
from tests.contracts.score_world import ScoreWorld as Scored
from tests.contracts.world import deploy_world, dev

FIRST, SECOND, THIRD, _ = OWNERS


@pytest.fixture(scope="module")
def scored(chain_url: str) -> Scored:
    """A Reliability of its own."""
    return deploy_scores(deploy_world(chain_url))


@pytest.fixture
def play(scored: Scored, chain_snapshot: str) -> Play:
    """What the test does to the chain is undone."""
    return Play(scored)


def _wrapper(play: Play) -> Reliability:
    return Reliability(play.scored.world.chain, play.scored.scores)


def _ended(play: Play, scores: Reliability) -> tuple[int, ScoreTable]:
    """An epoch with two nodes that is over, and the table that the chain's events make."""
    for owner in (FIRST, SECOND):
        scores.enrol(STRANGER, owner.address)
    play.record(FIRST, credit=100 * ONE, qos=8_000)
    epoch = scores.current_epoch()
    play.mine_at(scores.end_of(epoch) + CLOCKS.exclusive)
    stakes = scores.enrolled(epoch)
    assert set(stakes) == {FIRST.address, SECOND.address}
    evidence = {FIRST.address: Evidence(100 * ONE, 0, 8_000)}
    return epoch, build(stakes, None, [evidence], scores.end_of(epoch), scores.clocks())


def test_a_root_is_posted_found_and_read(play: Play) -> None:
    """By somebody who knows the contract's address only."""
    scores = _wrapper(play)
    epoch, table = _ended(play, scores)
    assert (scores.clocks(), scores.serving()) == (CLOCKS, None)
    posting = scores.post(FIRST, epoch, table, FIRST.address)
    assert scores.postings() == [posting]
    assert scores.serving() is None
    play.mine_at(posting.posted_at + CLOCKS.activation)
    assert scores.serving() == posting
    proven = table.find(FIRST.address)
    assert proven is not None
    assert scores.published(posting, proven) == Published(proven.leaf.masses.published, 8_000)
    play.scored.world.send(dev(0), play.scored.world.token, "transfer", scores.contract.address, REWARD)
    scores.claim_reward(STRANGER, posting)
    assert scores.credit_of(FIRST.address) == REWARD
    scores.withdraw(FIRST)
    assert scores.credit_of(FIRST.address) == 0
    assert posting.epoch == epoch


def test_stakes_are_those_of_the_epochs_end(play: Play) -> None:
    """Who is enrolled later, or leaves later, changes nothing about it."""
    scores, world = _wrapper(play), play.scored.world
    epoch, _ = _ended(play, scores)
    before = scores.enrolled(epoch)
    scores.enrol(STRANGER, THIRD.address)
    world.send(SECOND, world.stakes, "exit", before[SECOND.address])
    scores.enrol(STRANGER, SECOND.address)
    assert scores.enrolled(epoch) == before
    assert set(scores.enrolled(epoch + 1)) == {FIRST.address, THIRD.address}


def _case(scores: Reliability, posting: Posting, honest: ScoreTable) -> Case:
    return Case(posting, honest, scores.end_of(posting.epoch), CLOCKS, NO_POSTING, None)


def test_a_lie_is_challenged_and_the_next_root_serves(play: Play) -> None:
    """The rejected one is still in the events, and is never taken for the one that counts."""
    scores = _wrapper(play)
    epoch, honest = _ended(play, scores)
    lying = changed(honest, 0, masses=Masses(1, 1))
    false = scores.post(FIRST, epoch, lying, FIRST.address)
    challenge = find_challenge(_case(scores, false, honest), lying)
    assert challenge is not None
    commitment = evidence_commitment(STRANGER.address, false, SALT)
    assert scores.committed_at(commitment) == 0
    scores.commit(STRANGER, commitment)
    since = scores.committed_at(commitment)
    assert since == play.scored.world.chain.head().timestamp
    play.mine_at(since + 1)
    scores.challenge(SECOND, challenge, STRANGER.address, SALT)
    assert scores.committed_at(commitment) == 0
    assert play.scored.world.view(play.scored.world.stakes, "owedTo", STRANGER.address) > 0
    assert scores.serving() is None
    true = scores.post(SECOND, epoch, honest, SECOND.address)
    assert scores.postings() == [false, true]
    play.mine_at(true.posted_at + CLOCKS.activation)
    assert scores.serving() == true


def test_leaves_are_demanded_and_shown(play: Play) -> None:
    """The bond goes from who asked to who answered; and back where nobody answers."""
    scores = _wrapper(play)
    epoch, honest = _ended(play, scores)
    hidden = ScoreTable((honest.leaves[0], *honest.leaves))
    false = scores.post(FIRST, epoch, hidden, FIRST.address)
    challenge = find_challenge(_case(scores, false, honest))
    assert challenge is not None
    scores.challenge(DEMANDER, challenge)
    with pytest.raises(Reverted, match="LeavesForeign"):
        scores.show(FIRST, false, hidden)
    play.mine_at(false.posted_at + 2 * CLOCKS.response)
    scores.expire(STRANGER, false)
    scores.recover(STRANGER, false.epoch)
    assert scores.credit_of(DEMANDER.address) == BOND
    assert scores.demand_of(false.epoch) == Demand(DEMANDER.address, 0)
    assert scores.serving() is None


def test_what_is_shown_in_time_stands(play: Play) -> None:
    """By a stranger who made the same table."""
    scores = _wrapper(play)
    epoch, honest = _ended(play, scores)
    posting = scores.post(FIRST, epoch, honest, FIRST.address)
    assert scores.demand_of(epoch) is None
    play.scored.send(DEMANDER, "demand", posting.words)
    scores.show(STRANGER, posting, honest)
    assert scores.demand_of(epoch) is None
    assert scores.credit_of(STRANGER.address) == BOND
