"""EIP-712 hashing of the records that nodes and clients sign, reduced to what they use: static words and arrays of structs.

Every record states its type string once and turns its fields into 32-byte words; the Solidity sources hash the same words.
Source: https://eips.ethereum.org/EIPS/eip-712
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from sharding.hashing import keccak256
from verification.addresses import Address, address_bytes
from verification.errors import MalformedRecord

WORD_BYTES = 32
DOMAIN_NAME = "Tallystick"
DOMAIN_VERSION = "1"
_DOMAIN_TYPE = "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"


@dataclass(frozen=True, slots=True)
class Domain:
    """Where a signature is valid: one contract on one chain."""

    chain_id: int
    contract: Address
    name: str = DOMAIN_NAME
    version: str = DOMAIN_VERSION

    @property
    def separator(self) -> bytes:
        """The 32-byte domain separator."""
        return _separator(self)


@lru_cache(maxsize=64)
def _separator(domain: Domain) -> bytes:
    words = (
        keccak256(domain.name.encode()),
        keccak256(domain.version.encode()),
        uint_word("chainId", domain.chain_id, 256),
        address_word(domain.contract),
    )
    return struct_hash(_DOMAIN_TYPE, words)


@lru_cache(maxsize=64)
def _type_hash(type_string: str) -> bytes:
    return keccak256(type_string.encode())


def uint_word(field: str, value: int, bits: int) -> bytes:
    """Encode an unsigned integer of `bits` bits as a word. Raises: MalformedRecord when it does not fit."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 1 << bits:
        raise MalformedRecord(field, f"{value!r} is not an unsigned integer of {bits} bits")
    return value.to_bytes(WORD_BYTES, "big")


def bytes32_word(field: str, value: bytes) -> bytes:
    """Pass a 32-byte value through. Raises: MalformedRecord for any other length."""
    if not isinstance(value, bytes) or len(value) != WORD_BYTES:
        raise MalformedRecord(field, f"expected {WORD_BYTES} bytes, got {value!r}")
    return value


def address_word(address: str) -> bytes:
    """Encode an address as a word. Raises: MalformedAddress."""
    return address_bytes(address).rjust(WORD_BYTES, b"\0")


def array_word(struct_hashes: Sequence[bytes]) -> bytes:
    """Encode an array of structs: the hash of its members' hashes."""
    return keccak256(b"".join(struct_hashes))


def struct_hash(type_string: str, words: Sequence[bytes]) -> bytes:
    """Hash one struct: keccak256(typeHash, word, word, ...)."""
    return keccak256(_type_hash(type_string) + b"".join(words))


def typed_digest(domain: Domain, hashed_struct: bytes) -> bytes:
    """Return the 32 bytes that are signed for a struct in a domain."""
    return keccak256(b"\x19\x01" + domain.separator + hashed_struct)
