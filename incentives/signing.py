"""The one place that touches secp256k1 private keys: signing, recovering, keystores, key files.

Signatures are 64 bytes, EIP-2098 compact: r, then s with the parity of the point in its top bit, s in the lower half
of the group's order. Everything else is refused, so that nobody can turn one signature into a second one.
Source: https://eips.ethereum.org/EIPS/eip-2098
"""

import json
from collections.abc import Mapping
from functools import lru_cache
from os import PathLike
from typing import Any, Protocol, Self

from coincurve import PrivateKey, PublicKey
from eth_account import Account
from eth_account.hdaccount import key_from_seed, seed_from_mnemonic

from incentives.errors import DevKeyRefused, InvalidSignature, KeyFileError
from incentives.secret_files import create_secret, read_secret
from sharding.hashing import keccak256
from verification.addresses import Address, to_address

SIGNATURE_BYTES = 64
DIGEST_BYTES = 32
GROUP_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
DEV_CHAIN_ID = 31337
DEV_ACCOUNTS = 10
MAX_SCRYPT_N = 2**18
MAX_SCRYPT_BYTES = 256 * 1024 * 1024
MAX_PBKDF2_ROUNDS = 10_000_000
_PARITY_BIT = 1 << 255
_DEV_MNEMONIC = "test test test test test test test test test test test junk"


class Signer(Protocol):
    """Signs for one address; where the key lives is the implementation's secret."""

    @property
    def address(self) -> Address: ...

    def sign_digest(self, digest: bytes) -> bytes:
        """Sign 32 bytes as they are; 64 bytes, EIP-2098."""
        ...

    def sign_transaction(self, transaction: Mapping[str, Any]) -> bytes:
        """Sign and serialise a complete EIP-1559 transaction."""
        ...


class LocalSigner:
    """A Signer whose private key is in this process's memory."""

    __slots__ = ("_key", "address")

    def __init__(self, secret: bytes) -> None:
        if len(secret) != 32 or not 0 < int.from_bytes(secret, "big") < GROUP_ORDER:
            raise KeyFileError("private key", "not a secp256k1 key of 32 bytes")
        self._key = PrivateKey(secret)
        self.address = _address_of(self._key.public_key)

    def __repr__(self) -> str:
        return f"LocalSigner({self.address})"

    def __reduce__(self) -> str:
        raise TypeError("a signer is not copied or pickled: its key stays in this process")

    def sign_digest(self, digest: bytes) -> bytes:
        """Sign 32 bytes as they are; deterministic (RFC 6979), low-s."""
        if len(digest) != DIGEST_BYTES:
            raise InvalidSignature(f"only digests of {DIGEST_BYTES} bytes are signed, got {len(digest)}")
        signature = self._key.sign_recoverable(digest, hasher=None)
        return pack_signature(signature[:32], signature[32:64], signature[64])

    def sign_transaction(self, transaction: Mapping[str, Any]) -> bytes:
        """Sign and serialise a complete EIP-1559 transaction."""
        return bytes(Account.sign_transaction(dict(transaction), self._key.secret).raw_transaction)

    @classmethod
    def from_keystore(cls, path: str | PathLike[str], password: str) -> Self:
        """Open a keystore V3 file. Raises: KeyFileError, also for a wrong password or hostile work factors."""
        keystore = _parse_keystore(str(path), read_secret(path))
        try:
            secret = Account.decrypt(keystore, password)
        except (ValueError, KeyError, TypeError, AttributeError, NotImplementedError) as error:
            raise KeyFileError(str(path), "wrong password, or not a keystore of version 3") from error
        return cls(bytes(secret))

    @classmethod
    def create_keystore(cls, path: str | PathLike[str], password: str, *, scrypt_n: int = MAX_SCRYPT_N) -> Self:
        """Make a new key and write it as an encrypted keystore V3 file, mode 0600."""
        if not password:
            raise KeyFileError(str(path), "the password is empty")
        if scrypt_n > MAX_SCRYPT_N:
            raise KeyFileError(str(path), f"scrypt n of {scrypt_n} is over the limit of {MAX_SCRYPT_N}")
        key = PrivateKey()
        keystore = Account.encrypt(key.secret, password, kdf="scrypt", iterations=scrypt_n)
        create_secret(path, json.dumps(keystore, indent=2).encode())
        return cls(key.secret)

    @classmethod
    def from_key_file(cls, path: str | PathLike[str]) -> Self:
        """Read an unencrypted key file: 64 hexadecimal digits. Raises: KeyFileError."""
        text = read_secret(path).strip().removeprefix(b"0x")
        if len(text) != 64:
            raise KeyFileError(str(path), "expected 64 hexadecimal digits")
        try:
            secret = bytes.fromhex(text.decode("ascii"))
        except ValueError:
            raise KeyFileError(str(path), "expected 64 hexadecimal digits") from None  # the cause would show the key
        return cls(secret)

    @classmethod
    def create_key_file(cls, path: str | PathLike[str]) -> Self:
        """Make a new key and write it unencrypted, mode 0600: for the hot key of a node process."""
        key = PrivateKey()
        create_secret(path, key.secret.hex().encode() + b"\n")
        return cls(key.secret)

    @classmethod
    def dev_account(cls, index: int, chain_id: int) -> Self:
        """One of the ten accounts that every local chain funds and everybody knows. Raises: DevKeyRefused."""
        if chain_id != DEV_CHAIN_ID:
            raise DevKeyRefused(index, f"everybody knows its key; it is for chain {DEV_CHAIN_ID} only, not {chain_id}")
        if not 0 <= index < DEV_ACCOUNTS:
            raise DevKeyRefused(index, f"choose 0 to {DEV_ACCOUNTS - 1}")
        return cls(_dev_secret(index))


def dev_addresses() -> tuple[Address, ...]:
    """The ten addresses that every local chain funds."""
    return tuple(LocalSigner(_dev_secret(index)).address for index in range(DEV_ACCOUNTS))


@lru_cache(maxsize=1)
def _dev_seed() -> bytes:
    return seed_from_mnemonic(_DEV_MNEMONIC, "")


@lru_cache(maxsize=DEV_ACCOUNTS)
def _dev_secret(index: int) -> bytes:
    return key_from_seed(_dev_seed(), f"m/44'/60'/0'/0/{index}")


def pack_signature(r: bytes, s: bytes, parity: int) -> bytes:
    """Join r, s (32 bytes each) and the parity (0 or 1) of the point into 64 bytes."""
    return r + (int.from_bytes(s, "big") | parity * _PARITY_BIT).to_bytes(32, "big")


def split_signature(signature: bytes) -> tuple[bytes, bytes]:
    """Return the words (r, vs) that the contracts take. Raises: InvalidSignature for another length."""
    if len(signature) != SIGNATURE_BYTES:
        raise InvalidSignature(f"expected {SIGNATURE_BYTES} bytes, got {len(signature)}")
    return signature[:32], signature[32:]


def recover(digest: bytes, signature: bytes) -> Address:
    """Return the address whose key signed. Raises: InvalidSignature for anything but a low-s signature of 64 bytes."""
    if len(digest) != DIGEST_BYTES:
        raise InvalidSignature(f"the digest has {len(digest)} bytes, expected {DIGEST_BYTES}")
    r, vs = split_signature(signature)
    packed = int.from_bytes(vs, "big")
    s = packed & (_PARITY_BIT - 1)
    if not 0 < s <= GROUP_ORDER // 2 or not 0 < int.from_bytes(r, "big") < GROUP_ORDER:
        raise InvalidSignature("r or s is zero or too high")
    recoverable = r + s.to_bytes(32, "big") + bytes([packed >> 255])
    try:
        return _address_of(PublicKey.from_signature_and_message(recoverable, digest, hasher=None))
    except Exception as error:  # coincurve raises bare Exception here
        raise InvalidSignature("no key can have made it") from error


def check_signer(digest: bytes, signature: bytes, expected: str) -> None:
    """Raises: InvalidSignature unless `expected` signed the digest."""
    actual = recover(digest, signature)
    if actual != to_address(expected):
        raise InvalidSignature(f"signed by {actual}, expected {expected}")


def _address_of(key: PublicKey) -> Address:
    return to_address(keccak256(key.format(compressed=False)[1:])[-20:])


def _parse_keystore(path: str, content: bytes) -> dict[str, Any]:
    try:
        keystore = json.loads(content)
    except ValueError as error:
        raise KeyFileError(path, "not JSON, so not a keystore") from error
    if not isinstance(keystore, dict):
        raise KeyFileError(path, "not a keystore of version 3")
    if keystore.get("version") != 3:
        raise KeyFileError(path, "not a keystore of version 3")
    crypto = keystore.get("crypto", keystore.get("Crypto"))
    if not isinstance(crypto, dict) or not isinstance(crypto.get("kdfparams"), dict):
        raise KeyFileError(path, "not a keystore of version 3")
    _check_work_factors(path, crypto.get("kdf"), crypto["kdfparams"])
    return keystore


def _check_work_factors(path: str, kdf: object, params: Mapping[str, object]) -> None:
    """Refuse a keystore whose author wants our memory or our time."""
    numbers = {name: value for name, value in params.items() if type(value) is int and 0 < value < 2**31}
    n, r, p, rounds = (numbers.get(name, 0) for name in ("n", "r", "p", "c"))
    if not 0 < numbers.get("dklen", 0) <= 64:
        raise KeyFileError(path, "the derived key's length is not between 1 and 64 bytes")
    if kdf == "scrypt" and 0 < n <= MAX_SCRYPT_N and 0 < 128 * n * r <= MAX_SCRYPT_BYTES and 0 < p <= 16:
        return
    if kdf == "pbkdf2" and 0 < rounds <= MAX_PBKDF2_ROUNDS:
        return
    raise KeyFileError(
        path, f"key derivation {kdf!r} is unknown or its work factors are out of range (scrypt n up to 2^18)"
    )
