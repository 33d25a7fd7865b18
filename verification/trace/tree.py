"""A trace's leaves as bytes, and the trees of a receipt: docs/TRACE.md, sections 1 and 5."""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np

from sharding.exact.reference import Ints
from sharding.hashing import keccak256
from sharding.merkle import merkle_root
from verification.trace.build import Aborted, Trace
from verification.trace.fields import LARGE, MIDDLE, SMALL, Field
from verification.trace.operations import PIECE

_POSITION = b"tallystick.position"
_TYPES = {1: "<i1", SMALL: "<i2", MIDDLE: "<i4", LARGE: "<i8"}
ABORT_BIT = 1 << 63


class Tree(Enum):
    """Which tree a leaf belongs to: the first byte of what its mask is made of."""

    ROW = b"\x01"
    """inRoot and outRoot."""
    KEPT = b"\x02"
    """kvRoot."""
    TRACE = b"\x03"


@dataclass(frozen=True, slots=True)
class Leaf:
    """data is what merkle_leaf hashes: mask, index (u64, big-endian), elements (little-endian)."""

    mask: bytes
    index: int
    elements: bytes

    @property
    def data(self) -> bytes:
        return self.mask + struct.pack(">Q", self.index) + self.elements


def position_key(salt: bytes, position: int) -> bytes:
    """The secret that all masks of a position are made of. salt: the route's 32 bytes; never shown to anybody off the route."""
    return keccak256(_POSITION + salt + struct.pack(">I", position))


def leaf_mask(key: bytes, tree: Tree, index: int) -> bytes:
    return keccak256(key + tree.value + struct.pack(">Q", index))


def encode(elements: Ints, size: int) -> bytes:
    """Little-endian signed numbers of size bytes. Raises OverflowError for one that does not fit."""
    limit = 1 << (8 * size - 1)
    if len(elements) and not -limit <= int(elements.min()) <= int(elements.max()) < limit:
        raise OverflowError(f"an element outside {size} bytes")
    return elements.astype(_TYPES[size]).tobytes()


def decode(data: bytes, size: int) -> Ints:
    """The elements of a leaf. Raises ValueError where the length is no multiple of size."""
    return np.frombuffer(data, _TYPES[size]).astype(np.int64)


def trace_leaves(trace: Trace, key: bytes) -> Iterator[Leaf]:
    """In order; a trace that stops ends with its Abort leaf."""
    stop = trace.aborted
    last = None if stop is None else trace.layout.leaf_of(stop.name, stop.row, stop.column)
    for field in trace.layout.fields:
        for index, elements in _field_leaves(field, trace.values[field.name]):
            if stop is not None and index == last:
                yield _abort_leaf(index, stop, key)
                return
            yield Leaf(leaf_mask(key, Tree.TRACE, index), index, encode(elements, field.size))


def _abort_leaf(index: int, stop: Aborted, key: bytes) -> Leaf:
    """In place of the leaf that would hold the element: which element, and why."""
    mark = struct.pack(">BB", stop.column % PIECE, stop.reason.value)
    return Leaf(leaf_mask(key, Tree.TRACE, index), index | ABORT_BIT, mark)


def trace_root(trace: Trace, key: bytes) -> bytes:
    return merkle_root([leaf.data for leaf in trace_leaves(trace, key)])


def _field_leaves(field: Field, values: Ints) -> Iterator[tuple[int, Ints]]:
    index = field.first
    for row in values:
        for start in range(0, field.width, PIECE):
            yield index, row[start : start + PIECE]
            index += 1


def row_leaves(row: Ints, position: int, key: bytes) -> list[Leaf]:
    """One position's leaves under inRoot or outRoot: its hidden states (H,), or its token (1,). index: position and piece."""
    starts = range(0, len(row), PIECE)
    indexes = [position << 32 | place for place in range(len(starts))]
    parts = [encode(row[start : start + PIECE], MIDDLE) for start in starts]
    return [Leaf(leaf_mask(key, Tree.ROW, i), i, part) for i, part in zip(indexes, parts, strict=True)]


def kept_leaves(block: int, heads: Ints, exponents: Ints, position: int, key: bytes) -> list[Leaf]:
    """One position's keys, then values, of one block under kvRoot. Shapes: heads (2 x kv heads, d), exponents (2 x kv heads,).

    index: position, block, and the place of the piece; each piece begins with its head's exponent.
    """
    found: list[Leaf] = []
    for head, exponent in zip(heads, exponents, strict=True):
        for start in range(0, len(head), PIECE):
            index = position << 32 | block << 16 | len(found) % (1 << 16)
            elements = encode(np.concatenate(([exponent], head[start : start + PIECE])), SMALL)
            found.append(Leaf(leaf_mask(key, Tree.KEPT, index), index, elements))
    return found


def receipt_root(leaves: Sequence[Leaf]) -> bytes:
    """inRoot, outRoot or kvRoot over the leaves of a chunk's positions, in the order of their indexes."""
    return merkle_root([leaf.data for leaf in leaves])
