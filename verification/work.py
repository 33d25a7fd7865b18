"""What a voucher says it pays for: the Merkle root over sessions, each with the amount that it has been paid so far.

A contract that refunds a session reads the leaf (contracts/src/Refunds.sol), so a stage takes no voucher that says less or more
of its own session than it works for. Today a root is over one session, the one that the voucher was signed in.
"""

from sharding.merkle import merkle_root

_WORD = 32


def work_leaf(route_digest: bytes, amount: int, positions: int) -> bytes:
    """The data of a session's leaf: 96 bytes. amount: for the session's first `positions` positions, in the smallest unit.

    Raises: OverflowError outside of 256 bits.
    """
    return route_digest + amount.to_bytes(_WORD, "big") + positions.to_bytes(_WORD, "big")


def session_work(route_digest: bytes, amount: int, positions: int) -> bytes:
    """The root over one session alone. Raises: OverflowError."""
    return merkle_root([work_leaf(route_digest, amount, positions)])
