"""The seam between the engine's sessions and the numbers: every implementation of SPEC.md gives the same bytes here."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from sharding.spec import ModelSpec

Q16 = 16
MAX_INT32 = (1 << 31) - 1
MAX_ACTIVATION = 32639
"""256 * 127 + 127: both halves of x = 256 hi + lo are signed bytes."""
MAX_ACTIVATION_SUM = 1 << 24
"""Of magnitudes, so that 127 times it stays within int32 whatever the order."""
MAX_EXACT_POSITIONS = 1 << 17
NORM_BITS = 22
"""Of a row's largest magnitude before its squares are summed."""
HEAD_BITS = 12
HEAD_LIMIT = (1 << HEAD_BITS) - 1
ROTATED_LIMIT = 1 << 28
"""Of a query, key or value in Q16: a real 4096."""
ROPE_BITS = 14
EXP2_COEFFICIENTS = (65534, 45414, 15687, 3494, 454)


@dataclass(frozen=True, slots=True)
class ExactCache:
    """The KV cache of one session over a span: each head's 13-bit numbers and their exponent.

    Shapes: keys, values (blocks, key/value heads, capacity, head_dim) int16; the exponents (blocks, key/value heads,
    capacity) uint8.
    """

    keys: Tensor
    key_exponents: Tensor
    values: Tensor
    value_exponents: Tensor

    @classmethod
    def empty(cls, spec: ModelSpec, blocks: int, capacity: int, device: torch.device | None = None) -> "ExactCache":
        shape = (blocks, spec.num_kv_heads, capacity)
        heads = [torch.empty((*shape, spec.head_dim), dtype=torch.int16, device=device) for _ in range(2)]
        exponents = [torch.empty(shape, dtype=torch.uint8, device=device) for _ in range(2)]
        return cls(heads[0], exponents[0], heads[1], exponents[1])

    def filled(self, length: int, blocks: slice = slice(None)) -> Tensor:
        """Everything that it holds of the first positions, as one row of int16 on the CPU: for comparing."""
        held = (self.keys, self.key_exponents, self.values, self.value_exponents)
        return torch.cat([each[blocks, :, :length].reshape(-1).to(torch.int16).cpu() for each in held])


@dataclass(frozen=True, slots=True)
class Part:
    """The rows of one chunk: rows first to last - 1 of the batch are positions start to start + last - first - 1 of its session."""

    cache: ExactCache
    first: int
    last: int
    start: int


class Arithmetic(Protocol):
    """One implementation over one span. name says which kernels it uses.

    Raises IntegerOverflow and ScaleOutOfRange with a row of the batch, KernelRefused (an end that the span lacks); what it
    wrote to the caches past their sessions' lengths is forgotten then.
    """

    @property
    def name(self) -> str: ...

    def make_cache(self, capacity: int) -> ExactCache: ...

    def embed(self, tokens: Tensor) -> Tensor:
        """(n,) int64 ids within the vocabulary -> (n, H) int32."""

    def block(self, place: int, rows: Tensor, parts: Sequence[Part]) -> Tensor:
        """The span's place-th block, (n, H) int32 in and out; the parts, in order, make up the rows. Extends the caches."""

    def final_block(self, place: int, rows: Tensor, parts: Sequence[Part]) -> Tensor:
        """Like block, for the model's last one: (parts, H), the last row of each part.

        Of the other rows only keys and values are computed.
        """

    def logits(self, rows: Tensor) -> Tensor:
        """(n, H) int32 -> (n, vocab) int32."""
