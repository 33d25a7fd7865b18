"""Signatures have one form, and keys do not leak."""

import pickle

import pytest
from eth_account import Account
from hypothesis import given
from hypothesis import strategies as st

from incentives.errors import DevKeyRefused, InvalidSignature, KeyFileError
from incentives.signing import (
    GROUP_ORDER,
    LocalSigner,
    check_signer,
    dev_addresses,
    pack_signature,
    recover,
    split_signature,
)
from sharding.hashing import keccak256

SIGNER = LocalSigner(keccak256(b"a key for tests"))
DIGEST = keccak256(b"a statement")
HALF = GROUP_ORDER // 2


def with_s(s: int, r: bytes = SIGNER.sign_digest(DIGEST)[:32]) -> bytes:
    """The signature with another s."""
    return pack_signature(r, s.to_bytes(32, "big"), 0)


@given(st.binary(min_size=32, max_size=32), st.integers(1, GROUP_ORDER - 1))
def test_whoever_signed_is_recovered(digest: bytes, secret: int) -> None:
    """For any key and any digest."""
    signer = LocalSigner(secret.to_bytes(32, "big"))
    assert recover(digest, signer.sign_digest(digest)) == signer.address


@given(st.binary(min_size=32, max_size=32))
def test_signatures_are_low_s_and_64_bytes(digest: bytes) -> None:
    """The only form that the contracts take."""
    signature = SIGNER.sign_digest(digest)
    assert len(signature) == 64
    assert 0 < int.from_bytes(signature[32:], "big") % 2**255 <= HALF


def test_the_compact_form_agrees_with_another_implementation() -> None:
    """eth-account's r, s and v, packed by the rule of EIP-2098."""
    theirs = Account.unsafe_sign_hash(DIGEST, keccak256(b"a key for tests"))
    packed = pack_signature(theirs.r.to_bytes(32, "big"), theirs.s.to_bytes(32, "big"), theirs.v - 27)
    assert SIGNER.sign_digest(DIGEST) == packed


def recovered(signature: bytes) -> str:
    """Whom a signature over DIGEST names; nobody if it is refused."""
    try:
        return recover(DIGEST, signature)
    except InvalidSignature:
        return "nobody"


@given(st.integers(0, 511))
def test_a_flipped_bit_never_names_the_signer(bit: int) -> None:
    """It names somebody else or nobody."""
    signature = bytearray(SIGNER.sign_digest(DIGEST))
    signature[bit // 8] ^= 1 << bit % 8
    assert recovered(bytes(signature)) != SIGNER.address


@pytest.mark.parametrize("length", [0, 1, 63, 65, 128])
def test_other_lengths_are_refused(length: int) -> None:
    """The empty signature and the 65-byte form among them."""
    with pytest.raises(InvalidSignature, match="64"):
        recover(DIGEST, bytes(length))
    with pytest.raises(InvalidSignature, match="64"):
        split_signature(bytes(length))


def test_the_mirror_image_of_a_signature_names_somebody_else_or_nobody() -> None:
    """(r, n - s) passes in plain ECDSA; the compact form has no room for it."""
    signature = SIGNER.sign_digest(DIGEST)
    mirrored_s = GROUP_ORDER - int.from_bytes(signature[32:], "big") % 2**255
    for packed in (mirrored_s, mirrored_s ^ 2**255):
        assert recovered(signature[:32] + packed.to_bytes(32, "big")) != SIGNER.address


def test_half_of_the_order_is_the_last_s() -> None:
    """It names somebody for this r, as the first one does; one more is refused."""
    assert recovered(with_s(HALF)) != "nobody"
    assert recovered(with_s(1)) != "nobody"
    with pytest.raises(InvalidSignature, match="too high"):
        recover(DIGEST, with_s(HALF + 1))


@pytest.mark.parametrize("r", [0, GROUP_ORDER, 2**256 - 1])
def test_r_outside_the_group_is_refused(r: int) -> None:
    """Zero, the order itself, and past it."""
    with pytest.raises(InvalidSignature):
        recover(DIGEST, with_s(1, r.to_bytes(32, "big")))


def test_a_zero_s_is_refused() -> None:
    """Also with the parity bit set, where the word is not zero."""
    for parity in (0, 1):
        with pytest.raises(InvalidSignature):
            recover(DIGEST, pack_signature(SIGNER.sign_digest(DIGEST)[:32], bytes(32), parity))


@pytest.mark.parametrize("length", [0, 31, 33])
def test_only_digests_of_32_bytes_are_signed_or_recovered(length: int) -> None:
    """A text in place of its hash is a mistake."""
    with pytest.raises(InvalidSignature):
        SIGNER.sign_digest(bytes(length))
    with pytest.raises(InvalidSignature):
        recover(bytes(length), SIGNER.sign_digest(DIGEST))


def test_check_signer_accepts_any_spelling_of_the_address_and_no_other_address() -> None:
    """Both addresses stand in the error."""
    signature = SIGNER.sign_digest(DIGEST)
    check_signer(DIGEST, signature, SIGNER.address.lower())
    with pytest.raises(InvalidSignature, match=SIGNER.address):
        check_signer(DIGEST, signature, dev_addresses()[0])


def test_the_key_is_in_no_text_and_in_no_pickle() -> None:
    """A signer that is logged or sent to another process gives nothing away."""
    secret = keccak256(b"a key for tests")
    for text in (repr(SIGNER), str(SIGNER), f"{SIGNER}"):
        assert secret.hex() not in text
        assert SIGNER.address in text
    with pytest.raises(TypeError):
        pickle.dumps(SIGNER)


@pytest.mark.parametrize("secret", [bytes(32), GROUP_ORDER.to_bytes(32, "big"), b"\1" * 31, b"\1" * 33, b""])
def test_bytes_that_are_no_key_are_refused(secret: bytes) -> None:
    """Zero, the group's order, other lengths."""
    with pytest.raises(KeyFileError) as caught:
        LocalSigner(secret)
    assert secret.hex() not in str(caught.value) or not secret


def test_the_development_accounts_are_the_usual_ten() -> None:
    """The first and the last that other local chains fund."""
    accounts = dev_addresses()
    assert len(set(accounts)) == 10
    assert accounts[0] == "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"
    assert accounts[9] == "0xa0Ee7A142d267C1f36714E4a8F75612F20a79720"
    assert LocalSigner.dev_account(3, 31337).address == accounts[3]


@pytest.mark.parametrize("chain_id", [1, 0, 31336, 31338, 11155111])
def test_development_keys_are_refused_on_every_other_chain(chain_id: int) -> None:
    """Everybody knows them."""
    with pytest.raises(DevKeyRefused, match="31337") as caught:
        LocalSigner.dev_account(0, chain_id)
    assert isinstance(caught.value, KeyFileError)


@pytest.mark.parametrize("index", [-1, 10])
def test_there_is_no_eleventh_development_account(index: int) -> None:
    """Nor one before the first."""
    with pytest.raises(DevKeyRefused):
        LocalSigner.dev_account(index, 31337)
