"""HTTP connections whose answers must begin in time, however slowly their headers drip.

A timeout of the libraries beneath bounds each silence. A byte before each of them ends would hold a thread for days: a header may
have 65,536 bytes, and an answer a hundred of them.
"""

import contextlib
import socket
import threading
from collections.abc import Iterator
from typing import Any

from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPResponse, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection


class DeadlineAdapter(HTTPAdapter):
    """For a requests session: the timeout of a request also bounds the time until all its headers are there."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}


@contextlib.contextmanager
def _cut_off_after(seconds: float | None, connection: socket.socket | None) -> Iterator[None]:
    """Shut the connection down when the time is over: whoever reads it then sees its end."""
    if seconds is None or connection is None:
        yield
        return
    over = threading.Event()

    def cut() -> None:
        over.set()
        with contextlib.suppress(OSError):  # closed a moment ago
            # not the TLS layer's own, which takes its state from under the thread that reads
            socket.socket.shutdown(connection, socket.SHUT_RDWR)

    timer = threading.Timer(seconds, cut)
    timer.daemon = True
    timer.start()
    try:
        yield
    except Exception as error:
        if over.is_set():
            raise TimeoutError from error
        raise
    else:
        if over.is_set():  # what was cut off reads like headers that ended
            raise TimeoutError
    finally:
        timer.cancel()


class _InTime(HTTPConnection):
    def getresponse(self) -> HTTPResponse:  # type: ignore[override]  # as in urllib3 itself
        seconds = self.timeout if isinstance(self.timeout, int | float) else None
        with _cut_off_after(seconds, self.sock):
            return super().getresponse()


class _TlsInTime(_InTime, HTTPSConnection):
    """Both."""


class _Pool(HTTPConnectionPool):
    ConnectionCls = _InTime


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _TlsInTime
