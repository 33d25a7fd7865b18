"""Trees that are opened by their leaves' own indexes, and the numbers a token is drawn with."""

import struct

import pytest

from sharding.hashing import keccak256
from sharding.merkle import merkle_leaf, merkle_root
from sharding.sampling import SamplingParams
from verification.routes import sampler_commitment, sampler_opening
from verification.trace.field_numbers import BEHIND, IN_BLOCK, number_of
from verification.trace.fields import Draw, draw_of
from verification.trace.openings import HashTree, opened_root
from verification.trace.posted import LeafTree
from verification.trace.sources import noise_tree
from verification.trace.tree import Leaf

LEAVES = [Leaf(bytes([k]) * 32, 3 * k, bytes([k] * 4)) for k in range(11)]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 12])
def test_a_tree_with_another_leaf_is_the_tree_of_the_other_leaves(size: int) -> None:
    """In every place, also where an odd node rises; the old tree stays as it is."""
    hashes = [keccak256(bytes([k])) for k in range(size)]
    tree, other = HashTree(hashes), keccak256(b"other")
    for place in range(size):
        changed = tree.replaced(place, other)
        assert changed.root == HashTree([*hashes[:place], other, *hashes[place + 1 :]]).root
        assert opened_root([other], changed.open([place])) == changed.root
    assert tree.root == HashTree(hashes).root


def test_leaves_are_opened_by_their_indexes_in_the_order_of_the_tree() -> None:
    """Wherever a liar has put them; of two with one index the first is found; others are not there."""
    shuffled = [*LEAVES[5:], *LEAVES[:5], Leaf(bytes(32), 6, b"twin")]
    tree = LeafTree(shuffled)
    assert tree.root == merkle_root([leaf.data for leaf in shuffled])
    found, opening = tree.open([0, 6, 30])
    assert [leaf.index for leaf in found] == [30, 0, 6]
    assert found[2].elements == LEAVES[2].elements
    assert opened_root([merkle_leaf(leaf.data) for leaf in found], opening) == tree.root
    assert 6 in tree
    assert 7 not in tree
    with pytest.raises(KeyError):
        tree.open([7])


@pytest.mark.parametrize(("params", "draw"), [
    (SamplingParams(), Draw(0, 65536, 0, 0)),
    (SamplingParams(temperature=1e-9, top_p=1e-9, seed=5), Draw(1, 1, 0, 5)),
    (SamplingParams(temperature=1.5, top_k=40, top_p=0.5, seed=2**64 - 1), Draw(98304, 32768, 40, 2**64 - 1)),
])  # fmt: skip
def test_the_samplers_opening_holds_the_integers_that_a_contract_reads(params: SamplingParams, draw: Draw) -> None:
    """In forty bytes, which the commitment is made of; the seed stands there as its hash."""
    opening = sampler_opening(params)
    temperature, top_k, top_p, tau, pi, seed = struct.unpack(">dIdQIQ", opening)
    assert (temperature, top_p) == (params.temperature, params.top_p)
    assert Draw(tau, pi, top_k, seed) == draw == draw_of(params)
    hidden = keccak256(b"tallystick.seed" + opening[32:])
    assert sampler_commitment(params) == keccak256(b"tallystick.sampler" + opening[:32] + hidden)


def test_the_gumbel_table_lies_under_one_root() -> None:
    """128 leaves of 128 numbers; the root is a constant of the contract's."""
    leaves, tree = noise_tree()
    assert len(leaves) == 128
    assert all(leaf[:8] == struct.pack(">Q", k) and len(leaf) == 8 + 4 * 128 for k, leaf in enumerate(leaves))
    assert tree.root.hex() == "7df6dfc1f2a61c8452a0ca9ebb493a8ec30d17ab67a9012e47f6029f4d1006c4"


def test_fields_are_numbered_with_and_without_a_block() -> None:
    """Those before the blocks, a block's, those behind."""
    assert [number_of(name) for name in ("token", "row", "0.attention_norm.largest", "7.output")] == [
        (0, 0), (0, 1), (0, 2), (7, 1 + len(IN_BLOCK)),
    ]  # fmt: skip
    assert number_of("chosen") == (0, 1 + len(IN_BLOCK) + len(BEHIND))
    for name in ("3.row", "nothing", "0.chosen"):
        with pytest.raises(KeyError):
            number_of(name)
