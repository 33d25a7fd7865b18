"""Funds for bonds over odd tokens: what disputes, juries and demands hold goes in and out exactly, or not at all."""

from dataclasses import replace

import pytest

from incentives.artifacts import load_artifact
from incentives.chain import Contract
from tests.contracts.jury_world import TERMS as JURY
from tests.contracts.test_odd_tokens import REENTRANCY, answer_inside
from tests.contracts.world import (
    DEMAND_TERMS,
    EPOCH,
    MAX_FEE,
    MIN_STAKE,
    TERMS,
    World,
    dev,
    double,
    next_addresses,
    shipped,
)

OWNER, STRANGER = dev(1), dev(9)
REFUSING, LYING, TAXING, GENEROUS = 2, 3, 4, 5
UNBONDING = 2_000
HELD = 1_000


@pytest.fixture(scope="session")
def odd_funds(deployed: World) -> tuple[World, list[Contract]]:
    """A court over an odd token, its disputes, its jury and its demands, with money in all of them."""
    chain = deployed.chain
    token = chain.deploy(dev(0), double("OddToken")).contract
    judge = deployed.view(deployed.disputes, "disputeTerms")[0]
    court_at, disputes_at, jury_at, demands_at = next_addresses(chain, 4, after=1)
    calendar = chain.head().timestamp, EPOCH
    words = token.address, court_at, MIN_STAKE, UNBONDING, MAX_FEE
    stakes = chain.deploy(dev(0), shipped("Stakes"), *words).contract
    arbiters = disputes_at, jury_at, STRANGER.address, demands_at
    chain.deploy(dev(0), shipped("Court"), stakes.address, arbiters, calendar)
    disputes = chain.deploy(dev(0), load_artifact("Disputes"), court_at, judge, TERMS).contract
    jury = chain.deploy(dev(0), load_artifact("Jury"), court_at, JURY.words).contract
    models = deployed.view(deployed.demands, "demandTerms")[0]
    demands = chain.deploy(dev(0), load_artifact("Demands"), court_at, models, DEMAND_TERMS).contract
    world = replace(deployed, token=token, stakes=stakes, disputes=disputes)
    world.send(dev(0), token, "mint", OWNER.address, 10**9)
    for contract in (disputes, jury, demands):
        world.send(OWNER, contract, "deposit", HELD)
    return world, [disputes, jury, demands]


@pytest.fixture
def odd(odd_funds: tuple[World, list[Contract]], chain_snapshot: str) -> tuple[World, list[Contract]]:
    return odd_funds


def test_a_transfer_that_did_not_happen_undoes_the_call(odd: tuple[World, list[Contract]]) -> None:
    """In either direction, and for the fire."""
    world, contracts = odd
    world.send(dev(0), world.token, "misbehave", REFUSING)
    for contract in contracts:
        for call in (("deposit", 10), ("withdraw", 10), ("burn",)):
            assert world.refusal(OWNER, contract, *call)[0] == "TransferFailed", call
        assert tuple(world.view(contract, "fundsOf", OWNER.address)) == (HELD, 0)


def test_what_arrives_must_be_exactly_what_was_sent(odd: tuple[World, list[Contract]]) -> None:
    """No liar, no fee, no gift."""
    world, contracts = odd
    for mode, received in ((LYING, 0), (TAXING, 990), (GENEROUS, 1001)):
        world.send(dev(0), world.token, "misbehave", mode)
        for contract in contracts:
            assert world.refusal(OWNER, contract, "deposit", 1000) == ("TransferInexact", (received, 1000))


def test_no_transfer_lets_anybody_in_again(odd: tuple[World, list[Contract]]) -> None:
    """Whichever of the three is running, the token finds each of them shut."""
    world, contracts = odd
    calls = (("deposit", 10), ("withdraw", 10), ("burn",))
    for contract in contracts:
        for call in calls:
            for entry in calls:
                assert answer_inside(world, contract, entry, (contract, *call)) == (False, REENTRANCY), (entry, call)
