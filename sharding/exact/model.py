"""An exact model's weights in memory: what a stage over one span holds. Loading them is load.py's part."""

from dataclasses import dataclass

from torch import Tensor

from sharding.errors import SpanError
from sharding.span import Span
from sharding.spec import ModelSpec


@dataclass(frozen=True, slots=True)
class Norm:
    """gain (width,) int32, |gain| < 2^20; shift in [0, 40]: the real gain is gain 2^-shift."""

    gain: Tensor
    shift: int


@dataclass(frozen=True, slots=True)
class Matrix:
    """weight (N, K) int8 in [-127, 127], scale (N,) int32 >= 1, bias (N,) int32 Q16; a real weight is weight scale 2^-shift."""

    weight: Tensor
    scale: Tensor
    shift: int
    bias: Tensor | None = None


@dataclass(frozen=True, slots=True)
class ExactBlock:
    """The rows of qkv are all query, key and value heads; those of gate_up all gates, then all ups."""

    attention_norm: Norm
    qkv: Matrix
    q_norm: Norm | None
    k_norm: Norm | None
    o: Matrix
    mlp_norm: Norm
    gate_up: Matrix
    down: Matrix


@dataclass(frozen=True, slots=True)
class Embedding:
    """weight (vocab, H) int8, scale (vocab,) int32, column (H,) int32 in [1, 2^15]."""

    weight: Tensor
    scale: Tensor
    column: Tensor
    shift: int


@dataclass(frozen=True, slots=True)
class Head:
    """The final norm and the output matrix."""

    norm: Norm
    matrix: Matrix


@dataclass(frozen=True, slots=True)
class ExactSpan:
    """One span's weights. rope (positions, head_dim / 2, 2) int16 Q14; embedding on a first stage, head on a last one."""

    spec: ModelSpec
    span: Span
    rope: Tensor
    blocks: tuple[ExactBlock, ...]
    embedding: Embedding | None
    head: Head | None

    def cut(self, span: Span) -> "ExactSpan":
        """The weights of a span within this one, shared and not copied. Raises SpanError."""
        if not self.span.start <= span.start < span.end <= self.span.end:
            message = f"span {span} does not lie within {self.span}"
            raise SpanError(message, start=span.start, end=span.end)
        blocks = self.blocks[span.start - self.span.start : span.end - self.span.start]
        return ExactSpan(
            self.spec, span, self.rope, blocks,
            self.embedding if span.start == 0 else None,
            self.head if span.end == self.spec.num_blocks else None,
        )  # fmt: skip
