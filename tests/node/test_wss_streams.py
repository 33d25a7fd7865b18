"""Running streams over WebSockets: limits, heartbeats and broken connections."""

import asyncio
import gc
import socket
import struct
import weakref
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest

from node.errors import (
    ClosedHere,
    ListenFailed,
    NodeError,
    PeerClosed,
    PeerRefused,
    PeerTimeout,
    ProtocolViolation,
)
from node.identity import client_ssl_context
from node.transport import CloseCode, Stream
from node.wire import Frame, FrameType
from node.wss import WssTransport
from tests.node.mallory import DOMAIN, SIGNER, challenged, hello
from tests.node.raw_wss import connect
from tests.node.wss_node import HOST, PATIENCE, SETTINGS, Node, running


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    """A node with default settings."""
    async with running(tmp_path) as node:
        yield node


@asynccontextmanager
async def authenticated(node: Node) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    """A raw WebSocket that has passed the handshake and answers nothing by itself."""
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(
            node.endpoint, ssl=client_ssl_context(), autoping=False, autoclose=False, max_msg_size=0,
            timeout=aiohttp.ClientWSTimeout(ws_close=0.2),
        ) as socket,
    ):  # fmt: skip

        class Raw:
            """Just enough of a pipe."""

            async def receive(self) -> bytes:
                return await socket.receive_bytes()

        challenge = await challenged(Raw())  # type: ignore[arg-type]
        await socket.send_bytes(hello(challenge, node.identity.peer, max_payload=2**20))
        await socket.receive_bytes()
        yield socket
        await socket.close()


@pytest.mark.parametrize(
    ("excess", "kind"), [(0, aiohttp.WSMsgType.BINARY), (1, aiohttp.WSMsgType.CLOSE)], ids=["at", "past"]
)
async def test_message_size_limit_holds_at_the_socket(node: Node, excess: int, kind: aiohttp.WSMsgType) -> None:
    """The largest frame is echoed, one byte more ends the stream."""
    limit = SETTINGS.max_payload
    header = struct.pack(">BBBB16sIIIIII", 1, 1, 0, 0, bytes(16), 0, 0, 0, 0, 0, limit + excess)
    async with authenticated(node) as socket:
        await socket.send_bytes(header + bytes(limit + excess))
        answer = await socket.receive(PATIENCE)

    assert answer.type is kind
    assert excess == 0 or answer.data == CloseCode.TOO_BIG
    assert await node.serves()


async def test_text_in_a_running_stream_is_a_violation(node: Node) -> None:
    """The handler sees whose fault it was."""
    async with authenticated(node) as socket:
        await socket.send_str("hello")
        answer = await socket.receive(PATIENCE)

    assert (answer.type, answer.data) == (aiohttp.WSMsgType.CLOSE, CloseCode.TEXT)
    assert isinstance(await node.end(), ProtocolViolation)
    assert await node.serves()


async def test_peer_that_answers_no_heartbeat_is_dead(tmp_path: Path) -> None:
    """A stopped process is noticed although its connection stands."""
    async with running(tmp_path, replace(SETTINGS, heartbeat=0.4)) as node:
        async with authenticated(node):
            error = await node.end()

        assert isinstance(error, PeerTimeout)
        assert error.awaited == "heartbeat"


async def test_busy_sides_stay_alive(tmp_path: Path) -> None:
    """A stage that computes, and a client that waits for somebody else, do not read for many heartbeats."""
    async with running(tmp_path, replace(SETTINGS, heartbeat=0.4)) as node:

        async def compute(stream: Stream) -> None:
            frame = await stream.recv()
            await asyncio.sleep(1.2)
            await stream.send(frame)

        listener = await node.transport.listen(HOST, 0, compute)
        dialer = WssTransport(SIGNER, DOMAIN, settings=replace(SETTINGS, heartbeat=0.4))
        stream = await dialer.dial(listener.endpoint, node.identity.peer)
        await stream.send(Frame(FrameType.CONTROL, b"x"))
        await asyncio.sleep(1.3)

        assert (await asyncio.wait_for(stream.recv(), PATIENCE)).payload == b"x"
        await dialer.close()
        await listener.close()


async def test_vanished_peer_is_noticed_at_once(node: Node) -> None:
    """A connection that breaks is another end than a close."""
    mine = await node.dial()
    theirs = await node.streams.get()
    mine._pipe._abort()  # type: ignore[attr-defined]

    for end in (await node.end(), await end_of(mine)):
        assert isinstance(end, PeerClosed)
        assert end.code == CloseCode.LOST
    with pytest.raises(ClosedHere):
        await theirs.send(Frame(FrameType.CONTROL, b"x"))


async def end_of(stream: Stream) -> NodeError:
    """How a stream ended."""
    try:
        await asyncio.wait_for(stream.recv(), PATIENCE)
    except NodeError as error:
        return error
    raise RuntimeError("a frame came instead of the end")


async def test_small_frames_are_not_held_back(node: Node) -> None:
    """TCP_NODELAY is set on both sides."""
    mine = await node.dial()
    theirs = await node.streams.get()

    for stream in (mine, theirs):
        connection: socket.socket = stream._pipe._socket.get_extra_info("socket")  # type: ignore[attr-defined]
        assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


async def test_streams_are_limited(tmp_path: Path) -> None:
    """One stream more than there is room for is refused by name; a place that became free is given again."""
    async with running(tmp_path, replace(SETTINGS, max_streams=2)) as node:
        first, second = await node.dial(), await node.dial()
        with pytest.raises(PeerRefused, match="room"):
            await node.dial()
        await first.close()

        assert await node.has_room_again()
        await second.close()


async def test_unfinished_handshakes_are_limited_per_address(tmp_path: Path) -> None:
    """Connections that say nothing do not fill the node; finished ones do not count."""
    async with running(tmp_path, replace(SETTINGS, max_handshakes_per_ip=2)) as node, connect(SETTINGS) as make_pipe:
        streams = [await node.dial() for _ in range(3)]
        silent = [await make_pipe(node.endpoint) for _ in range(2)]
        with pytest.raises(PeerRefused, match="handshakes"):
            await node.dial()
        for pipe in silent:
            await pipe.close(CloseCode.NORMAL, "")

        assert await node.has_room_again()
        for stream in streams:
            await stream.close()


async def test_silent_streams_are_limited_per_address(tmp_path: Path) -> None:
    """One that has said what it wants counts no more; one past the limit is let in as soon as another has spoken or gone."""
    async with running(tmp_path, replace(SETTINGS, max_silent_per_ip=2)) as node:
        streams = [await node.dial() for _ in range(2)]
        with pytest.raises(PeerRefused, match="handshakes"):
            await node.dial()
        await streams[0].send(Frame(FrameType.CONTROL, b"hello"))
        await streams[0].recv()
        streams.append(await node.dial())
        with pytest.raises(PeerRefused, match="handshakes"):
            await node.dial()
        await streams[1].close()

        assert await node.has_room_again()
        for stream in streams:
            await stream.close()


async def test_listening_needs_an_identity_and_a_good_address(node: Node) -> None:
    """Each reason is told."""
    with pytest.raises(ListenFailed, match="identity"):
        await node.dialer.listen(HOST, 0, node.echo)
    for host, port in ((HOST, 65536), ("192.0.2.1", 0)):
        with pytest.raises(ListenFailed):
            await node.transport.listen(host, port, node.echo)


@pytest.fixture
def no_collector() -> Iterator[None]:
    """Only what nothing refers to is freed."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_collector")
async def test_a_stream_that_is_closed_here_is_free_at_once(node: Node) -> None:
    """Its TLS buffers do not wait for the garbage collector: the error that it ended with holds none of its frames."""
    stream = await node.dial()
    await stream.send(Frame(FrameType.CONTROL, b"hello"))
    await stream.recv()
    pipe = weakref.ref(stream._pipe)  # type: ignore[attr-defined]
    await stream.close()
    with pytest.raises(ClosedHere):
        await stream.recv()
    del stream
    await asyncio.sleep(0)
    assert pipe() is None


async def test_an_ended_stream_says_the_same_each_time_it_is_asked(node: Node) -> None:
    """As errors of their own, whose tracebacks do not grow."""
    stream = await node.dial()
    await (await node.streams.get()).close("enough")
    errors = []
    for _ in range(3):
        with pytest.raises(PeerClosed, match="enough") as caught:
            await stream.recv()
        errors.append(caught.value)
    assert [(each.code, each.reason) for each in errors] == [(CloseCode.NORMAL, "enough")] * 3
    assert len({id(each) for each in errors}) == 3
    await stream.close()
