"""A listening node and its dialers, whatever carries the frames between them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from node.transport import FrameStream, Listener, Pipe, Stream, Transport
from node.wire import Frame, FrameType, tokens_frame
from tests.node.mallory import DOMAIN
from verification.typed_data import Domain

HOST = "127.0.0.1"
SESSION = bytes(range(16))
PATIENCE = 10.0
"""Seconds after which a test that waits has failed."""


@dataclass(frozen=True)
class Options:
    """What a test may want to be different on one side."""

    domain: Domain = DOMAIN
    max_payload: int = 64 * 1024
    handshake_timeout: float = 5.0
    send_timeout: float = 10.0


DEFAULTS = Options()


@dataclass
class Link:
    """A listening node, and the means to dial it."""

    listening: Transport
    peer: bytes
    make_dialer: Callable[[Options], Transport]
    make_pipe: Callable[[str], Awaitable[Pipe]]
    """Connect without a handshake."""
    streams: asyncio.Queue[Stream] = field(default_factory=asyncio.Queue)
    over: asyncio.Event = field(default_factory=asyncio.Event)
    listener: Listener = field(init=False)

    async def __aenter__(self) -> "Link":
        self.listener = await self.listening.listen(HOST, 0, self.hold)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.over.set()
        await self.listener.close()

    async def hold(self, stream: Stream) -> None:
        """The default handler: hands the stream to the test and keeps it open."""
        await self.streams.put(stream)
        await self.over.wait()

    async def dial(self, options: Options = DEFAULTS) -> Stream:
        """Open a stream to the node."""
        return await self.make_dialer(options).dial(self.listener.endpoint, self.peer)

    async def pair(self, options: Options = DEFAULTS) -> tuple[Stream, Stream]:
        """Both ends of a new stream: the dialer's, the listener's."""
        mine = await self.dial(options)
        return mine, await asyncio.wait_for(self.streams.get(), PATIENCE)

    async def still_serves(self) -> bool:
        """Whether the next good stream works, and nothing bad was let in before it."""
        mine, theirs = await self.pair()
        await mine.send(tokens_frame(SESSION, 0, 0, 0, [7]))
        arrived = await recv(theirs)
        return bytes(arrived.payload) == b"\7\0\0\0" and self.streams.empty()


async def recv(stream: Stream) -> Frame:
    """The next frame, or a failed test."""
    return await asyncio.wait_for(stream.recv(), PATIENCE)


def control(size: int) -> Frame:
    """A frame with so many bytes of payload."""
    return Frame(FrameType.CONTROL, bytes(size))


def pipe_of(stream: Stream) -> Pipe:
    """Below the frames, where only a liar writes."""
    assert isinstance(stream, FrameStream)
    return stream._pipe


async def send_without_end(stream: Stream, frames: int) -> None:
    """Far more than any buffer on the way may hold."""
    for _ in range(frames):
        await stream.send(control(DEFAULTS.max_payload))


class Contract:
    """Subclasses say how a link is opened."""

    def opened(self, folder: Path, options: Options = DEFAULTS) -> AbstractAsyncContextManager[Link]:
        """A node that listens with these options."""
        raise NotImplementedError

    @pytest.fixture
    async def link(self, tmp_path: Path) -> AsyncIterator[Link]:
        """A node with default options."""
        async with self.opened(tmp_path) as link:
            yield link
