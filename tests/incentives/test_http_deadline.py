"""Answers in time: whatever drips is cut off, with TLS as without, and what is quick is not touched."""

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from incentives.errors import ChainUnavailable, UnexpectedAnswer
from incentives.http_deadline import Deadline
from incentives.json_rpc import HttpRpc
from incentives.rpc_errors import ErrorTable

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
GZIP_NAME = b"\x1f\x8b\x08\x08\0\0\0\0\0\0"
"""A head of compressed bytes in which a name begins, of any length."""
DRIPS = {
    "status": b"HTTP/1.1 2",
    "header": OK + b"X: ",
    "body": OK + b"Content-Length: 100000\r\n\r\n",
    "chunk's length": CHUNKED + b"1;",
    "trailer": CHUNKED + b"1\r\n{\r\n0\r\nX: ",
    "compressed name": OK + b"Content-Encoding: gzip\r\n\r\n" + GZIP_NAME,
    "redirect's body": b"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 100000\r\n\r\n",
}
WHOLE = OK + b'Content-Length: 15\r\n\r\n{"result": "0"}'
Reply = Callable[[socket.socket], None]


def dripping(head: bytes) -> Reply:
    """The head at once, and what it promises a byte at a time for ever."""

    def drip(connection: socket.socket) -> None:
        connection.sendall(head)
        while True:
            connection.sendall(b"1")
            time.sleep(0.02)

    return drip


def read_question(connection: socket.socket) -> None:
    """To the end of its body."""
    heard = b""
    while not heard.endswith(b"}"):
        part = connection.recv(65_536)
        if not part:
            raise ConnectionResetError
        heard += part


def quick_and_late(connection: socket.socket) -> None:
    """Two answers on one connection, the second when the time of the first has long been over."""
    connection.sendall(WHOLE)
    read_question(connection)
    time.sleep(0.2)
    connection.sendall(WHOLE)


@contextlib.contextmanager
def answering(reply: Reply, context: ssl.SSLContext | None = None, *, reads: bool = True) -> Iterator[str]:
    """A server for one connection, which reads a question, or none, and then does as told."""

    def serve() -> None:
        with contextlib.suppress(OSError):
            taken, _ = listener.accept()
            with taken if context is None else context.wrap_socket(taken, server_side=True) as connection:
                if reads:
                    read_question(connection)
                reply(connection)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        yield f"{'http' if context is None else 'https'}://127.0.0.1:{listener.getsockname()[1]}"
        thread.join(10)
        assert not thread.is_alive()


def self_signed(folder: Path) -> Path:
    """A key and its certificate for loopback, in one file."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "chain")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + timedelta(days=1))
    alternative = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    certificate = builder.add_extension(alternative, critical=False).sign(key, hashes.SHA256())
    pem = serialization.Encoding.PEM
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path = folder / "both.pem"
    path.write_bytes(secret + certificate.public_bytes(pem))
    return path


@pytest.fixture(params=["http", "https"])
def context(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext | None:
    """What a server speaks; where it is TLS, its certificate is trusted."""
    if request.param == "http":
        return None
    path = self_signed(tmp_path)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(path))
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(path)
    return made


@pytest.mark.parametrize("part", DRIPS)
def test_what_drips_is_cut_off(part: str, context: ssl.SSLContext | None) -> None:
    """No silence is too long, and the answer never is there."""
    with answering(dripping(DRIPS[part]), context) as url, pytest.raises(ChainUnavailable, match=r"within 0\.3 s|302"):
        HttpRpc(url, 0.3, ErrorTable()).ask("eth_call", [])


@pytest.mark.parametrize(("scheme", "head"), [("http", OK + b"X: "), ("https", OK + b"X: ")])
def test_a_proxy_has_no_more_time(scheme: str, head: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither for the answer that it passes on nor for its own, before there is a tunnel."""
    with answering(dripping(head), reads=scheme == "http") as proxy:
        monkeypatch.setenv(f"{scheme}_proxy", proxy)
        monkeypatch.setenv("no_proxy", "")
        with pytest.raises(ChainUnavailable, match=r"no answer within 0\.3 s"):
            HttpRpc(f"{scheme}://chain.example/", 0.3, ErrorTable()).ask("eth_call", [])


def test_a_redirect_is_not_followed() -> None:
    """Its URL may hold a key, and each hop would have time of its own."""
    moved = b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"
    with answering(lambda connection: connection.sendall(moved)) as url, pytest.raises(UnexpectedAnswer, match="302"):
        HttpRpc(url, 5.0, ErrorTable()).ask("eth_call", [])


def test_each_answer_has_its_own_time(context: ssl.SSLContext | None) -> None:
    """A connection that lives on is not shut by the first answer's clock."""
    with answering(quick_and_late, context) as url:
        rpc = HttpRpc(url, 0.4, ErrorTable())
        assert rpc.ask("eth_call", []) == "0"
        time.sleep(0.3)
        assert rpc.ask("eth_call", []) == "0"
        rpc._session().close()


def test_a_clock_that_has_ended_shuts_nothing() -> None:
    """It may have passed the timer's own check already."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        with Deadline(60.0) as deadline:
            deadline.watch(ours)
        deadline._cut()
        ours.sendall(b"x")
        assert theirs.recv(1) == b"x"


def test_a_connection_that_comes_late_is_shut_at_once() -> None:
    """The time was over before there was one."""
    ours, theirs = socket.socketpair()
    with ours, theirs, pytest.raises(TimeoutError), Deadline(60.0) as deadline:
        deadline._cut()
        deadline.watch(ours)
        assert theirs.recv(1) == b""


def test_a_system_without_threads_is_an_endpoint_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """And no error that nobody expects."""

    def refuse(_timer: threading.Timer) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Timer, "start", refuse)
    with pytest.raises(ChainUnavailable):
        HttpRpc("http://127.0.0.1:1", 0.3, ErrorTable()).ask("eth_call", [])
