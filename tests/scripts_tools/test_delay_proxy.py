"""The delay proxy: bytes come out as they went in, later than what goes straight, and endings are passed on for what they are."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from scripts.benchmarks import delay_proxy
from scripts.benchmarks.delay_proxy import HOST, MAX_CONNECTIONS, DelayProxy

PATIENCE = 20.0
"""Seconds after which a test that waits has failed."""


@pytest.fixture
def server() -> Iterator[socket.socket]:
    """A listening socket; a test accepts and answers by itself."""
    with socket.create_server((HOST, 0), backlog=512) as listening:
        listening.settimeout(PATIENCE)
        yield listening


def port_of(listening: socket.socket) -> int:
    """Where it listens."""
    return int(listening.getsockname()[1])


@contextmanager
def connected(proxy: DelayProxy, server: socket.socket) -> Iterator[tuple[socket.socket, socket.socket]]:
    """Both ends of one connection through the proxy."""
    with socket.create_connection((HOST, proxy.listen_port), PATIENCE) as near:
        far, _ = server.accept()
        far.settimeout(PATIENCE)
        with far:
            yield near, far


def read_all(end: socket.socket, size: int) -> bytes:
    """So many bytes, or all until the end."""
    got = bytearray()
    while len(got) < size and (some := end.recv(1 << 16)):
        got += some
    return bytes(got)


def test_bytes_pass_unchanged_and_in_order_both_ways(server: socket.socket) -> None:
    """Four megabytes each way at once, with the delay far shorter than the sending takes."""
    there, back = bytes(range(256)) * 16384, bytes(range(255, -1, -1)) * 16384
    with DelayProxy(port_of(server), 0.001) as proxy, connected(proxy, server) as (near, far):
        senders = [threading.Thread(target=end.sendall, args=(data,)) for end, data in ((near, there), (far, back))]
        readers: dict[str, bytes] = {}
        takers = [
            threading.Thread(target=lambda: readers.update(far=read_all(far, len(there)))),
            threading.Thread(target=lambda: readers.update(near=read_all(near, len(back)))),
        ]
        for thread in senders + takers:
            thread.start()
        for thread in senders + takers:
            thread.join(PATIENCE)

    assert readers == {"far": there, "near": back}


def test_what_goes_straight_comes_first(server: socket.socket) -> None:
    """Sent a moment later, it overtakes what goes through a second's delay; in both directions."""
    with DelayProxy(port_of(server), 1.0) as proxy, connected(proxy, server) as (near, far):
        order: list[bytes] = []
        with socket.create_connection((HOST, port_of(server)), PATIENCE) as straight:
            direct, _ = server.accept()
            with direct:
                near.sendall(b"round about")
                straight.sendall(b"straight")
                threads = [
                    threading.Thread(target=lambda end=end: order.append(end.recv(100))) for end in (far, direct)
                ]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join(PATIENCE)

    assert order == [b"straight", b"round about"]


def test_a_half_close_leaves_the_other_half_open(server: socket.socket) -> None:
    """The server sees the end, and its answer still comes."""
    with DelayProxy(port_of(server), 0.01) as proxy, connected(proxy, server) as (near, far):
        near.sendall(b"question")
        near.shutdown(socket.SHUT_WR)
        assert read_all(far, 1 << 20) == b"question"
        far.sendall(b"answer")
        far.shutdown(socket.SHUT_WR)
        assert read_all(near, 1 << 20) == b"answer"


@pytest.mark.parametrize("which", ["near", "far"])
def test_a_reset_is_passed_on_as_a_reset(server: socket.socket, which: str) -> None:
    """Not as a polite end: a killed process must look like one."""
    with DelayProxy(port_of(server), 0.01) as proxy, connected(proxy, server) as (near, far):
        killed, other = (near, far) if which == "near" else (far, near)
        killed.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, delay_proxy._RESET_ON_CLOSE)
        killed.close()
        with pytest.raises(ConnectionResetError):
            other.recv(1)


def test_a_target_that_refuses_is_a_reset_and_the_next_connection_works() -> None:
    """Nobody listens there yet; then somebody does."""
    with socket.socket() as later:
        later.bind((HOST, 0))
        with DelayProxy(port_of(later), 0.0) as proxy:
            early = (HOST, proxy.listen_port), PATIENCE
            with pytest.raises(ConnectionResetError), socket.create_connection(*early) as near:  # or while it connects
                near.recv(1)
            later.listen()
            later.settimeout(PATIENCE)
            with connected(proxy, later) as (near, far):
                near.sendall(b"now")
                assert far.recv(3) == b"now"


def test_a_hundred_connections_keep_apart(server: socket.socket) -> None:
    """Each gets its own bytes back."""
    with DelayProxy(port_of(server), 0.01) as proxy:
        nears = [socket.create_connection((HOST, proxy.listen_port), PATIENCE) for _ in range(100)]
        fars = [server.accept()[0] for _ in nears]
        for number, near in enumerate(nears):
            near.sendall(number.to_bytes(2, "big"))
        for far in fars:
            far.settimeout(PATIENCE)
            far.sendall(read_all(far, 2) * 2)
        answers = [read_all(near, 4) for near in nears]
        for end in (*nears, *fars):
            end.close()

    assert answers == [number.to_bytes(2, "big") * 2 for number in range(100)]


def test_one_connection_past_the_limit_is_reset_and_the_others_go_on(server: socket.socket) -> None:
    """At the limit all are carried."""
    with DelayProxy(port_of(server), 0.0) as proxy:
        nears = [socket.create_connection((HOST, proxy.listen_port), PATIENCE) for _ in range(MAX_CONNECTIONS)]
        fars = [server.accept()[0] for _ in nears]
        with pytest.raises(ConnectionResetError), socket.create_connection((HOST, proxy.listen_port), PATIENCE) as late:
            late.recv(1)  # where the reset has not come before the connection stood
        nears[-1].sendall(b"here")
        found = {near.getsockname()[1] for near in nears}
        for end in (*nears, *fars):
            end.close()

    assert len(found) == MAX_CONNECTIONS


def test_leaving_resets_what_is_open_and_frees_the_port(server: socket.socket) -> None:
    """Nothing of it is left to be measured by mistake."""
    with DelayProxy(port_of(server), 0.01) as proxy:
        near = socket.create_connection((HOST, proxy.listen_port), PATIENCE)
        far, _ = server.accept()
    with near, far, pytest.raises(ConnectionResetError):
        near.recv(1)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((HOST, proxy.listen_port), PATIENCE)


@pytest.mark.parametrize("delay", [-0.001, 60.001, float("nan")])
def test_a_delay_past_its_limits_is_refused(delay: float) -> None:
    """No time travel, and no delay that would only look like a hang."""
    with pytest.raises(ValueError, match="is not within 0 to 60 s"), DelayProxy(1, delay):
        pass
