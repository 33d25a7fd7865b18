"""`LocalChain`: a chain 31337 of one's own in its own process, anvil where it is installed, else the embedded one."""

import contextlib
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import IO, Literal, Self

import psutil

from node.devchain import guard
from node.devchain.chain_errors import AnvilNotFound, ChainStartFailed, NotTheLocalChain
from node.devchain.constants import CHAIN_ID, HOST
from node.devchain.locate import find_anvil, searched
from node.devchain.probe import ask_chain_id
from node.errors import PortInUse

Kind = Literal["auto", "anvil", "embedded"]
START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 5.0
POLL_S = 0.01
TAIL_BYTES = 4096
FREE_PORT_TRIES = 3
STATES_KEPT = 256
"""States of past blocks that anvil can still be asked about. Blocks and logs are kept, all of them."""


class LocalChain:
    """Starts on `with` (or `start`), stops on leaving it; it also ends with this process, however that dies.

    `detach=True` leaves the chain running instead, in a session of its own; the caller then keeps `pid`. Once started,
    `.url`, `.kind` ("anvil" or "embedded") and `.pid` hold. `log` takes what the process writes; without it the last
    lines are kept for the error. Raises PortInUse, AnvilNotFound, ChainStartFailed, NotTheLocalChain.
    """

    def __init__(
        self,
        kind: Kind = "auto",
        port: int = 0,
        *,
        anvil: str | Path | None = None,
        detach: bool = False,
        log: Path | None = None,
        timeout_s: float = START_TIMEOUT_S,
    ) -> None:
        self._anvil = None if kind == "embedded" else find_anvil(anvil)
        if kind == "anvil" and self._anvil is None:
            raise AnvilNotFound(searched())
        self.kind: Literal["anvil", "embedded"] = "embedded" if self._anvil is None else "anvil"
        self.url = ""
        self.pid = 0
        self._port, self._detach, self._log, self._timeout_s = port, detach, log, timeout_s
        self._process: subprocess.Popen[bytes] | None = None
        self._errors: IO[bytes] | None = None

    def start(self) -> Self:
        """Starts the process and waits until it answers as chain 31337. A port it chose itself may change."""
        tries = FREE_PORT_TRIES if self._port == 0 else 1
        for last in [False] * (tries - 1) + [True]:
            try:
                self._start_on(self._port or _free_port())
                break
            except ChainStartFailed:
                if last:
                    raise
        return self

    def stop(self) -> None:
        """Stops the process: asks, waits, kills. Idempotent; leaves a detached chain that has started alone."""
        process, self._process = self._process, None
        if process is not None:
            _end(process)
        if self._errors is not None:
            self._errors.close()
            self._errors = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _start_on(self, port: int) -> None:
        _check_free(port)
        deadline = time.monotonic() + self._timeout_s
        try:
            process = self._launch(port)
            guarded = self.kind == "anvil" and not self._detach
            self.pid = self._guarded_pid(process) if guarded else process.pid
            self.url = self._await_answer(process, port, deadline)
        except BaseException:
            self.stop()
            raise
        if self._detach:
            process.returncode = 0  # not ours to wait for any more; keeps Popen from warning that it still runs
            self._process = None
            self.stop()

    def _launch(self, port: int) -> "subprocess.Popen[bytes]":
        self._errors = self._log.open("ab") if self._log else tempfile.TemporaryFile()  # noqa: SIM115 - closed by stop
        self._process = subprocess.Popen(  # noqa: S603 - our own command line
            self._command(port),
            stdin=subprocess.DEVNULL if self._detach else subprocess.PIPE,
            stdout=subprocess.DEVNULL if self._detach else subprocess.PIPE,
            stderr=self._errors,
            start_new_session=True,  # Ctrl-C is for the nodes first: they still settle on this chain
        )
        return self._process

    def _command(self, port: int) -> list[str]:
        if self._anvil is None:
            watch = [] if self._detach else ["--watch-stdin"]
            return [sys.executable, "-m", "node.devchain", "--port", str(port), *watch]
        command = [str(self._anvil), "--port", str(port), "--silent", "--chain-id", str(CHAIN_ID), "--host", HOST]
        command += ["--hardfork", "prague"]  # the embedded chain's rules
        command += [
            "--prune-history",
            str(STATES_KEPT),
        ]  # else it writes every older state to disk: gigabytes in an hour
        return command if self._detach else [sys.executable, "-I", "-S", guard.__file__, *command]

    def _await_answer(self, process: "subprocess.Popen[bytes]", port: int, deadline: float) -> str:
        """The URL, once our own process listens there: while it starts, another program may have taken the port."""
        url = f"http://{HOST}:{port}"
        while time.monotonic() < deadline:
            if process.poll() is not None:
                raise ChainStartFailed(self.kind, f"its process ended with status {process.returncode}", self._tail())
            found = ask_chain_id(url, timeout_s=1.0) if _listens(self.pid, port) else None
            if found == CHAIN_ID:
                return url
            if found is not None:
                raise NotTheLocalChain(url, CHAIN_ID, found)
            time.sleep(POLL_S)
        raise ChainStartFailed(self.kind, f"no answer within {self._timeout_s:g} s", self._tail())

    def _guarded_pid(self, process: "subprocess.Popen[bytes]") -> int:
        """The guard prints the process id of what it guards first; it ends at once where that cannot be started."""
        line = b"" if process.stdout is None else process.stdout.readline()
        if not line.strip().isdigit():
            raise ChainStartFailed(self.kind, "its guard could not start it", self._tail())
        return int(line)

    def _tail(self) -> str:
        if self._log is not None or self._errors is None:
            return f"see {self._log}" if self._log is not None else ""
        size = self._errors.seek(0, 2)
        self._errors.seek(max(0, size - TAIL_BYTES))
        return self._errors.read().decode(errors="replace").strip()


def _listens(pid: int, port: int) -> bool:
    try:
        found = psutil.Process(pid).net_connections("tcp4")
    except psutil.Error:
        return False
    return any(one.status == psutil.CONN_LISTEN and one.laddr.port == port for one in found)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _check_free(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do: a port just left is free
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise PortInUse(HOST, port) from error


def _end(process: subprocess.Popen[bytes]) -> None:
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()
    process.terminate()
    try:
        process.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
