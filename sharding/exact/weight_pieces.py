"""An exact model's tensors in pieces of 128 elements under one root: docs/TRACE.md, section 2."""

import re
import struct
from collections.abc import Iterator, Mapping
from ctypes import create_string_buffer
from dataclasses import dataclass
from math import prod

from torch import Tensor, uint8

from sharding.errors import KernelRefused, TensorMissing
from sharding.exact.layout import Slot, span_slots
from sharding.exact.native_library import library
from sharding.hashing import HASH_BYTES
from sharding.merkle import merkle_root
from sharding.spec import ModelSpec

PIECE = 128
"""Elements in a leaf at most, and between two prefix values of a reduction."""
SHARED = (1 << 32) - 1
"""Stands for a block where a tensor belongs to none."""
_NORMS = ("attention_norm", "mlp_norm", "q_norm", "k_norm")
_MATRICES = ("qkv", "o", "gate_up", "down")
KINDS = (
    "rope.table",
    *(f"{name}.{part}" for name in _NORMS for part in ("gain", "shift")),
    *(f"{name}.{part}" for name in _MATRICES for part in ("weight", "scale", "shift", "bias")),
    *(f"embed.{part}" for part in ("weight", "scale", "shift", "column")),
    *(f"head_norm.{part}" for part in ("gain", "shift")),
    *(f"head.{part}" for part in ("weight", "scale", "shift")),
)
"""A tensor's kind is its place here."""
ITEM_BYTES = {"I8": 1, "I16": 2, "I32": 4}
_IN_BLOCK = re.compile(r"blocks\.(\d+)\.(.+)", re.ASCII)


@dataclass(frozen=True, slots=True)
class TensorPlace:
    """A tensor as rows of width elements of size bytes; its leaf among the tensors, but for its own root."""

    block: int
    kind: int
    rows: int
    width: int
    size: int

    def leaf(self, root: bytes) -> bytes:
        return struct.pack(">IBIIB", self.block, self.kind, self.rows, self.width, self.size) + root


def tensor_places(spec: ModelSpec) -> dict[str, TensorPlace]:
    """Every tensor of a model by its name, in the order of the tree's leaves."""
    found = {name: place_of(name, slot) for name, slot in span_slots(spec, spec.whole).items()}
    return dict(sorted(found.items(), key=lambda item: (item[1].block, item[1].kind)))


def place_of(name: str, slot: Slot) -> TensorPlace:
    inside = _IN_BLOCK.fullmatch(name)
    block, kind = (int(inside[1]), inside[2]) if inside else (SHARED, name)
    rows = 1 if len(slot.shape) == 1 else slot.shape[0]
    return TensorPlace(block, KINDS.index(kind), rows, prod(slot.shape) // rows, ITEM_BYTES[slot.dtype])


def piece_leaves(values: Tensor, place: TensorPlace) -> Iterator[bytes]:
    """The data of a tensor's leaves: index, and up to 128 elements as they are stored."""
    data = memoryview(_stored(values).numpy().tobytes())
    row_bytes, step = place.width * place.size, PIECE * place.size
    index = 0
    for start in range(0, place.rows * row_bytes, row_bytes):
        for first in range(start, start + row_bytes, step):
            yield struct.pack(">Q", index) + data[first : min(first + step, start + row_bytes)]
            index += 1


def piece_leaf(values: Tensor, place: TensorPlace, index: int) -> bytes:
    """The data of one of them; index below the tensor's number of pieces."""
    row, piece = divmod(index, -(-place.width // PIECE))
    end = (row + 1) * place.width
    first = row * place.width + piece * PIECE
    elements = values.contiguous().view(-1)[first : min(first + PIECE, end)]
    return struct.pack(">Q", index) + _stored(elements).numpy().tobytes()


def _stored(values: Tensor) -> Tensor:
    """The tensor's bytes, in a row."""
    return values.contiguous().view(-1).view(uint8)


def tensor_root(values: Tensor, place: TensorPlace) -> bytes:
    """By the compiled library where there is one: it hashes some fifty times as fast."""
    try:
        native = library()
    except KernelRefused:
        return merkle_root(list(piece_leaves(values, place)))
    data, root = _stored(values), create_string_buffer(HASH_BYTES)
    sizes = place.rows, place.width * place.size, PIECE * place.size
    failed = native.tally_pieces_root(data.data_ptr(), *sizes, root)
    return merkle_root(list(piece_leaves(values, place))) if failed else root.raw


def weights_root(spec: ModelSpec, roots: Mapping[str, bytes]) -> bytes:
    """Over all tensors' roots. Raises TensorMissing."""
    return merkle_root(weights_leaves(spec, roots))


def weights_leaves(spec: ModelSpec, roots: Mapping[str, bytes]) -> list[bytes]:
    """Raises TensorMissing."""
    places = tensor_places(spec)
    for name in places:
        if name not in roots:
            raise TensorMissing(f"no root of {name!r}: the tree of weights needs every tensor", tensor=name)
    return [place.leaf(roots[name]) for name, place in places.items()]
