"""Leaves: what is hashed, that a place and a position show in it, and where an aborting trace ends."""

import numpy as np
import pytest

from sharding.hashing import keccak256
from sharding.merkle import merkle_proof, merkle_verify
from sharding.span import Span
from tests.sharding.exact.random_span import random_span
from tests.verification.trace.test_aborts import aborting, scaled
from tests.verification.trace.traced import GREEDY, operands_at, session
from verification.trace.operations import PIECE, Abort
from verification.trace.tree import (
    ABORT_BIT,
    Leaf,
    Tree,
    decode,
    encode,
    kept_leaves,
    leaf_mask,
    position_key,
    receipt_root,
    row_leaves,
    trace_leaves,
    trace_root,
)

KEY = position_key(b"\x07" * 32, 5)


def test_a_traces_leaves_count_from_nought_and_hold_its_elements() -> None:
    """Each at most 128 of them; together they are all values of the trace."""
    trace = operands_at(session(8, vocab_size=300), Span(0, 2), 2, GREEDY).trace
    leaves = list(trace_leaves(trace, KEY))

    assert [leaf.index for leaf in leaves] == list(range(trace.layout.leaves))
    for leaf in leaves:
        spot = trace.layout.spot(leaf.index)
        held = trace.values[spot.field.name][spot.row, spot.column : spot.column + PIECE]
        assert decode(leaf.elements, spot.field.size).tolist() == held.tolist()


def test_a_leaf_is_mask_place_and_elements() -> None:
    """As docs/TRACE.md spells them, and provable under the root."""
    trace = operands_at(session(8), Span(1, 2), 2).trace
    leaves = [leaf.data for leaf in trace_leaves(trace, KEY)]
    mask = keccak256(
        keccak256(b"tallystick.position" + b"\x07" * 32 + (5).to_bytes(4, "big")) + b"\x03" + bytes(7) + b"\x01"
    )

    assert leaves[1][:40] == mask + bytes(7) + b"\x01"
    assert merkle_verify(trace_root(trace, KEY), leaves[1], merkle_proof(leaves, 1))


def test_masks_differ_by_place_tree_position_and_salt() -> None:
    """What is opened of one leaf says nothing about another."""
    keys = [KEY, position_key(b"\x07" * 32, 6), position_key(b"\x08" * 32, 5)]
    masks = {leaf_mask(key, tree, index) for key in keys for tree in Tree for index in (0, 1)}
    assert len(masks) == 18


def test_an_aborting_trace_ends_with_its_abort() -> None:
    """The leaf says which element and why."""
    trace = aborting(scaled(random_span(3, "qwen3", num_blocks=3), "down", 20), row=70_000).trace
    assert trace.aborted is not None
    stop = trace.aborted
    *before, last = trace_leaves(trace, KEY)

    leaf = trace.layout.leaf_of(stop.name, stop.row, stop.column)
    assert [each.index for each in before] == list(range(leaf))
    assert (last.index, last.elements) == (leaf | ABORT_BIT, bytes([stop.column % PIECE, Abort.INTEGER_OVERFLOW.value]))


def test_rows_of_a_receipt_lie_in_pieces_and_name_their_position() -> None:
    """Hidden states as int32; a token is a row of one."""
    row = np.arange(-100, 100)
    first, second = row_leaves(row, 9, KEY)

    assert (first.index, second.index) == (9 << 32, 9 << 32 | 1)
    assert np.array_equal(decode(first.elements + second.elements, 4), row)
    assert first.mask == leaf_mask(KEY, Tree.ROW, 9 << 32)
    assert row_leaves(np.array([77]), 9, KEY)[0].elements == (77).to_bytes(4, "little")
    assert receipt_root([first, second]) != receipt_root([second, Leaf(first.mask, 9 << 32 | 2, first.elements)])


def test_kept_rows_begin_with_their_exponents() -> None:
    """Keys before values, each head's pieces one after the other."""
    heads, exponents = np.arange(4 * 130).reshape(4, 130), np.array([3, 4, 5, 6])
    leaves = kept_leaves(2, heads, exponents, 9, KEY)

    assert [leaf.index & 0xFFFF for leaf in leaves] == list(range(8))
    assert {leaf.index >> 16 for leaf in leaves} == {9 << 16 | 2}
    assert decode(leaves[3].elements, 2).tolist() == [4, *heads[1, PIECE:]]


def test_an_element_that_does_not_fit_is_refused() -> None:
    """The last that fit, and one past them."""
    assert encode(np.array([-(2**15), 2**15 - 1]), 2) == b"\x00\x80\xff\x7f"
    for beyond in (2**15, -(2**15) - 1):
        with pytest.raises(OverflowError):
            encode(np.array([beyond]), 2)
    with pytest.raises(ValueError, match="buffer size"):
        decode(b"\x00\x00\x00", 2)
