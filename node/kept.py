"""What of a session outlives its route on a stage: its KV cache and what it would take to feed the next stage again.

A route that loses a stage ends on all of them. The others keep their caches for a while, for the client that comes back
with a new route of the same session; a client that closes or leaves frees them at once.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field

from node.admission import Admitted
from node.credit import SessionCredit
from node.output_log import LogBudget, OutputLog
from sharding.hashing import keccak256
from sharding.span import Span
from verification.addresses import Address, address_bytes

log = logging.getLogger(__name__)

KEEP_SECONDS = 15.0
"""For a client to find another route; it gives up long before."""
NAME_BYTES = 16


@dataclass(frozen=True, slots=True)
class SessionKey:
    """Whose session it is, over all of its routes, and which of its blocks."""

    client: Address
    nonce: bytes
    span: Span

    @classmethod
    def of(cls, admitted: Admitted) -> "SessionKey":
        return cls(admitted.client, admitted.route.nonce, admitted.span)

    @property
    def name(self) -> bytes:
        """What the engine calls it: nobody can name another client's."""
        return keccak256(address_bytes(self.client) + self.nonce + str(self.span).encode())[:NAME_BYTES]

    def is_beside(self, other: "SessionKey") -> bool:
        """Whether both are of one session, over the same blocks or others."""
        return (self.client, self.nonce) == (other.client, other.nonce)


@dataclass(slots=True)
class Kept:
    """One session's part on this stage."""

    key: SessionKey
    outputs: OutputLog
    tokens: list[int] = field(default_factory=list)
    """Of all positions so far; on the first stage only."""
    account: "Account | None" = None
    """Of the last route."""
    confirmed: int = 0
    """Positions whose tokens the client is known to have sent itself; what the ring told beyond them is no other route's."""
    has_rows: bool = False
    """Whether anything was ever computed for it here."""

    @property
    def name(self) -> bytes:
        return self.key.name


@dataclass(frozen=True, slots=True)
class Account:
    """What a route of the session was, and what it owes."""

    terms: Admitted
    credit: SessionCredit


@dataclass(frozen=True, slots=True)
class Room:
    """So many sessions may be parked; past that the one that was parked first is freed, and its client replays it."""

    sessions: int = 128
    per_client: int = 32


@dataclass(frozen=True, slots=True)
class _Running:
    route: bytes
    supersede: Callable[[], None]
    over: asyncio.Event
    """Set when the session is parked or freed."""


class Shelf:
    """The sessions of one node that are running or kept for a next route."""

    def __init__(
        self, free: Callable[[bytes], Awaitable[None]], log_bytes: int, keep_seconds: float = KEEP_SECONDS,
        room: Room | None = None,
    ) -> None:  # fmt: skip
        """free: gives back what the engine holds of a session by name."""
        self._free = free
        self._budget = LogBudget(log_bytes)
        self._keep_seconds = keep_seconds
        self._room = Room() if room is None else room
        self._parked: dict[SessionKey, Kept] = {}
        self._timers: dict[SessionKey, asyncio.TimerHandle] = {}
        self._running: dict[SessionKey, _Running] = {}
        self._freeing: set[asyncio.Task[None]] = set()

    @property
    def parked(self) -> int:
        """Sessions without a route that keep their caches."""
        return len(self._parked)

    async def take(self, key: SessionKey, route: bytes, spans: Collection[Span]) -> Kept | None:
        """What is kept of a session, which is its new route's from here on; routes that still run are ended first.

        spans: all blocks that the new route has on this node. Caches over others are no use to it, and are freed.
        """
        old = [each for other, each in self._running.items() if other.is_beside(key) and each.route != route]
        for running in old:
            running.supersede()
        for running in old:
            await running.over.wait()
        for other in [each for each in self._parked if each.is_beside(key) and each.span not in spans]:
            if (kept := self._unpark(other)) is not None:
                await self._release(kept)
        return self._unpark(key)

    def _unpark(self, key: SessionKey) -> Kept | None:
        if (timer := self._timers.pop(key, None)) is not None:
            timer.cancel()
        return self._parked.pop(key, None)

    def new(self, key: SessionKey) -> Kept:
        """For a session of which nothing is kept."""
        return Kept(key, OutputLog(self._budget))

    def runs(self, kept: Kept, route: bytes, supersede: Callable[[], None]) -> None:
        """The session has a route, with this digest; `supersede` has it end soon."""
        self._running[kept.key] = _Running(route, supersede, asyncio.Event())

    async def put(self, kept: Kept, *, keep: bool) -> None:
        """The session's route has ended: keep it for a while, or free it."""
        try:
            if keep:
                self._park(kept)
                await self._make_room(kept.key.client)
            else:
                await self._release(kept)
        finally:
            if (running := self._running.pop(kept.key, None)) is not None:
                running.over.set()

    def _park(self, kept: Kept) -> None:
        self._parked[kept.key] = kept
        loop = asyncio.get_running_loop()
        self._timers[kept.key] = loop.call_later(self._keep_seconds, self._expire, kept)

    async def _make_room(self, client: Address) -> None:
        """A parked session holds no place: without a bound one client could fill the cache with such."""
        all_parked = list(dict.fromkeys((key.client, key.nonce) for key in self._parked))
        own = [each for each in all_parked if each[0] == client]
        too_many = {
            *own[: max(0, len(own) - self._room.per_client)],
            *all_parked[: max(0, len(all_parked) - self._room.sessions)],
        }
        for key in [each for each in self._parked if (each.client, each.nonce) in too_many]:
            if (kept := self._unpark(key)) is not None:
                await self._release(kept)

    def _expire(self, kept: Kept) -> None:
        self._timers.pop(kept.key, None)
        if self._parked.get(kept.key) is kept:
            del self._parked[kept.key]
            task = asyncio.create_task(self._release(kept))
            self._freeing.add(task)
            task.add_done_callback(self._freeing.discard)

    async def _release(self, kept: Kept) -> None:
        kept.outputs.clear()
        await self._free(kept.name)

    async def close(self) -> None:
        """Free what is parked."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        for kept in [self._parked.pop(key) for key in list(self._parked)]:
            await self._release(kept)
        await asyncio.gather(*self._freeing, return_exceptions=True)
