"""What both engines do alike with their sessions: everything of the Engine seam but the numbers."""

from collections.abc import Iterable, Iterator, Sequence

from torch import Tensor

from sharding.engine import Chunk, SavedSession
from sharding.paging import PAGE_POSITIONS, PagePool
from sharding.session_table import Session, SessionTable
from sharding.span import Span

DEFAULT_CACHE_BYTES = 256 << 20
"""Of keys and values; memory that no session needs is never touched."""


class PagedSessions:
    """See Engine; subclasses set _sessions."""

    _sessions: SessionTable

    @property
    def pages(self) -> PagePool:
        return self._sessions.pool

    def open(self, session: bytes, capacity: int, span: Span | None = None) -> None:
        self._sessions.open(session, capacity, span)

    def resize(self, session: bytes, capacity: int) -> None:
        self._sessions.resize(session, capacity)

    def pages_wanted(self, session: bytes, rows: int) -> int:
        return self._sessions.pages_wanted(session, rows)

    def length(self, session: bytes) -> int:
        return self._sessions.get(session).length

    def truncate(self, session: bytes, length: int) -> None:
        self._sessions.truncate(session, length)

    def close(self, session: bytes) -> None:
        self._sessions.close(session)

    def publish(self, session: bytes, keys: Sequence[bytes]) -> None:
        self._sessions.publish(session, keys)

    def adopt(self, session: bytes, keys: Sequence[bytes]) -> int:
        return self._sessions.adopt(session, keys)

    def save(self, session: bytes) -> SavedSession:
        return self._sessions.save(session)

    def restore(self, session: bytes, saved: SavedSession) -> None:
        self._sessions.restore(session, saved)


def bytes_of(tensors: Iterable[Tensor]) -> int:
    return sum(each.nbytes for each in tensors)


def cache_positions(cache_bytes: int, page_bytes: int) -> int:
    """Positions in the pages that fit; one page at least."""
    return max(1, cache_bytes // page_bytes) * PAGE_POSITIONS


def by_span(sessions: Sequence[Session]) -> list[list[int]]:
    """The places of a batch's sessions, those over the same blocks together."""
    groups: dict[Span, list[int]] = {}
    for place, session in enumerate(sessions):
        groups.setdefault(session.span, []).append(place)
    return list(groups.values())


def spread(logits: Tensor, batch: Sequence[Chunk]) -> list[Tensor]:
    """Rows of logits back to the chunks that wanted them; the others get (0,)."""
    rows: Iterator[Tensor] = iter(logits)
    return [next(rows) if chunk.wants_logits else logits.new_empty(0) for chunk in batch]
