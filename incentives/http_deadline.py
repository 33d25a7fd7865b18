"""HTTP sessions whose exchanges end in time, however slowly an answer drips.

A timeout of the libraries beneath bounds each silence, and a server that sends a byte before each of them ends would hold a thread
for days: in headers, in the length of a chunk, in what a decoder swallows. So a clock runs beside the whole exchange and shuts
the connection down when the time is over; whoever reads it then sees its end.
"""

import contextlib
import socket
import threading
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPResponse, HTTPSConnectionPool, PoolManager, ProxyManager
from urllib3.connection import HTTPConnection, HTTPSConnection

_running = threading.local()


class Deadline:
    """The time of one exchange of the present thread. Use as a context manager; connections of `timed_session` heed it.

    Raises: TimeoutError at the end of the block when the time was over, whatever the block made of that.
    """

    def __init__(self, seconds: float) -> None:
        self._timer = threading.Timer(seconds, self._cut)
        self._timer.daemon = True
        self._lock = threading.Lock()
        self._connection: socket.socket | None = None
        self._is_over = self._has_ended = False

    def __enter__(self) -> "Deadline":
        try:
            self._timer.start()
        except RuntimeError as error:
            raise OSError("the system gives no more threads") from error
        _running.deadline = self
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        _running.deadline = None
        self._timer.cancel()
        with self._lock:
            self._has_ended = True  # from now on the connection may be another exchange's
        if self._is_over and (error is None or isinstance(error, Exception)):
            raise TimeoutError from error

    def watch(self, connection: socket.socket) -> None:
        """The exchange goes on over this connection."""
        with self._lock:
            self._connection = connection
            if self._is_over:
                _shut(connection)

    def check(self) -> None:
        """Raises: TimeoutError once the time is over."""
        if self._is_over:
            raise TimeoutError

    def _cut(self) -> None:
        with self._lock:
            if self._has_ended:
                return
            self._is_over = True
            if self._connection is not None:
                _shut(self._connection)


def timed_session() -> requests.Session:
    """A session whose connections, through proxies too, are shut when the thread's Deadline is over."""
    session = requests.Session()
    for scheme in ("http://", "https://"):
        session.mount(scheme, _Adapter())
    return session


def _shut(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):  # closed, or handed over to TLS, a moment ago
        # not the TLS layer's own, which takes its state from under the thread that reads
        socket.socket.shutdown(connection, socket.SHUT_RDWR)


def _present() -> Deadline | None:
    deadline: Deadline | None = getattr(_running, "deadline", None)
    return deadline


def _watched(connection: socket.socket) -> None:
    if (deadline := _present()) is not None:
        deadline.watch(connection)


class _Watched(HTTPConnection):
    def _new_conn(self) -> socket.socket:
        """Before TLS and before a proxy's tunnel, which have answers to drip, too."""
        made = super()._new_conn()
        _watched(made)
        return made

    def _tunnel(self) -> None:
        """A proxy's answer that was cut off looks whole, and TLS would begin on a connection that is none."""
        super()._tunnel()
        if (deadline := _present()) is not None:
            deadline.check()

    def getresponse(self) -> HTTPResponse:  # type: ignore[override]  # as in urllib3 itself
        if self.sock is not None:
            _watched(self.sock)
        return super().getresponse()


class _WatchedTls(_Watched, HTTPSConnection):
    """Both."""


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Watched


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _WatchedTls


class _Adapter(HTTPAdapter):
    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        _heed(self.poolmanager)

    def proxy_manager_for(self, proxy: Any, **kwargs: Any) -> ProxyManager:
        manager: ProxyManager = super().proxy_manager_for(proxy, **kwargs)
        _heed(manager)
        return manager


def _heed(manager: PoolManager) -> None:
    manager.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}
