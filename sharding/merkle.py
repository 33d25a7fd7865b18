"""Merkle trees after OpenZeppelin's rules, so that their MerkleProof contract verifies our proofs.

A leaf is keccak(keccak(data)): hashed twice, so that no inner node (once hashed, 64 bytes) can pass for a leaf. A
pair is hashed in sorted order, so that a proof needs no directions. The tree is built level by level; an odd node
rises unpaired. Sorted pairs do not bind a leaf's place: where the place matters the data must say it.
"""

from collections.abc import Sequence

from sharding.hashing import HASH_BYTES, keccak256

EMPTY_ROOT = bytes(HASH_BYTES)
MAX_PROOF_NODES = 64


def merkle_leaf(data: bytes) -> bytes:
    return keccak256(keccak256(data))


def merkle_root(leaves: Sequence[bytes]) -> bytes:
    """The root over the leaves' data in their order; 32 zero bytes where there are none."""
    if not leaves:
        return EMPTY_ROOT
    level = [merkle_leaf(data) for data in leaves]
    while len(level) > 1:
        level = _level_above(level)
    return level[0]


def merkle_proof(leaves: Sequence[bytes], index: int) -> list[bytes]:
    """The siblings from the leaf at index up to the root. Raises IndexError outside [0, len(leaves))."""
    if not 0 <= index < len(leaves):
        raise IndexError(f"leaf {index} of {len(leaves)}")
    level, proof = [merkle_leaf(data) for data in leaves], []
    while len(level) > 1:
        sibling = index ^ 1
        if sibling < len(level):
            proof.append(level[sibling])
        level, index = _level_above(level), index // 2
    return proof


def merkle_verify(root: bytes, leaf: bytes, proof: Sequence[bytes]) -> bool:
    """Whether the proof leads from the leaf's data to the root; malformed hashes and endless proofs do not."""
    if len(root) != HASH_BYTES or len(proof) > MAX_PROOF_NODES or any(len(node) != HASH_BYTES for node in proof):
        return False
    node = merkle_leaf(leaf)
    for sibling in proof:
        node = _pair(node, sibling)
    return node == root


def _pair(one: bytes, other: bytes) -> bytes:
    return keccak256(one + other if one < other else other + one)


def _level_above(level: list[bytes]) -> list[bytes]:
    pairs = [_pair(level[i], level[i + 1]) for i in range(0, len(level) - 1, 2)]
    return pairs + level[-1:] if len(level) % 2 else pairs
