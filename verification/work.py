"""What a voucher says it pays for, as one hash that later grows into the Merkle root over a session's receipts."""

from sharding.hashing import keccak256


def session_work(route_digest: bytes, positions: int) -> bytes:
    """Name the first `positions` positions of one route's session as the work paid for."""
    return keccak256(b"tallystick.work" + route_digest + positions.to_bytes(8, "big"))
