"""A receiver accepts exactly the voucher it is owed."""

from dataclasses import replace

import pytest

from incentives.errors import BeyondLock, InvalidSignature, VoucherRejected, VoucherStale, WrongChannel, WrongWork
from incentives.signing import LocalSigner
from incentives.vouchers import ChannelKey, Release, SignedVoucher, Voucher, check_voucher, sign_voucher
from sharding.hashing import keccak256
from verification.addresses import to_address
from verification.errors import MalformedRecord
from verification.typed_data import Domain

PAYER, OTHER = (LocalSigner(keccak256(name)) for name in (b"payer", b"other"))
DOMAIN = Domain(31337, to_address(b"\1" * 20))
KEY = ChannelKey(PAYER.address, PAYER.address, keccak256(b"payees"), bytes(32))
CHANNEL = KEY.id(DOMAIN)
WORK = keccak256(b"work")
LOCKED, PREVIOUS = 1_000, 100


def check(signed: SignedVoucher, locked: int = LOCKED, previous: int = PREVIOUS) -> None:
    """Check against the channel of this file."""
    check_voucher(signed, DOMAIN, channel=CHANNEL, locked=locked, previous=previous, work=WORK)


def signed(cumulative: int = 500, work: bytes = WORK, key: ChannelKey = KEY, domain: Domain = DOMAIN) -> SignedVoucher:
    """A voucher by PAYER."""
    return sign_voucher(PAYER, domain, key, cumulative, work)


def test_a_voucher_for_the_work_done_is_accepted() -> None:
    """From one unit more than before up to the whole lock."""
    for cumulative in (PREVIOUS + 1, 500, LOCKED):
        check(signed(cumulative))


@pytest.mark.parametrize("cumulative", [0, PREVIOUS - 1, PREVIOUS])
def test_a_voucher_that_pays_nothing_new_is_refused(cumulative: int) -> None:
    """The previous amount again among them."""
    with pytest.raises(VoucherStale) as caught:
        check(signed(cumulative))
    assert (caught.value.previous, caught.value.cumulative) == (PREVIOUS, cumulative)


@pytest.mark.parametrize("cumulative", [LOCKED + 1, 2**96 - 1])
def test_a_voucher_beyond_the_lock_is_refused(cumulative: int) -> None:
    """It could not be settled."""
    with pytest.raises(BeyondLock) as caught:
        check(signed(cumulative))
    assert (caught.value.locked, caught.value.cumulative) == (LOCKED, cumulative)


@pytest.mark.parametrize(
    "key",
    [
        replace(KEY, payees=keccak256(b"other payees")),
        replace(KEY, salt=b"\1" * 32),
        replace(KEY, payer=OTHER.address),
        replace(KEY, signer=OTHER.address),
    ],
    ids=["payees", "salt", "payer", "signer"],
)
def test_a_voucher_for_another_channel_is_refused(key: ChannelKey) -> None:
    """Each field of the key makes another channel."""
    with pytest.raises(WrongChannel) as caught:
        check(signed(key=key))
    assert (caught.value.expected, caught.value.actual) == (CHANNEL, key.id(DOMAIN))


@pytest.mark.parametrize("domain", [replace(DOMAIN, chain_id=1), replace(DOMAIN, contract=OTHER.address)])
def test_a_voucher_for_another_chain_or_contract_is_refused(domain: Domain) -> None:
    """The same key is another channel there; putting our channel's id into it makes the signature useless."""
    foreign = signed(domain=domain)
    with pytest.raises(WrongChannel):
        check(foreign)
    disguised = Voucher(CHANNEL, 500, WORK)
    with pytest.raises(InvalidSignature):
        check(SignedVoucher(KEY, disguised, PAYER.sign_digest(disguised.digest(domain))))


def test_the_right_key_with_a_voucher_for_another_channel_is_refused() -> None:
    """And the other way round."""
    other = signed(key=replace(KEY, salt=b"\1" * 32))
    for mixed in (replace(other, key=KEY), replace(signed(), key=other.key)):
        with pytest.raises(WrongChannel):
            check(mixed)


def test_a_voucher_for_other_work_is_refused() -> None:
    """Paying for less would leave the rest unpaid and the receipt disputed."""
    with pytest.raises(WrongWork) as caught:
        check(signed(work=keccak256(b"other work")))
    assert (caught.value.expected, caught.value.actual) == (WORK, keccak256(b"other work"))


@pytest.mark.parametrize(
    "signature", [b"", bytes(64), b"\xff" * 64, bytes(65), OTHER.sign_digest(signed().voucher.digest(DOMAIN))]
)
def test_a_voucher_that_the_channels_signer_did_not_sign_is_refused(signature: bytes) -> None:
    """Empty, zero, overlong, somebody else's."""
    with pytest.raises(InvalidSignature):
        check(replace(signed(), signature=signature))


def test_raising_the_amount_of_a_signed_voucher_breaks_its_signature() -> None:
    """The amount is signed."""
    raised = replace(signed(500), voucher=replace(signed(500).voucher, cumulative=501))
    with pytest.raises(InvalidSignature):
        check(raised)


def test_every_refusal_of_a_well_signed_voucher_is_a_voucher_rejected() -> None:
    """So that a node can treat them alike."""
    for leaf in (WrongChannel, VoucherStale, BeyondLock, WrongWork):
        assert issubclass(leaf, VoucherRejected)


@pytest.mark.parametrize("cumulative", [-1, 2**96])
def test_an_amount_of_more_than_96_bits_cannot_be_signed(cumulative: int) -> None:
    """The contract has no room for it."""
    with pytest.raises(MalformedRecord):
        signed(cumulative)


@pytest.mark.parametrize("length", [0, 31, 33])
def test_a_key_or_voucher_with_words_of_another_length_is_refused(length: int) -> None:
    """Whichever field it is."""
    for key in (replace(KEY, payees=bytes(length)), replace(KEY, salt=bytes(length))):
        with pytest.raises(MalformedRecord):
            key.id(DOMAIN)
    with pytest.raises(MalformedRecord):
        Voucher(CHANNEL, 1, bytes(length)).digest(DOMAIN)


def test_a_release_has_its_own_digest_for_each_number_in_it() -> None:
    """Channel, amount, time, chain, contract; and none of them is a voucher's."""
    release = Release(CHANNEL, 30, 2**40 - 1)
    others = [replace(release, channel=bytes(32)), replace(release, settled=31), replace(release, deadline=0)]
    digests = {each.digest(DOMAIN) for each in (release, *others)}
    digests |= {release.digest(replace(DOMAIN, chain_id=1)), release.digest(replace(DOMAIN, contract=OTHER.address))}
    digests.add(Voucher(CHANNEL, 30, bytes(32)).digest(DOMAIN))
    assert len(digests) == 7


@pytest.mark.parametrize(
    "release",
    [Release(CHANNEL, 2**96, 0), Release(CHANNEL, -1, 0), Release(CHANNEL, 0, 2**40), Release(CHANNEL, 0, -1),
     Release(bytes(31), 0, 0), Release(bytes(33), 0, 0)],
)  # fmt: skip
def test_a_release_that_no_contract_could_read_cannot_be_signed(release: Release) -> None:
    """An amount of more than 96 bits, a time of more than 40, a channel of another length."""
    with pytest.raises(MalformedRecord):
        release.digest(DOMAIN)
