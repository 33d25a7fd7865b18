"""What every engine must know of its sessions, whatever its caches look like: which are open, how long, how large.

Batches are checked here as a whole before anything is computed, so that a refused batch leaves no trace.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch
from torch import Tensor

from sharding.engine import Chunk
from sharding.errors import (
    CacheFull,
    IntegerOverflow,
    NotFinite,
    SessionExists,
    ShapeMismatch,
    TokenOutOfRange,
    UnknownSession,
)
from sharding.spec import ModelSpec

Cache = TypeVar("Cache")
MAX_INT32 = (1 << 31) - 1


@dataclass(slots=True)
class Session(Generic[Cache]):
    """An open session: length positions of its cache are filled, capacity is where it ends."""

    cache: Cache
    capacity: int
    length: int = 0


class SessionTable(Generic[Cache]):
    """The open sessions of one engine; make_cache(capacity) builds what the engine keeps for each."""

    def __init__(
        self, spec: ModelSpec, make_cache: Callable[[int], Cache], hidden_dtype: torch.dtype = torch.float32
    ) -> None:
        """hidden_dtype: float32, or int32 for the exact profile's Q16."""
        self._spec = spec
        self._hidden_dtype = hidden_dtype
        self._make_cache = make_cache
        self._sessions: dict[bytes, Session[Cache]] = {}

    def __len__(self) -> int:
        return len(self._sessions)

    def open(self, session: bytes, capacity: int) -> None:
        """Raises SessionExists; CacheFull where capacity lies outside [1, max_positions]."""
        if session in self._sessions:
            raise SessionExists(session)
        if not 1 <= capacity <= self._spec.max_positions:
            raise CacheFull(session, capacity, self._spec.max_positions)
        self._sessions[session] = Session(self._make_cache(capacity), capacity)

    def get(self, session: bytes) -> Session[Cache]:
        """Raises UnknownSession."""
        try:
            return self._sessions[session]
        except KeyError:
            raise UnknownSession(session) from None

    def truncate(self, session: bytes, length: int) -> None:
        """Raises UnknownSession, ShapeMismatch where length lies outside [0, the session's length]."""
        entry = self.get(session)
        if not 0 <= length <= entry.length:
            raise ShapeMismatch(session, "length to keep", f"in [0, {entry.length}]", length)
        entry.length = length

    def close(self, session: bytes) -> None:
        self._sessions.pop(session, None)

    def admit(self, batch: Sequence[Chunk], *, tokens: bool) -> list[Session[Cache]]:
        """The batch's sessions in its order, once every chunk is known to be in order. Raises what forward raises."""
        entries = [self._admit(chunk, tokens) for chunk in batch]
        if len({chunk.session for chunk in batch}) != len(batch):
            names = [chunk.session for chunk in batch]
            twice = next(name for name in names if names.count(name) > 1)
            raise ShapeMismatch(twice, "chunks of one session in one batch", 1, names.count(twice))
        return entries

    def _admit(self, chunk: Chunk, tokens: bool) -> Session[Cache]:
        entry = self.get(chunk.session)
        _check_inputs(chunk, self._spec, torch.int64 if tokens else self._hidden_dtype)
        if chunk.position != entry.length:
            raise ShapeMismatch(chunk.session, "position", entry.length, chunk.position)
        if entry.length + len(chunk.inputs) > entry.capacity:
            raise CacheFull(chunk.session, entry.length + len(chunk.inputs), entry.capacity)
        return entry


def _check_inputs(chunk: Chunk, spec: ModelSpec, wanted: torch.dtype) -> None:
    inputs = chunk.inputs
    if inputs.dtype != wanted:
        raise ShapeMismatch(chunk.session, "dtype", wanted, inputs.dtype)
    row = () if wanted == torch.int64 else (spec.hidden_size,)
    if inputs.dim() != len(row) + 1 or inputs.shape[1:] != row or len(inputs) < 1:
        raise ShapeMismatch(chunk.session, "shape", ("n >= 1", *row), tuple(inputs.shape))
    if wanted == torch.int64:
        _check_tokens(chunk, spec.vocab_size)
    elif wanted == torch.int32:
        _check_whole(chunk)
    elif not is_finite(inputs):
        raise NotFinite("hidden states", session=chunk.session)


def _check_whole(chunk: Chunk) -> None:
    """The lowest int32 has no positive twin and is no Q16 number."""
    if int(chunk.inputs.min()) < -MAX_INT32:
        raise IntegerOverflow("a hidden state", MAX_INT32, session=chunk.session)


def _check_tokens(chunk: Chunk, vocab_size: int) -> None:
    low, high = (int(end) for end in torch.aminmax(chunk.inputs))
    if low < 0 or high >= vocab_size:
        raise TokenOutOfRange(chunk.session, low if low < 0 else high, vocab_size)


def is_finite(values: Tensor) -> bool:
    return bool(torch.isfinite(values).all())
