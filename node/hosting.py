"""Which spans of the model a node hosts, for new sessions and for those that it has, and the change from some spans to others.

A session stays with the engine that it began on. An engine that no new session goes to is kept until its last one, running or
parked, is over; then its memory is free.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from node.hosted import Hosted, Means, by_blocks
from node.refusals import FailureCode, Refused
from sharding.engine import Engine
from sharding.errors import EngineError, SessionExists
from sharding.span import Span, apart, covers, without

log = logging.getLogger(__name__)

MAX_OLD = 4
"""Engines that are kept for their sessions; there is no further change before one of them is gone."""


def _stay() -> None:
    """A session without a route has nobody to tell."""


@dataclass(slots=True)
class _Tenant:
    """A session, running or parked."""

    hosted: Hosted
    span: Span
    move: Callable[[], object] = _stay


class Hosting:
    """The engines of one node, all of one model."""

    def __init__(self, engines: Sequence[Engine], means: Means) -> None:
        """engines: in ascending order, each with its share of the memory. Raises: SpanError."""
        self._means = means
        self._spans = apart([engine.span for engine in engines])
        caches = by_blocks(means.cache_bytes, self._spans)
        self._current = tuple(self._hosted(engine, caches[engine.span], self._spans) for engine in engines)
        self._old: list[Hosted] = []
        self._tenants: dict[bytes, _Tenant] = {}
        self._changing = asyncio.Lock()
        self._left = asyncio.Event()

    @property
    def spans(self) -> tuple[Span, ...]:
        """Open to new sessions, ascending."""
        return self._spans

    @property
    def all_spans(self) -> tuple[Span, ...]:
        """Of all engines: also of those that only serve the sessions they have."""
        return tuple(hosted.span for hosted in (*self._current, *self._old))

    @property
    def current(self) -> tuple[Hosted, ...]:
        """What new sessions go to, in the spans' order."""
        return self._current

    @property
    def busy_seconds(self) -> float:
        """Time that the engines have spent computing, those that only serve the sessions they have included."""
        return sum(hosted.batcher.load.seconds for hosted in (*self._current, *self._old))

    @property
    def waiting_rows(self) -> int:
        """Of all engines: they take turns in one thread, so a row that waits before any of them holds up all."""
        return sum(hosted.batcher.waiting_rows for hosted in (*self._current, *self._old))

    @property
    def waiting_seconds(self) -> float:
        """How long those rows will take."""
        return sum(
            hosted.batcher.waiting_rows / max(hosted.batcher.load.rows_per_second, 1.0)
            for hosted in (*self._current, *self._old)
        )

    def check_open(self, span: Span) -> None:
        """Raises: Refused (draining) where these blocks take no new session."""
        if not covers(self._spans, span):
            text = f"this node gives up blocks {span} and takes no new sessions for them; choose another one"
            raise Refused(FailureCode.DRAINING, text)

    def enter(self, name: bytes, span: Span) -> Hosted:
        """Give a new session its engine for life; `leave` ends it. Raises: Refused (draining), SessionExists."""
        if name in self._tenants:
            raise SessionExists(name)
        self.check_open(span)
        hosted = next(each for each in self._current if covers((each.span,), span))
        self._tenants[name] = _Tenant(hosted, span)
        return hosted

    def home(self, name: bytes) -> Hosted:
        """The engine of a session that has entered. Raises: KeyError."""
        return self._tenants[name].hosted

    def runs(self, name: bytes, move: Callable[[], object]) -> None:
        """A session has a route; `move` has it go on elsewhere."""
        self._tenants[name].move = move

    def rests(self, name: bytes) -> None:
        """A session's route is over."""
        self._tenants[name].move = _stay

    async def try_speeds(self) -> None:
        """Find out what to claim of the engines, before anybody uses them."""
        for hosted in self._current:
            await hosted.try_speed()

    async def leave(self, name: bytes) -> None:
        """Free what a session has; an engine that is not wanted any more goes with its last one."""
        tenant = self._tenants.get(name)
        if tenant is None:
            return
        try:
            await tenant.hosted.batcher.call(tenant.hosted.batcher.runner.close, name)
        finally:
            self._tenants.pop(name, None)
            self._left.set()
            await self._drop_empty()

    async def change(self, spans: tuple[Span, ...]) -> None:
        """Load what is lacking, then take new sessions for these spans and no others.

        Raises: ShardingError where blocks cannot be loaded; nothing has changed then.
        """
        async with self._changing:
            spans, made = apart(spans), list[Hosted]()
            if spans != tuple(hosted.span for hosted in self._current):  # else closed blocks are opened again
                self._check_old()
            for span, cache_bytes in by_blocks(self._means.cache_bytes, spans).items():
                hosted = self._as_it_is(span, cache_bytes)
                if hosted is None:
                    engine = await self._load(span, cache_bytes, made)
                    hosted = self._hosted(engine, cache_bytes, spans)
                    await hosted.try_speed()
                made.append(hosted)
            self._old = [each for each in (*self._current, *self._old) if each not in made]
            self._spans, self._current = spans, tuple(made)
            log.info("hosting blocks %s", ", ".join(map(str, spans)))
            await self._drop_empty()
            for hosted in self._old:
                await hosted.batcher.call(hosted.engine.pages.forget_all)

    def _check_old(self) -> None:
        """Each engine that waits for its last session has its whole cache still. Raises: EngineError."""
        if len(self._old) >= MAX_OLD:
            raise EngineError(
                f"sessions run on {len(self._old)} engines that were given up; change when some have ended"
            )

    def _as_it_is(self, span: Span, cache_bytes: int) -> Hosted | None:
        """An engine whose share of the memory has changed as well is made anew: one cannot shrink under its sessions."""
        for hosted in (*self._current, *self._old):
            if (hosted.span, hosted.cache_bytes) == (span, cache_bytes):
                return hosted
        return None

    async def _load(self, span: Span, cache_bytes: int, made: Sequence[Hosted]) -> Engine:
        """Beside the compute thread, which serves meanwhile. Raises: ShardingError, also where there is no memory left."""
        have = [hosted.engine for hosted in (*made, *self._current, *self._old)]
        try:
            return await asyncio.to_thread(self._means.load, span, cache_bytes, have)
        except (MemoryError, OSError, RuntimeError) as error:  # torch says RuntimeError where it gets no memory
            text = f"blocks {span} cannot be loaded ({error}); see to the model's files and to free memory"
            raise EngineError(text) from error

    def _hosted(self, engine: Engine, cache_bytes: int, spans: Sequence[Span]) -> Hosted:
        swap_bytes = by_blocks(self._means.swap_bytes, spans)[engine.span]
        return Hosted.of(engine, self._means, cache_bytes, swap_bytes)

    async def _drop_empty(self) -> None:
        used = {tenant.hosted for tenant in self._tenants.values()}
        empty = [hosted for hosted in self._old if hosted not in used]
        self._old = [hosted for hosted in self._old if hosted in used]
        for hosted in empty:
            await hosted.batcher.close()

    def retire(self, gone: tuple[Span, ...]) -> None:
        """Take no new session for these blocks from now on; `change` gives them up, or takes them back."""
        self._spans = without(self._spans, gone)

    @property
    def retiring_sessions(self) -> int:
        """Sessions, running or parked, that need blocks which take no new ones."""
        return len(self._retiring())

    def _retiring(self) -> list[_Tenant]:
        return [tenant for tenant in self._tenants.values() if not covers(self._spans, tenant.span)]

    def move(self) -> None:
        """Have those sessions go on elsewhere. One that finds nobody else comes back and is served to its end."""
        for tenant in self._retiring():
            tenant.move()

    async def quiet(self, seconds: float) -> bool:
        """Wait until no session needs those blocks, at most so long; returns whether none does."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self.retiring_sessions:
                    self._left.clear()
                    await self._left.wait()
        return not self.retiring_sessions

    async def close(self) -> None:
        """Take no more passes."""
        for hosted in (*self._current, *self._old):
            await hosted.batcher.close()
