"""Court: equivocation, judged by the real Court over the real Stakes."""

from dataclasses import astuple, replace
from typing import Any

import pytest

from incentives.signing import Signer, split_signature
from sharding.hashing import keccak256
from tests.contracts.world import (
    GRAVE,
    MIN_STAKE,
    PEER,
    UNBONDING,
    ZERO,
    Refusal,
    World,
    dev,
    hot,
    only_event,
)
from verification.receipts import Receipt
from verification.typed_data import Domain

OWNER, BYSTANDER, REPORTER = dev(1), dev(2), dev(9)
SIGNER, SECOND = hot("signer"), hot("second")
STAKE = 10 * MIN_STAKE
ROOTS = tuple(keccak256(bytes([i])) for i in range(8))
RECEIPT = Receipt(ROOTS[0], 1, 2, 32, 48, ROOTS[1], ROOTS[2], ROOTS[3], ROOTS[4])
NOT_EQUIVOCATION = ("NotEquivocation", ())


@pytest.fixture
def joined(world: World) -> World:
    """A node with stake and a bystander."""
    world.join(OWNER, SIGNER, STAKE)
    world.join(BYSTANDER, hot("bystander"), MIN_STAKE)
    return world


def _signed(world: World, receipt: Receipt, signer: Signer, domain: Domain | None = None) -> tuple[Any, ...]:
    signature = signer.sign_digest(receipt.digest(domain or world.domain(world.court)))
    return (astuple(receipt), *split_signature(signature))


def _proof(world: World, other: Receipt, signer: Signer = SIGNER, second: Signer | None = None) -> tuple[Any, ...]:
    signed = _signed(world, RECEIPT, signer) + _signed(world, other, second or signer)
    return (world.court, "proveEquivocation", *signed, ZERO)


def _refused(world: World, *proof: Any) -> Refusal:
    return world.refusal(REPORTER, *proof)


def test_two_receipts_for_one_slot_cost_the_whole_stake(joined: World) -> None:
    """Everything is burnt, what is leaving included; nobody gains, nobody else loses."""
    joined.send(OWNER, joined.stakes, "exit", 400)
    grave, reporter = joined.balance(GRAVE), joined.balance(REPORTER.address)
    sent = joined.send(REPORTER, *_proof(joined, replace(RECEIPT, out_root=ROOTS[7])))
    assert only_event(sent) == (
        "EquivocationProven",
        {
            "node": OWNER.address,
            "signer": SIGNER.address,
            "route": RECEIPT.route,
            "stage": 1,
            "chunk": 2,
            "taken": STAKE,
        },
    )
    assert joined.stake(OWNER)[:4] == (0, SIGNER.address, 0, 0)
    joined.send(REPORTER, joined.stakes, "payOut", GRAVE)
    assert joined.balance(GRAVE) == grave + STAKE
    assert joined.balance(REPORTER.address) == reporter
    assert joined.balance(joined.stakes.address) == joined.stake(BYSTANDER)[0] == MIN_STAKE


def test_any_difference_is_a_contradiction(joined: World) -> None:
    """Whatever the two receipts differ in, apart from the slot itself."""
    for change in ({"first": 31}, {"last": 47}, {"previous": ROOTS[7]}, {"in_root": ROOTS[7]}, {"kv_root": ROOTS[7]}):
        other = replace(RECEIPT, **change)
        joined.view(*_proof(joined, other))


def test_the_same_receipt_twice_is_no_fault(joined: World) -> None:
    """Signing again what one has signed is what a retry does."""
    assert _refused(joined, *_proof(joined, RECEIPT)) == NOT_EQUIVOCATION


def test_receipts_for_different_slots_are_no_fault(joined: World) -> None:
    """Different work gives different roots."""
    for change in ({"route": ROOTS[7]}, {"stage": 0}, {"chunk": 3}):
        other = replace(RECEIPT, out_root=ROOTS[7], **change)
        assert _refused(joined, *_proof(joined, other)) == NOT_EQUIVOCATION


def test_two_signers_do_not_contradict_each_other(joined: World) -> None:
    """Not even two of one node: a key whose memory was lost is replaced, and the new one starts clean."""
    other = replace(RECEIPT, out_root=ROOTS[7])
    assert _refused(joined, *_proof(joined, other, SIGNER, hot("bystander"))) == NOT_EQUIVOCATION
    joined.send(OWNER, joined.stakes, "rotate", SECOND.address, PEER, *joined.consent(OWNER, SECOND))
    assert _refused(joined, *_proof(joined, other, SIGNER, SECOND)) == NOT_EQUIVOCATION


def test_a_key_that_never_joined_has_nothing_to_lose(joined: World) -> None:
    """The error names the key."""
    proof = _proof(joined, replace(RECEIPT, out_root=ROOTS[7]), SECOND)
    assert _refused(joined, *proof) == ("SignerUnknown", (SECOND.address,))


def test_signatures_for_another_court_or_chain_prove_nothing(joined: World) -> None:
    """They recover to some other key, each to another one."""
    other = replace(RECEIPT, out_root=ROOTS[7])
    for domain in (Domain(1, joined.court.address), Domain(31337, joined.stakes.address)):
        signed = _signed(joined, RECEIPT, SIGNER, domain) + _signed(joined, other, SIGNER, domain)
        assert _refused(joined, joined.court, "proveEquivocation", *signed, ZERO) == NOT_EQUIVOCATION


def test_rotation_is_no_escape(joined: World) -> None:
    """What the old key signed costs the node that it belonged to, twice rotated or not."""
    for name in ("second", "third"):
        joined.send(OWNER, joined.stakes, "rotate", hot(name).address, PEER, *joined.consent(OWNER, hot(name)))
    joined.send(REPORTER, *_proof(joined, replace(RECEIPT, out_root=ROOTS[7])))
    assert joined.stake(OWNER)[:3] == (0, hot("third").address, 0)


def test_stake_is_liable_until_the_withdrawal_itself(joined: World) -> None:
    """Not merely until the clock has run out; after the withdrawal there is nothing left to take."""
    other = replace(RECEIPT, out_root=ROOTS[7])
    joined.send(OWNER, joined.stakes, "exit", STAKE)
    joined.pass_time(10 * UNBONDING)
    assert joined.send(REPORTER, *_proof(joined, other)).logs[0].args["taken"] == STAKE
    assert joined.refusal(OWNER, joined.stakes, "withdraw") == ("NothingExiting", (OWNER.address,))


def test_after_the_withdrawal_there_is_nothing_to_take_until_the_node_returns(joined: World) -> None:
    """The proof does not wear out: it takes what a returning node puts down, again and again."""
    proof = _proof(joined, replace(RECEIPT, out_root=ROOTS[7]))
    joined.send(OWNER, joined.stakes, "exit", STAKE)
    joined.pass_time(UNBONDING)
    joined.send(OWNER, joined.stakes, "withdraw")
    assert _refused(joined, *proof) == ("NothingToSlash", (OWNER.address,))
    for _ in range(2):
        joined.join(OWNER, SIGNER, MIN_STAKE)
        assert joined.send(REPORTER, *proof).logs[0].args["taken"] == MIN_STAKE


def test_the_order_of_the_receipts_does_not_matter(joined: World) -> None:
    """Either may come first; the node itself may bring them, and burns its own stake."""
    other = replace(RECEIPT, kv_root=ROOTS[7])
    signed = _signed(joined, other, SIGNER) + _signed(joined, RECEIPT, SIGNER)
    joined.send(OWNER, joined.court, "proveEquivocation", *signed, ZERO)
    assert joined.stake(OWNER)[0] == 0


def test_the_receipt_digest_is_the_one_that_python_signs(world: World) -> None:
    """Also at the edges of the fields."""
    widest = Receipt(b"\xff" * 32, 2**32 - 1, 2**32 - 1, 2**32 - 1, 2**32 - 1, *([b"\xff" * 32] * 4))
    for receipt in (RECEIPT, widest, Receipt(bytes(32), 0, 0, 0, 0, *([bytes(32)] * 4))):
        digest = world.view(world.court, "receiptDigest", astuple(receipt))
        assert digest == receipt.digest(world.domain(world.court))


def test_a_finder_without_a_ripe_commitment_is_refused(joined: World) -> None:
    """The proof counts, and who brings it for nobody takes the stake all the same."""
    *call, _ = _proof(joined, replace(RECEIPT, out_root=ROOTS[7]))
    assert joined.refusal(REPORTER, *call, REPORTER.address)[0] == "CommitmentNotRipe"
    joined.send(REPORTER, *call, ZERO)
    assert joined.stake(OWNER)[0] == 0
