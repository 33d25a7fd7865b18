"""What has arrived on a pipe and was not read yet: bounded, and remembers how the pipe ended."""

import asyncio
from collections import deque

from node.errors import NodeError, again

MAX_WAITING_MESSAGES = 64


class Inbox:
    """Messages of one pipe. Any tasks may put, one takes."""

    def __init__(self, max_bytes: int) -> None:
        self._messages: deque[bytes | bytearray] = deque()
        self._max_bytes = max_bytes
        self._bytes = 0
        self._end: NodeError | None = None
        self._taker: asyncio.Future[None] | None = None
        self._putters: deque[asyncio.Future[None]] = deque()

    @property
    def ended(self) -> NodeError | None:
        """How the pipe ended, if it did."""
        return self._end

    @property
    def full(self) -> bool:
        """Whether the next message has to wait; a single one of any size always finds room."""
        return self._bytes >= self._max_bytes or len(self._messages) >= MAX_WAITING_MESSAGES

    async def put(self, message: bytes | bytearray) -> None:
        """Add a message, waiting for room. Raises: what the inbox ended with."""
        while self.full and self._end is None:
            self._putters.append(asyncio.get_running_loop().create_future())
            await self._putters[-1]
        if self._end is not None:
            raise again(self._end)
        self._messages.append(message)
        self._bytes += len(message)
        if self._taker is not None:
            _wake(self._taker)

    async def take(self) -> bytes | bytearray:
        """Return the oldest message, waiting for one. Raises: what the inbox ended with, once it is empty."""
        while not self._messages:
            if self._end is not None:
                raise again(self._end)
            self._taker = asyncio.get_running_loop().create_future()
            await self._taker
        message = self._messages.popleft()
        self._bytes -= len(message)
        self._wake_putters()
        return message

    def end(self, error: NodeError, *, discard: bool = False) -> None:
        """Let no more in; the first end counts. `discard` also drops what was not read."""
        if discard:
            self._messages.clear()
            self._bytes = 0
            self._end = error
        self._end = self._end or error
        if self._taker is not None:
            _wake(self._taker)
        self._wake_putters()

    def _wake_putters(self) -> None:
        """All of them: each looks again whether there is room, so one that was cancelled holds up nobody."""
        while self._putters:
            _wake(self._putters.popleft())


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
