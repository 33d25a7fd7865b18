"""What has arrived on a pipe and was not read yet: bounded, and remembers how the pipe ended."""

import asyncio
from collections import deque

from node.errors import NodeError

MAX_WAITING_MESSAGES = 64


class Inbox:
    """Messages of one pipe. One task puts, one takes."""

    def __init__(self, max_bytes: int) -> None:
        self._messages: deque[bytes | bytearray] = deque()
        self._max_bytes = max_bytes
        self._bytes = 0
        self._end: NodeError | None = None
        self._taker: asyncio.Future[None] | None = None
        self._putter: asyncio.Future[None] | None = None

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
            self._putter = asyncio.get_running_loop().create_future()
            await self._putter
        if self._end is not None:
            raise self._end.with_traceback(None)
        self._messages.append(message)
        self._bytes += len(message)
        _wake(self._taker)

    async def take(self) -> bytes | bytearray:
        """Return the oldest message, waiting for one. Raises: what the inbox ended with, once it is empty."""
        while not self._messages:
            if self._end is not None:
                raise self._end.with_traceback(None)
            self._taker = asyncio.get_running_loop().create_future()
            await self._taker
        message = self._messages.popleft()
        self._bytes -= len(message)
        _wake(self._putter)
        return message

    def end(self, error: NodeError, *, discard: bool = False) -> None:
        """Let no more in; the first end counts. `discard` also drops what was not read."""
        if discard:
            self._messages.clear()
            self._bytes = 0
            self._end = error
        self._end = self._end or error
        _wake(self._taker)
        _wake(self._putter)


def _wake(waiter: asyncio.Future[None] | None) -> None:
    if waiter is not None and not waiter.done():
        waiter.set_result(None)
