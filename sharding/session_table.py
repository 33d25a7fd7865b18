"""What every engine must know of its sessions, whatever its numbers look like: which are open, how long, in which pages.

Batches are checked here as a whole before anything is computed, so that a refused batch leaves no trace.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from sharding.engine import Chunk, SavedSession
from sharding.errors import (
    CacheFull,
    IntegerOverflow,
    NotFinite,
    PoolFull,
    SessionExists,
    ShapeMismatch,
    SpanError,
    TokenOutOfRange,
    UnknownSession,
)
from sharding.page_table import places_in
from sharding.paging import PAGE_POSITIONS, PagePool, pages_for
from sharding.span import Span
from sharding.spec import ModelSpec

MAX_INT32 = (1 << 31) - 1


@dataclass(slots=True)
class Session:
    """An open session: length positions of its pages are filled, capacity is where it ends."""

    span: Span
    capacity: int
    pages: list[int] = field(default_factory=list)
    length: int = 0
    _table: Tensor | None = None

    def table(self) -> Tensor:
        """The pages' numbers, int32."""
        if self._table is None or len(self._table) != len(self.pages):
            self._table = torch.tensor(self.pages, dtype=torch.int32)
        return self._table

    def changed(self) -> None:
        """Pages were replaced: the table is made anew."""
        self._table = None

    def places(self, start: int, end: int) -> slice | Tensor:
        """Where positions start to end - 1 lie in the cache: a slice where their pages follow each other, which saves a copy."""
        first, last = start // PAGE_POSITIONS, (end - 1) // PAGE_POSITIONS
        pages = self.pages[first : last + 1]
        if pages == list(range(pages[0], pages[0] + len(pages))):
            shift = (pages[0] - first) * PAGE_POSITIONS
            return slice(start + shift, end + shift)
        return places_in(self.table(), start, end)


class SessionTable:
    """The open sessions of one engine, and the pages of its cache."""

    def __init__(
        self, spec: ModelSpec, span: Span, cache: Sequence[Tensor], hidden_dtype: torch.dtype = torch.float32
    ) -> None:
        """cache: tensors of shape (blocks of span, .., positions, ...); hidden_dtype: float32, or int32 for the exact Q16."""
        self._spec = spec
        self._span = span
        self._cache = tuple(cache)
        self._hidden_dtype = hidden_dtype
        self._sessions: dict[bytes, Session] = {}
        self.pool = PagePool(cache[0].shape[2] // PAGE_POSITIONS)

    def __len__(self) -> int:
        return len(self._sessions)

    def open(self, session: bytes, capacity: int, span: Span | None = None) -> Session:
        """Raises SessionExists; CacheFull where capacity lies outside [1, max_positions]; SpanError."""
        if session in self._sessions:
            raise SessionExists(session)
        own = self._span if span is None else span
        if not self._span.start <= own.start < own.end <= self._span.end:
            raise SpanError(f"blocks {own} are not all among {self._span}", start=own.start, end=own.end)
        if not 1 <= capacity <= self._spec.max_positions:
            raise CacheFull(session, capacity, self._spec.max_positions)
        self._sessions[session] = opened = Session(own, capacity)
        return opened

    def get(self, session: bytes) -> Session:
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
        kept = pages_for(length)
        self.pool.release(entry.pages[kept:])
        del entry.pages[kept:]
        entry.changed()  # as many as before may come back, and be others
        entry.length = length

    def resize(self, session: bytes, capacity: int) -> None:
        """Raises UnknownSession; CacheFull where capacity lies outside [max(1, length), max_positions]."""
        entry = self.get(session)
        if not max(1, entry.length) <= capacity <= self._spec.max_positions:
            raise CacheFull(session, capacity, self._spec.max_positions)
        entry.capacity = capacity

    def close(self, session: bytes) -> None:
        entry = self._sessions.pop(session, None)
        if entry is not None:
            self.pool.release(entry.pages)

    def publish(self, session: bytes, keys: Sequence[bytes]) -> None:
        """Remember the session's first full pages by keys. Raises UnknownSession, ShapeMismatch for more keys than full pages."""
        entry = self.get(session)
        if len(keys) > entry.length // PAGE_POSITIONS:
            raise ShapeMismatch(session, "keys", f"at most {entry.length // PAGE_POSITIONS}", len(keys))
        self.pool.publish(keys, entry.pages[: len(keys)])

    def adopt(self, session: bytes, keys: Sequence[bytes]) -> int:
        """Begin an empty session with remembered pages; returns how many positions they hold.

        Raises UnknownSession, ShapeMismatch where it is not empty, CacheFull where they exceed its capacity.
        """
        entry = self.get(session)
        if entry.length:
            raise ShapeMismatch(session, "length", 0, entry.length)
        known = list(keys[: self.pool.known(keys)])
        if len(known) * PAGE_POSITIONS > entry.capacity:
            raise CacheFull(session, len(known) * PAGE_POSITIONS, entry.capacity)
        self.pool.release(entry.pages)  # a chunk that failed may have left some
        entry.pages = self.pool.adopt(known)
        entry.changed()
        entry.length = len(known) * PAGE_POSITIONS
        return entry.length

    def save(self, session: bytes) -> SavedSession:
        """Copy a session out of its pages. Raises UnknownSession."""
        entry = self.get(session)
        places = places_in(entry.table(), 0, entry.length)
        blocks = self._blocks(entry.span)
        kept = tuple(each[blocks].index_select(2, places.to(each.device)).cpu() for each in self._cache)
        return SavedSession(entry.span, entry.capacity, entry.length, kept)

    def _blocks(self, span: Span) -> slice:
        return slice(span.start - self._span.start, span.end - self._span.start)

    def restore(self, session: bytes, saved: SavedSession) -> None:
        """Open a session with what was saved of it. Raises SessionExists, CacheFull, PoolFull, ShapeMismatch."""
        self._check_saved(session, saved)
        entry = self.open(session, saved.capacity, saved.span)
        pages = self.pool.take(pages_for(saved.length))
        if pages is None:
            del self._sessions[session]
            raise PoolFull(session, pages_for(saved.length), self.pool.free)
        entry.pages, entry.length = pages, saved.length
        places = places_in(entry.table(), 0, entry.length)
        for each, kept in zip(self._cache, saved.tensors, strict=True):
            each[self._blocks(entry.span)].index_copy_(2, places.to(each.device), kept.to(each.device))

    def _check_saved(self, session: bytes, saved: SavedSession) -> None:
        if not 0 <= saved.length <= saved.capacity:
            raise ShapeMismatch(session, "saved length", f"in [0, {saved.capacity}]", saved.length)
        blocks = len(saved.span)
        wanted = [((blocks, each.shape[1], saved.length, *each.shape[3:]), each.dtype) for each in self._cache]
        found = [(tuple(each.shape), each.dtype) for each in saved.tensors]
        if wanted != found:
            raise ShapeMismatch(session, "saved cache", wanted, found)

    def admit(self, batch: Sequence[Chunk]) -> list[Session]:
        """The batch's sessions in its order, each with pages for its chunk, once every chunk is known to be in order.

        Raises what forward raises.
        """
        entries = [self._admit(chunk) for chunk in batch]
        if len({chunk.session for chunk in batch}) != len(batch):
            names = [chunk.session for chunk in batch]
            twice = next(name for name in names if names.count(name) > 1)
            raise ShapeMismatch(twice, "chunks of one session in one batch", 1, names.count(twice))
        self._find_pages(batch, entries)
        return entries

    def _admit(self, chunk: Chunk) -> Session:
        entry = self.get(chunk.session)
        _check_inputs(chunk, self._spec, torch.int64 if entry.span.start == 0 else self._hidden_dtype)
        if chunk.position != entry.length:
            raise ShapeMismatch(chunk.session, "position", entry.length, chunk.position)
        if entry.length + len(chunk.inputs) > entry.capacity:
            raise CacheFull(chunk.session, entry.length + len(chunk.inputs), entry.capacity)
        return entry

    def _find_pages(self, batch: Sequence[Chunk], entries: Sequence[Session]) -> None:
        """All or none; the session named is the first that finds none."""
        free = self.pool.free
        for chunk, entry in zip(batch, entries, strict=True):
            need = self._pages_wanted(entry, len(chunk.inputs), free)
            if need > free:
                raise PoolFull(chunk.session, need, free)
            free -= need
        for chunk, entry in zip(batch, entries, strict=True):
            self._give_pages(entry, len(chunk.inputs))

    def pages_wanted(self, session: bytes, rows: int) -> int:
        """Pages that the next rows of a session take from the free ones. Raises UnknownSession."""
        return self._pages_wanted(self.get(session), rows, self.pool.free)

    def _pages_wanted(self, entry: Session, rows: int, free: int) -> int:
        missing = _missing(entry, rows)
        if not self._splits(entry):
            return missing
        page = entry.pages[entry.length // PAGE_POSITIONS]
        return missing if missing == free and self.pool.is_only_remembered(page) else missing + 1

    def _splits(self, entry: Session) -> bool:
        """Whether the next row falls into a page that others read: it was shared, and its owner went back into it."""
        return entry.length % PAGE_POSITIONS > 0 and self.pool.is_shared(entry.pages[entry.length // PAGE_POSITIONS])

    def _give_pages(self, entry: Session, rows: int) -> None:
        missing = _missing(entry, rows)
        if self._splits(entry):
            self._own_page(entry, entry.length // PAGE_POSITIONS, missing)
        if missing > 0:
            entry.pages += self.pool.take(missing) or []

    def _own_page(self, entry: Session, index: int, missing: int) -> None:
        """A page that is remembered only is forgotten where there is none to copy it to: its owner could wait for ever."""
        if self.pool.free > missing:
            self._copy_page(entry, index)
        else:
            self.pool.forget(entry.pages[index])

    def _copy_page(self, entry: Session, index: int) -> None:
        old, [new] = entry.pages[index], self.pool.take(1) or [0]
        for each in self._cache:
            size = PAGE_POSITIONS
            each[:, :, new * size : (new + 1) * size] = each[:, :, old * size : (old + 1) * size]
        self.pool.release([old])
        entry.pages[index] = new
        entry.changed()


def _missing(entry: Session, rows: int) -> int:
    """Pages behind its last one that a session needs for its next rows."""
    return max(0, pages_for(entry.length + rows) - len(entry.pages))


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
