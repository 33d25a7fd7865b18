"""How a process's event loop runs, and when the process ends: on SIGTERM or SIGINT, or with the one that started it."""

import asyncio
import contextlib
import gc
import os
import signal
import sys
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

OLD_THRESHOLD = 2
"""Collections of the middle generation before a full one."""


def run_loop(main: Coroutine[Any, Any, T]) -> T:
    """As asyncio.run, on uvloop where it is installed: TLS and wake-ups in C take a third off a hop."""
    try:
        import uvloop
    except ImportError:
        return asyncio.run(main)
    return uvloop.run(main)


def freeze_heap() -> None:
    """Leave what is there now out of further garbage collections, and have full ones come soon. For a process that is to run long.

    A stream that has ended waits in a cycle of aiohttp's with its TLS buffers, some 400 KB, for a full collection. By Python's
    own thresholds these come after hundreds of streams; and beside the modules of torch each takes a tenth of a second.
    """
    gc.collect()
    gc.freeze()
    gc.collect()  # else a quarter of what is frozen would have to come anew before the next full one
    young, middle, _ = gc.get_threshold()
    gc.set_threshold(young, middle, OLD_THRESHOLD)


def stop_event(*, watch_stdin: bool = False, exit_grace_s: float | None = None) -> asyncio.Event:
    """Return an event that is set when this process should stop.

    With `watch_stdin` also when standard input ends: a parent that holds the other end of the pipe takes its children
    along however it dies, because the system closes the pipe for it. A process
    that has not ended `exit_grace_s` seconds later, in the middle of something long, is ended there and then.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        with contextlib.suppress(NotImplementedError):  # Windows: the default handlers end the process
            loop.add_signal_handler(number, stop.set)
    if watch_stdin:
        threading.Thread(target=_await_end_of_stdin, args=(loop, stop, exit_grace_s), daemon=True).start()
    return stop


def drain_event() -> asyncio.Event:
    """Return an event that is set when this process is to leave in good order: on SIGUSR1."""
    drain = asyncio.Event()
    with contextlib.suppress(NotImplementedError):
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, drain.set)
    return drain


def _await_end_of_stdin(loop: asyncio.AbstractEventLoop, stop: asyncio.Event, exit_grace_s: float | None) -> None:
    while os.read(sys.stdin.fileno(), 4096):
        pass
    with contextlib.suppress(RuntimeError):  # the loop has ended by itself meanwhile
        loop.call_soon_threadsafe(stop.set)
    if exit_grace_s is not None:
        threading.Event().wait(exit_grace_s)
        os._exit(1)  # nobody is left to wait for it
