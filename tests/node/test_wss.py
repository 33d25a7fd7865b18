"""Only between machines: what hostile sockets, TLS stacks, HTTP clients and servers do to the WebSocket transport."""

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from node.errors import (
    ClosedHere,
    EndpointInvalid,
    HandshakeFailed,
    ListenFailed,
    NodeError,
    PeerClosed,
    PeerRefused,
    PeerTimeout,
    PeerUnreachable,
    ProtocolViolation,
)
from node.identity import NodeIdentity, client_ssl_context
from node.transport import CloseCode, Stream
from node.wire import Frame, FrameType
from node.wss import WssSettings, WssTransport, stream_url
from tests.node.mallory import DOMAIN, SIGNER, challenged, hello
from tests.node.raw_wss import connect

HOST = "127.0.0.1"
PATIENCE = 10.0
SETTINGS = WssSettings(max_payload=64 * 1024, close_timeout=0.5)
UPGRADE = (
    b"GET /v1/stream HTTP/1.1\r\nHost: node\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)


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


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    """A node with default settings."""
    async with running(tmp_path) as node:
        yield node


async def talk(port: int, data: bytes, tls: ssl.SSLContext | None = None) -> bytes:
    """Send raw bytes and return all that comes back until the other side hangs up."""
    reader, writer = await asyncio.open_connection(HOST, port, ssl=tls)
    answer = b""
    with suppress(ConnectionError, ssl.SSLError):
        writer.write(data)
        await writer.drain()
        answer = await asyncio.wait_for(reader.read(), PATIENCE)
    writer.transport.abort()
    return answer


def status_of(answer: bytes) -> int:
    """The HTTP status of a raw answer."""
    return int(answer.split(b" ", 2)[1])


@pytest.mark.parametrize(
    ("endpoint", "url"),
    [
        ("wss://127.0.0.1:7100/v1/stream", "wss://127.0.0.1:7100/v1/stream"),
        ("wss://127.0.0.1:7100", "wss://127.0.0.1:7100/v1/stream"),
        ("wss://node-1.example.org:65535", "wss://node-1.example.org:65535/v1/stream"),
        ("wss://[::1]:1/v1/stream", "wss://[::1]:1/v1/stream"),
    ],
)
def test_good_endpoints_are_dialled(endpoint: str, url: str) -> None:
    """With or without the path."""
    assert stream_url(endpoint) == url


@pytest.mark.parametrize(
    "endpoint",
    ["", "wss://", "wss://:7100", "wss://host", "wss://host:0", "wss://host:65536", "wss://host:99999999",
     "ws://host:1", "https://host:1", "WSS://host:1", "wss://host:1/", "wss://host:1/other", "wss://host:1/v1/stream?x",
     "wss://host:1/v1/stream#x", "wss://user@host:1", "wss://user:pass@host:1", "wss://ho st:1", "wss://host:1\n",
     "wss://h\u00f6st:1", "wss://-host:1", "wss://host:-1", "wss://host:\u0661", "wss://[::1:1", "wss://::1:1",
     "wss://" + "a" * 200 + ":1"],
)  # fmt: skip
def test_other_endpoints_are_refused(endpoint: str) -> None:
    """Anybody can announce anything."""
    with pytest.raises(EndpointInvalid):
        stream_url(endpoint)


@pytest.mark.parametrize(
    "data",
    [b"", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\0" * 1000, b"\xff" * 100_000, b"\x16\x03\x01\xff\xff" + b"x" * 100],
    ids=["nothing", "plain HTTP", "zeros", "flood", "torn TLS"],
)
async def test_bytes_that_are_not_tls_harm_nobody(node: Node, data: bytes) -> None:
    """Whatever comes before TLS, the next stream works."""
    reader, writer = await asyncio.open_connection(HOST, node.port)
    writer.write(data)
    if data:
        with suppress(ConnectionError):
            await asyncio.wait_for(reader.read(), PATIENCE)
    writer.transport.abort()

    assert await node.serves()


async def test_tls_1_2_is_refused(node: Node) -> None:
    """An old client cannot even connect."""
    old = client_ssl_context()
    old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_2

    with pytest.raises((ssl.SSLError, ConnectionError)):
        await asyncio.open_connection(HOST, node.port, ssl=old)
    assert await node.serves()


async def test_tls_1_2_servers_are_not_dialled(node: Node, tmp_path: Path) -> None:
    """The dialer insists as well."""
    old = node.identity.server_ssl_context()
    old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_2
    async with listening(b"", old) as port:
        with pytest.raises(PeerUnreachable):
            await node.dialer.dial(f"wss://{HOST}:{port}", node.identity.peer)


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


@pytest.mark.parametrize(
    ("request_head", "status"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\n", 404),
        (b"GET /v1/stream/ HTTP/1.1\r\nHost: x\r\n", 404),
        (b"GET //v1/stream HTTP/1.1\r\nHost: x\r\n", 404),
        (b"GET /v1/%73tream/../stream HTTP/1.1\r\nHost: x\r\n", 404),
        (b"GET /v1/stream HTTP/1.1\r\nHost: x\r\n", 426),
        (b"POST /v1/stream HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n", 426),
        (UPGRADE.replace(b"GET", b"POST"), 426),
        (UPGRADE.replace(b"Version: 13", b"Version: 99"), 426),
        (UPGRADE.replace(b"dGhlIHNhbXBsZSBub25jZQ==", b"short"), 426),
        (b"NONSENSE\r\n", 400),
        (b"GET /v1/stream HTTP/1.1\r\nX: " + b"x" * 10_000 + b"\r\n", 400),
        (b"GET /" + b"x" * 10_000 + b" HTTP/1.1\r\n", 400),
        (b"GET / HTTP/1.1\r\nContent-Length: -1\r\n", 400),
        (b"GET / HTTP/1.1\r\nA\0B: x\r\n", 400),
    ],
)
async def test_http_that_is_no_upgrade_is_turned_away(node: Node, request_head: bytes, status: int) -> None:
    """One path, one method, one protocol; the connection is closed with a status."""
    answer = await talk(node.port, request_head + b"\r\n", client_ssl_context())

    assert status_of(answer) == status
    assert await node.serves()


async def test_answers_tell_nothing_of_the_inside(node: Node) -> None:
    """Errors carry no traceback."""
    answer = await talk(node.port, b"NONSENSE\r\n\r\n", client_ssl_context())

    assert b"Traceback" not in answer


@pytest.mark.parametrize("sent", [b"", b"GET /v1/str", UPGRADE], ids=["nothing", "half a line", "half a request"])
@pytest.mark.parametrize("tls", [True, False], ids=["tls", "tcp"])
async def test_half_open_connections_are_dropped_in_time(tmp_path: Path, sent: bytes, tls: bool) -> None:
    """Whoever says too little too slowly loses the connection, and others do not notice."""
    async with running(tmp_path, replace(SETTINGS, handshake_timeout=0.4)) as node:
        reader, writer = await asyncio.open_connection(HOST, node.port, ssl=client_ssl_context() if tls else None)
        writer.write(sent if tls else b"")
        assert await node.serves()
        with suppress(ConnectionError):
            assert await asyncio.wait_for(reader.read(), PATIENCE) == b""
        writer.transport.abort()


async def test_many_half_open_connections_do_not_lock_others_out(node: Node) -> None:
    """Silent connections cost a socket each until their time is over."""
    writers = [(await asyncio.open_connection(HOST, node.port))[1] for _ in range(100)]

    assert await node.serves()
    for writer in writers:
        writer.transport.abort()


async def test_connection_cut_at_any_point_harms_nobody(node: Node) -> None:
    """TCP, TLS, half a request, a whole one."""
    for tls, data in ((None, b""), (client_ssl_context(), b""), (client_ssl_context(), UPGRADE[:50]),
                      (client_ssl_context(), UPGRADE + b"\r\n")):  # fmt: skip
        _, writer = await asyncio.open_connection(HOST, node.port, ssl=tls)
        writer.write(data)
        writer.transport.abort()

    assert await node.serves()


def ws_frame(opcode: int, payload: bytes, *, final: bool = True, masked: bool = True, rsv: int = 0) -> bytes:
    """A client's WebSocket frame, written by hand with a mask of zeros."""
    first = (0x80 if final else 0) | rsv | opcode
    length = struct.pack(">BQ", 127, len(payload))
    length = bytes([length[0] | (0x80 if masked else 0)]) + length[1:]
    return bytes([first]) + length + (bytes(4) if masked else b"") + payload


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (ws_frame(1, b"text"), 1003),
        (ws_frame(2, b"x", rsv=0x40), 1002),
        (ws_frame(2, b"x", rsv=0x20), 1002),
        (ws_frame(3, b"x"), 1002),
        (ws_frame(0, b"x"), 1002),
        (ws_frame(9, b"x" * 126), 1002),
        (ws_frame(2, bytes(64 * 1024 + 45)), 1009),
        (ws_frame(2, bytes(40_000), final=False) + ws_frame(0, bytes(40_000)), 1009),
        (b"\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff" + bytes(4), 1009),
    ],
    ids=["text", "compressed", "reserved bit", "unknown opcode", "stray continuation", "long ping",
         "one past the limit", "past the limit in pieces", "announced exabytes"],
)  # fmt: skip
async def test_websocket_frames_out_of_order_close_by_code(node: Node, data: bytes, code: int) -> None:
    """Before the handshake is over nobody is believed anything, and the node serves on."""
    answer = await talk(node.port, UPGRADE + b"\r\n" + data, client_ssl_context())

    assert status_of(answer) == 101
    assert b"\x88" in answer
    assert struct.pack(">H", code) in answer
    assert await node.serves()


async def test_compression_is_not_negotiated(node: Node) -> None:
    """A compressed message could be a bomb, so the offer is not taken up."""
    offer = b"Sec-WebSocket-Extensions: permessage-deflate\r\n"
    answer = await talk(node.port, UPGRADE + offer + b"\r\n" + ws_frame(1, b""), client_ssl_context())

    head = answer.split(b"\r\n\r\n")[0].lower()
    assert b"101 switching" in head
    assert b"deflate" not in head


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
    async with running(tmp_path, replace(SETTINGS, heartbeat=0.2)) as node:
        async with authenticated(node):
            error = await node.end()

        assert isinstance(error, PeerTimeout)
        assert error.awaited == "heartbeat"


async def test_busy_sides_stay_alive(tmp_path: Path) -> None:
    """A stage that computes, and a client that waits for somebody else, do not read for many heartbeats."""
    async with running(tmp_path, replace(SETTINGS, heartbeat=0.1)) as node:

        async def compute(stream: Stream) -> None:
            frame = await stream.recv()
            await asyncio.sleep(0.6)
            await stream.send(frame)

        listener = await node.transport.listen(HOST, 0, compute)
        dialer = WssTransport(SIGNER, DOMAIN, settings=replace(SETTINGS, heartbeat=0.1))
        stream = await dialer.dial(listener.endpoint, node.identity.peer)
        await stream.send(Frame(FrameType.CONTROL, b"x"))
        await asyncio.sleep(0.7)

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
        await asyncio.sleep(0.05)

        assert await node.serves()
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
        await asyncio.sleep(0.05)

        assert await node.serves()
        for stream in streams:
            await stream.close()


async def test_nobody_at_the_endpoint_is_named(node: Node) -> None:
    """Connection refused, and a name that does not exist."""
    with socket.socket() as unused:
        unused.bind((HOST, 0))
        for host in (f"{HOST}:{unused.getsockname()[1]}", "does-not-exist.invalid:7100"):
            with pytest.raises(PeerUnreachable, match=host.split(":")[0]):
                await node.dialer.dial(f"wss://{host}", node.identity.peer)


async def test_silent_server_is_given_up(node: Node) -> None:
    """A port that accepts and says nothing costs the dialer its deadline, not more."""
    dialer = WssTransport(SIGNER, DOMAIN, settings=replace(SETTINGS, dial_timeout=0.2))
    async with listening(b"") as port:
        with pytest.raises(PeerUnreachable, match=r"0\.2 s"):
            await dialer.dial(f"wss://{HOST}:{port}", node.identity.peer)
    await dialer.close()


async def test_plain_server_is_not_spoken_to(node: Node) -> None:
    """Without TLS there is no stream."""
    async with listening(b"HTTP/1.1 101 Switching Protocols\r\n\r\n") as port:
        with pytest.raises(PeerUnreachable):
            await node.dialer.dial(f"wss://{HOST}:{port}", node.identity.peer)


@asynccontextmanager
async def https_server(identity: NodeIdentity, handler: object) -> AsyncIterator[int]:
    """Another web server that holds the node's key."""
    app = web.Application()
    app.router.add_get("/{path:.*}", handler)  # type: ignore[arg-type]
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, HOST, 0, ssl_context=identity.server_ssl_context())
    await site.start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


async def test_other_web_server_is_no_node(node: Node) -> None:
    """An HTTP answer is told with its status."""

    async def page(request: web.Request) -> web.Response:
        return web.Response(text="welcome")

    async with https_server(node.identity, page) as port:
        with pytest.raises(PeerUnreachable, match="HTTP 200"):
            await node.dialer.dial(f"wss://{HOST}:{port}", node.identity.peer)


async def test_redirects_are_not_followed(node: Node) -> None:
    """A node cannot aim its dialers at other hosts."""
    visits: list[bytes] = []
    async with listening(b"", heard=visits) as target:

        async def redirect(request: web.Request) -> web.Response:
            raise web.HTTPFound(f"http://{HOST}:{target}/secret")

        async with https_server(node.identity, redirect) as port:
            with pytest.raises(PeerUnreachable, match="redirects"):
                await node.dialer.dial(f"wss://{HOST}:{port}", node.identity.peer)
    assert visits == []


async def test_websocket_server_that_is_no_node_fails_the_handshake(node: Node) -> None:
    """The right key is not enough."""

    async def chat(request: web.Request) -> web.WebSocketResponse:
        response = web.WebSocketResponse()
        await response.prepare(request)
        await response.send_str("hello")
        await response.close()
        return response

    async with https_server(node.identity, chat) as port:
        with pytest.raises(HandshakeFailed, match="text"):
            await node.dialer.dial(f"wss://{HOST}:{port}", node.identity.peer)


async def test_listening_needs_an_identity_and_a_good_address(node: Node) -> None:
    """Each reason is told."""
    with pytest.raises(ListenFailed, match="identity"):
        await node.dialer.listen(HOST, 0, node.echo)
    for host, port in ((HOST, 65536), ("192.0.2.1", 0)):
        with pytest.raises(ListenFailed):
            await node.transport.listen(host, port, node.echo)


async def test_closed_transport_ends_its_streams_and_dials_again(node: Node) -> None:
    """Closing releases everything; a later dial makes a new session."""
    stream = await node.dial()
    await node.dialer.close()
    await node.dialer.close()

    with pytest.raises(PeerClosed):
        await asyncio.wait_for(stream.recv(), PATIENCE)
    assert await node.serves()


async def test_stopped_dialing_leaves_nothing_behind(tmp_path: Path) -> None:
    """A cancelled dial closes its connection; the node's handler never sees it."""
    async with running(tmp_path) as node:
        for delay in (0, 0.001, 0.003, 0.005, 0.01, 0.02):
            dialing = asyncio.create_task(node.dial())
            await asyncio.sleep(delay)
            dialing.cancel()
            with suppress(asyncio.CancelledError):
                await (await dialing).close()
        assert await node.serves()
