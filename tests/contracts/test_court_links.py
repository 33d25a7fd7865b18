"""Court: broken links, and the fee of who found a fault first."""

from dataclasses import astuple, replace
from typing import Any

import pytest

from incentives.signing import Signer, split_signature
from sharding.hashing import keccak256
from tests.contracts.world import MAX_FEE, MIN_STAKE, UNBONDING, ZERO, World, dev, hot, plain_event
from verification.receipts import Receipt
from verification.typed_data import Domain, address_word

OWNER, FINDER, THIEF = dev(1), dev(8), dev(9)
SIGNER = hot("signer")
STAKE = 10 * MIN_STAKE
DAY = 86_400
ROOTS = tuple(keccak256(bytes([i])) for i in range(8))
BEFORE = Receipt(ROOTS[0], 0, 2, 32, 48, bytes(32), ROOTS[1], ROOTS[2], ROOTS[3])
AFTER = Receipt(ROOTS[0], 1, 2, 32, 48, BEFORE.struct_hash(), ROOTS[3], ROOTS[4], ROOTS[5])
BROKEN = replace(AFTER, in_root=ROOTS[7])
REFUSED = ("NotBrokenLink", ())


@pytest.fixture
def joined(world: World) -> World:
    """A node with stake."""
    world.join(OWNER, SIGNER, STAKE)
    return world


def proof(
    world: World, before: Receipt = BEFORE, after: Receipt = BROKEN, finder: str = ZERO, domain: Domain | None = None
) -> tuple[Any, ...]:
    signature = split_signature(SIGNER.sign_digest(after.digest(domain or world.domain(world.court))))
    return (world.court, "proveBrokenLink", astuple(before), astuple(after), *signature, finder)


def commitment(world: World, finder: Signer, before: Receipt = BEFORE, after: Receipt = BROKEN) -> bytes:
    domain = world.domain(world.court)
    return keccak256(address_word(finder.address) + keccak256(before.digest(domain) + after.digest(domain)))


def commit(world: World, finder: Signer) -> None:
    world.send(finder, world.court, "commit", commitment(world, finder))


def test_another_input_than_the_predecessors_output_costs_the_whole_stake(joined: World) -> None:
    """Although the receipt says whose output it is; nobody is paid who has not committed."""
    events = [plain_event(each) for each in joined.send(THIEF, *proof(joined)).logs]
    named = {"node": OWNER.address, "signer": SIGNER.address, "route": ROOTS[0], "stage": 1, "chunk": 2}
    assert events == [("BrokenLinkProven", {**named, "taken": STAKE})]
    assert joined.stake(OWNER)[:4] == (0, SIGNER.address, 0, 0)
    assert joined.view(joined.stakes, "owedTo", THIEF.address) == 0


@pytest.mark.parametrize(
    "change",
    [
        {"route": ROOTS[7]}, {"stage": 1}, {"stage": 2**32 - 1}, {"chunk": 1}, {"chunk": 3}, {"first": 31}, {"last": 47},
        {"out_root": ROOTS[7]},
    ],
)  # fmt: skip
def test_a_predecessor_that_cannot_be_one_is_a_broken_link(joined: World, change: dict[str, Any]) -> None:
    """Another route's, of another stage, chunk or positions, or with another output: whoever embeds its hash is guilty."""
    before = replace(BEFORE, **change)
    after = replace(AFTER, previous=before.struct_hash())
    joined.send(THIEF, *proof(joined, before, after))
    assert joined.stake(OWNER)[0] == 0


def test_a_first_stage_has_no_predecessor(joined: World) -> None:
    """There is none that could come before it."""
    before = replace(BEFORE, stage=2**32 - 1)
    joined.send(THIEF, *proof(joined, before, replace(AFTER, stage=0, previous=before.struct_hash())))
    assert joined.stake(OWNER)[0] == 0


def test_a_right_link_and_a_receipt_that_was_not_embedded_prove_nothing(joined: World) -> None:
    """Whatever a stranger puts beside an honest receipt."""
    assert joined.refusal(THIEF, *proof(joined, after=AFTER)) == REFUSED
    for other in (replace(BEFORE, out_root=ROOTS[6]), replace(BEFORE, kv_root=ROOTS[6]), AFTER):
        assert joined.refusal(THIEF, *proof(joined, other, AFTER)) == REFUSED


def test_a_receipt_signed_for_another_chain_or_contract_is_no_fault(joined: World) -> None:
    """It recovers to a key that nobody has."""
    for domain in (Domain(1, joined.court.address), Domain(31337, joined.stakes.address)):
        assert joined.refusal(THIEF, *proof(joined, domain=domain))[0] == "SignerUnknown"


def test_who_committed_before_gets_three_tenths_up_to_the_limit(joined: World) -> None:
    """By a transaction of anybody's; whole units down; to be fetched by anybody's, too, and once."""
    commit(joined, FINDER)
    joined.pass_time(1)
    joined.send(THIEF, *proof(joined, finder=FINDER.address))
    fee = min(STAKE * 3 // 10, MAX_FEE)
    assert fee == MAX_FEE == joined.view(joined.stakes, "owedTo", FINDER.address)
    joined.send(THIEF, joined.stakes, "payOut", FINDER.address)
    assert joined.balance(FINDER.address) == fee
    assert joined.balance(joined.stakes.address) == STAKE - fee
    assert joined.refusal(FINDER, joined.stakes, "payOut", FINDER.address) == ("NothingOwed", (FINDER.address,))


def test_a_small_stake_gives_three_tenths(joined: World) -> None:
    """Below the limit: 499 of which 149 are the finder's."""
    joined.send(OWNER, joined.stakes, "exit", STAKE)
    joined.pass_time(UNBONDING)
    joined.send(OWNER, joined.stakes, "withdraw")
    joined.join(OWNER, SIGNER, 499)
    commit(joined, FINDER)
    joined.pass_time(1)
    joined.send(THIEF, *proof(joined, finder=FINDER.address))
    assert joined.view(joined.stakes, "owedTo", FINDER.address) == 149


def test_stolen_evidence_pays_nobody(joined: World) -> None:
    """A thief sees the proof, and has no commitment that is a second old; the finder's does not serve it."""
    commit(joined, FINDER)
    own = commitment(joined, THIEF)
    assert joined.refusal(THIEF, *proof(joined, finder=THIEF.address)) == ("CommitmentNotRipe", (own, 0))
    now = joined.chain.head().timestamp + 10
    joined.next_block_at(now)
    commit(joined, THIEF)
    assert joined.view(joined.court, "committedAt", own) == now
    joined.next_block_at(now + 1)
    joined.send(FINDER, *proof(joined, finder=FINDER.address), gas=1_000_000)
    assert joined.view(joined.stakes, "owedTo", FINDER.address) == MAX_FEE
    assert joined.refusal(THIEF, *proof(joined, finder=THIEF.address)) == ("NothingToSlash", (OWNER.address,))


def test_a_commitment_holds_for_a_day_and_is_not_made_again_within(joined: World) -> None:
    """At the last second it counts, one later it does not, and can be made anew."""
    own = commitment(joined, FINDER)
    made = joined.chain.head().timestamp + 10
    joined.next_block_at(made)
    commit(joined, FINDER)
    assert joined.refusal(FINDER, joined.court, "commit", own) == ("CommitmentKnown", (own,))
    joined.next_block_at(made + DAY + 1)
    call = proof(joined, finder=FINDER.address)
    assert joined.refusal(FINDER, *call, gas=1_000_000) == ("CommitmentNotRipe", (own, made))
    commit(joined, FINDER)
    again = joined.chain.head().timestamp
    joined.next_block_at(again + DAY)
    joined.send(FINDER, *call, gas=1_000_000)
    assert joined.view(joined.stakes, "owedTo", FINDER.address) == MAX_FEE


def test_a_commitment_pays_once(joined: World) -> None:
    """A node that comes back with the same key is slashed again, and the second fee needs a second commitment."""
    commit(joined, FINDER)
    joined.pass_time(1)
    call = proof(joined, finder=FINDER.address)
    joined.send(FINDER, *call)
    joined.join(OWNER, SIGNER, MIN_STAKE)
    assert joined.refusal(FINDER, *call) == ("CommitmentNotRipe", (commitment(joined, FINDER), 0))


def test_denouncing_oneself_costs_seven_tenths_at_least(joined: World) -> None:
    """The owner is its own finder: what comes back is the fee, never more."""
    before = joined.balance(OWNER.address)
    commit(joined, OWNER)
    joined.pass_time(1)
    joined.send(OWNER, *proof(joined, finder=OWNER.address))
    joined.send(OWNER, joined.stakes, "payOut", OWNER.address)
    assert joined.balance(OWNER.address) - before == MAX_FEE <= STAKE * 3 // 10


def test_bytes_that_are_no_signature_prove_no_link(joined: World) -> None:
    """They are refused as such, and name nobody."""
    *call, _, finder = proof(joined)
    assert joined.refusal(THIEF, *call, b"\xff" * 32, finder)[0] == "SignatureInvalid"
