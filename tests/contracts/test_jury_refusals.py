"""Who is refused what before the jury, and until when: each limit at its last second and one past it."""

from dataclasses import astuple, replace
from typing import Any

import pytest

from incentives.artifacts import load_artifact
from incentives.court import route_words
from incentives.errors import Reverted
from incentives.jury_terms import JuryTerms
from incentives.score_tree import Posting
from incentives.signing import split_signature
from tests.conftest import ask
from tests.contracts.jury_world import (
    ACCUSER,
    CONTENT,
    GAS,
    JURORS,
    NODE,
    OTHER,
    PURSE,
    STRANGER,
    TERMS,
    UNBONDING,
    Trial,
    trial,
)  # fmt: skip
from tests.contracts.world import EPOCH, MAX_FEE, MIN_STAKE, dev, hot, next_addresses, shipped

MAX_LEVEL, MAX_OPEN = 16, 64


def accusing(played: Trial, **changes: Any) -> list[Any]:
    """The arguments of `accuse`, some of them other ones."""
    names = "receipt", "r", "vs", "terms", "stages", "position"
    return list((dict(zip(names, played.accusing, strict=True)) | changes).values())


def test_an_accusation_names_a_position_of_the_receipt(played: Trial) -> None:
    """The first and the last are; one before and one behind are not."""
    for position in (3, 8):
        refused = played.refusal(ACCUSER, "accuse", *accusing(played, position=position))
        assert refused == ("PositionInvalid", (position,))
    for position in (4, 7):
        played.send(ACCUSER, "accuse", *accusing(played, position=position))


def test_an_accusation_has_to_open_the_whole_route(played: Trial) -> None:
    """All stages, in order, as they were signed: none of its nodes may come to judge."""
    first, second = (astuple(stage) for stage in played.route.stages)
    for stages in ([first], [second, first], [first, (STRANGER.address, *second[1:])], [first, second, second], []):
        assert played.refusal(ACCUSER, "accuse", *accusing(played, stages=stages)) == ("RouteNotOpened", ())
    terms = list(route_words(played.route))
    other = [bytes(32), *terms[1:]]
    assert played.refusal(ACCUSER, "accuse", *accusing(played, terms=other)) == ("RouteNotOpened", ())


def test_the_exact_profile_is_not_for_a_jury(played: Trial) -> None:
    """Arithmetic judges it."""
    exact = trial(played.on, profile="exact-1")
    assert exact.refusal(ACCUSER, "accuse", *accusing(exact)) == ("ProfileExact", ())


def test_only_the_stages_own_node_is_accused(played: Trial) -> None:
    """The receipt says a stage that is another's, or none."""
    for stage in (1, 2):
        moved = trial(played.on, stage=stage)
        assert moved.refusal(ACCUSER, "accuse", *accusing(moved)) == ("NotOnRoute", (NODE.address,))


def test_a_stage_past_the_route_is_nobodys_although_its_signer_accuses_itself(played: Trial) -> None:
    """Whoever accuses stands behind the route's nodes in the list of those who cannot judge, not among its stages."""
    for stage in (2, 3):
        moved = trial(played.on, stage=stage)
        assert moved.refusal(NODE, "accuse", *accusing(moved)) == ("NotOnRoute", (NODE.address,))


def test_accusations_end_a_while_after_the_route(played: Trial) -> None:
    """At the last second they are heard, one later not."""
    end = played.route.expiry + TERMS.delay_s
    played.world.next_block_at(end)
    played.send(ACCUSER, "accuse", *accusing(played))
    played.at(end + 1)
    late = accusing(played, position=5)
    assert played.refusal(ACCUSER, "accuse", *late) == ("ChallengeTooLate", (end,))


def test_an_accusation_is_made_once(played: Trial) -> None:
    """An acquittal binds this accuser only."""
    played.drawn()
    played.voted([CONTENT] * 5)
    played.close_later()
    assert played.refusal(ACCUSER, "accuse", *accusing(played)) == ("DisputeKnown", (played.case.id,))
    other = replace(played, accuser=JURORS[0])
    assert other.accuse().logs[0].args["node"] == NODE.address


def test_the_bond_doubles_with_each_open_case_against_a_node(played: Trial) -> None:
    """Up to the sixteenth against one node, and 64 of one accuser in all; others are not counted with them."""
    chunks = iter(range(100, 200))
    for level in range(MAX_LEVEL):
        case = trial(played.on, chunk=next(chunks))
        assert case.accuse().logs[0].args["bond"] == TERMS.bond << level
    one_more = trial(played.on, chunk=next(chunks))
    refused = one_more.refusal(ACCUSER, "accuse", *accusing(one_more))
    assert refused == ("TooManyAgainst", (NODE.address, MAX_LEVEL))
    assert replace(one_more, accuser=OTHER).accuse().logs[0].args["bond"] == TERMS.bond
    case.at(case.since + TERMS.answer_s + 1)
    case.close()
    assert played.on.funds(ACCUSER) == PURSE - (TERMS.bond << MAX_LEVEL - 1) + TERMS.bond


def test_an_accuser_has_at_most_64_cases_open(played: Trial) -> None:
    """Against whomever; the next one is refused."""
    accused = (NODE, *JURORS[:3])
    for number in range(MAX_OPEN):
        who = accused[number // MAX_LEVEL]
        played.send(ACCUSER, "accuse", *against(played, who, number))
    refused = played.refusal(ACCUSER, "accuse", *against(played, JURORS[3], 0))
    assert refused == ("TooManyChallenges", (MAX_OPEN,))


def against(played: Trial, who: Any, chunk: int) -> list[Any]:
    """The arguments of `accuse` for a receipt of another node."""
    stages = (replace(played.route.stages[0], node=who.address), played.route.stages[1])
    route = replace(played.route, stages=stages)
    court = played.world.domain(played.world.court)
    receipt = replace(played.receipt, route=route.digest(court), chunk=chunk)
    made = replace(played, route=route, receipt=receipt)
    r, vs = split_signature(hot(who.address).sign_digest(receipt.digest(court)))
    return accusing(made, r=r, vs=vs)


def test_an_accusation_and_an_answer_take_bonds_that_are_there(played: Trial) -> None:
    """One unit less is too little; nobody takes out what a case holds."""
    for who in (ACCUSER, NODE):
        played.send(who, "withdraw", PURSE - TERMS.bond + 1)
    short = ("BondShort", (TERMS.bond - 1, TERMS.bond))
    assert played.refusal(ACCUSER, "accuse", *accusing(played)) == short
    played.send(ACCUSER, "deposit", 1)
    played.accuse()
    assert played.refusal(NODE, "answer", played.case.words) == short
    played.send(NODE, "deposit", 1)
    played.answer()
    for who in (ACCUSER, NODE):
        assert played.refusal(who, "withdraw", 1) == ("BondShort", (0, 1))


def test_only_the_accused_answers_once(played: Trial) -> None:
    """And only what was asked."""
    assert played.refusal(NODE, "answer", played.case.words) == ("PhaseWrong", (played.case.id, 0))
    played.accuse()
    for who in (STRANGER, OTHER, ACCUSER):
        assert played.refusal(who, "answer", played.case.words) == ("NotDefender", (who.address,))
    played.answer()
    assert played.refusal(NODE, "answer", played.case.words) == ("PhaseWrong", (played.case.id, 2))


def test_a_jury_is_drawn_by_a_later_beacon_from_the_table_that_counts(played: Trial) -> None:
    """Not in the answer's block nor in the next one; not from a table that is unknown; at the last second; once."""
    words = played.case.words, played.on.posting.words
    played.accuse()
    assert played.refusal(STRANGER, "draw", *words) == ("PhaseWrong", (played.case.id, 1))
    played.answer()
    block = played.on.jury.case(played.case).armed + TERMS.lag_blocks
    assert played.refusal(STRANGER, "draw", *words)[0] == "TooEarly"
    unknown = played.case.words, replace(played.on.posting, total=5).words
    ask(played.world.url, "evm_mine")
    assert played.world.chain.head().number >= block - 1
    assert played.refusal(STRANGER, "draw", *unknown)[0] == "PostingUnknown"
    played.world.next_block_at(played.since + TERMS.draw_s)
    played.send(STRANGER, "draw", *words)
    assert played.refusal(STRANGER, "draw", *words) == ("PhaseWrong", (played.case.id, 3))


def test_a_table_that_counts_no_more_draws_nobody(played: Trial) -> None:
    """A later one has taken its place."""
    scores, old = played.on.scores, played.on.posting
    epoch = int(played.world.view(scores, "currentEpoch"))
    end = int(played.world.view(scores, "endOf", epoch))
    played.world.next_block_at(end + 2)
    words = epoch, played.on.table.root, played.on.table.total, JURORS[1].address
    played.world.send(JURORS[1], scores, "post", *words, gas=GAS)
    played.accuse()
    played.answer()
    for _ in range(TERMS.lag_blocks):
        played.at(played.now + 10)
    refused = played.refusal(STRANGER, "draw", played.case.words, old.words)
    assert refused == ("TableNotServing", (old.epoch,))
    newer = Posting(epoch, old.epoch, end + 2, JURORS[1].address, old.total, old.root)
    assert played.on.jury.draw(STRANGER, played.case, newer).total == old.total


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        *(({name: 0}, "TermsInvalid") for name in ("answer_s", "draw_s", "reveal_s", "appeal_s", "lag_blocks")),
        ({"commit_s": 1}, "TermsInvalid"),
        ({"delay_s": TERMS.delay_s + UNBONDING - TERMS.longest_s}, "TermsInvalid"),
        ({"delay_s": TERMS.delay_s + UNBONDING - TERMS.longest_s - 1}, ""),
        ({"commit_s": 2}, ""),
        ({"fee": 0}, "BondInvalid"),
        ({"vote": 99}, "BondInvalid"),
        ({"vote": 100}, ""),
        ({"bond": 24 * TERMS.fee - 1}, "BondInvalid"),
        ({"bond": 24 * TERMS.fee}, ""),
        ({"bond": 2**80}, "BondInvalid"),
        ({"bond": 2**80 - 1}, ""),
    ],
)
def test_a_jury_whose_terms_do_not_work_is_not_deployed(played: Trial, changes: dict[str, int], error: str) -> None:
    """No clock, a bond that does not pay two juries or overflows, stake that could leave first; at each limit it is fine."""
    terms: JuryTerms = replace(TERMS, **changes)
    chain, token = played.world.chain, played.world.token
    court_at, jury_at = next_addresses(chain, 2, after=1)
    words = token.address, court_at, MIN_STAKE, UNBONDING, MAX_FEE
    stakes = chain.deploy(dev(0), shipped("Stakes"), *words).contract
    arbiters = STRANGER.address, jury_at, STRANGER.address, STRANGER.address
    court = chain.deploy(dev(0), shipped("Court"), stakes.address, arbiters, (1, EPOCH)).contract
    if not error:
        chain.deploy(dev(0), load_artifact("Jury"), court.address, terms.words)
        return
    with pytest.raises(Reverted, match=error):
        chain.deploy(dev(0), load_artifact("Jury"), court.address, terms.words)


def test_a_jury_that_the_court_does_not_hear_is_not_deployed(played: Trial) -> None:
    """Another one is its arbiter already."""
    with pytest.raises(Reverted, match="CourtForeign"):
        played.world.chain.deploy(dev(0), load_artifact("Jury"), played.world.court.address, TERMS.words)
