"""Several nodes by one command: one process imports the engines once and forks a process per node.

Each child is a whole node with its own keys, store, port and log; it ends with the supervisor, however that dies, because
its standard input is a pipe that only the supervisor holds open.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

from node.lifetime import run_loop, stop_event
from node.log import LOG_FILE, configure_logging
from node.model_folder import prepare_engine
from node.settings import NodeSettings


@dataclass(frozen=True, slots=True)
class _Child:
    pid: int
    lifeline: int
    """The end of the pipe whose closing ends the child."""


def run_nodes(nodes: Sequence[NodeSettings], wait_seconds: float, *, watch_stdin: bool) -> int:
    """Serve from every configuration until told to stop or until all have ended; returns the number that failed.

    Their models are resolved: each `model` is a folder to compute from.
    """
    for folder in {settings.model for settings in nodes}:
        prepare_engine(folder)  # the expensive part, once for all children

    children: list[_Child] = []
    for settings in nodes:
        children.append(_fork(settings, wait_seconds, children))
    return asyncio.run(_supervise(children, watch_stdin=watch_stdin))


def _fork(settings: NodeSettings, wait_seconds: float, before: Sequence[_Child]) -> _Child:
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        for inherited in (write_end, *(child.lifeline for child in before)):  # only the supervisor may hold them open
            os.close(inherited)
        _become_node(settings, wait_seconds, read_end)
    os.close(read_end)
    return _Child(pid, write_end)


def _become_node(settings: NodeSettings, wait_seconds: float, lifeline: int) -> NoReturn:
    """In the child: own log, own lifeline, then the same life as `tally node start`. Never returns to the parent's code."""
    status = 1
    try:
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

    await run_node(settings, stop_event(watch_stdin=True), wait_seconds, lambda _: None)


async def _supervise(children: Sequence[_Child], *, watch_stdin: bool) -> int:
    stop = stop_event(watch_stdin=watch_stdin)
    exits = asyncio.gather(*(asyncio.to_thread(_await_exit, child) for child in children))
    exits.add_done_callback(lambda _: stop.set())
    await stop.wait()
    for child in children:
        os.close(child.lifeline)
    return sum(1 for status in await exits if status != 0)


def _await_exit(child: _Child) -> int:
    _, status = os.waitpid(child.pid, 0)
    code = os.waitstatus_to_exitcode(status)
    return 0 if code in (0, -signal.SIGTERM) else code
