"""The jury: accusation, answer, draw, sealed votes, verdict; and what each of them costs whom."""

from dataclasses import replace

import pytest

from incentives.jury_rules import Ballot, Count, Outcome, Vote
from tests.contracts.jury_world import (
    ACCUSER,
    CONTENT,
    CONVINCED,
    JURORS,
    NODE,
    PURSE,
    SALT,
    STAKE,
    STRANGER,
    TERMS,
    UNSURE,
    WORK,
    Trial,
)  # fmt: skip
from tests.contracts.world import MAX_FEE


def test_an_agreed_jury_convicts(played: Trial) -> None:
    """Three tenths of the stake, a finder's fee, the accuser's bond and half of the node's."""
    played.drawn()
    assert played.voted([CONVINCED] * 5).outcome == Outcome.CONVICTED
    sent = played.close_later()
    assert [(each.name, each.args["outcome"], each.args["taken"]) for each in sent.logs] == [
        ("Closed", 3, STAKE * 3 // 10)
    ]
    assert played.world.stake(NODE)[0] == STAKE * 7 // 10
    assert played.world.view(played.world.stakes, "owedTo", ACCUSER.address) == min(STAKE * 9 // 100, MAX_FEE)
    assert played.on.funds(ACCUSER) == PURSE + TERMS.bond // 2
    assert played.on.funds(NODE) == PURSE - TERMS.bond
    played.collect()
    assert sum(map(played.on.funds, played.on.owners.values())) == 7 * PURSE - TERMS.bond + 5 * TERMS.fee


def test_an_honest_node_is_acquitted_and_paid_for_its_answer(played: Trial) -> None:
    """Half the accuser's bond is its; five fees come from the other half, the rest is burnt; its stake is whole."""
    played.drawn()
    assert played.voted([CONTENT] * 5) == Count(Outcome.ACQUITTED, Vote.FINE, 5, 0, 0, WORK[:10])
    assert played.close_later().logs[0].args["outcome"] == Outcome.ACQUITTED
    played.collect()
    assert played.on.funds(ACCUSER) == PURSE - TERMS.bond
    assert played.on.funds(NODE) == PURSE + TERMS.bond // 2
    assert played.paid_to_jurors() == 5 * TERMS.fee
    assert played.burnt() == TERMS.bond // 2 - 5 * TERMS.fee
    assert played.world.stake(NODE)[0] == STAKE


def test_silence_costs_what_a_proven_lie_costs(played: Trial) -> None:
    """At the last second an answer is in time and nothing can be closed; one later it is the other way round."""
    played.accuse()
    end = played.since + TERMS.answer_s
    played.at(end + 1)
    assert played.refusal(NODE, "answer", played.case.words) == ("ClockRunOut", (end,))
    assert played.close().logs[0].args["taken"] == STAKE * 3 // 10
    assert (played.on.funds(ACCUSER), played.on.funds(NODE)) == (PURSE, PURSE)
    assert played.refusal(STRANGER, "close", played.case.words) == ("PhaseWrong", (played.case.id, 6))


def test_the_last_second_of_the_answer_is_the_nodes(played: Trial) -> None:
    """By its key as well as by its owner."""
    played.accuse()
    end = played.since + TERMS.answer_s
    played.world.next_block_at(end - 1)
    assert played.refusal(STRANGER, "close", played.case.words) == ("ClockRunning", (end,))
    played.world.next_block_at(end)
    played.send(NODE, "answer", played.case.words)
    assert played.on.jury.case(played.case).phase == 2


@pytest.mark.parametrize(
    ("ballots", "outcome"),
    [
        ([CONVINCED] * 3 + [None] * 2, Outcome.CONVICTED),
        ([CONVINCED] * 4 + [CONTENT], Outcome.CONVICTED),
        ([CONVINCED] * 3 + [UNSURE] * 2, Outcome.CONVICTED),
        ([CONVINCED] * 3 + [CONTENT, UNSURE], Outcome.UNPROVEN),
        ([CONVINCED] * 3 + [CONTENT] * 2, Outcome.UNPROVEN),
        ([replace(CONVINCED, evidence=29)] * 5, Outcome.UNPROVEN),
        ([CONVINCED] * 2 + [replace(CONVINCED, evidence=29)] * 2, Outcome.UNPROVEN),
        ([CONVINCED] * 3 + [replace(CONVINCED, evidence=29)] * 2, Outcome.CONVICTED),
        ([CONVINCED] * 2 + [replace(CONVINCED, digest=SALT)] * 3, Outcome.CONVICTED),
        ([CONVINCED] * 2 + [replace(CONVINCED, digest=SALT)] * 2, Outcome.UNPROVEN),
        ([CONVINCED] * 2 + [CONTENT] * 2, Outcome.ACQUITTED),
        ([CONVINCED] * 2 + [CONTENT] * 3, Outcome.ACQUITTED),
        ([CONVINCED] * 2 + [UNSURE] * 3, Outcome.VOID),
        ([CONVINCED] * 2, Outcome.VOID),
        ([], Outcome.VOID),
    ],
)
def test_what_takes_stake_and_what_does_not(played: Trial, ballots: list[Ballot | None], outcome: Outcome) -> None:
    """Three ahead with one digest and strong evidence; ties acquit; two of five decide nothing. All money is accounted for."""
    played.drawn()
    assert played.voted(ballots).outcome == outcome
    end = played.since + TERMS.commit_s + TERMS.reveal_s
    if outcome != Outcome.VOID:
        assert played.refusal(STRANGER, "close", played.case.words) == ("ClockRunning", (end + TERMS.appeal_s,))
        played.at(end + TERMS.appeal_s + 1)
    taken = played.close().logs[-1].args["taken"]
    assert taken == (STAKE * 3 // 10 if outcome == Outcome.CONVICTED else 0)
    played.collect()
    played.must_add_up()
    if outcome == Outcome.VOID:
        assert (played.on.funds(ACCUSER), played.on.funds(NODE), played.burnt()) == (PURSE, PURSE, 0)


def test_a_jury_that_has_said_nothing_yet_is_not_closed_before_all_votes_can_be_in(played: Trial) -> None:
    """Else whoever fears it would end it at once: undecided, it waits for no appeal."""
    played.drawn()
    end = played.since + TERMS.commit_s + TERMS.reveal_s
    assert played.refusal(STRANGER, "close", played.case.words) == ("ClockRunning", (end,))
    played.world.next_block_at(end)
    assert played.refusal(STRANGER, "close", played.case.words) == ("ClockRunning", (end,))
    played.at(end + 1)
    assert played.close().logs[-1].args["outcome"] == Outcome.VOID


def test_who_is_of_another_digest_is_not_paid(played: Trial) -> None:
    """A lazy juror has its bond back and nothing else; the losing side and the silent pay the others a hundredth."""
    played.drawn()
    played.voted([CONTENT, CONTENT, replace(CONTENT, digest=SALT), CONVINCED, CONTENT], silent=[4])
    played.close_later()
    before = [played.on.funds(who) for who in JURORS]
    assert sum(before) == 5 * PURSE - 5 * TERMS.vote
    loss = TERMS.vote // 100
    assert played.collected() == [TERMS.vote + TERMS.fee + loss] * 2 + [TERMS.vote] + [TERMS.vote - loss] * 2
    played.must_add_up()


def test_without_a_draw_everybody_has_the_bond_back(played: Trial) -> None:
    """Nobody drew in time, say because no table counts: unaudited, and over."""
    played.accuse()
    played.answer()
    end = played.since + TERMS.draw_s
    assert played.refusal(STRANGER, "close", played.case.words) == ("ClockRunning", (end,))
    played.at(end + 1)
    assert played.refusal(STRANGER, "draw", played.case.words, played.on.posting.words) == ("ClockRunOut", (end,))
    assert played.close().logs[0].args["outcome"] == Outcome.VOID
    assert (played.on.funds(ACCUSER), played.on.funds(NODE)) == (PURSE, PURSE)
    played.must_add_up()


def test_stake_stays_until_a_case_must_be_over(played: Trial) -> None:
    """Appeal included; then it may leave, whoever has closed the case or has not. What does not leave needs no holding."""
    played.world.send(NODE, played.world.stakes, "exit", played.world.stake(NODE)[0])
    played.accuse()
    held = played.world.view(played.world.stakes, "heldUntil", NODE.address)
    assert held == played.since + TERMS.longest_s - TERMS.delay_s
