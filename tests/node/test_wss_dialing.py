"""Dialling out: endpoints that lie, servers that are no nodes, and what is left behind."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import web

from node.errors import (
    EndpointInvalid,
    HandshakeFailed,
    PeerClosed,
    PeerUnreachable,
)
from node.identity import NodeIdentity
from node.wss import WssTransport, stream_url
from tests.node.mallory import DOMAIN, SIGNER
from tests.node.wss_node import HOST, PATIENCE, SETTINGS, Node, listening, running


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    """A node with default settings."""
    async with running(tmp_path) as node:
        yield node


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


async def test_tls_1_2_servers_are_not_dialled(node: Node, tmp_path: Path) -> None:
    """The dialer insists as well."""
    old = node.identity.server_ssl_context()
    old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_2
    async with listening(b"", old) as port:
        with pytest.raises(PeerUnreachable) as error:
            await node.dialer.dial(f"wss://{HOST}:{port}", node.identity.peer)
    assert "no answer" not in error.value.reason


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
