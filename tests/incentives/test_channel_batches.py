"""Several vouchers, several pots, and the payees' farewell: one transaction each."""

from dataclasses import replace

import pytest

from incentives.channels import ChannelState, PotShare
from incentives.errors import InvalidSignature, PayeesError, Reverted
from incentives.payees import Payee, payees_for, payees_hash
from incentives.signing import LocalSigner
from incentives.vouchers import ChannelKey, Release, SignedVoucher, sign_voucher
from tests.incentives.suite import OWNER, PAYER, SALT, STRANGER, WORK, Suite, channel_key, two_payees

KEYS = (channel_key(), channel_key(WORK))
ALONE = payees_for([(OWNER.address, 1)])


def voucher(suite: Suite, key: ChannelKey, cumulative: int) -> SignedVoucher:
    """PAYER's promise."""
    return sign_voucher(PAYER, suite.channels.domain, key, cumulative, WORK)


def state(suite: Suite, key: ChannelKey) -> ChannelState:
    """A channel on the chain."""
    return suite.channels.state(key.id(suite.channels.domain))


def test_many_vouchers_are_settled_in_one_transaction(suite: Suite) -> None:
    """The events say which; a voucher that moves nothing any more is left out."""
    for key in KEYS:
        suite.channels.deposit_and_open(PAYER, key, 1_000)
    suite.channels.settle(STRANGER, voucher(suite, KEYS[0], 100))
    nonce = suite.chain.nonce(STRANGER.address)
    rows = [voucher(suite, KEYS[0], 100), voucher(suite, KEYS[1], 200)]
    sent = suite.channels.settle_many(STRANGER, rows)
    assert suite.chain.nonce(STRANGER.address) == nonce + 1
    assert [event.args["channel"] for event in sent.logs] == [rows[1].voucher.channel]
    assert [state(suite, key).settled for key in KEYS] == [100, 200]
    with pytest.raises(Reverted, match="NothingInBatch"):
        suite.channels.settle_many(STRANGER, rows)


def test_a_bad_signature_in_a_batch_is_refused(suite: Suite) -> None:
    """One that is none before the chain is asked, a forged one by the contract: nothing is settled."""
    suite.channels.deposit_and_open(PAYER, KEYS[0], 1_000)
    good = voucher(suite, KEYS[0], 1)
    with pytest.raises(InvalidSignature):
        suite.channels.settle_many(STRANGER, [good, replace(good, signature=b"")])
    forged = replace(voucher(suite, KEYS[0], 2), signature=STRANGER.sign_digest(WORK))
    with pytest.raises(Reverted, match="SignatureInvalid"):
        suite.channels.settle_many(STRANGER, [good, forged])
    assert state(suite, KEYS[0]).settled == 0


def test_one_accounts_pots_are_collected_in_one_transfer(suite: Suite) -> None:
    """All that was collectable, and after that nothing is."""
    alone = ChannelKey(PAYER.address, PAYER.address, payees_hash(ALONE), SALT)
    for key, amount in ((KEYS[0], 400), (alone, 50)):
        suite.channels.deposit_and_open(PAYER, key, amount)
        suite.channels.settle(STRANGER, voucher(suite, key, amount))
    suite.ripen()
    before = suite.token.balance_of(OWNER.address)
    shares = [PotShare(two_payees(), (0,)), PotShare(ALONE, (0,))]
    sent = suite.channels.collect_many(PAYER, OWNER.address, shares)
    assert [event.args["amount"] for event in sent.logs] == [300, 50]
    assert suite.token.balance_of(OWNER.address) == before + 350
    assert [suite.channels.collectable(share.payees, 0) for share in shares] == [0, 0]
    with pytest.raises(Reverted, match="NothingInBatch"):
        suite.channels.collect_many(PAYER, OWNER.address, shares)


def test_a_collection_for_somebody_else_or_of_unsound_payees_is_refused(suite: Suite) -> None:
    """The second before the chain is asked."""
    with pytest.raises(Reverted, match="PayeeDiffers"):
        suite.channels.collect_many(PAYER, OWNER.address, [PotShare(two_payees(), (1,))])
    with pytest.raises(PayeesError):
        suite.channels.collect_many(PAYER, OWNER.address, [PotShare((Payee(OWNER.address, 9_999),), (0,))])


def consents(suite: Suite, release: Release, *signers: LocalSigner) -> list[bytes]:
    """Signatures over a release."""
    return [signer.sign_digest(release.digest(suite.channels.domain)) for signer in signers]


def test_the_payees_let_the_payer_have_the_rest_at_once(suite: Suite) -> None:
    """The channel ends; what is settled stays in the pot."""
    suite.channels.deposit_and_open(PAYER, KEYS[0], 1_000)
    suite.channels.settle(STRANGER, voucher(suite, KEYS[0], 400))
    release = Release(KEYS[0].id(suite.channels.domain), 400, suite.chain.head().timestamp + 60)
    given = consents(suite, release, OWNER, STRANGER)
    suite.channels.release(PAYER, KEYS[0], two_payees(), release, given)
    assert state(suite, KEYS[0]).reclaimed
    assert suite.channels.free_of(PAYER.address) == 600
    suite.ripen()
    assert suite.channels.collectable(two_payees(), 0) == 300
    with pytest.raises(Reverted, match="ChannelClosed"):
        suite.channels.release(PAYER, KEYS[0], two_payees(), release, given)


def test_a_release_without_every_payees_consent_is_refused(suite: Suite) -> None:
    """A missing one, one of the wrong payee, one too short to be a signature, one for less than was settled since."""
    suite.channels.deposit_and_open(PAYER, KEYS[0], 1_000)
    release = Release(KEYS[0].id(suite.channels.domain), 0, suite.chain.head().timestamp + 60)
    for given, reason in (((OWNER,), "ConsentsMissing"), ((STRANGER, OWNER), "SignatureInvalid")):
        with pytest.raises(Reverted, match=reason):
            suite.channels.release(PAYER, KEYS[0], two_payees(), release, consents(suite, release, *given))
    with pytest.raises(InvalidSignature):
        suite.channels.release(PAYER, KEYS[0], two_payees(), release, [b"", b""])
    suite.channels.settle(STRANGER, voucher(suite, KEYS[0], 1))
    with pytest.raises(Reverted, match=r"ReleaseStale\(1, 0\)"):
        both = consents(suite, release, OWNER, STRANGER)
        suite.channels.release(PAYER, KEYS[0], two_payees(), release, both)
    assert not state(suite, KEYS[0]).reclaimed
