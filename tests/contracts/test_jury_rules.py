"""The jury's arithmetic on chain against the plain rules: random tables, seats, seals and payments."""

import random
from dataclasses import astuple, replace
from typing import Any

import pytest

from incentives.chain import Contract
from incentives.jury_pay import Pot, Round, settle
from incentives.jury_rules import (
    APPEAL_SEATS,
    ATTEMPTS,
    SEATS,
    Ballot,
    Count,
    Lot,
    Outcome,
    Sealer,
    Vote,
    concealed,
    count,
    juror_of,
    opened,
)  # fmt: skip
from sharding.hashing import keccak256
from tests.contracts.jury_world import TERMS, Trial
from tests.contracts.world import World, dev, double
from verification.addresses import Address, to_address

BATCH = 100
DIGESTS = [keccak256(bytes([k])) for k in range(3)]
Seats = list[int]


@pytest.fixture(scope="session")
def probe(deployed: World) -> Contract:
    """The libraries, callable."""
    return deployed.chain.deploy(dev(0), double("JuryProbe")).contract


def some_juror(dice: random.Random) -> Address:
    return to_address(dice.randbytes(20))


def some_ballot(dice: random.Random) -> Ballot:
    evidence = dice.choice((0, 29, 30, 31, 255))
    digest = dice.choices(DIGESTS, (8, 1, 1))[0]
    return Ballot(dice.choices(tuple(Vote), (5, 4, 1))[0], evidence, digest)


def some_seats(dice: random.Random) -> Seats:
    """Of either round; some are empty, some sealed."""
    lean, absent = dice.choice((None, None, Vote.WRONG, Vote.FINE)), dice.choice((0.05, 0.05, 0.05, 0.5))
    seats = []
    for _ in range(dice.choice((SEATS, APPEAL_SEATS))):
        juror, ballot, kind = some_juror(dice), some_ballot(dice), dice.random()
        if lean is not None and kind < 0.75:
            ballot = replace(ballot, vote=lean)
        sealed = concealed(juror, dice.randbytes(32))
        seats.append(0 if kind < absent else sealed if kind > 0.9 else opened(juror, ballot))
    return seats


def as_count(found: tuple[Any, ...]) -> Count:
    outcome, camp, paid, silent, against, digest = found
    return Count(Outcome(outcome), camp, paid, silent, against, digest)


def test_thousands_of_tables_come_to_what_the_rules_say(world: World, probe: Contract, steps: int) -> None:
    """Every outcome among them, many times. The embedded chain takes a part of them."""
    dice, many = random.Random(7), 2_400 if steps > 50 else 300
    tables = [some_seats(dice) for _ in range(many)]
    expected = [count(seats) for seats in tables]
    for start in range(0, many, BATCH):
        found = world.view(probe, "counts", tables[start : start + BATCH])
        assert [as_count(each) for each in found] == expected[start : start + BATCH]
    outcomes = [each.outcome for each in expected]
    assert all(outcomes.count(outcome) >= many // 25 for outcome in Outcome)


def test_jurors_are_paid_as_the_rules_say_and_no_unit_is_lost(world: World, probe: Contract, steps: int) -> None:
    """Bonds in, and fees from outside, are dues and what is burnt."""
    dice = random.Random(8)
    for _ in range(2 * steps):
        seats, upheld = some_seats(dice), dice.random() < 0.7  # a void appeal's are paid, too
        fee, bond = dice.randrange(1, 10**6), dice.randrange(100, 10**6)
        said = count(seats)
        expected = Round(said, upheld, fee, bond)
        fees, burnt, dues = world.view(probe, "pay", seats, upheld, (fee, bond))
        assert fees * fee == expected.fees
        assert burnt == expected.burnt
        assert list(dues) == [expected.due(seat) if seat else 0 for seat in seats]
        taken = sum(seat != 0 for seat in seats)
        assert sum(dues) + burnt == taken * bond + expected.fees


def test_tickets_and_seals_are_the_same_on_both_sides(world: World, probe: Contract) -> None:
    """Up to the largest total."""
    dice = random.Random(9)
    for total in (1, 2, 10**18, 2**96 - 1):
        lot = Lot(dice.randbytes(32), bytes(32), total)
        for attempt in range(ATTEMPTS):
            found = world.view(probe, "tickets", lot.seed, attempt, total)
            assert list(found) == [lot.ticket(seat, attempt) for seat in range(SEATS + APPEAL_SEATS)]
    for seat in range(SEATS + APPEAL_SEATS):
        juror, ballot, salt = some_juror(dice), some_ballot(dice), dice.randbytes(32)
        sealer = Sealer(world.chain.chain_id, probe.address, dice.randbytes(32), seat, juror)
        sealed = sealer.commitment(ballot, salt)
        found = world.view(probe, "seal", sealer.case, seat, juror, astuple(ballot), salt)
        assert tuple(found) == (sealed, concealed(juror, sealed), opened(juror, ballot))
        assert juror_of(opened(juror, ballot)) == juror


def test_a_case_has_the_name_that_its_facts_hash_to(played: Trial) -> None:
    """With as many barred accounts as there are; what the contract logs is what the client says."""
    sent = played.accuse()
    made = played.on.jury.accused(sent.logs[0])
    assert made == played.case
    assert made.id == bytes(sent.logs[0].args["id"])


def test_money_is_parted_without_a_rest() -> None:
    """Whatever two juries say, the bonds go to somebody or are burnt, and the fees come out of them."""
    dice = random.Random(10)
    for _ in range(2_000):
        appealed, level = dice.random() < 0.5, dice.randrange(4)
        counts = [count(some_seats(dice)) for _ in range(2 if appealed else 1)]
        by_accuser = dice.random() < 0.5 if appealed else None
        made = settle(counts, Pot(TERMS.bond, TERMS.fee, TERMS.vote, level, by_accuser))
        paid_in = (TERMS.bond << level) + TERMS.bond + (2 * TERMS.bond if appealed else 0)
        fees, fines = sum(each.fees for each in made.rounds), sum(each.burnt for each in made.rounds)
        assert made.accuser + made.node + made.burnt - fines + fees == paid_in
        assert min(made.accuser, made.node, made.burnt) >= 0
        if made.outcome == Outcome.CONVICTED:
            assert made.accuser >= TERMS.bond << level


def test_a_void_appeal_is_never_better_than_none_and_costs_no_more_than_its_fees() -> None:
    """Whoever makes it and whatever both juries say; the other side and the first jury have what they had without it."""
    dice, fees = random.Random(11), set[int]()
    while len(fees) < 3:
        first, second = count(some_seats(dice)), count(some_seats(dice))
        if first.outcome == Outcome.VOID or second.outcome != Outcome.VOID:
            continue
        pot = Pot(TERMS.bond, TERMS.fee, TERMS.vote, dice.randrange(4))
        before = settle([first], pot)
        for by_accuser in (False, True):
            after = settle([first, second], replace(pot, by_accuser=by_accuser))
            paid = before.accuser + before.node + 2 * TERMS.bond - after.accuser - after.node
            assert (after.outcome, after.rounds[0]) == (before.outcome, before.rounds[0])
            assert after.burnt == before.burnt + after.rounds[1].burnt
            assert paid == after.rounds[1].fees == second.paid * TERMS.fee
            assert (after.node if by_accuser else after.accuser) == (before.node if by_accuser else before.accuser)
            fees.add(second.paid)
    assert max(fees) * TERMS.fee < 2 * TERMS.bond


def test_the_tensor_that_is_asked_for_lies_in_the_work() -> None:
    """Any block of the span, any position of the receipt, by the seed alone."""
    places = {Lot(keccak256(bytes([k])), b"", 1).place(range(4, 8), range(16, 19)) for k in range(200)}
    assert places == {(block, position) for block in range(4, 8) for position in range(16, 19)}
