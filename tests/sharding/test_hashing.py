"""The hashes are the ones the rest of the world computes."""

from sharding.hashing import keccak256, sha256


def test_keccak_is_ethereums() -> None:
    """Known answers: the empty string (not SHA3-256's) and a Solidity signature's selector."""
    assert keccak256(b"").hex() == "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470"
    assert keccak256(b"transfer(address,uint256)")[:4].hex() == "a9059cbb"


def test_sha256_takes_any_bytes() -> None:
    """Known answer of FIPS 180-2, from bytes and from a view."""
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert sha256(b"abc").hex() == sha256(memoryview(bytearray(b"abc"))).hex() == expected
