"""What a trace is computed from and judged by: the manifest's tensors as rows, kept keys and values, the Gumbel table."""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from torch import Tensor

from sharding.exact import gumbel
from sharding.exact.arithmetic import ExactCache
from sharding.exact.layout import ROPE_TABLE, exact_prefix
from sharding.exact.model import ExactBlock, ExactSpan, Matrix, Norm
from sharding.exact.reference import Compressed, Ints
from sharding.merkle import merkle_leaf
from verification.trace.openings import HashTree
from verification.trace.operations import PIECE

Rows = Mapping[str, Ints]
"""By name: (rows, width) int64, the first dimension of the tensor and all others as one; a vector is one row."""


def as_rows(values: Ints) -> Ints:
    return values.reshape(1, -1) if values.ndim < 2 else values.reshape(len(values), -1)


def weight_rows(span: ExactSpan) -> dict[str, Ints]:
    """The span's tensors under layout.py's names."""
    found: dict[str, Ints] = {}
    _put(found, ROPE_TABLE, span.rope)
    for index, block in zip(span.span.blocks, span.blocks, strict=True):
        _block(found, exact_prefix(index), block)
    if span.embedding is not None:
        _matrix(found, "embed", Matrix(span.embedding.weight, span.embedding.scale, span.embedding.shift))
        _put(found, "embed.column", span.embedding.column)
    if span.head is not None:
        _norm(found, "head_norm", span.head.norm)
        tied = span.spec.tied_embeddings
        _matrix(found, "embed" if tied else "head", span.head.matrix, "head.shift")
    return found


def _block(found: dict[str, Ints], prefix: str, block: ExactBlock) -> None:
    for name in ("attention_norm", "mlp_norm", "q_norm", "k_norm"):
        norm = getattr(block, name)
        if norm is not None:
            _norm(found, prefix + name, norm)
    for name in ("qkv", "o", "gate_up", "down"):
        _matrix(found, prefix + name, getattr(block, name))


def _norm(found: dict[str, Ints], name: str, norm: Norm) -> None:
    _put(found, f"{name}.gain", norm.gain)
    found[f"{name}.shift"] = np.array([[norm.shift]], np.int64)


def _matrix(found: dict[str, Ints], name: str, matrix: Matrix, shift: str = "") -> None:
    _put(found, f"{name}.weight", matrix.weight)
    _put(found, f"{name}.scale", matrix.scale)
    found[shift or f"{name}.shift"] = np.array([[matrix.shift]], np.int64)
    if matrix.bias is not None:
        _put(found, f"{name}.bias", matrix.bias)


def _put(found: dict[str, Ints], name: str, tensor: Tensor) -> None:
    found[name] = as_rows(tensor.numpy().astype(np.int64))


@dataclass(frozen=True, slots=True)
class KeptBlock:
    """Of one block, before the traced position. Shapes: keys, values (kv heads, positions, d), exponents (kv heads, positions)."""

    keys: Ints
    key_exponents: Ints
    values: Ints
    value_exponents: Ints

    def rows(self) -> Compressed:
        """As kvRoot's rows: for each position all keys, then all values."""
        heads = np.concatenate((self.keys, self.values)).transpose(1, 0, 2)
        exponents = np.concatenate((self.key_exponents, self.value_exponents)).T
        return Compressed(heads.reshape(-1, heads.shape[2]), exponents.reshape(-1, 1))


def kept_blocks(cache: ExactCache, position: int) -> tuple[KeptBlock, ...]:
    """The first positions of a session whose cache lies in order."""
    parts = [each[:, :, :position].numpy().astype(np.int64) for each in cache.tensors]
    return tuple(KeptBlock(*block) for block in zip(*parts, strict=True))


def noise_rows() -> Ints:
    """The Gumbel table. Shape: (1, 16384). Raises FileDamaged."""
    return gumbel.read_table(Path(gumbel.__file__).with_name(gumbel.TABLE_FILE)).reshape(1, -1)


@cache
def noise_tree() -> tuple[list[bytes], HashTree]:
    """The Gumbel table as the contracts open it: leaves u64 index | 128 int32, little-endian. Raises FileDamaged."""
    table = noise_rows()[0].astype("<i4")
    leaves = [struct.pack(">Q", k // PIECE) + table[k : k + PIECE].tobytes() for k in range(0, len(table), PIECE)]
    return leaves, HashTree([merkle_leaf(leaf) for leaf in leaves])
