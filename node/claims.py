"""What a session must have before it may run on a stage: a place, an epoch that nobody used, and its channel to itself.

One route at a time on a channel: its vouchers are cumulative, so two at once could both count the same payment as theirs.
The stages of one route on one node are paid by the same vouchers, and share the channel and the place.
"""

import asyncio
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from weakref import WeakValueDictionary

from node.admission import Admitted
from node.refusals import BUSY_RETRY_MS, FailureCode, Refused
from verification.addresses import Address

MAX_REMEMBERED_ROUTES = 10_000
COMING_BACK = 2
"""So many times the limits hold for sessions that were accepted, lost their route and come back for their caches."""
CHANNEL_WAIT_SECONDS = 5.0
"""The session before on a channel may still be writing down what it earned when the client opens the next."""


@dataclass(slots=True)
class _Route:
    """A route with its channel's lock and the stages that run."""

    lock: asyncio.Lock
    stages: set[int] = field(default_factory=set)


@dataclass(slots=True)
class _Served:
    """The newest route of a session that was served, and for which of its stages."""

    epoch: int
    route: bytes
    stages: set[int]


class Claims:
    """The claims of all sessions of one node."""

    def __init__(self, max_sessions: int, per_client: int | None = None) -> None:
        self._max_sessions = max_sessions
        self._per_client = max_sessions if per_client is None else per_client
        self._held: Counter[Address] = Counter()
        self._routes: dict[bytes, _Route] = {}
        self._epochs: OrderedDict[tuple[Address, bytes], _Served] = OrderedDict()
        self._waiting: set[bytes] = set()
        self._channels: WeakValueDictionary[bytes, asyncio.Lock] = WeakValueDictionary()

    @asynccontextmanager
    async def claim(self, admitted: Admitted, crowding: int = 1) -> AsyncIterator[None]:
        """Hold everything but the epoch for the length of the block; the limits count `crowding` times. Raises: Refused (busy)."""
        route = self._routes.get(admitted.digest)
        if route is None or admitted.stage in route.stages:
            route = await self._begin(admitted, crowding)
        route.stages.add(admitted.stage)
        try:
            yield
        finally:
            route.stages.discard(admitted.stage)
            if not route.stages:
                self._end(admitted, route)

    async def _begin(self, admitted: Admitted, crowding: int) -> _Route:
        """The first stage of a route takes its place and its channel."""
        self._check_places(admitted.client, crowding)
        lock = await self._turn(admitted.route.channel)
        try:
            self._check_places(admitted.client, crowding)
        except Refused:
            lock.release()
            raise
        self._held[admitted.client] += 1
        self._routes[admitted.digest] = route = _Route(lock)
        return route

    def _end(self, admitted: Admitted, route: _Route) -> None:
        del self._routes[admitted.digest]
        self._held[admitted.client] -= 1
        self._held += Counter()  # drops clients without a session
        route.lock.release()

    def check_room(self, client: Address | None) -> None:
        """Whether there is a place for a new session, of this client where it is known. Raises: Refused (busy)."""
        self._check_places(client, 1)

    def _check_places(self, client: Address | None, crowding: int) -> None:
        running = self._held.total()
        if running >= crowding * self._max_sessions:
            raise Refused(FailureCode.BUSY, f"{running} sessions are running here", retry_after_ms=BUSY_RETRY_MS)
        if client is not None and self._held[client] >= crowding * self._per_client:
            text = f"{self._held[client]} sessions of yours are running here, the limit is {self._per_client}"
            raise Refused(FailureCode.BUSY, text, retry_after_ms=BUSY_RETRY_MS)

    async def _turn(self, channel: bytes) -> asyncio.Lock:
        """The channel's lock; one session may wait for it, and holds no place while it does."""
        lock = self._channels.setdefault(channel, asyncio.Lock())
        if lock.locked() and channel in self._waiting:
            raise _ChannelBusy
        self._waiting.add(channel)
        try:
            async with asyncio.timeout(CHANNEL_WAIT_SECONDS):
                await lock.acquire()
        except TimeoutError as error:
            raise _ChannelBusy from error
        finally:
            self._waiting.discard(channel)
        return lock

    def is_busy(self, channel: bytes) -> bool:
        """Whether a session runs on a channel. May be asked from any thread."""
        lock = self._channels.get(channel)
        return lock is not None and lock.locked()

    def claim_epoch(self, admitted: Admitted) -> None:
        """A session's epochs only rise, so that no slot is ever served twice. Raises: Refused (stale_epoch)."""
        nonce, epoch = (admitted.client, admitted.route.nonce), admitted.route.epoch
        served = self._epochs.get(nonce)
        if served is None or epoch > served.epoch:
            self._epochs[nonce] = served = _Served(epoch, admitted.digest, set())
        if (served.epoch, served.route) != (epoch, admitted.digest) or admitted.stage in served.stages:
            raise Refused(
                FailureCode.STALE_EPOCH,
                f"epoch {epoch} of this session has been served; sign a route with a higher one",
            )
        served.stages.add(admitted.stage)
        self._epochs.move_to_end(nonce)
        if len(self._epochs) > MAX_REMEMBERED_ROUTES:
            self._forget_one()

    def _forget_one(self) -> None:
        """Not a session that runs: whoever signs routes without end could have an old route of another's take its place."""
        rests = (nonce for nonce, served in self._epochs.items() if served.route not in self._routes)
        if (oldest := next(rests, None)) is not None:
            del self._epochs[oldest]


class _ChannelBusy(Refused):
    """Without a time: the node is not full, on another channel the session would run."""

    def __init__(self) -> None:
        super().__init__(FailureCode.BUSY, "another session runs on this channel; end it or open another channel")
