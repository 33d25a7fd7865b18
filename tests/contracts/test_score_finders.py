"""Who is paid for refuting a root: a finder who said before that it knows a lie, and nobody who copies one."""

from dataclasses import replace

import pytest

from incentives.score_challenges import evidence_commitment
from incentives.score_tree import Posting
from incentives.signing import Signer
from tests.contracts.score_world import OWNERS, SALT, STRANGER, UNPAID, Play
from tests.contracts.scores_plays import refused_now
from tests.contracts.world import EPOCH, GRAVE, ZERO, dev

FIRST, SECOND, THIRD, _ = OWNERS
FINDER, THIEF = dev(7), dev(6)
DAY = 86_400
STAKE, FEE = 300, 90


@pytest.fixture
def ended(play: Play) -> Play:
    """An epoch of three nodes that has just ended."""
    play.enrol(FIRST, SECOND, THIRD)
    play.mine_at(play.end(play.epoch))
    return play


def _lie(play: Play, who: Signer = FIRST, after: int = 60) -> Posting:
    """A root with one ticket too many."""
    epoch = play.epoch - 1
    return play.post(epoch, play.honest(epoch), who, after, total=sum(play.stakes.values()) + 1)


def _owed(play: Play, account: str) -> int:
    return int(play.scored.world.view(play.scored.world.stakes, "owedTo", account))


def _challenge(play: Play, posting: Posting, who: Signer, end: tuple[str, bytes] = UNPAID) -> dict[str, object]:
    (event,) = play.scored.send(who, "challengeTotal", posting.words, *end).logs
    return dict(event.args)


def test_the_finder_is_paid_whoever_sends_the_proof(ended: Play) -> None:
    """Three tenths, once; what it committed to is used up."""
    posting = _lie(ended)
    end = ended.commit(FINDER, posting)
    grave = _owed(ended, GRAVE)
    rejected = _challenge(ended, posting, THIEF, end)
    assert (rejected["finder"], rejected["burnt"]) == (FINDER.address, STAKE)
    assert (_owed(ended, FINDER.address), _owed(ended, THIEF.address)) == (FEE, 0)
    assert _owed(ended, GRAVE) == grave + STAKE - FEE
    assert ended.scored.view("committedAt", evidence_commitment(FINDER.address, posting, SALT)) == 0


def test_a_copier_gets_nothing(ended: Play) -> None:
    """With the very arguments and itself as the finder it is refused; so it is with the finder's name and another salt."""
    posting = _lie(ended)
    end = ended.commit(FINDER, posting)
    for finder, salt in ((THIEF.address, SALT), (FINDER.address, SALT[::-1])):
        refused = ended.scored.refusal(THIEF, "challengeTotal", posting.words, finder, salt)
        assert refused == ("CommitmentNotRipe", (evidence_commitment(finder, posting, salt), 0))
    _challenge(ended, posting, FINDER, end)
    assert (_owed(ended, FINDER.address), _owed(ended, THIEF.address)) == (FEE, 0)


def test_a_commitment_of_the_same_second_is_too_young(ended: Play) -> None:
    """Who copies from the pool commits in the block of the copy at the earliest; one second later it counts."""
    posting = _lie(ended)
    commitment = evidence_commitment(FINDER.address, posting, SALT)
    world, call = ended.scored.world, ("challengeTotal", posting.words, FINDER.address, SALT)
    ended.scored.send(FINDER, "commit", commitment)
    since = world.chain.head().timestamp
    assert ended.scored.view("committedAt", commitment) == since
    assert refused_now(world, FINDER, ended.scored.scores, *call) == "CommitmentNotRipe"
    ended.mine_at(since + 1)
    assert refused_now(world, FINDER, ended.scored.scores, *call) is None


def test_a_commitment_is_made_once_a_day_and_holds_for_a_day(play: Play) -> None:
    """To its last second, of a root whose every word was known that long before; then it can be made again."""
    play.enrol(FIRST, SECOND, THIRD)
    epoch = play.epoch + DAY // EPOCH + 1
    at, total = play.end(epoch) + 60, sum(play.stakes.values()) + 1
    posting = Posting(epoch, 0, at, FIRST.address, total, play.honest(epoch).root)
    commitment, since = evidence_commitment(FINDER.address, posting, SALT), at - DAY + 10
    play.at(since)
    play.scored.send(FINDER, "commit", commitment)
    assert play.scored.refusal(THIEF, "commit", commitment) == ("CommitmentKnown", (commitment,))
    assert play.post(epoch, play.honest(epoch), total=total) == posting
    call = ("challengeTotal", posting.words, FINDER.address, SALT)
    play.mine_at(since + DAY)
    play.scored.view(*call)
    play.mine_at(since + DAY + 1)
    assert play.scored.refusal(FINDER, *call) == ("CommitmentNotRipe", (commitment, since))
    _challenge(play, posting, FINDER, play.commit(FINDER, posting))
    assert _owed(play, FINDER.address) == FEE


def test_without_a_finder_all_is_burnt_at_once(ended: Play) -> None:
    """Nobody has to have committed to anything."""
    posting, grave = _lie(ended), _owed(ended, GRAVE)
    rejected = _challenge(ended, posting, STRANGER)
    assert (rejected["finder"], rejected["burnt"]) == (ZERO, STAKE)
    assert (_owed(ended, GRAVE), _owed(ended, ZERO), _owed(ended, STRANGER.address)) == (grave + STAKE, 0, 0)


def test_the_salt_of_one_root_does_not_serve_another(ended: Play) -> None:
    """Not the next one of the epoch, by another node, nor the same lie told again."""
    first = _lie(ended)
    end = ended.commit(FINDER, first)
    _challenge(ended, first, STRANGER)
    second = _lie(ended, SECOND, after=100)
    other = evidence_commitment(FINDER.address, second, SALT)
    refused = ended.scored.refusal(FINDER, "challengeTotal", second.words, *end)
    assert refused == ("CommitmentNotRipe", (other, 0))
    assert ended.scored.view("committedAt", evidence_commitment(FINDER.address, first, SALT)) > 0
    twin = replace(first, posted_at=first.posted_at + 1)
    assert evidence_commitment(FINDER.address, twin, SALT) != evidence_commitment(FINDER.address, first, SALT)


def test_a_commitment_makes_no_root_wrong(ended: Play) -> None:
    """It stays for the day on which there is a lie."""
    posting = ended.post(ended.epoch - 1, ended.honest(ended.epoch - 1))
    end = ended.commit(FINDER, posting)
    assert ended.scored.refusal(FINDER, "challengeTotal", posting.words, *end) == ("NothingWrong", ())
    assert ended.scored.view("committedAt", evidence_commitment(FINDER.address, posting, SALT)) > 0
