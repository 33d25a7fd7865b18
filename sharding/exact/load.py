"""Loading an exact model's span: hashes and shapes as for any checkpoint, and every number within SPEC.md's ranges.

The weights come from strangers: a scale of nought or a gain beyond its bound would break promises that kernels rely on.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from sharding.checkpoint import NOTHING, load_span
from sharding.errors import ManifestMismatch, TensorMismatch, UnsupportedModel
from sharding.exact.arithmetic import MAX_EXACT_POSITIONS, MAX_INT32
from sharding.exact.layout import EXACT_PROFILE, ROPE_TABLE, exact_prefix
from sharding.exact.model import Embedding, ExactBlock, ExactSpan, Head, Matrix, Norm
from sharding.families import FAMILIES
from sharding.manifest import Manifest
from sharding.span import Span
from sharding.spec import ModelSpec

MAX_SHIFT = 80
MAX_NORM_SHIFT = 40
GAIN_LIMIT = (1 << 20) - 1
MAX_COLUMN = 1 << 15
MAX_COSINE = 1 << 14


def load_exact_span(folder: Path, spec: ModelSpec, span: Span, manifest: Manifest) -> ExactSpan:
    """Read one span. Raises what load_exact_tensors and exact_span do."""
    return exact_span(spec, span, load_exact_tensors(folder, spec, span, manifest))


def load_exact_tensors(
    folder: Path, spec: ModelSpec, span: Span, manifest: Manifest, known: Mapping[str, Tensor] = NOTHING
) -> dict[str, Tensor]:
    """One span's tensors by layout.py's names; those that are known are not read again.

    Raises SpanError, UnsupportedModel, CheckpointError's leaves.
    """
    check_exact(spec)
    if manifest.profile != EXACT_PROFILE:
        message = f"the manifest is of profile {manifest.profile!r}: quantise the model with `tally quantize` first"
        raise ManifestMismatch(message)
    return load_span(folder, spec, span, manifest, known=known)


def exact_span(spec: ModelSpec, span: Span, tensors: dict[str, Tensor]) -> ExactSpan:
    """What computes makes of them, nothing copied. Raises TensorMismatch for a number out of its range."""
    read = _Reader(tensors)
    rope = read.tensor(ROPE_TABLE, -MAX_COSINE, MAX_COSINE)
    blocks = tuple(_block(read, spec, exact_prefix(index)) for index in span.blocks)
    embedding = _embedding(read) if span.start == 0 else None
    head = _head(read, spec) if span.end == spec.num_blocks else None
    return ExactSpan(spec, span, rope, blocks, embedding, head)


def check_exact(spec: ModelSpec) -> None:
    """Raises UnsupportedModel for what the profile's bounds do not cover; the other sizes are bounded in spec.py."""
    if spec.max_positions > MAX_EXACT_POSITIONS:
        message = f"{spec.max_positions} positions, the exact profile has {MAX_EXACT_POSITIONS}: serve it in float32"
        raise UnsupportedModel(message, key="max_position_embeddings", value=spec.max_positions)


@dataclass(frozen=True, slots=True)
class _Reader:
    tensors: dict[str, Tensor]

    def tensor(self, name: str, low: int, high: int) -> Tensor:
        values = self.tensors[name]
        smallest, largest = (int(end) for end in torch.aminmax(values))
        if smallest < low or largest > high:
            found = smallest if smallest < low else largest
            raise TensorMismatch(name, "a number", f"all in [{low}, {high}]", found)
        return values.contiguous()

    def number(self, name: str, high: int) -> int:
        return int(self.tensor(name, 0, high))

    def norm(self, name: str) -> Norm:
        gain = self.tensor(f"{name}.gain", -GAIN_LIMIT, GAIN_LIMIT)
        return Norm(gain, self.number(f"{name}.shift", MAX_NORM_SHIFT))

    def matrix(self, name: str) -> Matrix:
        bias = f"{name}.bias"
        return Matrix(
            self.tensor(f"{name}.weight", -127, 127),
            self.tensor(f"{name}.scale", 1, MAX_INT32),
            self.number(f"{name}.shift", MAX_SHIFT),
            self.tensor(bias, -MAX_INT32, MAX_INT32) if bias in self.tensors else None,
        )


def _block(read: _Reader, spec: ModelSpec, prefix: str) -> ExactBlock:
    head_norms = FAMILIES[spec.family].qk_norm
    return ExactBlock(
        attention_norm=read.norm(prefix + "attention_norm"),
        qkv=read.matrix(prefix + "qkv"),
        q_norm=read.norm(prefix + "q_norm") if head_norms else None,
        k_norm=read.norm(prefix + "k_norm") if head_norms else None,
        o=read.matrix(prefix + "o"),
        mlp_norm=read.norm(prefix + "mlp_norm"),
        gate_up=read.matrix(prefix + "gate_up"),
        down=read.matrix(prefix + "down"),
    )


def _embedding(read: _Reader) -> Embedding:
    return Embedding(
        weight=read.tensor("embed.weight", -127, 127),
        scale=read.tensor("embed.scale", 1, MAX_INT32),
        column=read.tensor("embed.column", 1, MAX_COLUMN),
        shift=read.number("embed.shift", MAX_SHIFT),
    )


def _head(read: _Reader, spec: ModelSpec) -> Head:
    source = "embed" if spec.tied_embeddings else "head"
    matrix = Matrix(
        read.tensor(f"{source}.weight", -127, 127),
        read.tensor(f"{source}.scale", 1, MAX_INT32),
        read.number("head.shift", MAX_SHIFT),
    )
    return Head(read.norm("head_norm"), matrix)
