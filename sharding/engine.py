"""The seam between the numbers and everything else: what any engine promises, whatever its arithmetic.

A model of n blocks is computed by stages, each an engine over one span. The first stage takes token ids, the last
gives logits, the others take and give hidden states. An engine is used by one thread at a time.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from sharding.manifest import Manifest
from sharding.paging import PagePool
from sharding.span import Span
from sharding.spec import ModelSpec


@dataclass(frozen=True, slots=True)
class Chunk:
    """The next rows of one session, beginning at position.

    Shapes: inputs (n,) int64 token ids on a first stage, else (n, hidden_size) hidden states of the
    engine's hidden_dtype; n >= 1. wants_logits: whether a last stage computes the last row to its end; without it a
    chunk only fills the cache.
    """

    session: bytes
    position: int
    inputs: Tensor
    wants_logits: bool = True


@dataclass(frozen=True, slots=True)
class SavedSession:
    """A session outside of the engine's pages: what one engine saved, another over the same span restores.

    tensors are the engine's own, (blocks of the session's span, key/value heads, length, ...), on the CPU.
    """

    span: Span
    capacity: int
    length: int
    tensors: tuple[Tensor, ...]

    @property
    def nbytes(self) -> int:
        return sum(each.nbytes for each in self.tensors)


@runtime_checkable
class Engine(Protocol):
    """One span of one model with the key/value caches of its sessions, in pages that they take as they grow.

    Every refusal is an EngineError and leaves every session as it was; one that concerns a chunk names its session.
    Full pages can be remembered by a key and used by another session that begins alike; who may share what is for the
    caller to decide, by its choice of keys.
    """

    spec: ModelSpec
    span: Span
    profile: str
    manifest: Manifest
    tensors: Mapping[str, Tensor]
    """The weights by their names, never changed: other engines of the process may share them."""
    hidden_dtype: torch.dtype
    """Of hidden states and logits: float32, or int32 (Q16) in the exact profile."""

    @property
    def kernel(self) -> str:
        """What computes, for people and logs; in the exact profile it never changes a byte."""

    @property
    def pages(self) -> PagePool:
        """The cache's pages: for asking how many there are and are free."""

    @property
    def page_bytes(self) -> int:
        """Of keys and values, for PAGE_POSITIONS positions."""

    def open(self, session: bytes, capacity: int, span: Span | None = None) -> None:
        """Begin a session of at most capacity positions, over all of the engine's span or over a part of it.

        Raises SessionExists, CacheFull (capacity outside [1, max_positions]), SpanError.
        """

    def resize(self, session: bytes, capacity: int) -> None:
        """Change how long a session may become. Raises UnknownSession, CacheFull."""

    def pages_wanted(self, session: bytes, rows: int) -> int:
        """Free pages that the next rows of a session will take. Raises UnknownSession."""

    def forward(self, batch: Sequence[Chunk]) -> list[Tensor]:
        """Compute one chunk of each of several different sessions and extend their caches.

        Returns, in the order of the batch, hidden states (n, hidden_size), or where a session's span ends with the model the
        logits of the chunk's last row (vocab_size,), or (0,) where none were wanted; of hidden_dtype. No chunks, no outputs.
        Raises: UnknownSession; ShapeMismatch (shape, dtype, a position other than length(session), a session twice);
        CacheFull; PoolFull (nothing was computed); TokenOutOfRange; NotFinite, or IntegerOverflow in the exact profile.
        """

    def length(self, session: bytes) -> int:
        """Positions computed so far. Raises UnknownSession."""

    def truncate(self, session: bytes, length: int) -> None:
        """Forget every position from length on. Raises UnknownSession, ShapeMismatch outside [0, length(session)]."""

    def close(self, session: bytes) -> None:
        """Free the session's pages; closing what is not open does nothing."""

    def publish(self, session: bytes, keys: Sequence[bytes]) -> None:
        """Remember the session's first pages, full ones, by keys. Raises UnknownSession, ShapeMismatch."""

    def adopt(self, session: bytes, keys: Sequence[bytes]) -> int:
        """Begin an empty session with the remembered pages of the first keys; returns how many positions it has now.

        Raises UnknownSession, ShapeMismatch (not empty), CacheFull.
        """

    def save(self, session: bytes) -> SavedSession:
        """Copy a session out; it stays open. Raises UnknownSession."""

    def restore(self, session: bytes, saved: SavedSession) -> None:
        """Open a session with what was saved. Raises SessionExists, CacheFull, PoolFull, ShapeMismatch."""


def is_first(engine: Engine) -> bool:
    """Whether the engine takes token ids."""
    return engine.span.start == 0


def is_last(engine: Engine) -> bool:
    """Whether the engine gives logits."""
    return engine.span.end == engine.spec.num_blocks


def loaded_tensors(engines: Sequence[Engine], manifest: Manifest) -> dict[str, Tensor]:
    """What engines of the same model have loaded."""
    same = [each for each in engines if (each.profile, each.manifest.root) == (manifest.profile, manifest.root)]
    return {name: tensor for each in same for name, tensor in each.tensors.items()}
