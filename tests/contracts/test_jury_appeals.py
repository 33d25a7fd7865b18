"""Appeals: the loser has seven others judge, once, for twice the bond; their word is the last, if they have one."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from incentives.jury_pay import Pot, settle
from incentives.jury_rules import SEATS, Ballot, Outcome
from incentives.signing import LocalSigner
from tests.contracts.jury_world import (
    ACCUSER,
    CONTENT,
    CONVINCED,
    NODE,
    PURSE,
    SALT,
    STAKE,
    STRANGER,
    TERMS,
    UNSURE,
    Trial,
)  # fmt: skip

APPEAL_ENDS = TERMS.commit_s + TERMS.reveal_s + TERMS.appeal_s
GUILTY, SOUND, MIXED = [CONVINCED] * 5, [CONTENT] * 5, [CONVINCED] * 3 + [CONTENT] * 2


def judged(played: Trial, ballots: Sequence[Ballot | None]) -> Trial:
    """By the first jury; the time to appeal has come."""
    played.drawn()
    played.voted(ballots)
    return played


@pytest.mark.parametrize(
    ("first", "who", "second", "outcome"),
    [
        (GUILTY, NODE, [CONVINCED] * 7, Outcome.CONVICTED),
        (GUILTY, NODE, [CONTENT] * 7, Outcome.ACQUITTED),
        (GUILTY, NODE, [CONVINCED] * 4 + [CONTENT] * 2 + [None], Outcome.UNPROVEN),
        (SOUND, ACCUSER, [CONVINCED] * 5 + [CONTENT] * 2, Outcome.CONVICTED),
        (SOUND, ACCUSER, [CONVINCED] * 4 + [CONTENT] * 2 + [UNSURE], Outcome.UNPROVEN),
        (SOUND, ACCUSER, [CONTENT] * 4 + [None] * 3, Outcome.ACQUITTED),
        (MIXED, ACCUSER, [CONVINCED] * 7, Outcome.CONVICTED),
        (MIXED, ACCUSER, [CONVINCED] * 4 + [CONTENT] * 3, Outcome.UNPROVEN),
        (MIXED, NODE, [CONTENT] * 7, Outcome.ACQUITTED),
    ],
)
def test_the_second_jury_has_the_last_word(
    played: Trial, first: list[Ballot | None], who: LocalSigner, second: list[Ballot | None], outcome: Outcome
) -> None:
    """Where every unit goes is as the plain rules say; an appeal that was better has its bond back."""
    judged(played, first)
    counts = [played.on.jury.tally(played.case, 0)]
    played.on.jury.appeal(who, played.case)
    assert played.on.jury.case(played.case).verdict == counts[0].outcome
    played.draw()
    counts.append(played.voted(second, first=SEATS))
    assert counts[1].outcome == outcome
    taken = played.close().logs[-1].args["taken"]
    assert taken == (STAKE * 3 // 10 if outcome == Outcome.CONVICTED else 0)
    at = settle(counts, Pot(TERMS.bond, TERMS.fee, TERMS.vote, by_accuser=who is ACCUSER))
    assert played.on.funds(ACCUSER) == PURSE - TERMS.bond - (2 * TERMS.bond if who is ACCUSER else 0) + at.accuser
    assert played.on.funds(NODE) == PURSE - TERMS.bond - (2 * TERMS.bond if who is NODE else 0) + at.node
    assert played.burnt() == at.burnt
    played.collect()
    played.must_add_up()


def test_an_overturned_jury_is_not_paid(played: Trial) -> None:
    """It loses nothing either; those whom it outvoted have their bonds back whole."""
    judged(played, [CONVINCED] * 4 + [CONTENT])
    played.on.jury.appeal(NODE, played.case)
    played.draw()
    played.voted([CONTENT] * 7, first=SEATS)
    played.close()
    assert played.collected() == [TERMS.vote] * 5 + [TERMS.vote + TERMS.fee] * 7


@pytest.mark.parametrize(
    ("first", "who", "second", "paid"),
    [
        (GUILTY, NODE, [CONVINCED] * 3 + [UNSURE] * 4, 3),
        (GUILTY, NODE, [CONVINCED, CONTENT, CONTENT] + [UNSURE] * 4, 3),
        (GUILTY, NODE, [UNSURE] * 7, 0),
        (GUILTY, NODE, [CONVINCED], 0),
        (GUILTY, NODE, [], 0),
        (SOUND, ACCUSER, [CONVINCED] * 3, 3),
        (SOUND, ACCUSER, [CONVINCED] * 2 + [replace(CONTENT, digest=SALT)], 2),
        (MIXED, ACCUSER, [CONTENT] * 3 + [UNSURE], 3),
        (MIXED, NODE, [CONVINCED] * 2 + [UNSURE] * 5, 2),
    ],
)
def test_a_void_appeal_leaves_the_first_verdict_and_costs_its_own_jurors_fees(
    played: Trial, first: list[Ballot | None], who: LocalSigner, second: list[Ballot | None], paid: int
) -> None:
    """The other side has what it had without the appeal; the appellant has that less the fees of who did the work."""
    judged(played, first)
    said = played.on.jury.tally(played.case, 0)
    without = settle([said], Pot(TERMS.bond, TERMS.fee, TERMS.vote))
    played.on.jury.appeal(who, played.case)
    played.draw()
    assert played.voted(second, first=SEATS).outcome == Outcome.VOID
    closed = played.close().logs[-1].args
    assert (closed["outcome"], closed["taken"]) == (
        said.outcome,
        STAKE * 3 // 10 if said.outcome == Outcome.CONVICTED else 0,
    )
    fees = {who.address: paid * TERMS.fee}
    for party, has in ((ACCUSER, without.accuser), (NODE, without.node)):
        assert played.on.funds(party) == PURSE - TERMS.bond + has - fees.get(party.address, 0)
    assert played.burnt() == without.burnt
    back = played.collected()
    assert back[SEATS:] == [TERMS.vote + TERMS.fee] * paid + [TERMS.vote] * (len(second) - paid)
    played.must_add_up()


def test_who_is_silent_in_a_void_appeal_pays_those_who_did_the_work(played: Trial) -> None:
    """A hundredth each, whatever it was paid for its silence; who is of the smaller side loses nothing."""
    judged(played, GUILTY)
    played.on.jury.appeal(NODE, played.case)
    played.draw()
    said = played.voted([CONVINCED, CONVINCED, CONTENT, CONTENT, CONTENT, CONTENT], first=SEATS, silent=[8, 9, 10])
    assert (said.outcome, said.paid, said.silent) == (Outcome.VOID, 3, 3)
    played.close()
    loss = TERMS.vote // 100
    assert played.collected()[SEATS:] == [TERMS.vote + TERMS.fee + loss] * 3 + [TERMS.vote - loss] * 3
    played.must_add_up()


def test_an_appeal_whose_jury_nobody_draws_changes_nothing(played: Trial) -> None:
    """The first verdict stands; nobody was there to judge, so the appeal's bond comes back whole."""
    judged(played, GUILTY)
    played.on.jury.appeal(NODE, played.case)
    end = played.since + TERMS.draw_s
    assert played.refusal(STRANGER, "close", played.case.words) == ("ClockRunning", (end,))
    played.at(end + 1)
    closed = played.close().logs[-1].args
    assert (closed["outcome"], closed["taken"]) == (Outcome.CONVICTED, STAKE * 3 // 10)
    assert played.collected() == [TERMS.vote + TERMS.fee] * SEATS
    played.must_add_up()
    assert (played.on.funds(ACCUSER), played.on.funds(NODE)) == (PURSE + TERMS.bond // 2, PURSE - TERMS.bond)


def test_only_who_lost_appeals_once_and_in_time(played: Trial) -> None:
    """Not before all votes can be in, not a second too late, not the winner, not a stranger, not twice."""
    played.drawn()
    played.voted(GUILTY)
    case, end = played.case, played.since + APPEAL_ENDS
    for who in (ACCUSER, STRANGER):
        assert played.refusal(who, "appeal", case.words) == ("NotLoser", (who.address, Outcome.CONVICTED))
    played.world.next_block_at(end)
    assert played.refusal(STRANGER, "close", case.words) == ("ClockRunning", (end,))
    played.send(NODE, "appeal", case.words)
    assert played.refusal(NODE, "appeal", case.words)[0] == "PhaseWrong"
    assert played.burnt() == 0


def test_an_appeal_has_its_window(played: Trial) -> None:
    """One second before it opens and one after it closes."""
    played.drawn()
    case, opens = played.case, played.since + TERMS.commit_s + TERMS.reveal_s
    assert played.refusal(ACCUSER, "appeal", case.words) == ("ClockRunning", (opens,))
    for seat in range(SEATS):
        played.commit(seat, CONTENT)
    played.at(opens - TERMS.reveal_s + 1)
    for seat in range(SEATS):
        played.reveal(seat)
    assert played.refusal(NODE, "appeal", case.words) == ("ClockRunning", (opens,))
    played.at(opens + 1)
    assert played.refusal(NODE, "appeal", case.words) == ("NotLoser", (NODE.address, Outcome.ACQUITTED))
    played.at(opens + TERMS.appeal_s + 1)
    assert played.refusal(ACCUSER, "appeal", case.words) == ("ClockRunOut", (opens + TERMS.appeal_s,))


def test_nobody_appeals_against_nothing(played: Trial) -> None:
    """A void jury leaves no loser."""
    judged(played, [CONVINCED] * 2)
    for who in (ACCUSER, NODE):
        assert played.refusal(who, "appeal", played.case.words) == ("NotLoser", (who.address, Outcome.VOID))


def test_an_appeal_takes_twice_the_bond_that_is_there(played: Trial) -> None:
    """With one unit less it is refused. The rest of the purse has been taken out by the owner."""
    judged(played, GUILTY)
    played.send(NODE, "withdraw", PURSE - 3 * TERMS.bond + 1)
    short = 2 * TERMS.bond - 1
    assert played.refusal(NODE, "appeal", played.case.words) == ("BondShort", (short, 2 * TERMS.bond))
    played.send(NODE, "deposit", 1)
    played.send(NODE, "appeal", played.case.words)
    assert played.on.funds(NODE) == 0


def test_a_longest_case_ends_before_stake_may_leave(played: Trial) -> None:
    """Everything at its last second: the slash still finds all of it, although the node began to leave at once."""
    stakes = played.world.stakes
    played.world.send(NODE, stakes, "exit", STAKE)
    played.accuse()
    held = played.world.view(stakes, "heldUntil", NODE.address)
    played.world.next_block_at(played.since + TERMS.answer_s)
    played.send(NODE, "answer", played.case.words)
    last_draw(played)
    played.voted(GUILTY)
    played.world.next_block_at(played.since + APPEAL_ENDS)
    played.send(NODE, "appeal", played.case.words)
    last_draw(played)
    played.voted([CONVINCED] * 7, first=SEATS)
    assert played.now <= held
    assert played.world.refusal(NODE, stakes, "withdraw")[0] in ("StakeHeld", "ExitNotReady")
    assert played.close().logs[-1].args["taken"] == STAKE * 3 // 10


def last_draw(played: Trial) -> None:
    """In the last second for it."""
    end = played.since + TERMS.draw_s
    played.at(end - 2)
    played.world.next_block_at(end)
    sent = played.send(STRANGER, "draw", played.case.words, played.on.posting.words)
    played.lot = played.lot_of(sent)
