"""Headers in time: what drips is cut off, with TLS as without, and what is quick is not touched."""

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

from incentives.errors import ChainUnavailable
from incentives.json_rpc import HttpRpc
from incentives.rpc_errors import ErrorTable

LINE = b"HTTP/1.1 200 OK\r\n"
REST = b'Content-Length: 15\r\n\r\n{"result": "0"}'
Reply = Callable[[socket.socket], None]


def dripping(connection: socket.socket) -> None:
    """A header that never ends, a byte at a time."""
    connection.sendall(LINE + b"X: ")
    while True:
        connection.sendall(b"x")
        time.sleep(0.02)


def quick_and_late(connection: socket.socket) -> None:
    """Two answers on one connection, the second after more than the time of the first."""
    connection.sendall(LINE + REST)
    connection.recv(65_536)
    time.sleep(0.2)
    connection.sendall(LINE + REST)


@contextlib.contextmanager
def answering(reply: Reply, context: ssl.SSLContext | None) -> Iterator[str]:
    """A server for one connection, which reads a question and then does as told."""

    def serve() -> None:
        with contextlib.suppress(OSError):
            taken, _ = listener.accept()
            with taken if context is None else context.wrap_socket(taken, server_side=True) as connection:
                connection.recv(65_536)
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


def test_headers_that_drip_are_cut_off(context: ssl.SSLContext | None) -> None:
    """No silence is too long, and the answer never begins."""
    with answering(dripping, context) as url:
        rpc = HttpRpc(url, 0.3, ErrorTable())
        with pytest.raises(ChainUnavailable, match=r"no answer within 0\.3 s"):
            rpc.ask("eth_call", [])


def test_each_answer_has_its_own_time(context: ssl.SSLContext | None) -> None:
    """A connection that lives on is not cut off by the first answer's clock."""
    with answering(quick_and_late, context) as url:
        rpc = HttpRpc(url, 0.3, ErrorTable())
        assert rpc.ask("eth_call", []) == "0"
        time.sleep(0.15)
        assert rpc.ask("eth_call", []) == "0"
