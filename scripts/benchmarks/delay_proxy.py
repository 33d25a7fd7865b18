"""A TCP proxy on loopback that adds a fixed delay each way, for measuring what distance costs.

It moves bytes and knows nothing of them: TLS, WebSockets and pinned certificates pass through as they are. Order and bandwidth
stay: a byte leaves `delay` after it came, whatever came before it. Connecting takes a round trip. What ends one side ends the
other in the same way and `delay` later: a half-close is passed on as one, a reset as a reset; a connection that the target
refuses is reset.

It is a process of its own, so that what measures and what carries do not wait for each other. Its loop waits by select(), which
counts in microseconds: epoll rounds every wait up to a whole millisecond, which at 25 ms each way would be felt.
"""

import argparse
import asyncio
import contextlib
import selectors
import socket
import struct
import subprocess
import sys
from collections import deque
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

HOST = "127.0.0.1"
READ_BYTES = 256 * 1024
MAX_PASSING_BYTES = 64 * 1024 * 1024
"""On their way in one direction of one connection; who sends more waits, as for a full window."""
MAX_CONNECTIONS = 400
"""At once: select() takes no file number past 1,023, and each connection has two. One more is reset."""
MAX_DELAY_SECONDS = 60.0
STOP_SECONDS = 5.0
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # linger, for no time: closing resets


@dataclass
class DelayProxy:
    """Carries every connection to `listen_port` on to `port` of this machine, `delay_seconds` later each way.

    A context manager. Raises on entering: ValueError for a delay outside [0, MAX_DELAY_SECONDS]; OSError where it cannot start.
    """

    port: int
    delay_seconds: float
    listen_port: int = field(default=0, init=False)
    """Where to connect instead of `port`; chosen by the system on entering."""
    _process: "subprocess.Popen[bytes] | None" = field(default=None, init=False)

    def __enter__(self) -> Self:
        if not 0 <= self.delay_seconds <= MAX_DELAY_SECONDS:
            raise ValueError(f"a delay of {self.delay_seconds} s is not within 0 to {MAX_DELAY_SECONDS:g} s")
        command = [sys.executable, "-I", "-S", __file__, str(self.port), str(self.delay_seconds)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        line = self._process.stdout.readline() if self._process.stdout is not None else b""
        if not line.strip().isdigit():
            self.stop()
            raise OSError("the proxy's process ended before it listened; its error is above")
        self.listen_port = int(line)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Reset what is open and stop listening. Idempotent."""
        process, self._process = self._process, None
        if process is None:
            return
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()  # the process ends with its standard input, so also when this one is killed
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@dataclass(frozen=True, slots=True)
class _Passing:
    """Bytes on their way; none at all for an end of file, None for a reset. `due`: the loop's time."""

    due: float
    data: bytes | None


class _Way:
    """One direction of one connection."""

    def __init__(self, source: socket.socket, target: socket.socket, delay: float) -> None:
        self._source, self._target, self._delay = source, target, delay
        self._passing: deque[_Passing] = deque()
        self._bytes = 0
        self._moved = asyncio.Condition()

    async def run(self) -> None:
        """Carry until the end of file. Raises: OSError when either side is gone."""
        reading = asyncio.create_task(self._read())
        try:
            await self._write()
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

    async def _read(self) -> None:
        loop = asyncio.get_running_loop()
        data: bytes | None = b"not yet the end"
        while data:
            try:
                data = await loop.sock_recv(self._source, READ_BYTES)
            except OSError:
                data = None
            async with self._moved:
                self._passing.append(_Passing(loop.time() + self._delay, data))
                self._bytes += len(data or b"")
                self._moved.notify_all()
                await self._moved.wait_for(lambda: self._bytes < MAX_PASSING_BYTES)

    async def _write(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            async with self._moved:
                await self._moved.wait_for(lambda: bool(self._passing))
            item = self._passing.popleft()
            await asyncio.sleep(max(0.0, item.due - loop.time()))
            if item.data is None:
                raise ConnectionResetError("the other side was reset")
            if not item.data:
                self._target.shutdown(socket.SHUT_WR)
                return
            await loop.sock_sendall(self._target, item.data)
            async with self._moved:
                self._bytes -= len(item.data)
                self._moved.notify_all()


async def _carry(caller: socket.socket, port: int, delay: float) -> None:
    """One connection, both ways, to its end; both sides are closed or reset when this returns."""
    target = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    whole = False
    try:
        for each in (caller, target):
            each.setblocking(False)
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await asyncio.sleep(2 * delay)
        await asyncio.get_running_loop().sock_connect(target, (HOST, port))
        async with asyncio.TaskGroup() as group:
            group.create_task(_Way(caller, target, delay).run())
            group.create_task(_Way(target, caller, delay).run())
        whole = True
    except* OSError:
        pass  # the target refuses, or one side is gone: both are reset
    finally:
        _close(caller, reset=not whole)
        _close(target, reset=not whole)


def _close(each: socket.socket, *, reset: bool) -> None:
    with contextlib.suppress(OSError):
        if reset:
            each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        each.close()


async def _accept(listener: socket.socket, port: int, delay: float) -> None:
    connections: set[asyncio.Task[None]] = set()
    try:
        while True:
            caller, _ = await asyncio.get_running_loop().sock_accept(listener)
            if len(connections) >= MAX_CONNECTIONS:
                _close(caller, reset=True)
                continue
            connections.add(task := asyncio.create_task(_carry(caller, port, delay)))
            task.add_done_callback(connections.discard)
    finally:
        for task in connections:
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)


async def _until_input_ends() -> None:
    ended = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), ended.set)  # nothing is ever written: ready means closed
    await ended.wait()


async def _serve(port: int, delay: float) -> None:
    with socket.create_server((HOST, 0), backlog=MAX_CONNECTIONS) as listener:
        listener.setblocking(False)
        print(listener.getsockname()[1], flush=True)
        accepting = asyncio.create_task(_accept(listener, port, delay))
        await _until_input_ends()
        accepting.cancel()
        await asyncio.gather(accepting, return_exceptions=True)


def main() -> None:
    """Listen on a port that is printed, until standard input ends."""
    parser = argparse.ArgumentParser(description="a TCP proxy that adds a delay each way")
    parser.add_argument("port", type=int)
    parser.add_argument("delay", type=float, help="seconds each way")
    options = parser.parse_args()
    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(selectors.SelectSelector())) as runner:
        runner.run(_serve(options.port, options.delay))


if __name__ == "__main__":
    main()
