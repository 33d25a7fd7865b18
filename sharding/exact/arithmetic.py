"""The seam between the engine's sessions and the numbers: every implementation of SPEC.md gives the same bytes here."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from sharding.page_table import places_in
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

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """All of them; the third dimension is the position."""
        return self.keys, self.key_exponents, self.values, self.value_exponents

    def filled(self, length: int, blocks: slice = slice(None)) -> Tensor:
        """Everything that it holds of the first positions, as one row of int16 on the CPU: for comparing."""
        return torch.cat([each[blocks, :, :length].reshape(-1).to(torch.int16).cpu() for each in self.tensors])

    def at(self, places: Tensor) -> Tensor:
        """The same of these places."""
        return torch.cat([each[:, :, places].reshape(-1).to(torch.int16).cpu() for each in self.tensors])


@dataclass(frozen=True, slots=True)
class Part:
    """The rows of one chunk: rows first to last - 1 of the batch are positions start to start + last - first - 1 of its session.

    pages, int32, says where the session's positions lie in the cache, PAGE_POSITIONS at a time; None where they lie in
    order from the first on. wanted: whether the model's last block finishes the last row.
    """

    cache: ExactCache
    first: int
    last: int
    start: int
    pages: Tensor | None = None
    wanted: bool = True

    @property
    def end(self) -> int:
        """The position after the last."""
        return self.start + self.last - self.first

    def places(self, start: int, end: int) -> slice | Tensor:
        """Where positions start to end - 1 lie in the cache."""
        if self.pages is None:
            return slice(start, end)
        return places_in(self.pages, start, end).to(self.cache.keys.device)


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
        """Like block, for the model's last one: (wanted parts, H), the last row of each part that is wanted.

        Of the other rows only keys and values are computed.
        """

    def logits(self, rows: Tensor) -> Tensor:
        """(n, H) int32 -> (n, vocab) int32."""
