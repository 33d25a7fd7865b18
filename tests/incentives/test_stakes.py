"""A node's life on the chain, and how others read it."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from incentives.errors import InvalidSignature, Reverted
from incentives.stakes import Announcement, Identity, StakeRecord, sign_consent
from incentives.token import PermitUnsupported, Token
from incentives.units import ONE
from sharding.hashing import keccak256
from tests.incentives.suite import NODE, OWNER, PARAMS, PAYER, PEER, STRANGER, Suite
from verification.addresses import to_address
from verification.errors import MalformedRecord
from verification.typed_data import Domain

MANIFEST = keccak256(b"manifest")


def test_a_node_joins_with_its_signers_consent(suite: Suite) -> None:
    """One transaction, approved by signature."""
    nonce = suite.chain.nonce(OWNER.address)
    suite.join()
    assert suite.chain.nonce(OWNER.address) == nonce + 1
    joined_at = suite.chain.head().timestamp
    assert suite.stakes.stake_of(OWNER.address) == StakeRecord(100 * ONE, NODE.address, 0, 0, joined_at)
    assert suite.stakes.node_of(NODE.address) == OWNER.address
    assert suite.token.balance_of(OWNER.address) == 900 * ONE


def test_joining_without_permits_approves_first(suite: Suite) -> None:
    """The same result in two transactions."""
    consent = sign_consent(NODE, suite.stakes.domain, OWNER.address, PEER)
    suite.stakes.join(OWNER, consent, PARAMS.min_stake)
    assert suite.stakes.stake_of(OWNER.address).bonded == PARAMS.min_stake


def test_a_token_without_permits_is_approved_instead(suite: Suite, monkeypatch: pytest.MonkeyPatch) -> None:
    """join_with_permit falls back."""

    def none(token: Token, *_: object) -> None:
        raise PermitUnsupported(token.address)

    monkeypatch.setattr(Token, "sign_permit", none)
    suite.join()
    assert suite.stakes.stake_of(OWNER.address).bonded == PARAMS.min_stake


def test_strangers_have_no_stake_and_no_node(suite: Suite) -> None:
    """Zeros and None, not an error."""
    nobody = to_address(bytes(20))
    assert suite.stakes.stake_of(STRANGER.address) == StakeRecord(0, nobody, 0, 0, 0)
    assert suite.stakes.node_of(STRANGER.address) is None
    assert suite.stakes.announcements() == []
    assert suite.stakes.identities() == {}


def test_a_consent_for_somebody_else_is_found_out_before_anything_is_sent(suite: Suite) -> None:
    """Another owner, another peer, another signer."""
    domain, nonce = suite.stakes.domain, suite.chain.nonce(OWNER.address)
    good = sign_consent(NODE, domain, OWNER.address, PEER)
    for bad in (
        sign_consent(NODE, domain, PAYER.address, PEER),
        replace(good, peer=bytes(32)),
        replace(good, signer=PAYER.address),
        replace(good, signature=b""),
        sign_consent(NODE, suite.channels.domain, OWNER.address, PEER),
    ):
        for act in (
            lambda bad=bad: suite.stakes.join(OWNER, bad, PARAMS.min_stake),
            lambda bad=bad: suite.stakes.join_with_permit(OWNER, bad, PARAMS.min_stake),
            lambda bad=bad: suite.stakes.rotate(OWNER, bad),
        ):
            with pytest.raises(InvalidSignature):
                act()
    assert suite.chain.nonce(OWNER.address) == nonce


def test_a_peer_is_32_bytes() -> None:
    """One less and one more cannot be consented to."""
    for length in (0, 31, 33):
        with pytest.raises(MalformedRecord):
            sign_consent(NODE, Domain(31337, OWNER.address), OWNER.address, bytes(length))


def test_the_minimum_joins_and_one_less_does_not(suite: Suite) -> None:
    """With both numbers in the reason."""
    with pytest.raises(Reverted) as caught:
        suite.join(PARAMS.min_stake - 1)
    assert (caught.value.name, caught.value.arguments) == ("StakeTooLow", (PARAMS.min_stake - 1, PARAMS.min_stake))
    assert suite.stakes.minimum_stake == PARAMS.min_stake
    suite.join(suite.stakes.minimum_stake)


def test_leaving_takes_its_time(suite: Suite) -> None:
    """Exit, cancel, exit, wait, withdraw."""
    suite.join(150 * ONE)
    suite.stakes.exit(OWNER, 50 * ONE)
    record = suite.stakes.stake_of(OWNER.address)
    assert (record.bonded, record.exiting) == (100 * ONE, 50 * ONE)
    assert record.exit_at == suite.chain.head().timestamp + PARAMS.unbonding_s
    suite.stakes.cancel_exit(OWNER)
    assert suite.stakes.stake_of(OWNER.address).bonded == 150 * ONE
    suite.stakes.exit(OWNER, 150 * ONE)
    with pytest.raises(Reverted, match="ExitNotReady"):
        suite.stakes.withdraw(OWNER)
    suite.wait(PARAMS.unbonding_s)
    suite.stakes.withdraw(OWNER)
    assert suite.token.balance_of(OWNER.address) == 1_000 * ONE


def test_stake_is_added(suite: Suite) -> None:
    """Approved where needed."""
    suite.join()
    suite.stakes.add_stake(OWNER, 5)
    assert suite.stakes.stake_of(OWNER.address).bonded == 100 * ONE + 5


def test_every_change_of_a_stake_is_told_with_its_block(suite: Suite) -> None:
    """Joining, adding, leaving, staying after all, and taking out; an announcement or a new key changes none."""
    seen = []

    def now(act: Callable[[], object]) -> None:
        act()
        block = suite.chain.head().number
        seen.append(suite.stakes.stakes_changed(block) == {OWNER.address: block})

    for act in (
        suite.join,
        lambda: suite.stakes.add_stake(OWNER, 5),
        lambda: suite.stakes.exit(OWNER, 5),
        lambda: suite.stakes.cancel_exit(OWNER),
        lambda: suite.stakes.exit(OWNER, 5),
        lambda: (suite.wait(PARAMS.unbonding_s), suite.stakes.withdraw(OWNER)),
        lambda: suite.stakes.announce(NODE, OWNER.address, PEER, 0, 2, 5, "wss://a"),
    ):
        now(act)
    assert seen == [True] * 6 + [False]
    changed = suite.stakes.stakes_changed(0)
    assert suite.stakes.stakes_changed(changed[OWNER.address]) == changed
    assert suite.stakes.stakes_changed(changed[OWNER.address] + 1) == {}


def test_the_newest_announcement_of_each_node_counts(suite: Suite) -> None:
    """By the owner or the signer; nobody else's."""
    suite.join()
    first = suite.stakes.announce(OWNER, OWNER.address, MANIFEST, 0, 2, 5, "wss://a:1")
    second = suite.stakes.announce(NODE, OWNER.address, MANIFEST, 2, 4, 7, "wss://b:2")
    wanted = Announcement(OWNER.address, MANIFEST, 2, 4, 7, "wss://b:2", second.block, 0)
    assert suite.stakes.announcements() == [wanted]
    assert suite.stakes.announcements(second.block + 1) == []
    assert first.block < second.block
    with pytest.raises(Reverted, match="NotNode"):
        suite.stakes.announce(STRANGER, OWNER.address, MANIFEST, 0, 2, 5, "wss://c:3")


def test_identities_follow_a_rotation_and_old_signers_stay_bound(suite: Suite) -> None:
    """What the old key signed is still the node's."""
    suite.join()
    assert suite.stakes.identities() == {OWNER.address: Identity(OWNER.address, NODE.address, PEER)}
    other_peer = keccak256(b"other peer")
    suite.stakes.rotate(OWNER, sign_consent(STRANGER, suite.stakes.domain, OWNER.address, other_peer))
    assert suite.stakes.identities() == {OWNER.address: Identity(OWNER.address, STRANGER.address, other_peer)}
    assert suite.stakes.node_of(NODE.address) == OWNER.address
    assert suite.stakes.node_of(STRANGER.address) == OWNER.address
