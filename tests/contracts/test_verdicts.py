"""Verdicts: what arbiters find costs what the rules say, once; nobody else's word counts."""

from dataclasses import replace
from typing import Any

import pytest
from web3 import Web3

from incentives.artifacts import load_artifact
from incentives.chain import Contract
from incentives.errors import Reverted
from incentives.signing import split_signature
from sharding.hashing import keccak256
from tests.conftest import answered
from tests.contracts.world import (
    ARBITERS,
    EPOCH,
    MAX_FEE,
    MIN_STAKE,
    TERMS,
    UNBONDING,
    ZERO,
    World,
    dev,
    hot,
    next_addresses,
    only_event,
    plain_event,
    shipped,
)  # fmt: skip
from verification.receipts import Receipt
from verification.routes import Route, RouteStage

NODE, DISPUTES, JURY, SCORES, DEMANDS, STRANGER = dev(1), dev(2), dev(3), dev(4), dev(5), dev(9)
SIGNER = hot("signer")
STAKE = 10 * MIN_STAKE
ONE = keccak256(b"one")
ROUTE = Route(ONE, ONE, 0, bytes(32), (RouteStage(NODE.address, 0, 4, 5),), ONE, ONE, ONE, ONE, 16, ONE, 2**32)
DAYS = 86_400
CALENDAR = 1, EPOCH
SLASH_FAILED = keccak256(b"SlashFailed()")[:4].hex()


@pytest.fixture(scope="module")
def ruled(deployed: World) -> tuple[World, Contract]:
    """Stakes and a court whose arbiters are plain accounts."""
    chain, arbiters = deployed.chain, (DISPUTES.address, JURY.address, SCORES.address, DEMANDS.address)
    (court_at,) = next_addresses(chain, 1, after=1)
    words = deployed.token.address, court_at, MIN_STAKE, UNBONDING, MAX_FEE
    stakes = chain.deploy(dev(0), shipped("Stakes"), *words).contract
    calendar = chain.head().timestamp, EPOCH
    court = chain.deploy(dev(0), shipped("Court"), stakes.address, arbiters, calendar).contract
    return replace(deployed, stakes=stakes, court=court), court


@pytest.fixture
def world(ruled: tuple[World, Contract], chain_snapshot: str) -> World:
    """With one node."""
    world, _ = ruled
    world.send(NODE, world.token, "approve", world.stakes.address, 2**200)
    world.join(NODE, SIGNER, STAKE)
    return world


def route(world: World) -> bytes:
    return ROUTE.digest(world.domain(world.court))


def receipt(world: World, chunk: int = 0) -> Receipt:
    return Receipt(route(world), 0, chunk, 0, 16, bytes(32), ONE, ONE, ONE)


def summons(world: World, signer: Any = SIGNER, until: int = 2**33) -> tuple[Any, ...]:
    signature = signer.sign_digest(receipt(world).digest(world.domain(world.court)))
    words = receipt(world).struct_hash(), ROUTE.struct_hash(), *split_signature(signature), until
    return world.court, "summon", *words


def sentence(world: World, where: bytes | None = None, finder: str = ZERO) -> tuple[Any, ...]:
    return world.court, "convict", NODE.address, where or route(world), ONE, finder


def test_a_summoned_nodes_stake_stays(world: World) -> None:
    """Until the latest time that was asked for."""
    world.send(DISPUTES, *summons(world))
    world.send(JURY, *summons(world, until=5))
    assert world.view(world.stakes, "heldUntil", NODE.address) == 2**33


def test_the_first_fault_costs_a_part_and_the_next_all(world: World) -> None:
    """Thirty days on probation: at their last second everything goes, one later a part again."""
    sent = world.send(DISPUTES, *sentence(world, finder=STRANGER.address))
    fault = world.chain.head().timestamp
    epoch = (fault - world.view(world.court, "calendar")[0]) // EPOCH + 1
    named = {"node": NODE.address, "route": route(world), "receipt": ONE, "taken": STAKE * 3 // 10, "epoch": epoch}
    assert only_event(sent) == ("Convicted", named)
    assert world.view(world.court, "convictedOf", route(world), NODE.address) == fault
    assert world.view(world.stakes, "owedTo", STRANGER.address) == min(STAKE * 9 // 100, MAX_FEE)
    world.next_block_at(fault + 30 * DAYS)
    assert only_event(world.send(JURY, *sentence(world, ONE), gas=10**6))[1]["taken"] == STAKE * 7 // 10


def test_after_probation_a_fault_is_a_first_one_again(world: World) -> None:
    """One second later."""
    world.send(DISPUTES, *sentence(world))
    world.next_block_at(world.chain.head().timestamp + 30 * DAYS + 1)
    sent = world.send(DISPUTES, *sentence(world, ONE), gas=10**6)
    assert only_event(sent)[1]["taken"] == (STAKE * 7 // 10 * 3 + 9) // 10


@pytest.mark.parametrize("finder", [ZERO, STRANGER.address])
@pytest.mark.parametrize("verdict", ["convict", "fine", "slashPoster"])
def test_no_gas_limit_lets_a_verdict_through_without_its_slash(world: World, verdict: str, finder: str) -> None:
    """That no stake is left is no error to the court. A slash that was starved is one: all is undone."""
    words = {
        "convict": (DISPUTES, NODE.address, route(world), ONE, finder),
        "fine": (DEMANDS, NODE.address, finder),
        "slashPoster": (SCORES, NODE.address, finder),
    }
    judge, *arguments = words[verdict]
    codec = Web3().eth.contract(abi=list(world.court.artifact.abi))
    call = {"from": judge.address, "to": world.court.address, "data": codec.encode_abi(verdict, arguments)}
    takes = STAKE * {"convict": 3_000, "fine": 500, "slashPoster": 10_000}[verdict] // 10_000
    limits = range(44_000, 124_000, 800)
    answers = [answered(world.url, "eth_call", {**call, "gas": hex(gas)}, "latest") for gas in limits]
    taken = {int(each["result"], 16) for each in answers if "result" in each}
    assert taken == {takes}
    starved = [gas for gas, each in zip(limits, answers, strict=True) if SLASH_FAILED in str(each.get("error"))]
    refused = {world.refusal(judge, world.court, verdict, *arguments, gas=gas) for gas in starved}
    assert ("SlashFailed", ()) in refused


def test_a_route_costs_a_node_once(world: World) -> None:
    """Whoever finds it again, for whichever receipt; nothing is slashed and nothing fails."""
    world.send(DISPUTES, *sentence(world))
    since = world.view(world.court, "convictedOf", route(world), NODE.address)
    for arbiter in (DISPUTES, JURY):
        assert world.send(arbiter, *sentence(world)).logs == ()
    assert world.stake(NODE)[0] == STAKE * 7 // 10
    assert world.view(world.court, "convictedOf", route(world), NODE.address) == since
    refusal = world.refusal(DISPUTES, *summons(world))
    assert refusal == ("NodeConvicted", (NODE.address, route(world)))


def test_convictions_on_other_routes_within_the_probation_leave_the_earlier_ones_standing(world: World) -> None:
    """Each with its own time, whatever follows; none of them convicts, or is summoned, a second time."""
    others = [keccak256(bytes([number])) for number in range(3)]
    times = {}
    for found in (route(world), *others):
        world.send(DISPUTES, *sentence(world, found))
        times[found] = world.chain.head().timestamp
    assert {found: world.view(world.court, "convictedOf", found, NODE.address) for found in times} == times
    assert all(world.send(JURY, *sentence(world, found)).logs == () for found in times)
    assert world.refusal(DISPUTES, *summons(world))[0] == "NodeConvicted"


def test_a_conviction_after_the_probation_takes_the_place_of_the_last_one(world: World) -> None:
    """By then nothing that was paid there can be refunded, and no dispute of then is open; those in between are kept."""
    second, third = keccak256(b"second"), keccak256(b"third")
    world.send(DISPUTES, *sentence(world))
    first = world.chain.head().timestamp
    world.send(DISPUTES, *sentence(world, second))
    world.next_block_at(world.chain.head().timestamp + 30 * DAYS + 1)
    world.send(DISPUTES, *sentence(world, third), gas=10**6)
    now = world.chain.head().timestamp
    convicted = [world.view(world.court, "convictedOf", each, NODE.address) for each in (route(world), second, third)]
    assert convicted == [first, 0, now]


def test_a_conviction_is_of_the_route_and_the_node(world: World) -> None:
    """Another node's, or a route whose digest differs in what is kept of it, is none; the lowest bit is not kept."""
    where = route(world)
    world.send(DISPUTES, *sentence(world))
    assert world.view(world.court, "convictedOf", where, STRANGER.address) == 0
    for bit in range(1, 97, 5):
        other = (int.from_bytes(where, "big") ^ (1 << bit)).to_bytes(32, "big")
        assert (world.view(world.court, "convictedOf", other, NODE.address) == 0) == (bit < 96)
    assert world.view(world.court, "convictedOf", bytes(32), NODE.address) == 0


def test_who_has_nothing_left_stops_no_verdict(world: World) -> None:
    """A dispute, or the rejection of a table, comes to its end all the same."""
    assert only_event(world.send(SCORES, world.court, "slashPoster", NODE.address, ZERO))[1]["taken"] == STAKE
    sent = world.send(SCORES, world.court, "slashPoster", NODE.address, STRANGER.address)
    assert plain_event(sent.logs[0]) == ("PosterSlashed", {"node": NODE.address, "taken": 0})
    assert only_event(world.send(DISPUTES, *sentence(world)))[1]["taken"] == 0
    assert world.view(world.stakes, "owedTo", STRANGER.address) == 0


def test_only_arbiters_judge(world: World) -> None:
    """Each in its own matter."""
    for who in (STRANGER, NODE, SCORES):
        assert world.refusal(who, *summons(world)) == ("NotArbiter", (who.address,))
    for who in (STRANGER, NODE, SCORES, DEMANDS):
        assert world.refusal(who, *sentence(world)) == ("NotArbiter", (who.address,))
    for others, fn in (((DISPUTES, JURY, DEMANDS), "slashPoster"), ((DISPUTES, JURY, SCORES), "fine")):
        for who in (STRANGER, *others):
            assert world.refusal(who, world.court, fn, NODE.address, ZERO) == ("NotArbiter", (who.address,))


def test_a_fine_is_small_and_one_outage_costs_one(world: World) -> None:
    """At the last second of a day another one takes nothing, one later it does; no fault is recorded."""
    call = world.court, "fine", NODE.address
    sent = world.send(DEMANDS, *call, STRANGER.address)
    fined = world.chain.head().timestamp
    assert only_event(sent) == ("Fined", {"node": NODE.address, "taken": STAKE // 20})
    assert world.view(world.stakes, "owedTo", STRANGER.address) == STAKE // 20 * 3 // 10
    world.next_block_at(fined + DAYS)
    assert world.send(DEMANDS, *call, STRANGER.address, gas=10**6).logs == ()
    world.next_block_at(fined + DAYS + 1)
    sent = world.send(DEMANDS, *call, ZERO, gas=10**6)
    assert only_event(sent)[1]["taken"] == -(-(STAKE - STAKE // 20) // 20)
    left = world.stake(NODE)[0]
    assert only_event(world.send(DISPUTES, *sentence(world)))[1]["taken"] == -(-left * 3 // 10)


def test_a_strangers_signature_summons_nobody(world: World) -> None:
    """Nor does none at all."""
    stranger = hot("stranger")
    assert world.refusal(DISPUTES, *summons(world, stranger)) == ("SignerUnknown", (stranger.address,))
    words = [*summons(world)[:4], bytes(32), bytes(32), 5]
    assert world.refusal(DISPUTES, *words) == ("SignatureInvalid", ())


def refused(world: World, name: str, *words: Any) -> tuple[str, tuple[Any, ...]]:
    with pytest.raises(Reverted) as caught:
        world.chain.deploy(dev(0), load_artifact(name), *words)
    return caught.value.name, tuple(caught.value.arguments)


def test_a_court_without_its_arbiters_is_not_deployed(deployed: World, chain_snapshot: str) -> None:
    """Each of them has to be named."""
    for missing in range(ARBITERS):
        (court_at,) = next_addresses(deployed.chain, 1, after=1)
        words = deployed.token.address, court_at, MIN_STAKE, UNBONDING, MAX_FEE
        stakes = deployed.chain.deploy(dev(0), shipped("Stakes"), *words).contract
        named = [STRANGER.address] * ARBITERS
        named[missing] = ZERO
        assert refused(deployed, "Court", stakes.address, tuple(named), CALENDAR) == ("ArbiterMissing", ())


def test_disputes_that_the_court_does_not_hear_are_not_deployed(world: World) -> None:
    """Another contract is its arbiter already."""
    judge = world.view(world.disputes, "disputeTerms")[0]
    assert refused(world, "Disputes", world.court.address, judge, TERMS)[0] == "CourtForeign"


@pytest.mark.parametrize(
    "terms", [(0, 1, 1, 1, 1), (1, 1, 0, 1, 1), (1, 1, 1, 0, 1), (1, 1, 1, 1, 0), (1, UNBONDING - 5, 1, 1, 1)]
)
def test_disputes_whose_terms_do_not_work_are_not_deployed(
    deployed: World, chain_snapshot: str, terms: tuple[int, ...]
) -> None:
    """No bond, no clock, or stake that could leave before they end; one second less is fine."""
    chain, judge = deployed.chain, deployed.view(deployed.disputes, "disputeTerms")[0]
    for fits in (False, True):
        court_at, *arbiters = next_addresses(chain, 1 + ARBITERS, after=1)
        words = deployed.token.address, court_at, MIN_STAKE, UNBONDING, MAX_FEE
        stakes = chain.deploy(dev(0), shipped("Stakes"), *words).contract
        court = chain.deploy(dev(0), shipped("Court"), stakes.address, tuple(arbiters), CALENDAR).contract
        if fits:
            chain.deploy(dev(0), shipped("Disputes"), court.address, judge, (1, UNBONDING - 6, 1, 1, 1))
        else:
            found = refused(deployed, "Disputes", court.address, judge, terms)
            assert found == ("TermsInvalid", (sum(terms[1:]) + sum(terms[3:]), UNBONDING))
