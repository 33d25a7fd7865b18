"""Several leaves opened at once: all that are honest lead to the root, and nothing that is not."""

from dataclasses import replace
from itertools import combinations
from random import Random

import pytest

from sharding.hashing import keccak256
from sharding.merkle import merkle_leaf, merkle_root
from verification.trace.openings import JOIN, MAX_LEAVES, MAX_NODES, TAKE, HashTree, Opening, opened_root

DATA = [bytes([k]) * 40 for k in range(40)]


@pytest.mark.parametrize("size", [1, 2, 3, 5, 6, 7, 11, 16, 21])
def test_any_few_leaves_lead_to_the_root(size: int) -> None:
    """Of trees of every shape; the tree is merkle_root's."""
    hashes = [merkle_leaf(data) for data in DATA[:size]]
    tree = HashTree(hashes)

    assert tree.root == merkle_root(DATA[:size])
    for count in range(1, min(size, 4) + 1):
        for indexes in combinations(range(size), count):
            assert opened_root([hashes[i] for i in indexes], tree.open(indexes)) == tree.root


def test_shared_nodes_are_not_given_twice() -> None:
    """Two neighbours of 32 leaves need four siblings, not ten."""
    tree = HashTree([merkle_leaf(data) for data in DATA[:32]])
    opening = tree.open([6, 7])

    assert (len(opening.siblings), opening.program) == (4, bytes([TAKE, TAKE, JOIN, 4]))


def test_another_leaf_or_a_changed_opening_does_not_lead_to_the_root() -> None:
    """Whatever single thing is changed."""
    random, hashes = Random(4), [merkle_leaf(data) for data in DATA[:21]]
    tree = HashTree(hashes)
    for _ in range(200):
        indexes = sorted(random.sample(range(21), 3))
        opening, leaves = tree.open(indexes), [hashes[i] for i in indexes]
        siblings, program = list(opening.siblings), bytearray(opening.program)
        siblings[random.randrange(len(siblings))] = keccak256(b"other")
        program[random.randrange(len(program))] = random.randrange(256)
        spoilt = [keccak256(b"stranger"), *leaves[1:]]
        assert opened_root(spoilt, opening) != tree.root
        assert opened_root(leaves, replace(opening, siblings=tuple(siblings))) != tree.root
        assert (
            bytes(program) == opening.program or opened_root(leaves, replace(opening, program=bytes(program))) is None
        )
        assert opened_root(leaves[1:], opening) is None
        assert opened_root([*leaves, leaves[0]], opening) is None


@pytest.mark.parametrize(("program", "siblings"), [
    (b"", 0), (bytes([JOIN]), 0), (bytes([1]), 1), (bytes([TAKE, 1]), 0), (bytes([TAKE]), 1), (bytes([TAKE, TAKE]), 0),
    (bytes([TAKE, MAX_NODES + 1]), MAX_NODES + 1),
])  # fmt: skip
def test_a_malformed_program_leads_nowhere(program: bytes, siblings: int) -> None:
    """Nothing left over, nothing out of nothing, no endless climb."""
    assert opened_root([bytes(32)], Opening((bytes(32),) * siblings, program)) is None


def test_the_longest_climb_and_the_most_leaves() -> None:
    """At the limits, and one past them."""
    assert opened_root([bytes(32)], Opening((bytes(32),) * MAX_NODES, bytes([TAKE, MAX_NODES]))) is not None
    tree = HashTree([merkle_leaf(data) for data in DATA])
    assert len(tree.open(range(MAX_LEAVES)).siblings) == 3
    for refused in ((), range(MAX_LEAVES + 1), (1, 1), (2, 1), (-1,), (40,)):
        with pytest.raises(ValueError, match="lea"):
            tree.open(refused)
    nine = Opening((), bytes([TAKE] * 9 + [JOIN] * 8))
    assert opened_root([bytes(32)] * 9, nine) is None
    with pytest.raises(ValueError, match="nothing to open"):
        HashTree([])
