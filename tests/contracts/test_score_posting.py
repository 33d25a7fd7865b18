"""Posting an epoch's root: who may, when, what it continues, and which root counts meanwhile."""

from dataclasses import replace

import pytest

from incentives.score_tree import NO_POSTING, Posting, ScoreTable, drawn_ticket
from incentives.scores import ONE
from sharding.hashing import keccak256
from tests.contracts.score_world import CLOCKS, OWNERS, STAKES, STRANGER, UNPAID, Play
from tests.contracts.world import hot

ROOT = keccak256(b"root")
FIRST, SECOND, THIRD, FOURTH = OWNERS


@pytest.fixture
def table(play: Play) -> Play:
    """Three of the nodes are enrolled, one has done audited work and one a fault; the epoch has just ended."""
    play.enrol(FIRST, SECOND, THIRD)
    play.record(FIRST, credit=100 * ONE, qos=9_000)
    play.record(SECOND, credit=10 * ONE, faults=1)
    return play


def _close(play: Play) -> int:
    """The epoch that ends."""
    epoch = play.epoch
    play.mine_at(play.end(epoch))
    return epoch


def _next(play: Play) -> int:
    """The epoch after the one that was settled last."""
    return _close(play)


def test_a_root_counts_after_its_activation_and_not_a_second_before(table: Play) -> None:
    """Scores and tickets are then read with a leaf and its proof."""
    epoch = _close(table)
    posted = table.honest(epoch)
    posting = table.post(epoch, posted)
    leaf = posted.find(FIRST.address)
    assert leaf is not None
    table.at(posting.posted_at + CLOCKS.activation - 1)  # of the block that refuses: clocks run on between blocks
    assert table.scored.refusal(STRANGER, "scoreOf", posting.words, *leaf.words)[0] == "EpochInactive"
    view = table.scored.view
    assert view("isServing", posting.words) is False
    table.mine_at(posting.posted_at + CLOCKS.activation)
    assert view("isServing", posting.words) is True
    assert view("scoreOf", posting.words, *leaf.words) == [leaf.leaf.masses.published, 9_000]
    assert view("ringOf", epoch) == [1, posting.posted_at + CLOCKS.activation]
    assert leaf.leaf.masses.published > 8_000


def test_until_the_new_root_counts_the_old_one_serves(table: Play) -> None:
    """Exactly one of the two, at every second."""
    old = table.settle(_close(table))
    new = table.post(_next(table), table.honest(old.epoch + 1))
    serving = table.scored.view
    for at, which in ((1, old), (CLOCKS.activation - 1, old), (CLOCKS.activation, new), (CLOCKS.activation + 1, new)):
        table.mine_at(new.posted_at + at)
        assert [serving("isServing", each.words) for each in (old, new)] == [which is old, which is new]


def test_only_the_epoch_that_just_ended_is_posted_and_only_in_time(table: Play) -> None:
    """At the last second of the window, not one past; and the next window belongs to the next epoch."""
    epoch = _close(table)
    closed = table.end(epoch) + CLOCKS.posting
    arguments = ROOT, sum(STAKES[:3]), FIRST.address
    table.mine_at(closed)
    assert table.scored.refusal(FIRST, "post", epoch, *arguments) == ("PostingClosed", (closed,))
    assert table.scored.refusal(FIRST, "post", epoch + 1, *arguments) == ("EpochUnfinished", ())
    following = _close(table)
    assert following == epoch + 1
    table.at(table.end(following) + CLOCKS.posting - 1)
    assert table.scored.send(FIRST, "post", following, *arguments).logs[0].args["epoch"] == following


def test_a_root_that_is_mined_an_epoch_late_is_not_taken_for_the_next_epochs(table: Play) -> None:
    """Held back by whoever carries it, or sent after a crash: its honest poster would lose the whole stake by it."""
    epoch = _close(table)
    honest = table.honest(epoch)
    closed = table.end(epoch) + CLOCKS.posting
    assert _close(table) == epoch + 1
    table.mine_at(table.end(epoch + 1) + CLOCKS.exclusive)
    late = epoch, honest.root, honest.total, FIRST.address
    assert table.scored.refusal(FIRST, "post", *late) == ("PostingClosed", (closed,))
    assert table.scored.view("ringOf", epoch + 1)[0] == 0


def test_nothing_is_posted_in_the_first_epoch(play: Play) -> None:
    """There is none before it."""
    assert play.epoch == 1
    assert play.scored.refusal(FIRST, "post", 0, ROOT, 1, FIRST.address) == ("EpochUnfinished", ())
    assert play.scored.refusal(FIRST, "post", 1, ROOT, 1, FIRST.address) == ("EpochUnfinished", ())


def test_who_posts_is_bonded_or_signs_for_who_is(table: Play) -> None:
    """The owner's key or the node's; no one else, and nobody below the minimum."""
    epoch = _close(table)
    world, refusal = table.scored.world, table.scored.refusal
    table.at(table.end(epoch) + 60)
    assert refusal(STRANGER, "post", epoch, ROOT, 1, FIRST.address) == ("NotNode", (STRANGER.address,))
    assert refusal(STRANGER, "post", epoch, ROOT, 1, STRANGER.address) == ("StakeGone", (STRANGER.address, 0))
    assert refusal(FIRST, "post", epoch, ROOT, 0, FIRST.address) == ("TableEmpty", ())
    world.send(STRANGER, world.court, "slash", FIRST.address, 7_000)  # 90 of 300 are left, 100 is the least
    assert refusal(FIRST, "post", epoch, ROOT, 1, FIRST.address) == ("StakeGone", (FIRST.address, 90))
    signer = hot(SECOND.address)
    world.chain.transfer_native(STRANGER, signer.address, 10**18)
    assert table.scored.send(signer, "post", epoch, ROOT, 1, SECOND.address).logs[0].args["poster"] == SECOND.address


def test_an_epoch_has_one_root(table: Play) -> None:
    """Until it is rejected; then there may be another, in the window's rest."""
    epoch = _close(table)
    posting = table.post(epoch, table.honest(epoch), total=1)
    assert table.scored.refusal(SECOND, "post", epoch, ROOT, 1, SECOND.address) == ("EpochTaken", (epoch,))
    table.scored.send(STRANGER, "challengeTotal", posting.words, *UNPAID)
    assert table.scored.refusal(STRANGER, "challengeTotal", posting.words, *UNPAID) == ("PostingUnknown", (epoch,))
    again = table.post(epoch, table.honest(epoch), SECOND, after=140)
    table.mine_at(again.posted_at + CLOCKS.activation)
    assert table.scored.view("isServing", again.words) is True


def test_an_epoch_without_a_root_is_skipped_and_its_evidence_kept(table: Play) -> None:
    """The next root continues the last that counts, and adds what the contract's ring still spans."""
    old = table.settle(_close(table))
    table.record(THIRD, credit=7 * ONE)
    assert _close(table) == old.epoch + 1
    assert table.scored.view("isServing", old.words) is True
    posting = table.settle(_close(table))
    assert (posting.epoch, posting.base) == (old.epoch + 2, old.epoch)
    leaf = table.standing.find(THIRD.address)
    assert leaf is not None
    assert 0 < leaf.leaf.masses.a < 7 * ONE


def test_a_root_serves_until_another_counts_however_long_that_takes(table: Play) -> None:
    """Nobody can do away with all scores by keeping roots from being posted."""
    old = table.settle(_close(table))
    table.mine_at(table.end(old.epoch + 30))
    assert table.scored.view("isServing", old.words) is True
    leaf = table.before and table.before.find(FIRST.address)
    assert leaf is not None
    assert table.scored.view("scoreOf", old.words, *leaf.words)[0] == leaf.leaf.masses.published


def test_a_root_is_forgotten_when_its_slot_is_taken(table: Play) -> None:
    """Eight epochs later; no lookup finds it from then on."""
    old = table.settle(_close(table))
    leaf = table.standing.proven(0)
    for _ in range(7):
        table.settle(_next(table))
    assert table.scored.view("ringOf", old.epoch)[0] == 1
    table.post(_next(table), table.honest(old.epoch + 8))
    unknown = ("PostingUnknown", (old.epoch,))
    assert table.scored.refusal(STRANGER, "isServing", old.words) == unknown
    assert table.scored.refusal(STRANGER, "scoreOf", old.words, *leaf.words) == unknown
    assert table.scored.refusal(STRANGER, "holderOf", old.words, 0, *leaf.words) == unknown
    assert table.scored.view("ringOf", old.epoch)[0] == 0


@pytest.mark.parametrize("distance", [2, 7, 9, 12])
def test_a_root_continues_the_last_that_counts_at_any_distance(table: Play, distance: int) -> None:
    """The evidence of eight epochs is added, older evidence lost; what was there has faded by the whole time."""
    old = table.settle(_close(table))
    table.record(THIRD, credit=9 * ONE)
    table.mine_at(table.end(old.epoch + distance - 1))
    table.record(SECOND, faults=1)
    epoch = _close(table)
    assert epoch == old.epoch + distance
    honest, before = table.honest(epoch), table.before
    posting = table.post(epoch, honest)
    assert (posting.base, before is None) == (old.epoch, False)
    for index, leaf in enumerate(honest.leaves):
        old_leaf = before.gap(leaf.node).words if before else ()
        arguments = posting.words, *honest.proven(index).words, old.words, old_leaf
        assert table.scored.refusal(STRANGER, "challengeLeaf", *arguments, *UNPAID) == ("NothingWrong", ())
    third = honest.find(THIRD.address)
    assert third is not None
    assert (third.leaf.masses.a > 0) is (distance <= 8)


@pytest.mark.parametrize("distance", [8, 16])
def test_the_root_that_is_continued_is_never_overwritten(table: Play, distance: int) -> None:
    """Its slot is not for sale; the epoch after has another one."""
    old = table.settle(_close(table))
    table.mine_at(table.end(old.epoch + distance - 1))
    epoch = _close(table)
    table.mine_at(table.end(epoch) + 60)
    assert table.scored.refusal(FIRST, "post", epoch, ROOT, 1, FIRST.address) == ("SlotNeeded", (old.epoch,))
    assert table.settle(_next(table)).base == old.epoch


def test_a_posting_is_known_by_every_field(table: Play) -> None:
    """Whoever changes one has another posting."""
    posting = table.settle(_close(table))
    leaf = table.standing.proven(0)
    forged: list[Posting] = [
        replace(posting, base=posting.base + 1),
        replace(posting, posted_at=posting.posted_at + 1),
        replace(posting, poster=SECOND.address),
        replace(posting, total=posting.total + 1),
        replace(posting, root=ROOT),
        replace(posting, epoch=posting.epoch + 8),
        replace(posting, epoch=posting.epoch - 1),
        NO_POSTING,
    ]
    for each in forged:
        refusal = table.scored.refusal(STRANGER, "scoreOf", each.words, *leaf.words)
        assert refusal == ("PostingUnknown", (each.epoch,))


def test_a_ticket_belongs_to_the_leaf_around_it_while_its_stake_is_there(table: Play) -> None:
    """First and last ticket of a leaf, none beside; a node that was slashed since holds nothing."""
    posting = table.settle(_close(table))
    posted: ScoreTable = table.standing
    view, refusal = table.scored.view, table.scored.refusal
    for index, leaf in enumerate(posted.leaves):
        proven = posted.proven(index)
        for ticket in (leaf.stake_from, leaf.stake_to - 1):
            assert view("holderOf", posting.words, ticket, *proven.words) == leaf.node
        for ticket in (leaf.stake_from - 1, leaf.stake_to):
            if ticket >= 0:
                asked = refusal(STRANGER, "holderOf", posting.words, ticket, *proven.words)
                assert asked == ("NotHolder", (leaf.node, ticket))
    proven, world = posted.proven(0), table.scored.world
    world.send(STRANGER, world.court, "slash", proven.leaf.node, 1)
    stake = proven.leaf.width - 1
    asked = refusal(STRANGER, "holderOf", posting.words, 0, *proven.words)
    assert asked == ("StakeGone", (proven.leaf.node, stake))


def test_a_leaf_of_another_tree_is_refused(table: Play) -> None:
    """Also with a proof that is too long to be one."""
    posting = table.settle(_close(table))
    proven = table.standing.proven(1)
    other = replace(proven.leaf, qos=1)
    refusal = table.scored.refusal
    for words in ((other.words, list(proven.proof)), (proven.leaf.words, []), (proven.leaf.words, [ROOT] * 64)):
        assert refusal(STRANGER, "scoreOf", posting.words, *words) == ("LeafInvalid", (proven.leaf.node,))
    endless = proven.leaf.words, [ROOT] * 65
    assert refusal(STRANGER, "scoreOf", posting.words, *endless) == ("ProofTooLong", (65, 64))


def test_the_drawn_ticket_is_the_one_that_python_draws(table: Play) -> None:
    """From root and epoch, below the total."""
    posting = table.settle(_close(table))
    for epoch in (posting.epoch + 1, posting.epoch + 2, 2**24 - 1):
        ticket = table.scored.view("drawnTicket", posting.words, epoch)
        assert ticket == drawn_ticket(posting, epoch)
        assert 0 <= ticket < posting.total
