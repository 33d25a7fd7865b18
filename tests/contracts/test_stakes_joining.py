"""Stakes: joining, the signer's consent, rotation, announcements, adding stake."""

import pytest

from sharding.hashing import keccak256
from tests.contracts.world import (
    DEADLINE,
    MIN_STAKE,
    PEER,
    ZERO,
    World,
    dev,
    hot,
    only_event,
)
from verification.typed_data import Domain

OWNER, OTHER, NEWCOMER, STRANGER = dev(1), dev(2), dev(6), dev(9)
SIGNER, SECOND = hot("signer"), hot("second")


def test_joining_bonds_the_stake_and_binds_the_signer(world: World) -> None:
    """The record, the binding, the money and the event agree."""
    sent = world.join(OWNER, SIGNER, 250)
    bonded, signer, exiting, exit_at, joined_at = world.stake(OWNER)
    assert (bonded, signer, exiting, exit_at) == (250, SIGNER.address, 0, 0)
    assert joined_at == world.chain.head().timestamp
    assert world.view(world.stakes, "nodeOf", SIGNER.address) == OWNER.address
    assert world.balance(world.stakes.address) == 250
    assert only_event(sent) == (
        "Joined",
        {"node": OWNER.address, "signer": SIGNER.address, "peer": PEER, "amount": 250},
    )


@pytest.mark.parametrize("amount", [0, MIN_STAKE - 1])
def test_joining_below_the_minimum_is_refused(world: World, amount: int) -> None:
    """The error names both numbers; the minimum itself is enough."""
    call = world.stakes, "join", amount, SIGNER.address, PEER, *world.consent(OWNER, SIGNER)
    assert world.refusal(OWNER, *call) == ("StakeTooLow", (amount, MIN_STAKE))
    world.join(OWNER, SIGNER, MIN_STAKE)


def test_nobody_joins_twice(world: World) -> None:
    """A joined node has addStake for that."""
    world.join(OWNER, SIGNER)
    call = world.stakes, "join", MIN_STAKE, SIGNER.address, PEER, *world.consent(OWNER, SIGNER)
    assert world.refusal(OWNER, *call) == ("AlreadyJoined", (OWNER.address,))


def test_joining_without_tokens_or_allowance_is_refused(world: World) -> None:
    """The token's refusal arrives as TransferFailed with the amount."""
    call = world.stakes, "join", MIN_STAKE, SIGNER.address, PEER, *world.consent(NEWCOMER, SIGNER)
    assert world.refusal(NEWCOMER, *call) == ("TransferFailed", (world.stakes.address, MIN_STAKE))


def test_a_signer_must_consent_to_this_owner_and_this_peer(world: World) -> None:
    """Nobody can adopt a key that has not agreed, or agreed to something else."""
    other_chain = Domain(1, world.stakes.address)
    other_contract = Domain(31337, world.channels.address)
    for words in (
        world.consent(OWNER, SECOND),
        world.consent(OTHER, SIGNER),
        world.consent(OWNER, SIGNER, keccak256(b"another peer")),
        world.consent(OWNER, SIGNER, domain=other_chain),
        world.consent(OWNER, SIGNER, domain=other_contract),
    ):
        assert world.refusal(OWNER, world.stakes, "join", MIN_STAKE, SIGNER.address, PEER, *words) == (
            "SignatureInvalid",
            (),
        )


def test_a_signer_belongs_to_its_first_node_for_ever(world: World) -> None:
    """Neither another join nor another rotation can take it, even after it was rotated out."""
    world.join(OWNER, SIGNER)
    world.send(OWNER, world.stakes, "rotate", SECOND.address, PEER, *world.consent(OWNER, SECOND))
    call = world.stakes, "join", MIN_STAKE, SIGNER.address, PEER, *world.consent(OTHER, SIGNER)
    assert world.refusal(OTHER, *call) == ("SignerTaken", (SIGNER.address, OWNER.address))
    third = hot("third")
    world.join(OTHER, third)
    rotation = world.stakes, "rotate", SECOND.address, PEER, *world.consent(OTHER, SECOND)
    assert world.refusal(OTHER, *rotation) == ("SignerTaken", (SECOND.address, OWNER.address))


def test_rotation_replaces_the_signer_and_keeps_the_old_binding(world: World) -> None:
    """Both keys lead to the node; the date of joining stays."""
    world.join(OWNER, SIGNER)
    joined_at = world.stake(OWNER)[4]
    world.pass_time(50)
    peer = keccak256(b"new peer")
    sent = world.send(OWNER, world.stakes, "rotate", SECOND.address, peer, *world.consent(OWNER, SECOND, peer))
    assert only_event(sent) == (
        "SignerRotated",
        {"node": OWNER.address, "signer": SECOND.address, "peer": peer},
    )
    assert world.stake(OWNER) == (10 * MIN_STAKE, SECOND.address, 0, 0, joined_at)
    for signer in (SIGNER, SECOND):
        assert world.view(world.stakes, "nodeOf", signer.address) == OWNER.address
    world.send(OWNER, world.stakes, "rotate", SIGNER.address, PEER, *world.consent(OWNER, SIGNER))
    assert world.stake(OWNER)[1] == SIGNER.address


def test_rotation_needs_a_node_and_the_new_keys_consent(world: World) -> None:
    """A stranger has nothing to rotate; a key cannot be taken unasked."""
    call = "rotate", SECOND.address, PEER, *world.consent(OWNER, SECOND)
    assert world.refusal(OWNER, world.stakes, *call) == ("NotJoined", (OWNER.address,))
    world.join(OWNER, SIGNER)
    forged = world.consent(OWNER, SIGNER)
    assert world.refusal(OWNER, world.stakes, "rotate", SECOND.address, PEER, *forged) == ("SignatureInvalid", ())


def test_owner_and_signer_may_announce_and_nobody_else(world: World) -> None:
    """A rotated-out signer is a stranger, too."""
    signer = dev(3)
    world.join(OWNER, signer)
    call = world.stakes, "announce", OWNER.address, PEER, 0, 2, 7, "wss://node.example:7001"
    for who in (OWNER, signer):
        assert only_event(world.send(who, *call)) == (
            "Announced",
            {
                "node": OWNER.address,
                "manifest": PEER,
                "start": 0,
                "end": 2,
                "ask": 7,
                "endpoint": "wss://node.example:7001",
            },
        )
    assert world.refusal(STRANGER, *call) == ("NotNode", (STRANGER.address,))
    world.send(OWNER, world.stakes, "rotate", SECOND.address, PEER, *world.consent(OWNER, SECOND))
    assert world.refusal(signer, *call) == ("NotNode", (signer.address,))


def test_announcements_are_bounded(world: World) -> None:
    """An empty span and an endless endpoint are refused; one block and 256 bytes are fine."""
    call = world.stakes, "announce", OWNER.address, PEER
    assert world.refusal(OWNER, *call, 0, 1, 1, "x") == ("NotJoined", (OWNER.address,))
    world.join(OWNER, SIGNER)
    assert world.refusal(OWNER, *call, 2, 2, 1, "x") == ("SpanInvalid", (2, 2))
    assert world.refusal(OWNER, *call, 3, 2, 1, "x") == ("SpanInvalid", (3, 2))
    assert world.refusal(OWNER, *call, 2, 3, 1, "x" * 257) == ("EndpointTooLong", (257, 256))
    world.send(OWNER, *call, 2**32 - 2, 2**32 - 1, 2**96 - 1, "x" * 256)


def test_adding_stake_bonds_more(world: World) -> None:
    """The amount arrives and is logged; zero and strangers are refused."""
    assert world.refusal(OWNER, world.stakes, "addStake", 1) == ("NotJoined", (OWNER.address,))
    world.join(OWNER, SIGNER, MIN_STAKE)
    assert world.refusal(OWNER, world.stakes, "addStake", 0) == ("AmountZero", ())
    sent = world.send(OWNER, world.stakes, "addStake", 1)
    assert only_event(sent) == ("Bonded", {"node": OWNER.address, "amount": 1})
    assert world.stake(OWNER)[0] == MIN_STAKE + 1 == world.balance(world.stakes.address)


def test_the_greatest_stake_fits_and_one_more_does_not(world: World) -> None:
    """2^96 - 1 is bonded; what would wrap around panics instead."""
    world.give(OWNER, 2**96)
    world.join(OWNER, SIGNER, 2**96 - 1)
    assert world.refusal(OWNER, world.stakes, "addStake", 1) == ("Panic", (0x11,))
    assert world.stake(OWNER)[0] == 2**96 - 1


def test_joining_by_permit_needs_no_approval(world: World) -> None:
    """One transaction from a fresh account; the allowance is used up by it."""
    world.give(NEWCOMER, MIN_STAKE)
    consent, permit = world.consent(NEWCOMER, SIGNER), world.permit(NEWCOMER, world.stakes, MIN_STAKE)
    world.send(NEWCOMER, world.stakes, "joinWithPermit", MIN_STAKE, SIGNER.address, PEER, *consent, *permit)
    assert world.stake(NEWCOMER)[:2] == (MIN_STAKE, SIGNER.address)
    assert world.view(world.token, "allowance", NEWCOMER.address, world.stakes.address) == 0


def test_a_permit_spent_by_somebody_else_does_not_stop_the_join(world: World) -> None:
    """Who copies the permit from the pool has only set the allowance early."""
    world.give(NEWCOMER, MIN_STAKE)
    consent, permit = world.consent(NEWCOMER, SIGNER), world.permit(NEWCOMER, world.stakes, MIN_STAKE)
    world.send(STRANGER, world.token, "permit", NEWCOMER.address, world.stakes.address, MIN_STAKE, *permit)
    world.send(NEWCOMER, world.stakes, "joinWithPermit", MIN_STAKE, SIGNER.address, PEER, *consent, *permit)
    assert world.stake(NEWCOMER)[0] == MIN_STAKE


def test_a_worthless_permit_leaves_the_join_without_money(world: World) -> None:
    """Expired, for another amount, or by another key: the transfer then fails."""
    world.give(NEWCOMER, MIN_STAKE)
    consent = world.consent(NEWCOMER, SIGNER)
    call = world.stakes, "joinWithPermit", MIN_STAKE, SIGNER.address, PEER, *consent
    for permit in (
        world.permit(NEWCOMER, world.stakes, MIN_STAKE, 1),
        world.permit(NEWCOMER, world.stakes, MIN_STAKE - 1),
        world.permit(NEWCOMER, world.channels, MIN_STAKE),
        (DEADLINE, *world.permit(OTHER, world.stakes, MIN_STAKE)[1:]),
    ):
        assert world.refusal(NEWCOMER, *call, *permit) == ("TransferFailed", (world.stakes.address, MIN_STAKE))


def test_the_zero_address_cannot_become_a_signer(world: World) -> None:
    """What recovers to nobody is no signature, even of nobody."""
    call = world.stakes, "join", MIN_STAKE, ZERO, PEER
    assert world.refusal(OWNER, *call, bytes(32), bytes(32)) == ("SignatureInvalid", ())


def test_the_consent_digest_is_the_one_that_python_signs(world: World) -> None:
    """Who signs with a wallet can ask the contract what to sign."""
    digest = world.view(world.stakes, "consentDigest", OWNER.address, PEER)
    assert b"".join(world.consent(OWNER, SIGNER)) == SIGNER.sign_digest(digest)
