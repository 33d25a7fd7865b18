"""Sealed votes before the jury: whose seat it is, until when it can be taken and opened, and when what is due is fetched."""

from incentives.jury_rules import ATTEMPTS, SEATS, Vote
from tests.contracts.jury_world import (
    ACCUSER,
    CONTENT,
    JURORS,
    ONE,
    PURSE,
    SALT,
    STRANGER,
    TERMS,
    Trial,
    trial,
)  # fmt: skip


def test_a_seat_is_taken_with_all_that_was_drawn(played: Trial) -> None:
    """Another seat, ticket, lot, leaf, proof, sender; no vote; twice."""
    played.drawn()
    who, words = played.words(0, ONE)
    lot, leaf = words[3:5]
    for place, value, error in (
        (1, SEATS, "SeatInvalid"),
        (2, ATTEMPTS, "SeatInvalid"),
        (2, 1, "SeatReserved"),
        (3, (lot[0], lot[1], lot[2] + 1), "LotForeign"),
        (3, (SALT, *lot[1:]), "LotForeign"),
        (4, (*leaf[:2], leaf[2] - 1, *leaf[3:]), "LeafInvalid"),
        (5, [bytes(32)] * 65, "ProofTooLong"),
        (6, bytes(32), "CommitmentMissing"),
    ):
        assert played.refusal(who, "commit", *words[:place], value, *words[place + 1 :])[0] == error
    assert played.refusal(STRANGER, "commit", *words) == ("NotNode", (STRANGER.address,))
    stranger = next(each for each in JURORS if each.address != who.address)
    own = played.on.table.find(stranger.address)
    assert own is not None
    ticket = played.drawn_lot.ticket(0)
    refused = played.refusal(stranger, "commit", *words[:4], *own.words, ONE)
    assert refused == ("NotHolder", (stranger.address, ticket))
    played.send(who, "commit", *words)
    assert played.refusal(who, "commit", *words) == ("SeatTaken", (0,))


def test_a_seat_is_not_its_neighbours_on_either_side(played: Trial) -> None:
    """Of the juror with the lowest tickets none that lies above them, of the one with the highest none below."""
    played.drawn()
    played.at(played.since + TERMS.commit_s // 2 + 1)
    lot, owns = played.drawn_lot, [played.on.table.find(juror.address) for juror in JURORS]
    sorted_owns = sorted((own for own in owns if own is not None), key=lambda own: own.leaf.stake_from)
    places = [(seat, attempt) for seat in range(SEATS) for attempt in range(ATTEMPTS)]
    for own in (sorted_owns[0], sorted_owns[-1]):
        lowest, leaf = own is sorted_owns[0], own.leaf
        seat, attempt = next(
            place for place in places
            if (lot.ticket(*place) >= leaf.stake_to if lowest else lot.ticket(*place) < leaf.stake_from)
        )  # fmt: skip
        words = played.words(seat, ONE, attempt)[1]
        refused = played.refusal(played.on.owners[leaf.node], "commit", *words[:4], *own.words, ONE)
        assert refused == ("NotHolder", (leaf.node, lot.ticket(seat, attempt)))


def test_a_vote_takes_a_bond_that_is_there(played: Trial) -> None:
    """One unit less is too little; with exactly one the seat is taken."""
    played.drawn()
    who, words = played.words(0, ONE)
    played.send(who, "withdraw", PURSE - TERMS.vote + 1)
    assert played.refusal(who, "commit", *words) == ("BondShort", (TERMS.vote - 1, TERMS.vote))
    played.send(who, "deposit", 1)
    played.send(who, "commit", *words)
    assert played.on.funds(who) == 0


def test_votes_are_sealed_in_time(played: Trial) -> None:
    """The last second counts, the next one does not; before a draw nobody votes."""
    played.accuse()
    played.answer()
    played.draw()
    who, words = played.words(0, ONE)
    other, late = played.words(1, ONE)
    end = played.since + TERMS.commit_s
    played.world.next_block_at(end)
    played.send(who, "commit", *words)
    played.at(end + 1)
    assert played.refusal(other, "commit", *late) == ("ClockRunOut", (end,))


def test_an_empty_seat_is_open_to_its_other_tickets_later(played: Trial) -> None:
    """Half of the time is the first holder's; then those of the next three, too."""
    played.drawn()
    half = played.since + TERMS.commit_s // 2
    who, words = played.words(2, ONE, attempt=ATTEMPTS - 1)
    played.world.next_block_at(half)
    assert played.refusal(who, "commit", *words) == ("SeatReserved", (half,))
    played.at(half + 1)
    played.send(who, "commit", *words)
    assert played.world.view(played.on.contract, "seatOf", played.case.id, 2)


def test_votes_are_opened_in_time(played: Trial) -> None:
    """Not while others still seal theirs; in the last second; not one later."""
    played.drawn()
    for seat in (0, 1):
        played.commit(seat, CONTENT)
    opens = played.since + TERMS.commit_s
    played.world.next_block_at(opens)
    assert played.refusal(STRANGER, "reveal", *played.opening(0)) == ("ClockRunning", (opens,))
    played.world.next_block_at(opens + TERMS.reveal_s)
    played.send(STRANGER, "reveal", *played.opening(0))
    played.at(opens + TERMS.reveal_s + 1)
    assert played.refusal(STRANGER, "reveal", *played.opening(1)) == ("ClockRunOut", (opens + TERMS.reveal_s,))


def test_a_vote_is_one_of_three(played: Trial) -> None:
    """Whatever was sealed."""
    played.drawn()
    played.commit(0, CONTENT)
    case, seat, juror, (_, *rest), salt = played.opening(0)
    assert played.refusal(STRANGER, "reveal", case, 0, juror, (1, *rest), salt)[0] == "ClockRunning"
    played.at(played.since + TERMS.commit_s + 1)
    for vote in (0, Vote.ABSTAIN + 1):
        refused = played.refusal(STRANGER, "reveal", case, seat, juror, (vote, *rest), salt)
        assert refused == ("VoteInvalid", (vote,))
    refused = played.refusal(STRANGER, "reveal", case, SEATS, juror, (1, *rest), salt)
    assert refused == ("SeatInvalid", (SEATS,))


def test_what_is_due_is_fetched_once_and_after_the_end(played: Trial) -> None:
    """A revealed seat and a silent one; not the one by the other's door."""
    played.drawn()
    played.voted([CONTENT] * 5, silent=[0])
    sealer, ballot = played.votes[0]
    silent = sealer.case, 0, sealer.juror, sealer.commitment(ballot, SALT)
    case = played.case.id
    assert played.refusal(STRANGER, "collect", case, 1) == ("PhaseWrong", (case, 3))
    assert played.refusal(STRANGER, "collectSilent", *silent) == ("PhaseWrong", (case, 3))
    played.close_later()
    assert played.refusal(STRANGER, "collect", case, 0) == ("CommitmentForeign", (0,))
    assert played.refusal(STRANGER, "collectSilent", *silent[:3], ONE) == ("CommitmentForeign", (0,))
    played.collect()
    assert played.refusal(STRANGER, "collect", case, 1) == ("CommitmentForeign", (1,))
    assert played.refusal(STRANGER, "collectSilent", *silent) == ("CommitmentForeign", (0,))


def test_votes_belong_to_a_jury_that_sits(played: Trial) -> None:
    """Nobody votes, opens, appeals or draws in a case that is not there, or over."""
    played.drawn()
    who, words = played.words(0, ONE)
    played.commit(0, CONTENT)
    played.at(played.since + TERMS.commit_s + TERMS.reveal_s + 1)
    played.close()
    case = played.case
    wrong = ("PhaseWrong", (case.id, 6))
    assert played.refusal(who, "commit", *words) == wrong
    assert played.refusal(STRANGER, "reveal", *played.opening(0)) == wrong
    assert played.refusal(ACCUSER, "appeal", case.words) == wrong
    assert played.refusal(STRANGER, "draw", case.words, played.on.posting.words) == wrong
    assert played.refusal(STRANGER, "close", trial(played.on, ONE[::-1]).case.words)[0] == "PhaseWrong"
