"""A lie in a posted root: every kind is found and proven, and nothing but a lie ever is."""

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from incentives.score_challenges import Challenge, evidence_commitment, find_challenge
from incentives.score_tree import EDGE, NO_POSTING, Gap, Leaf, Posting, Proven, ScoreTable, drawn_ticket
from incentives.scores import ONE, Masses
from incentives.signing import Signer
from sharding.merkle import merkle_proof, merkle_root
from tests.conftest import ask
from tests.contracts.score_world import DEMANDER, OWNERS, SALT, STRANGER, UNPAID, Play, changed
from tests.contracts.world import MIN_STAKE, dev, hot

FIRST, SECOND, THIRD, FOURTH = OWNERS
THIEF = dev(6)
NOTHING_WRONG = ("NothingWrong", ())


@pytest.fixture
def settled(play: Play) -> Play:
    """A root that counts over three nodes, and a second epoch with evidence that has just ended; FOURTH is new in it."""
    play.enrol(FIRST, SECOND, THIRD)
    play.record(FIRST, credit=100 * ONE, qos=9_000)
    play.record(SECOND, credit=10 * ONE, faults=1)
    epoch = play.epoch
    play.mine_at(play.end(epoch))
    play.settle(epoch)
    play.enrol(FOURTH)
    play.record(SECOND, credit=20 * ONE, qos=7_000)
    play.record(THIRD, faults=2)
    play.mine_at(play.end(epoch + 1))
    return play


def _honest(play: Play) -> ScoreTable:
    return play.honest(play.epoch - 1)


def _lied(play: Play, table: ScoreTable, **post: Any) -> Posting:
    return play.post(play.epoch - 1, table, **post)


def _reject(play: Play, posting: Posting, challenge: Challenge) -> None:
    """The poster loses all stake, the root never counts. A thief without a commitment of its own is refused, whatever it copies."""
    world = play.scored.world
    poster = next(owner for owner in OWNERS if owner.address == posting.poster)
    before = world.stake(poster)[0]
    thief = evidence_commitment(THIEF.address, posting, SALT)
    paid = play.commit(STRANGER, posting)
    stolen = play.scored.refusal(THIEF, challenge.function, *challenge.words(THIEF.address, SALT))
    assert stolen == ("CommitmentNotRipe", (thief, 0))
    logs = play.scored.send(THIEF, challenge.function, *challenge.words(*paid)).logs
    assert [dict(log.args) for log in logs if log.name == "EpochRejected"] == [
        {"epoch": posting.epoch, "poster": posting.poster, "finder": STRANGER.address, "burnt": before}
    ]
    assert world.stake(poster)[0] == 0
    again = play.scored.refusal(STRANGER, challenge.function, *challenge.words())
    assert again == ("PostingUnknown", (posting.epoch,))


def _index(table: ScoreTable, owner: Signer) -> int:
    return next(i for i, leaf in enumerate(table.leaves) if leaf.node == owner.address)


def _masses(owner: Signer, a: int, b: int) -> Callable[[ScoreTable], ScoreTable]:
    """The owner's masses are off by so much."""

    def lie(table: ScoreTable) -> ScoreTable:
        index = _index(table, owner)
        honest = table.leaves[index].masses
        return changed(table, index, masses=Masses(honest.a + a, honest.b + b))

    return lie


def _moved(table: ScoreTable) -> ScoreTable:
    """A ticket of the second leaf is the first one's."""
    low, high = table.leaves[:2]
    return changed(changed(table, 0, stake_to=low.stake_to + 1), 1, stake_from=high.stake_from + 1)


def _swapped(table: ScoreTable) -> ScoreTable:
    """Nodes in another order than their tickets."""
    low, high = table.leaves[:2]
    first = replace(high, stake_from=0, stake_to=high.width)
    return ScoreTable((first, replace(low, stake_from=high.width, stake_to=high.stake_to), *table.leaves[2:]))


def _twice(table: ScoreTable) -> ScoreTable:
    """Another leaf of the same node lies hidden behind the last one."""
    better = replace(table.leaves[0], masses=Masses(2**32 - 1, 0))
    return ScoreTable((*table.leaves, better))


def _overlapping(table: ScoreTable) -> ScoreTable:
    return changed(table, 1, stake_from=table.leaves[1].stake_from - 1)


def _invented(table: ScoreTable) -> ScoreTable:
    """A node that is not enrolled has the last ticket."""
    last = table.leaves[-1]
    stranger = Leaf(dev(8).address, last.stake_to - 1, last.stake_to, Masses(), 0, last.as_of)
    leaves = (*table.leaves[:-1], replace(last, stake_to=last.stake_to - 1), stranger)
    return ScoreTable(tuple(sorted(leaves, key=lambda leaf: leaf.stake_from)))


def _dated(table: ScoreTable) -> ScoreTable:
    return changed(table, 2, as_of=table.leaves[2].as_of + 1)


def _measured(table: ScoreTable) -> ScoreTable:
    return changed(table, 0, qos=table.leaves[0].qos + 1)


def _empty_leaf(table: ScoreTable) -> ScoreTable:
    """A leaf of no tickets behind the last."""
    end = table.total
    return ScoreTable((*table.leaves, Leaf(dev(8).address, end, end, Masses(), 0, table.leaves[0].as_of)))


def _beyond(table: ScoreTable) -> ScoreTable:
    """The last leaf reaches one ticket past the total."""
    last = table.leaves[-1]
    return changed(table, len(table.leaves) - 1, stake_to=last.stake_to + 1)


LIES = {
    "a credit is left out": _masses(SECOND, -ONE, 0),
    "a credit is invented": _masses(THIRD, 1, 0),
    "a fault is left out": _masses(THIRD, 0, -50 * ONE),
    "a fault is invented": _masses(FOURTH, 0, 50 * ONE),
    "decay is forgotten": _masses(FIRST, 1, 0),
    "a ticket is stolen": _moved,
    "nodes are out of order": _swapped,
    "a node is there twice": _twice,
    "tickets overlap": _overlapping,
    "a node is invented": _invented,
    "a leaf has no ticket": _empty_leaf,
    "a leaf is of another time": _dated,
    "quality is invented": _measured,
    "tickets beyond the total": _beyond,
}


@pytest.mark.parametrize("name", LIES)
def test_every_lie_in_a_leaf_costs_the_poster_his_stake(settled: Play, name: str) -> None:
    """The challenger finds it by itself in what was shown, and the contract agrees."""
    lying = LIES[name](_honest(settled))
    posting = _lied(settled, lying)
    challenge = find_challenge(settled.case(posting), lying)
    assert challenge is not None
    assert challenge.function in ("challengeLeaf", "challengeOrder")
    _reject(settled, posting, challenge)


def test_two_leaves_that_no_table_holds_are_shown_in_either_order(settled: Play) -> None:
    """Twice one node with tickets far apart; two nodes whose tickets are exchanged; two with one ticket in common."""
    honest = _honest(settled)
    first, second, last = honest.leaves[0], honest.leaves[1], honest.leaves[-1]
    twin = replace(last, node=first.node)
    exchanged = replace(second, node=first.node), replace(first, node=second.node)
    shared = replace(first, stake_to=first.stake_to + 1)
    for x, y in ((first, twin), exchanged, (shared, second)):
        taken = ask(settled.scored.world.url, "evm_snapshot")
        lying = ScoreTable((x, y, *honest.leaves[2:]))
        posting = _lied(settled, lying)
        for one, other in ((0, 1), (1, 0)):
            arguments = posting.words, *lying.proven(one).words, *lying.proven(other).words
            settled.scored.view("challengeOrder", *arguments, *UNPAID)
        assert ask(settled.scored.world.url, "evm_revert", taken) is True


def test_one_leaf_of_any_node_can_be_judged_alone(settled: Play) -> None:
    """A lie about a node that continues, one about a newcomer; with the old leaf, with the gap where none was."""
    for owner in (FIRST, FOURTH):
        lying = _masses(owner, 5, 5)(_honest(settled))
        posting = _lied(settled, lying, who=OWNERS[2 + (owner is FOURTH)], after=60 + 20 * (owner is FOURTH))
        challenge = find_challenge(settled.case(posting), lying)
        assert challenge is not None
        assert challenge.arguments[1][0] == owner.address
        _reject(settled, posting, challenge)


def _left_out(table: ScoreTable, index: int) -> ScoreTable:
    """Without one leaf; those above it move down."""
    gone, leaves = table.leaves[index], list(table.leaves[:index])
    for leaf in table.leaves[index + 1 :]:
        leaves.append(replace(leaf, stake_from=leaf.stake_from - gone.width, stake_to=leaf.stake_to - gone.width))
    return ScoreTable(tuple(leaves))


@pytest.mark.parametrize("index", range(4))
def test_a_node_that_is_left_out_is_shown_by_the_tickets_that_are_not_there(settled: Play, index: int) -> None:
    """With the true total the last ticket belongs to nobody: nothing to point at but in the middle, else a demand."""
    lying = _left_out(_honest(settled), index)
    posting = _lied(settled, lying)
    challenge = find_challenge(settled.case(posting), lying)
    assert challenge is not None
    assert challenge.function == ("demand" if index == 3 else "challengeOmission")
    if challenge.function == "challengeOmission":
        _reject(settled, posting, challenge)


@pytest.mark.parametrize("index", range(4))
def test_a_node_whose_tickets_went_to_a_neighbour_was_left_out(settled: Play, index: int) -> None:
    """The gap is closed, so both the omission and the neighbour's leaf prove the lie; each alone suffices."""
    honest = _honest(settled)
    gone, rest = honest.leaves[index], [leaf for i, leaf in enumerate(honest.leaves) if i != index]
    if index:
        rest[index - 1] = replace(rest[index - 1], stake_to=gone.stake_to)
    else:
        rest[0] = replace(rest[0], stake_from=0)
    lying = ScoreTable(tuple(rest))
    posting = _lied(settled, lying)
    arguments = posting.words, gone.node, lying.gap(gone.node).words
    settled.scored.view("challengeOmission", *arguments, *UNPAID)
    found = find_challenge(settled.case(posting), lying)
    assert found is not None
    assert found.function == "challengeLeaf"
    _reject(settled, posting, Challenge("challengeOmission", arguments))


def test_a_wrong_total_is_a_lie(settled: Play) -> None:
    """One ticket too many or too few; who shares out what does not exist draws nobody."""
    honest, right = _honest(settled), sum(settled.stakes.values())
    for who, after, total in ((SECOND, 60, right + 1), (THIRD, 80, right - 1)):
        posting = _lied(settled, honest, who=who, after=after, total=total)
        challenge = find_challenge(settled.case(posting))
        assert challenge is not None
        assert challenge.function == "challengeTotal"
        _reject(settled, posting, challenge)


def _drawn(play: Play) -> Signer:
    assert play.before is not None
    ticket = drawn_ticket(play.base, play.epoch - 1)
    holder = play.before.holder(ticket).leaf.node
    return next(owner for owner in OWNERS if owner.address == holder)


def test_who_was_not_drawn_waits(settled: Play) -> None:
    """Within the drawn node's time another's root is void, even if it is right."""
    other = next(owner for owner in OWNERS[:3] if owner is not _drawn(settled))
    posting = _lied(settled, _honest(settled), who=other, after=49)
    challenge = find_challenge(settled.case(posting))
    assert challenge is not None
    assert challenge.function == "challengeDraw"
    _reject(settled, posting, challenge)


@pytest.mark.parametrize(("drawn", "after"), [(True, 1), (True, 49), (False, 50), (False, 149)])
def test_the_drawn_node_may_post_at_once_and_the_others_later(settled: Play, drawn: bool, after: int) -> None:
    """With the true root nothing can be proven, not even with the drawn leaf."""
    who = next(owner for owner in OWNERS[:3] if (owner is _drawn(settled)) is drawn)
    posting = _lied(settled, _honest(settled), who=who, after=after)
    assert find_challenge(settled.case(posting)) is None
    assert settled.before is not None
    holder = settled.before.holder(drawn_ticket(settled.base, posting.epoch))
    arguments = posting.words, settled.base.words, *holder.words
    assert settled.scored.refusal(STRANGER, "challengeDraw", *arguments, *UNPAID) == NOTHING_WRONG


def test_a_leaf_that_was_not_drawn_proves_nothing(settled: Play) -> None:
    """Only the ticket's own."""
    other = next(owner for owner in OWNERS[:3] if owner is not _drawn(settled))
    posting = _lied(settled, _honest(settled), who=other, after=20)
    assert settled.before is not None
    for leaf in settled.before.leaves:
        if leaf.node != _drawn(settled).address:
            proven = settled.before.find(leaf.node)
            assert proven is not None
            arguments = posting.words, settled.base.words, *proven.words
            assert settled.scored.refusal(STRANGER, "challengeDraw", *arguments, *UNPAID) == NOTHING_WRONG


def test_a_sound_root_withstands_every_challenge(settled: Play) -> None:
    """Each leaf, each pair, each gap: NothingWrong, and the poster keeps his stake."""
    honest, before = _honest(settled), settled.before
    assert before is not None
    posting = _lied(settled, honest)
    refusal = settled.scored.refusal
    assert find_challenge(settled.case(posting), honest) is None
    assert refusal(STRANGER, "challengeTotal", posting.words, *UNPAID) == NOTHING_WRONG
    for i, leaf in enumerate(honest.leaves):
        old = before.gap(leaf.node).words
        arguments = posting.words, *honest.proven(i).words, settled.base.words, old
        assert refusal(STRANGER, "challengeLeaf", *arguments, *UNPAID) == NOTHING_WRONG
        for j in range(len(honest.leaves)):
            pair = *honest.proven(i).words, *honest.proven(j).words
            assert refusal(STRANGER, "challengeOrder", posting.words, *pair, *UNPAID) == NOTHING_WRONG
        omission = posting.words, leaf.node, honest.gap(leaf.node).words
        assert refusal(STRANGER, "challengeOmission", *omission, *UNPAID) == NOTHING_WRONG
    for node in (hot("nobody").address, hot("somebody").address, dev(8).address):
        omission = posting.words, node, honest.gap(node).words
        assert refusal(STRANGER, "challengeOmission", *omission, *UNPAID) == NOTHING_WRONG
    assert settled.scored.world.stake(FIRST)[0] == 300


def test_a_gap_with_room_excludes_nobody(settled: Play) -> None:
    """Leaves that are no neighbours, the edges of a table that is not empty, a node on the wrong side."""
    honest = _honest(settled)
    posting = _lied(settled, honest)
    low, high = honest.proven(0), honest.proven(3)
    middle = honest.leaves[1].node
    for gap in (
        Gap(low, high),
        Gap(),
        Gap(low),
        Gap(above=high),
        Gap(honest.proven(1), honest.proven(2)),
        Gap(high, low),
    ):
        refusal = settled.scored.refusal(STRANGER, "challengeOmission", posting.words, middle, gap.words, *UNPAID)
        assert refusal == NOTHING_WRONG


def test_a_proof_against_another_leaf_does_not_count(settled: Play) -> None:
    """Wrong leaf, wrong side, wrong table: each is refused by name, whatever it would show."""
    honest, before = _honest(settled), settled.before
    assert before is not None
    posting = _lied(settled, honest)
    refusal, base = settled.scored.refusal, settled.base
    first, second = honest.proven(0), honest.proven(1)
    better = replace(first.leaf, masses=Masses(9, 9)).words
    invalid = ("LeafInvalid", (first.leaf.node,))
    old = before.gap(first.leaf.node).words
    for words in ((better, list(first.proof)), (first.leaf.words, list(second.proof)), (first.leaf.words, [])):
        assert refusal(STRANGER, "challengeLeaf", posting.words, *words, base.words, old, *UNPAID) == invalid
        assert refusal(STRANGER, "challengeOrder", posting.words, *words, *second.words, *UNPAID) == invalid
        assert refusal(STRANGER, "challengeOrder", posting.words, *second.words, *words, *UNPAID) == invalid
    leaf = honest.find(FIRST.address)
    assert leaf is not None
    wrong_old = before.gap(SECOND.address).words
    refused = refusal(STRANGER, "challengeLeaf", posting.words, *leaf.words, base.words, wrong_old, *UNPAID)
    assert refused[0] == "LeafInvalid"
    forged = Gap(Proven(replace(leaf.leaf, qos=0), leaf.proof)).words
    refused = refusal(STRANGER, "challengeLeaf", posting.words, *leaf.words, base.words, forged, *UNPAID)
    assert refused[0] == "LeafInvalid"
    foreign = refusal(STRANGER, "challengeLeaf", posting.words, *leaf.words, NO_POSTING.words, Gap().words, *UNPAID)
    assert foreign == ("BaseForeign", (base.epoch,))
    other_base = replace(base, total=base.total + 1)
    foreign = refusal(STRANGER, "challengeLeaf", posting.words, *leaf.words, other_base.words, old, *UNPAID)
    assert foreign == ("PostingUnknown", (base.epoch,))


def test_an_inner_node_cannot_pass_for_a_leaf(settled: Play) -> None:
    """A leaf is seven words hashed twice; sixty-four bytes hashed once never meet it, in either direction."""
    honest = _honest(settled)
    posting = _lied(settled, honest)
    hashes = [leaf.data for leaf in honest.leaves]
    inner = merkle_proof(hashes, 0)[-1]
    shorter = merkle_proof(hashes, 2)[:-1]
    fake = replace(honest.leaves[0], node=dev(8).address)
    for proof in ([inner], shorter, [inner, posting.root], [posting.root]):
        refused = settled.scored.refusal(
            STRANGER, "challengeOrder", posting.words, fake.words, proof, fake.words, proof, *UNPAID
        )
        assert refused == ("LeafInvalid", (fake.node,))
    assert merkle_root(hashes) == posting.root


def test_the_first_root_of_all_continues_nothing(play: Play) -> None:
    """Anybody may post it at once, and its leaves are judged by the evidence of the ring's epochs alone."""
    play.enrol(FIRST, SECOND)
    play.record(FIRST, credit=ONE, faults=1)
    epoch = play.epoch
    play.mine_at(play.end(epoch))
    honest = play.honest(epoch)
    posting = play.post(epoch, honest, after=1)
    refusal = play.scored.refusal
    arguments = posting.words, *honest.proven(0).words, NO_POSTING.words, Gap().words
    assert refusal(STRANGER, "challengeLeaf", *arguments, *UNPAID) == NOTHING_WRONG
    draw = posting.words, NO_POSTING.words, *honest.proven(0).words
    assert refusal(STRANGER, "challengeDraw", *draw, *UNPAID) == NOTHING_WRONG
    play.scored.world.send(STRANGER, play.scored.world.court, "record", epoch, FIRST.address, 2 * ONE, 1, 0)
    play.evidence[epoch][FIRST.address] = replace(play.evidence[epoch][FIRST.address], credit=2 * ONE)
    challenge = find_challenge(play.case(posting), honest)
    assert challenge is not None
    assert challenge.function == "challengeLeaf"
    _reject(play, posting, challenge)


def test_a_root_that_counts_cannot_be_challenged_any_more(settled: Play) -> None:
    """One second before it can."""
    lying = _masses(FIRST, 1, 0)(_honest(settled))
    posting = _lied(settled, lying)
    challenge = find_challenge(settled.case(posting), lying)
    assert challenge is not None
    active = posting.posted_at + 70
    settled.mine_at(active - 1)
    settled.scored.view(challenge.function, *challenge.words())
    settled.mine_at(active)
    late = settled.scored.refusal(STRANGER, challenge.function, *challenge.words())
    assert late == ("TooLate", (posting.epoch,))


def test_a_poster_without_stake_is_still_overruled(settled: Play) -> None:
    """Who was slashed for something else in the meantime has nothing left; his root falls all the same."""
    lying = _masses(FIRST, 1, 0)(_honest(settled))
    posting = _lied(settled, lying)
    world = settled.scored.world
    world.send(STRANGER, world.court, "slash", FIRST.address, 10_000)
    challenge = find_challenge(settled.case(posting), lying)
    assert challenge is not None
    logs = settled.scored.send(STRANGER, challenge.function, *challenge.words()).logs
    assert next(log for log in logs if log.name == "EpochRejected").args["burnt"] == 0


def test_leaving_is_no_escape_from_a_posted_root(settled: Play) -> None:
    """The stake that leaves is taken as well."""
    lying = _masses(FIRST, 1, 0)(_honest(settled))
    posting = _lied(settled, lying)
    world = settled.scored.world
    world.send(FIRST, world.stakes, "exit", 300)
    challenge = find_challenge(settled.case(posting), lying)
    assert challenge is not None
    logs = settled.scored.send(STRANGER, challenge.function, *challenge.words()).logs
    assert next(log for log in logs if log.name == "EpochRejected").args["burnt"] == 300
    assert world.stake(FIRST)[2] == 0


def test_stake_that_changes_after_the_epoch_frames_nobody(settled: Play) -> None:
    """Tickets are those of the epoch's end: what is enrolled later counts for the next table."""
    honest = _honest(settled)
    posting = _lied(settled, honest)
    world = settled.scored.world
    world.send(SECOND, world.stakes, "addStake", 50)
    settled.scored.send(STRANGER, "enrol", SECOND.address)
    world.send(STRANGER, world.court, "slash", THIRD.address, 5_000)
    settled.scored.send(STRANGER, "enrol", THIRD.address)
    assert settled.before is not None
    assert settled.scored.refusal(STRANGER, "challengeTotal", posting.words, *UNPAID) == NOTHING_WRONG
    for owner in (SECOND, THIRD):
        leaf = honest.find(owner.address)
        assert leaf is not None
        arguments = posting.words, *leaf.words, settled.base.words, settled.before.gap(owner.address).words
        assert settled.scored.refusal(STRANGER, "challengeLeaf", *arguments, *UNPAID) == NOTHING_WRONG


def _spoilt(table: ScoreTable, dice: random.Random) -> ScoreTable:
    """One leaf changed, doubled or dropped, or two exchanged."""
    leaves, index = list(table.leaves), dice.randrange(len(table.leaves))
    change: dict[str, Any] = dice.choice((
        {"node": dice.choice((*OWNERS, dev(8))).address},
        {"stake_from": dice.randrange(table.total)},
        {"stake_to": dice.randrange(table.total + 5)},
        {"masses": Masses(dice.randrange(2**32), dice.randrange(2**32))},
    ))  # fmt: skip
    act = dice.randrange(4)
    if act < 2:
        leaves[index : index + act] = [replace(leaves[index], **change)]
    elif act == 2:
        leaves.pop(index)
    else:
        other = dice.randrange(len(leaves))
        leaves[index], leaves[other] = leaves[other], leaves[index]
    return ScoreTable(tuple(leaves))


def test_what_the_challenger_sends_is_always_accepted(settled: Play, steps: int) -> None:
    """Random lies, on the chain: each proof that is found has the root rejected; a demand is met by no list."""
    dice, url, honest = random.Random(11), settled.scored.world.url, _honest(settled)
    sent: set[str] = set()
    for _ in range(steps // 3):
        taken = ask(url, "evm_snapshot")
        lying = _spoilt(honest, dice)
        posting = _lied(settled, lying)
        challenge = find_challenge(settled.case(posting), lying)
        assert (challenge is None) is (lying.root == honest.root)
        if challenge is not None and challenge.function == "demand":
            settled.scored.send(DEMANDER, "demand", posting.words)
            for rows in (lying.rows, honest.rows):
                assert settled.scored.refusal(STRANGER, "show", posting.words, rows)[0] == "LeavesForeign"
        elif challenge is not None:
            _reject(settled, posting, challenge)
        sent.add(challenge.function if challenge else "")
        assert ask(url, "evm_revert", taken) is True
    assert len(sent) >= 3


def test_the_edge_of_a_table_is_no_node() -> None:
    """No account has the address of the edge, so nobody can be hidden behind it."""
    assert EDGE.node == "0x" + 40 * "0"
    assert MIN_STAKE > 0
