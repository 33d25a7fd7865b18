"""The two hash functions: keccak-256 for whatever a contract may check, SHA-256 for large bytes."""

import hashlib

from eth_hash.auto import keccak

BytesLike = bytes | bytearray | memoryview

HASH_BYTES = 32


def keccak256(data: bytes) -> bytes:
    """Ethereum's Keccak-256 (the padding before FIPS 202), 32 bytes."""
    return keccak(data)


def sha256(data: BytesLike) -> bytes:
    """SHA-256 without a copy of the data, 32 bytes."""
    return hashlib.sha256(data).digest()
