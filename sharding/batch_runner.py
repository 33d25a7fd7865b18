"""One engine for many sessions when pages are short: who gets them, who is set aside, who waits. Synchronous.

A session that finds no free page takes those of one that may be set aside: one without work in this pass before one with,
then one of lower priority, then a younger one. What is set aside is copied out whole and copied back before its next chunk:
no number changes. Where there is no memory for that, the last in rank give their caches up, for the oldest session of the
highest priority, which so can always go on, or where nobody in a pass can; they begin again from their first position.
"""

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from torch import Tensor

from sharding.engine import Chunk, Engine, SavedSession
from sharding.errors import EngineError, PoolFull, SessionExists
from sharding.paging import pages_for
from sharding.span import Span
from sharding.tenants import Tenants

DEFAULT_SWAP_BYTES = 256 << 20


@dataclass(frozen=True, slots=True)
class Done:
    """The engine's output for a chunk."""

    output: Tensor


@dataclass(frozen=True, slots=True)
class Failed:
    """The chunk cannot be computed; its session is as it was, or gone where the error says so."""

    error: EngineError


@dataclass(frozen=True, slots=True)
class Waiting:
    """There are no pages for the chunk now: hand it in again."""


Outcome = Done | Failed | Waiting


class BatchRunner:
    """Opens, runs and closes sessions on one engine, setting some aside in swap_bytes of memory where pages are short."""

    def __init__(self, engine: Engine, swap_bytes: int = DEFAULT_SWAP_BYTES) -> None:
        self.engine = engine
        self._swap_bytes = swap_bytes
        self._tenants = Tenants()
        self._aside: OrderedDict[bytes, SavedSession] = OrderedDict()
        self._spoken_for = 0
        """Free pages that chunks of this pass will take when they are computed."""

    @property
    def set_aside(self) -> int:
        """Sessions whose pages others have now."""
        return len(self._aside)

    @property
    def unpromised_pages(self) -> int:
        """Free pages less those that open sessions were promised and have not taken."""
        owed = sum(pages_for(tenant.promised) - self._held_pages(name) for name, tenant in self._tenants.items())
        return self.engine.pages.free - max(0, owed)

    def _held_pages(self, session: bytes) -> int:
        saved = self._aside.get(session)
        if saved is not None:
            return 0
        return min(pages_for(self._tenants[session].promised), pages_for(self.engine.length(session)))

    def open(
        self, session: bytes, capacity: int, span: Span | None = None, *, promised: int = 0, priority: int = 0
    ) -> None:
        """Begin a session; `promised` positions count as taken from now on. Raises SessionExists, CacheFull, PoolFull."""
        if session in self._tenants:
            raise SessionExists(session)
        if pages_for(promised) > self.unpromised_pages:
            raise PoolFull(session, pages_for(promised), max(0, self.unpromised_pages))
        self.engine.open(session, capacity, span)
        self._tenants.enter(session, priority, promised)

    def close(self, session: bytes) -> None:
        """Free everything of a session; closing what is not open does nothing."""
        if self._tenants.pop(session, None) is not None and self._aside.pop(session, None) is None:
            self.engine.close(session)

    def length(self, session: bytes) -> int:
        """Raises UnknownSession."""
        saved = self._aside.get(session)
        return self.engine.length(session) if saved is None else saved.length

    def go_back(self, session: bytes, length: int, capacity: int) -> None:
        """Forget positions from length on, and change the capacity. Raises UnknownSession, ShapeMismatch, CacheFull, PoolFull.

        PoolFull also where the session gave its cache up, for as long as there is no room for as much as it had.
        """
        tenant = self._tenants.find(session)
        if tenant.lost and (length > self.length(session) or self.unpromised_pages < 0):
            raise PoolFull(session, pages_for(tenant.lost), max(0, self.unpromised_pages))
        if session in self._aside:
            self._make_room(session, 0, ())
            self._bring_back(session, 0)
        self.engine.truncate(session, length)
        self.engine.resize(session, capacity)
        tenant.lost = 0

    def save(self, session: bytes) -> SavedSession:
        """A copy of the session, which stays open. Raises UnknownSession."""
        saved = self._aside.get(session)
        return self.engine.save(session) if saved is None else saved

    def adopt(self, session: bytes, keys: Sequence[bytes]) -> int:
        """See Engine."""
        return self.engine.adopt(session, keys)

    def publish(self, session: bytes, keys: Sequence[bytes]) -> None:
        """Like Engine's, but of a session that has no pages now nothing is remembered. Raises UnknownSession, ShapeMismatch."""
        if session not in self._aside and not self._tenants.find(session).lost:
            self.engine.publish(session, keys)

    def run(self, batch: Sequence[Chunk]) -> list[Outcome]:
        """Compute a batch of different sessions; one that fails or waits does not hold up the others."""
        order = sorted(batch, key=lambda chunk: self._tenants.rank(chunk.session))
        outcomes = self._prepared(order)
        first = next((chunk for chunk in order if isinstance(outcomes.get(chunk.session), Waiting)), None)
        if first is not None and self._may_take(first, is_stuck=len(outcomes) == len(order)):
            self._take_from_below(first)
            outcomes = self._prepared(order)
        outcomes |= self._forward([chunk for chunk in order if chunk.session not in outcomes])
        return [outcomes[chunk.session] for chunk in batch]

    def _prepared(self, order: Sequence[Chunk]) -> dict[bytes, Outcome]:
        """Find pages for one chunk after the other; returns what is to be said of those that cannot go on."""
        outcomes: dict[bytes, Outcome] = {}
        names = {chunk.session for chunk in order}
        self._spoken_for = 0
        for chunk in order:
            outcome = self._prepare(chunk, names)
            if outcome is None:
                self._spoken_for += self.engine.pages_wanted(chunk.session, len(chunk.inputs))
            else:
                outcomes[chunk.session] = outcome
        self._spoken_for = 0
        return outcomes

    def _may_take(self, chunk: Chunk, *, is_stuck: bool) -> bool:
        """Whether others are to give their caches up for a chunk, and it can go on then."""
        if not is_stuck and not self._tenants.is_first(chunk.session):
            return False  # one that ends soon costs less than one that begins again
        held = sum(pages_for(self.engine.length(name)) for name in self._below(chunk.session))
        return self._missing(chunk.session, len(chunk.inputs)) <= self.engine.pages.free + held

    def _take_from_below(self, chunk: Chunk) -> None:
        """The last in rank begin again, as many as it takes."""
        for name in self._below(chunk.session):
            if self._missing(chunk.session, len(chunk.inputs)) <= self.engine.pages.free:
                return
            self._tenants[name].give_up(self.engine.length(name))
            self.engine.truncate(name, 0)

    def _below(self, session: bytes) -> list[bytes]:
        """Who comes after a session and has pages, the last one first."""
        return [name for name in self._tenants.below(session) if name not in self._aside and self.engine.length(name)]

    def _prepare(self, chunk: Chunk, names: Iterable[bytes]) -> Outcome | None:
        """Find the chunk's pages; None where it can go on."""
        try:
            self._check_lost(chunk)
            wanted, total = pages_for(self.length(chunk.session) + len(chunk.inputs)), self.engine.pages.total
            if wanted > total:
                raise PoolFull(chunk.session, wanted, total)
            self._make_room(chunk.session, len(chunk.inputs), names)
            if self._missing(chunk.session, len(chunk.inputs)) > self._spare:
                return Waiting()
            self._bring_back(chunk.session, len(chunk.inputs))
        except EngineError as error:
            return Failed(error)
        return None

    def _check_lost(self, chunk: Chunk) -> None:
        """A session that gave its cache up must begin again. Raises UnknownSession, PoolFull."""
        tenant = self._tenants.find(chunk.session)
        if tenant.lost and chunk.position > self.length(chunk.session):
            raise PoolFull(chunk.session, pages_for(tenant.lost + len(chunk.inputs)), self.engine.pages.free)
        tenant.lost = 0

    @property
    def _spare(self) -> int:
        return self.engine.pages.free - self._spoken_for

    def _make_room(self, session: bytes, rows: int, names: Iterable[bytes]) -> None:
        """Set others aside until the session's next rows have pages, or nobody is left who may be."""
        while self._missing(session, rows) > self._spare:
            victim = self._victim(session, names)
            if victim is None or not self._set_aside(victim):
                return

    def _missing(self, session: bytes, rows: int) -> int:
        saved = self._aside.get(session)
        return self.engine.pages_wanted(session, rows) if saved is None else pages_for(saved.length + rows)

    def _victim(self, session: bytes, names: Iterable[bytes]) -> bytes | None:
        """Whose pages the session may have: of the lowest rank first, idle ones before those with work."""
        tenants, own = self._tenants, self._tenants[session]
        others = [name for name in tenants if name != session and name not in self._aside and self.engine.length(name)]
        idle = [name for name in others if name not in names and tenants[name].priority <= own.priority]
        lower = [name for name in others if name in names and tenants[name].rank > own.rank]
        return max(idle or lower, key=tenants.rank, default=None)

    def _set_aside(self, session: bytes) -> bool:
        """Whether there was memory for it."""
        held = pages_for(self.engine.length(session)) * self.engine.page_bytes
        if held + sum(saved.nbytes for saved in self._aside.values()) > self._swap_bytes:
            return False
        self._aside[session] = self.engine.save(session)
        self.engine.close(session)
        return True

    def _bring_back(self, session: bytes, rows: int) -> None:
        """Raises PoolFull where the pages for it and its next rows are not free."""
        saved = self._aside.get(session)
        if saved is None:
            return
        wanted = pages_for(saved.length + rows)
        if wanted > self._spare:
            raise PoolFull(session, wanted, self._spare)
        self.engine.restore(session, saved)
        del self._aside[session]

    def _forward(self, batch: list[Chunk]) -> dict[bytes, Outcome]:
        """Compute what can be; each error takes its own session out."""
        outcomes: dict[bytes, Outcome] = {}
        while batch:
            try:
                outputs = self.engine.forward(batch)
            except EngineError as error:
                at_fault = [chunk for chunk in batch if chunk.session == error.session] or batch
                for chunk in at_fault:
                    outcomes[chunk.session] = Waiting() if isinstance(error, PoolFull) else Failed(error)
                batch = [chunk for chunk in batch if chunk.session not in outcomes]
                continue
            outcomes |= {chunk.session: Done(output) for chunk, output in zip(batch, outputs, strict=True)}
            break
        return outcomes
