"""One spelling for addresses: EIP-55 checksummed text in Python, 20 bytes on the wire and in digests."""

from functools import lru_cache
from typing import NewType

from eth_utils.address import is_checksum_formatted_address, to_checksum_address

from verification.errors import MalformedAddress

Address = NewType("Address", str)

ADDRESS_BYTES = 20


@lru_cache(maxsize=4096)
def _checksummed(value: str | bytes) -> str:
    """A hash each time, and the same few addresses over and over."""
    return str(to_checksum_address(value))


def to_address(value: str | bytes) -> Address:
    """Return the checksummed spelling of an address given as text or as 20 bytes.

    Raises: MalformedAddress, also for mixed-case text whose EIP-55 checksum does not hold.
    """
    if isinstance(value, bytes | bytearray | memoryview):
        return _from_bytes(bytes(value))
    if not isinstance(value, str) or len(value) != 2 + 2 * ADDRESS_BYTES:
        raise MalformedAddress(value)
    try:
        checksummed = _checksummed(value)
    except ValueError as error:
        raise MalformedAddress(value) from error
    if is_checksum_formatted_address(value) and value != checksummed:
        raise MalformedAddress(value)
    return Address(checksummed)


def _from_bytes(value: bytes) -> Address:
    if len(value) != ADDRESS_BYTES:
        raise MalformedAddress(value)
    return Address(_checksummed(value))


def address_bytes(address: str) -> bytes:
    """Return the 20 bytes of an address."""
    return bytes.fromhex(to_address(address)[2:])
