"""The HTTP server: local programs only, bounded bodies, a port of its own."""

import json
import socket
import threading
from typing import Any
from urllib.parse import urlsplit

import pytest

from node.devchain.constants import MAX_BODY_BYTES
from node.devchain.server import serving
from node.errors import PortInUse

REQUEST = b'{"jsonrpc":"2.0","id":1,"method":"eth_chainId","params":[]}'


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "10.0.0.1", "", "[::1]", "localhost.evil"])
def test_another_host_name_is_refused(embedded: Any, host: str) -> None:
    """A name that somebody else points at 127.0.0.1 does not open the port."""
    assert embedded.post(REQUEST, {"Host": host})[0] in (400, 403)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LOCALHOST:8545", "127.0.0.1:1"])
def test_local_host_names_are_taken(embedded: Any, host: str) -> None:
    """With and without a port."""
    assert embedded.post(REQUEST, {"Host": host})[0] == 200


@pytest.mark.parametrize(
    ("origin", "status"), [("https://evil.example", 403), ("null", 403), ("http://localhost:3000", 200)]
)
def test_pages_of_other_sites_are_refused(embedded: Any, origin: str, status: int) -> None:
    """A browser sends such requests without asking the user."""
    assert embedded.post(REQUEST, {"Origin": origin, "Content-Type": "text/plain"})[0] == status


def _padded(size: int) -> bytes:
    return REQUEST + b" " * (size - len(REQUEST))


def test_a_body_of_the_limit_is_answered_and_one_past_it_is_not(embedded: Any) -> None:
    """4 MiB, announced by Content-Length."""
    status, body = embedded.post(_padded(MAX_BODY_BYTES))
    assert (status, json.loads(body)["result"]) == (200, "0x7a69")
    status, body = embedded.post(_padded(MAX_BODY_BYTES + 1))
    assert (status, json.loads(body)["error"]["code"]) == (413, -32600)


@pytest.mark.parametrize(("extra", "expected"), [(0, b"200"), (1, b"413")])
def test_an_unannounced_body_has_the_same_limit(embedded: Any, extra: int, expected: bytes) -> None:
    """Chunked, so that the size is only known at the end."""
    place = urlsplit(embedded.url)
    body = _padded(MAX_BODY_BYTES + extra)
    with socket.create_connection((place.hostname, place.port), timeout=20) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
        for start in range(0, len(body), 65536):
            part = body[start : start + 65536]
            connection.sendall(b"%x\r\n%s\r\n" % (len(part), part))
        connection.sendall(b"0\r\n\r\n")
        assert connection.recv(64).split()[1] == expected


def test_only_post_to_the_root_is_served(embedded: Any) -> None:
    """Nothing else is there."""
    place = urlsplit(embedded.url)
    for line in (b"GET / HTTP/1.1", b"POST /x HTTP/1.1"):
        with socket.create_connection((place.hostname, place.port), timeout=20) as connection:
            connection.sendall(line + b"\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n")
            assert connection.recv(64).split()[1] in (b"404", b"405")


def test_garbage_does_not_stop_it(embedded: Any) -> None:
    """Bytes that are no HTTP, and a connection that goes away in mid-request."""
    place = urlsplit(embedded.url)
    for raw in (b"\x16\x03\x01\x00\xff" * 50, b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{"):
        with socket.create_connection((place.hostname, place.port), timeout=20) as connection:
            connection.sendall(raw)
    assert embedded.post(REQUEST)[0] == 200


def test_requests_at_once_are_all_answered(embedded: Any) -> None:
    """One thread runs the EVM, many connections wait for it."""
    found: list[int] = []
    threads = [threading.Thread(target=lambda: found.append(embedded.post(REQUEST)[0])) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert found == [200] * 16


async def test_a_port_in_use_is_named() -> None:
    """Which one, so that the user can act."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PortInUse) as caught:
            async with serving(port):
                pass
    assert caught.value.port == port


async def test_port_0_chooses_a_free_one() -> None:
    """And says which; it listens on the loopback address only."""
    async with serving(0) as url:
        assert urlsplit(url).hostname == "127.0.0.1"
        with socket.create_connection(("127.0.0.1", urlsplit(url).port or 0), timeout=5):
            pass
