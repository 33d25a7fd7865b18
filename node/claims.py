"""What a session must have before it may run on a stage: a place, an epoch that nobody used, and its channel to itself.

One session at a time on a channel: its vouchers are cumulative, so two at once could both count the same payment as theirs.
"""

import asyncio
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from weakref import WeakValueDictionary

from node.admission import Admitted
from node.refusals import BUSY_RETRY_MS, FailureCode, Refused
from verification.addresses import Address

MAX_REMEMBERED_ROUTES = 10_000
CHANNEL_WAIT_SECONDS = 5.0
"""The session before on a channel may still be writing down what it earned when the client opens the next."""


class Claims:
    """The claims of all sessions of one stage."""

    def __init__(self, max_sessions: int, per_client: int | None = None) -> None:
        self._max_sessions = max_sessions
        self._per_client = max_sessions if per_client is None else per_client
        self._held: Counter[Address] = Counter()
        self._epochs: OrderedDict[tuple[Address, bytes], int] = OrderedDict()
        self._waiting: set[bytes] = set()
        self._channels: WeakValueDictionary[bytes, asyncio.Lock] = WeakValueDictionary()

    @asynccontextmanager
    async def claim(self, admitted: Admitted) -> AsyncIterator[None]:
        """Hold everything but the epoch for the length of the block. Raises: Refused (busy)."""
        self._check_places(admitted.client)
        async with self._turn(admitted.route.channel):
            self._check_places(admitted.client)
            self._held[admitted.client] += 1
            try:
                yield
            finally:
                self._held[admitted.client] -= 1
                self._held += Counter()  # drops clients without a session

    def _check_places(self, client: Address) -> None:
        running = self._held.total()
        if running >= self._max_sessions:
            raise Refused(FailureCode.BUSY, f"{running} sessions are running here", retry_after_ms=BUSY_RETRY_MS)
        if self._held[client] >= self._per_client:
            text = f"{self._held[client]} sessions of yours are running here, the limit is {self._per_client}"
            raise Refused(FailureCode.BUSY, text, retry_after_ms=BUSY_RETRY_MS)

    @asynccontextmanager
    async def _turn(self, channel: bytes) -> AsyncIterator[None]:
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
        try:
            yield
        finally:
            lock.release()

    def is_busy(self, channel: bytes) -> bool:
        """Whether a session runs on a channel. May be asked from any thread."""
        lock = self._channels.get(channel)
        return lock is not None and lock.locked()

    def claim_epoch(self, admitted: Admitted) -> None:
        """A session's epochs only rise, so that no slot is ever served twice. Raises: Refused (stale_epoch)."""
        nonce, epoch = (admitted.client, admitted.route.nonce), admitted.route.epoch
        if epoch <= self._epochs.get(nonce, -1):
            raise Refused(
                FailureCode.STALE_EPOCH,
                f"epoch {epoch} of this session has been served; sign a route with a higher one",
            )
        self._epochs[nonce] = epoch
        self._epochs.move_to_end(nonce)
        if len(self._epochs) > MAX_REMEMBERED_ROUTES:
            self._epochs.popitem(last=False)


class _ChannelBusy(Refused):
    def __init__(self) -> None:
        message = "another session runs on this channel; end it or open another channel"
        super().__init__(FailureCode.BUSY, message, retry_after_ms=BUSY_RETRY_MS)
