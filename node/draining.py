"""Leaving in good order: how the command line asks a running node to, and how the node says how far it is."""

import asyncio
import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from node.errors import NodeStartFailed
from node.keys import running_pid
from node.server import StageServer

DRAIN_FILE = "drain.json"
"""In the data directory: what was asked, and how many sessions are left."""
DEFAULT_GRACE_SECONDS = 30.0
MAX_GRACE_SECONDS = 86_400.0
REPORT_SECONDS = 0.5
POLL_SECONDS = 0.1


def ask_to_drain(folder: Path, pid: int, grace_seconds: float) -> None:
    """Tell the process; what it is told lies in a file, because a signal says nothing."""
    _write(folder, {"grace": grace_seconds})
    os.kill(pid, signal.SIGUSR1)


def await_drained(folder: Path, pid: int, seconds: float, report: Callable[[int], None]) -> None:
    """Wait until the process has ended. Raises: NodeStartFailed when it has not in time; it goes on draining then."""
    deadline = time.monotonic() + seconds
    while running_pid(folder) == pid:
        if time.monotonic() > deadline:
            raise NodeStartFailed(str(folder), f"still serves sessions after {seconds:.0f} s; it ends when they do")
        left = _read(folder).get("left")
        if isinstance(left, int):
            report(left)
        time.sleep(POLL_SECONDS)


def asked_grace(folder: Path) -> float:
    """How long sessions may finish: what was asked, or the default for a bare signal."""
    grace = _read(folder).get("grace")
    return min(max(float(grace), 0.0), MAX_GRACE_SECONDS) if isinstance(grace, int | float) else DEFAULT_GRACE_SECONDS


async def keep_reporting(folder: Path, server: StageServer) -> None:
    """Write down how many sessions are left, until cancelled."""
    while True:
        _write(folder, {"left": server.active_sessions + server.parked_sessions})
        await asyncio.sleep(REPORT_SECONDS)


def _write(folder: Path, values: dict[str, object]) -> None:
    draft = folder / f"{DRAIN_FILE}.tmp"
    draft.write_text(json.dumps(values))
    draft.replace(folder / DRAIN_FILE)


def _read(folder: Path) -> dict[str, object]:
    try:
        values = json.loads((folder / DRAIN_FILE).read_text())
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}
