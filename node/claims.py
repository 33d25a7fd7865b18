"""What a session must have before it may run on a stage: a place, an epoch that nobody used, and its channel to itself.

One session at a time on a channel: its vouchers are cumulative, so two at once could both count the same payment as theirs.
"""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from weakref import WeakValueDictionary

from node.admission import Admitted
from node.refusals import FailureCode, Refused
from verification.addresses import Address

MAX_REMEMBERED_ROUTES = 10_000
CHANNEL_WAIT_SECONDS = 5.0
"""The session before on a channel may still be writing down what it earned when the client opens the next."""


class Claims:
    """The claims of all sessions of one stage."""

    def __init__(self, max_sessions: int) -> None:
        self._max_sessions = max_sessions
        self._held = 0
        self._epochs: OrderedDict[tuple[Address, bytes], int] = OrderedDict()
        self._waiting: set[bytes] = set()
        self._channels: WeakValueDictionary[bytes, asyncio.Lock] = WeakValueDictionary()

    @asynccontextmanager
    async def claim(self, admitted: Admitted) -> AsyncIterator[None]:
        """Hold everything for the length of the block. Raises: Refused (busy, stale_epoch)."""
        if self._held >= self._max_sessions:
            raise Refused(FailureCode.BUSY, f"{self._held} sessions are running; try again in a moment")
        self._claim_epoch((admitted.client, admitted.route.nonce), admitted.route.epoch)
        async with self._turn(admitted.route.channel):
            self._held += 1
            try:
                yield
            finally:
                self._held -= 1

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

    def _claim_epoch(self, nonce: tuple[Address, bytes], epoch: int) -> None:
        """A session's epochs only rise, so that no slot is ever served twice."""
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
        super().__init__(FailureCode.BUSY, message)
