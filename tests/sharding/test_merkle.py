"""Merkle trees: every leaf can be proven, nothing else can."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharding.hashing import keccak256
from sharding.merkle import EMPTY_ROOT, MAX_PROOF_NODES, merkle_leaf, merkle_proof, merkle_root, merkle_verify

Leaves = st.lists(st.binary(max_size=40), min_size=1, max_size=20)


@given(Leaves)
def test_every_leaf_has_a_proof(leaves: list[bytes]) -> None:
    """And the proof is no longer than the tree is high."""
    root = merkle_root(leaves)
    for index, leaf in enumerate(leaves):
        proof = merkle_proof(leaves, index)
        assert merkle_verify(root, leaf, proof)
        assert len(proof) <= (len(leaves) - 1).bit_length()


@given(Leaves, st.binary(max_size=40), st.integers(0, 19))
def test_no_other_leaf_fits_the_proof(leaves: list[bytes], stranger: bytes, index: int) -> None:
    """A leaf that is not at the place cannot use the place's proof."""
    index %= len(leaves)
    assert merkle_verify(merkle_root(leaves), stranger, merkle_proof(leaves, index)) is (stranger == leaves[index])


@given(Leaves, st.integers(0, 19), st.integers(0, 255), st.integers(0, 31))
def test_a_changed_byte_breaks_the_proof(leaves: list[bytes], index: int, flip: int, place: int) -> None:
    """Every byte of every node counts."""
    index %= len(leaves)
    root, proof = merkle_root(leaves), merkle_proof(leaves, index)
    for level in range(len(proof)):
        node = bytearray(proof[level])
        node[place] ^= flip
        broken = [*proof[:level], bytes(node), *proof[level + 1 :]]
        assert merkle_verify(root, leaves[index], broken) is (flip == 0)


def test_the_trees_are_openzeppelins() -> None:
    """By hand: leaves hashed twice, pairs sorted, the odd one rises."""
    one, two, three = (keccak256(keccak256(data)) for data in (b"a", b"b", b"c"))
    pair = keccak256(min(one, two) + max(one, two))

    assert merkle_root([b"a"]) == one == merkle_leaf(b"a")
    assert merkle_root([b"a", b"b", b"c"]) == keccak256(min(pair, three) + max(pair, three))
    assert merkle_proof([b"a", b"b", b"c"], 2) == [pair]


def test_an_inner_node_is_no_leaf() -> None:
    """The 64 bytes under a node do not pass as the data of a leaf."""
    leaves = [b"a", b"b", b"c", b"d"]
    one, two = merkle_leaf(b"a"), merkle_leaf(b"b")
    assert not merkle_verify(merkle_root(leaves), min(one, two) + max(one, two), merkle_proof(leaves, 0)[1:])


def test_the_empty_tree_has_a_root_and_no_proofs() -> None:
    """32 zero bytes, which no leaf reaches."""
    assert merkle_root([]) == EMPTY_ROOT == bytes(32)
    assert not merkle_verify(EMPTY_ROOT, b"", [])


@pytest.mark.parametrize("index", [-1, 2])
def test_there_are_no_leaves_outside(index: int) -> None:
    """A negative index does not count from the end."""
    with pytest.raises(IndexError):
        merkle_proof([b"a", b"b"], index)


def test_malformed_proofs_prove_nothing() -> None:
    """Short nodes, short roots and endless proofs are refused before any hashing."""
    root = merkle_root([b"a", b"b"])
    [sibling] = merkle_proof([b"a", b"b"], 0)

    assert not merkle_verify(root, b"a", [sibling[:31]])
    assert not merkle_verify(root[:31], b"a", [sibling])
    assert not merkle_verify(root, b"a", [sibling] * (MAX_PROOF_NODES + 1))
