"""A node that listens on loopback for the tests of the WebSocket transport."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from node.errors import (
    NodeError,
    PeerRefused,
)
from node.identity import NodeIdentity
from node.transport import Stream
from node.wire import Frame, FrameType
from node.wss import WssSettings, WssTransport
from tests.node.mallory import DOMAIN, SIGNER

HOST = "127.0.0.1"
PATIENCE = 10.0
SETTINGS = WssSettings(max_payload=64 * 1024, close_timeout=0.5)


class Node:
    """A listening node whose handler echoes."""

    def __init__(self, identity: NodeIdentity, settings: WssSettings) -> None:
        self.identity = identity
        self.transport = WssTransport(SIGNER, DOMAIN, identity, settings)
        self.dialer = WssTransport(SIGNER, DOMAIN, settings=SETTINGS)
        self.streams: asyncio.Queue[Stream] = asyncio.Queue()
        self.ends: asyncio.Queue[NodeError] = asyncio.Queue()
        self.endpoint = ""

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.endpoint.rsplit(":", 1)[1].split("/")[0])

    async def echo(self, stream: Stream) -> None:
        """Send everything back, and note how it ended."""
        await self.streams.put(stream)
        try:
            while True:
                await stream.send(await stream.recv())
        except NodeError as error:
            await self.ends.put(error)

    async def end(self) -> NodeError:
        """How the next stream to end did."""
        return await asyncio.wait_for(self.ends.get(), PATIENCE)

    async def dial(self) -> Stream:
        """Open a good stream."""
        return await self.dialer.dial(self.endpoint, self.identity.peer)

    async def serves(self) -> bool:
        """Whether a good stream works."""
        async with await self.dial() as stream:
            await stream.send(Frame(FrameType.CONTROL, b"hello"))
            return bytes((await asyncio.wait_for(stream.recv(), PATIENCE)).payload) == b"hello"

    async def has_room_again(self) -> bool:
        """Whether a good stream is let in before long."""
        async with asyncio.timeout(PATIENCE):
            while True:
                with suppress(PeerRefused):
                    return await self.serves()
                await asyncio.sleep(0.01)


@asynccontextmanager
async def running(folder: Path, settings: WssSettings = SETTINGS) -> AsyncIterator[Node]:
    """A node with these settings."""
    node = Node(NodeIdentity.load_or_create(folder), settings)
    listener = await node.transport.listen(HOST, 0, node.echo)
    node.endpoint = listener.endpoint
    try:
        yield node
    finally:
        await listener.close()
        await node.dialer.close()
        await node.transport.close()


@asynccontextmanager
async def listening(
    answer: bytes, tls: ssl.SSLContext | None = None, heard: list[bytes] | None = None
) -> AsyncIterator[int]:
    """A raw server that says one thing to everybody and then nothing; yields its port."""
    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        writer.write(answer)
        if heard is not None:
            heard.append(await reader.read(100))

    server = await asyncio.start_server(serve, HOST, 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in writers:
            writer.transport.abort()
        await asyncio.sleep(0)
