"""Several nodes by one command: one process imports the engines once and forks a process per node.

Each child is a whole node with its own keys, store, port and log; it ends with the supervisor, however that dies, because
its standard input is a pipe that only the supervisor holds open. The supervisor itself has neither threads nor an event
loop: only so is it safe to fork again when a node has died and is to be started anew.
"""

import os
import select
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NoReturn

from node.lifetime import drain_event, freeze_heap, run_loop, stop_event
from node.log import LOG_FILE, configure_logging
from node.model_folder import prepare_engine
from node.settings import NodeSettings

SHORTEST_PAUSE, LONGEST_PAUSE = 0.25, 30.0
"""Seconds before a node is started again; doubled each time that it has not lived for LIVED_SECONDS."""
LIVED_SECONDS = 10.0


@dataclass(slots=True)
class _Child:
    """One node: its process, and when and how often it was started again."""

    settings: NodeSettings
    pid: int = 0
    lifeline: int = -1
    """The end of the pipe whose closing ends the child."""
    started: float = 0.0
    pause: float = SHORTEST_PAUSE
    due: float | None = None
    """When it is to be started again."""
    failed: bool = False


def run_nodes(nodes: Sequence[NodeSettings], wait_seconds: float, *, watch_stdin: bool, restart: bool = False) -> int:
    """Serve from every configuration until told to stop or until all have ended; returns the number that failed.

    Their models are resolved: each `model` is a folder to compute from. restart: start a node again that dies.
    """
    for folder in {settings.model for settings in nodes}:
        prepare_engine(folder)  # the expensive part, once for all children
    return _Nursery(wait_seconds, restart, [_Child(settings) for settings in nodes]).run(watch_stdin=watch_stdin)


@dataclass(slots=True)
class _Nursery:
    """The children of this process."""

    wait_seconds: float
    restart: bool
    children: list[_Child]
    signals: int = field(default=-1)
    """What signals write to; -1 before `run`."""

    def run(self, *, watch_stdin: bool) -> int:
        """To the end of all children."""
        woken, self.signals = os.pipe()
        os.set_blocking(self.signals, False)
        signal.set_wakeup_fd(self.signals)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
            signal.signal(number, lambda *_: None)  # the wake-up says which
        for child in self.children:
            self._fork(child)
        sources = [woken, *([sys.stdin.fileno()] if watch_stdin else [])]
        while self._lives() and not self._told_to_stop(sources, woken):
            self._reap()
            self._start_due()
        self._end_all()
        return sum(child.failed for child in self.children)

    def _lives(self) -> bool:
        return any(child.pid or child.due is not None for child in self.children)

    def _told_to_stop(self, sources: list[int], woken: int) -> bool:
        """Sleep until something happens."""
        due = [child.due for child in self.children if child.due is not None]
        timeout = max(0.0, min(due) - time.monotonic()) if due else None
        ready, _, _ = select.select(sources, [], [], timeout)
        if any(source != woken and not os.read(source, 4096) for source in ready):
            return True  # the end of standard input
        numbers = os.read(woken, 4096) if woken in ready else b""
        return any(number in (signal.SIGTERM, signal.SIGINT) for number in numbers)

    def _fork(self, child: _Child) -> None:
        read_end, write_end = os.pipe()
        pid = os.fork()
        if pid == 0:
            lifelines = [other.lifeline for other in self.children if other.pid]
            for inherited in (write_end, self.signals, *lifelines):  # only the supervisor may hold them open
                os.close(inherited)
            _become_node(child.settings, self.wait_seconds, read_end)
        os.close(read_end)
        child.pid, child.lifeline, child.started, child.due = pid, write_end, time.monotonic(), None

    def _reap(self) -> None:
        for child in self.children:
            if child.pid and (ended := os.waitpid(child.pid, os.WNOHANG))[0]:
                self._ended(child, os.waitstatus_to_exitcode(ended[1]))

    def _ended(self, child: _Child, code: int) -> None:
        os.close(child.lifeline)
        child.pid, child.failed = 0, code not in (0, -signal.SIGTERM)
        if self.restart and code:  # who ends well, as after a drain, means it
            lived = time.monotonic() - child.started
            child.pause = SHORTEST_PAUSE if lived > LIVED_SECONDS else min(2 * child.pause, LONGEST_PAUSE)
            child.due = time.monotonic() + child.pause

    def _start_due(self) -> None:
        for child in self.children:
            if child.due is not None and child.due <= time.monotonic():
                child.failed = False
                self._fork(child)

    def _end_all(self) -> None:
        running = [child for child in self.children if child.pid]
        for child in running:
            os.close(child.lifeline)
        for child in running:
            _, status = os.waitpid(child.pid, 0)
            child.failed = os.waitstatus_to_exitcode(status) not in (0, -signal.SIGTERM)


def _become_node(settings: NodeSettings, wait_seconds: float, lifeline: int) -> NoReturn:
    """In the child: own log, own lifeline, then the same life as `tally node start`. Never returns to the parent's code."""
    status = 1
    try:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        log = os.open(settings.data_dir / LOG_FILE, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        for target, source in ((0, lifeline), (1, log), (2, log)):
            os.dup2(source, target)
        configure_logging()
        run_loop(_serve(settings, wait_seconds))
        status = 0
    except Exception as error:  # a fork must not unwind into its parent's frames
        sys.stderr.write(f"error: {error}\n")
    finally:
        sys.stderr.flush()
        os._exit(status)


async def _serve(settings: NodeSettings, wait_seconds: float) -> None:
    from node.node_process import run_node

    await run_node(settings, stop_event(watch_stdin=True), wait_seconds, lambda _: freeze_heap(), drain_event())
