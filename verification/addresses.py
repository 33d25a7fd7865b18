"""One spelling for addresses: EIP-55 checksummed text in Python, 20 bytes on the wire and in digests."""

from typing import NewType

from eth_utils.address import is_checksum_formatted_address, to_checksum_address

from verification.errors import MalformedAddress

Address = NewType("Address", str)

ADDRESS_BYTES = 20


def to_address(value: str | bytes) -> Address:
    """Return the checksummed spelling of an address given as text or as 20 bytes.

    Raises: MalformedAddress, also for mixed-case text whose EIP-55 checksum does not hold.
    """
    if isinstance(value, bytes | bytearray | memoryview):
        return _from_bytes(bytes(value))
    if not isinstance(value, str) or len(value) != 2 + 2 * ADDRESS_BYTES:
        raise MalformedAddress(value)
    try:
        checksummed = to_checksum_address(value)
    except ValueError as error:
        raise MalformedAddress(value) from error
    if is_checksum_formatted_address(value) and value != checksummed:
        raise MalformedAddress(value)
    return Address(checksummed)


def _from_bytes(value: bytes) -> Address:
    if len(value) != ADDRESS_BYTES:
        raise MalformedAddress(value)
    return Address(to_checksum_address(value))


def address_bytes(address: str) -> bytes:
    """Return the 20 bytes of an address."""
    return bytes.fromhex(to_address(address)[2:])
