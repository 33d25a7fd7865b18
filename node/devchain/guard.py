"""`python -I -S guard.py PROGRAM ARGS...`: runs a program for as long as standard input stays open, then stops it.

The parent holds the other end of the pipe and the system closes it however the parent dies, SIGKILL included, so that
the program never outlives it. Run as a file by path, without this package: the standard library alone starts fast.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from typing import NoReturn

STOP_GRACE_S = 3.0
_SIGKILL = 9


def _die_with_guard() -> None:
    """Linux: the kernel ends the program even where this guard itself is killed."""
    import ctypes

    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, _SIGKILL)


def _stop(child: "subprocess.Popen[bytes]") -> None:
    child.terminate()
    try:
        child.wait(STOP_GRACE_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def _stop_at_end_of_input(child: "subprocess.Popen[bytes]") -> None:
    while os.read(0, 4096):
        pass
    _stop(child)


def _on_signal(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def main(command: list[str]) -> int:
    """Prints the program's process id, then waits for it; returns its exit status."""
    signal.signal(signal.SIGTERM, _on_signal)
    prepare = _die_with_guard if sys.platform == "linux" else None
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=sys.stderr, preexec_fn=prepare)  # noqa: S603 - our own command line
    sys.stdout.write(f"{child.pid}\n")
    sys.stdout.flush()
    threading.Thread(target=_stop_at_end_of_input, args=(child,), daemon=True).start()
    with contextlib.suppress(KeyboardInterrupt):
        return child.wait()
    _stop(child)
    return child.wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
