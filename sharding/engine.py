"""The seam between the numbers and everything else: what any engine promises, whatever its arithmetic.

A model of n blocks is computed by stages, each an engine over one span. The first stage takes token ids, the last
gives logits, the others take and give hidden states. An engine is used by one thread at a time.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from sharding.manifest import Manifest
from sharding.span import Span
from sharding.spec import ModelSpec


@dataclass(frozen=True, slots=True)
class Chunk:
    """The next rows of one session, beginning at position.

    Shapes: inputs (n,) int64 token ids on a first stage, else (n, hidden_size) hidden states of the
    engine's hidden_dtype; n >= 1.
    """

    session: bytes
    position: int
    inputs: Tensor


@runtime_checkable
class Engine(Protocol):
    """One span of one model with the key/value caches of its sessions.

    Every refusal is an EngineError and leaves every session as it was; one that concerns a chunk names its session.
    """

    spec: ModelSpec
    span: Span
    profile: str
    manifest: Manifest
    hidden_dtype: torch.dtype
    """Of hidden states and logits: float32, or int32 (Q16) in the exact profile."""

    @property
    def kernel(self) -> str:
        """What computes, for people and logs; in the exact profile it never changes a byte."""

    def open(self, session: bytes, capacity: int) -> None:
        """Make room for capacity positions. Raises SessionExists, CacheFull (capacity outside [1, max_positions])."""

    def forward(self, batch: Sequence[Chunk]) -> list[Tensor]:
        """Compute one chunk of each of several different sessions and extend their caches.

        Returns, in the order of the batch, hidden states (n, hidden_size), or on a last stage the logits of the
        chunk's last row (vocab_size,), of hidden_dtype. An empty batch gives an empty list.
        Raises: UnknownSession; ShapeMismatch (shape, dtype, a position other than length(session), a session twice);
        CacheFull; TokenOutOfRange; NotFinite, or IntegerOverflow in the exact profile.
        """

    def length(self, session: bytes) -> int:
        """Positions computed so far. Raises UnknownSession."""

    def truncate(self, session: bytes, length: int) -> None:
        """Forget every position from length on. Raises UnknownSession, ShapeMismatch outside [0, length(session)]."""

    def close(self, session: bytes) -> None:
        """Free the session's cache; closing what is not open does nothing."""


def is_first(engine: Engine) -> bool:
    """Whether the engine takes token ids."""
    return engine.span.start == 0


def is_last(engine: Engine) -> bool:
    """Whether the engine gives logits."""
    return engine.span.end == engine.spec.num_blocks
