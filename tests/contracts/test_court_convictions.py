"""Court: a fault that signatures prove can be kept as a conviction on its route, which is what refunds ask for."""

from collections.abc import Callable
from dataclasses import astuple, replace
from typing import Any

import pytest
from web3 import Web3

from incentives.signing import Signer, split_signature
from sharding.hashing import keccak256
from tests.conftest import answered
from tests.contracts.test_court import RECEIPT, ROOTS
from tests.contracts.test_court_links import AFTER, BEFORE, BROKEN
from tests.contracts.world import MIN_STAKE, ZERO, World, dev, hot, only_event
from verification.receipts import Receipt

OWNER, REPORTER, UNKNOWN = dev(1), dev(9), hot("unknown")
SIGNER = hot("signer")
STAKE = 10 * MIN_STAKE
LIES = (RECEIPT, replace(RECEIPT, out_root=ROOTS[7]))
SLASH_FAILED = keccak256(b"SlashFailed()")[:4].hex()
Call = tuple[Any, ...]


@pytest.fixture
def joined(world: World) -> World:
    """A node with stake."""
    world.join(OWNER, SIGNER, STAKE)
    return world


def signed(world: World, receipt: Receipt, signer: Signer) -> Call:
    return astuple(receipt), *split_signature(signer.sign_digest(receipt.digest(world.domain(world.court))))


def equivocation(world: World, receipts: tuple[Receipt, Receipt] = LIES, signer: Signer = SIGNER) -> Call:
    return (
        world.court,
        "convictOfEquivocation",
        *signed(world, receipts[0], signer),
        *signed(world, receipts[1], signer),
    )


def broken_link(world: World, receipts: tuple[Receipt, Receipt] = (BEFORE, BROKEN), signer: Signer = SIGNER) -> Call:
    return world.court, "convictOfBrokenLink", astuple(receipts[0]), *signed(world, receipts[1], signer)


Proof = Callable[..., Call]
KINDS: list[tuple[Proof, bytes]] = [(equivocation, RECEIPT.route), (broken_link, BROKEN.route)]
both = pytest.mark.parametrize(("proof", "route"), KINDS)


@both
def test_the_node_is_convicted_on_the_route_and_loses_all(joined: World, proof: Proof, route: bytes) -> None:
    """Once for the route."""
    sent = joined.send(REPORTER, *proof(joined))
    now = joined.chain.head().timestamp
    assert only_event(sent) == ("ConvictedWholly", {"node": OWNER.address, "route": route, "taken": STAKE})
    assert joined.stake(OWNER)[0] == 0
    assert joined.view(joined.court, "convictedOf", route, OWNER.address) == now
    assert joined.refusal(REPORTER, *proof(joined)) == ("NodeConvicted", (OWNER.address, route))


@both
def test_a_slash_that_came_before_hinders_no_conviction(joined: World, proof: Proof, route: bytes) -> None:
    """By whoever had the fee: nothing is left to take, and clients get back what is theirs all the same."""
    slash = list(proof(joined))
    slash[1] = slash[1].replace("convictOf", "prove")
    joined.send(REPORTER, *slash, ZERO)
    assert joined.view(joined.court, "convictedOf", route, OWNER.address) == 0
    assert only_event(joined.send(REPORTER, *proof(joined)))[1]["taken"] == 0
    assert joined.view(joined.court, "convictedOf", route, OWNER.address) > 0


@both
def test_it_is_no_fault_of_an_epoch_besides(joined: World, proof: Proof, route: bytes) -> None:
    """What takes the whole stake needs no score."""
    joined.send(REPORTER, *proof(joined))
    genesis, epoch = joined.view(joined.court, "calendar")
    running = (joined.chain.head().timestamp - genesis) // epoch + 1
    assert [joined.view(joined.court, "faultsOf", each, OWNER.address) for each in range(running + 1)] == [0] * (
        running + 1
    )


def test_several_routes_are_kept_side_by_side(joined: World) -> None:
    """Each conviction leaves the ones before it standing."""
    routes = ROOTS[2:6]
    for route in routes:
        one, other = (replace(each, route=route) for each in LIES)
        joined.send(REPORTER, *equivocation(joined, (one, other)))
    assert all(joined.view(joined.court, "convictedOf", route, OWNER.address) for route in routes)


@both
def test_what_proves_nothing_convicts_nobody(joined: World, proof: Proof, route: bytes) -> None:
    """Receipts that agree, a key that never joined, a signature that is none."""
    agreed = (RECEIPT, RECEIPT) if proof is equivocation else (BEFORE, AFTER)
    nothing = "NotEquivocation" if proof is equivocation else "NotBrokenLink"
    assert joined.refusal(REPORTER, *proof(joined, agreed)) == (nothing, ())
    assert joined.refusal(REPORTER, *proof(joined, signer=UNKNOWN)) == ("SignerUnknown", (UNKNOWN.address,))
    *words, _ = proof(joined)
    assert joined.refusal(REPORTER, *words, b"\xff" * 32)[0] == "SignatureInvalid"
    assert joined.view(joined.court, "convictedOf", route, OWNER.address) == 0


def test_a_foreign_predecessor_convicts_nobody(joined: World) -> None:
    """Whatever a stranger puts beside an honest one."""
    for other in (replace(BEFORE, out_root=ROOTS[6]), replace(BEFORE, route=ROOTS[6])):
        assert joined.refusal(REPORTER, *broken_link(joined, (other, AFTER))) == ("NotBrokenLink", ())


def test_two_keys_do_not_contradict_each_other(joined: World) -> None:
    """Not even where one of them is the node's."""
    words = *signed(joined, LIES[0], SIGNER), *signed(joined, LIES[1], UNKNOWN)
    assert joined.refusal(REPORTER, joined.court, "convictOfEquivocation", *words) == ("NotEquivocation", ())


@both
def test_no_conviction_passes_without_its_slash_for_want_of_gas(joined: World, proof: Proof, route: bytes) -> None:
    """Whatever limit it is sent with: it fails as a whole, or takes the stake."""
    contract, fn, *words = proof(joined)
    data = Web3().eth.contract(abi=list(contract.artifact.abi)).encode_abi(fn, words)
    call = {"from": REPORTER.address, "to": contract.address, "data": data}
    starved = []
    for gas in range(60_000, 130_000, 500):
        answer = answered(joined.url, "eth_call", {**call, "gas": hex(gas)}, "latest")
        starved += [gas] if SLASH_FAILED in str(answer.get("error")) else []
    refused = {joined.refusal(REPORTER, *proof(joined), gas=gas) for gas in starved}
    assert ("SlashFailed", ()) in refused
    assert joined.view(joined.court, "convictedOf", route, OWNER.address) == 0
    assert joined.stake(OWNER)[0] == STAKE
