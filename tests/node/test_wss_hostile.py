"""What raw sockets, TLS stacks and HTTP clients can do to a listening node: nothing."""

import asyncio
import ssl
import struct
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from node.identity import client_ssl_context
from tests.node.wss_node import HOST, PATIENCE, SETTINGS, Node, running

UPGRADE = (
    b"GET /v1/stream HTTP/1.1\r\nHost: node\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)


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


@pytest.mark.parametrize(
    ("tls", "sent"),
    [(False, b""), (True, b""), (True, b"GET /v1/str"), (True, UPGRADE)],
    ids=["no TLS", "nothing", "half a line", "half a request"],
)
async def test_half_open_connections_are_dropped_in_time(tmp_path: Path, tls: bool, sent: bytes) -> None:
    """Whoever says too little too slowly loses the connection, and others do not notice."""
    async with running(tmp_path, replace(SETTINGS, handshake_timeout=0.8)) as node:
        reader, writer = await asyncio.open_connection(HOST, node.port, ssl=client_ssl_context() if tls else None)
        writer.write(sent)
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
