"""The listening side of wss.py: one path, one upgrade, one handshake; everything else is turned away cheaply.

A connection that is not an authenticated stream when its handshake time is over is dropped, whatever it was doing.
"""

import asyncio
import errno
import logging
from asyncio import AbstractEventLoop, TimerHandle
from collections import Counter
from http import HTTPStatus

from aiohttp import web

from node.errors import ListenFailed, NodeError, PortInUse
from node.handshake import HandshakeTerms, meet
from node.identity import NodeIdentity
from node.transport import CloseCode, FrameStream, Handler
from node.wss_pipe import WebSocketPipe, WssSettings

STREAM_PATH = "/v1/stream"
HANDLERS_GRACE_SECONDS = 5.0
MAX_HEADER_BYTES = 4096

log = logging.getLogger(__name__)


class WssListener:
    """A bound port and the streams that came in through it."""

    def __init__(self, identity: NodeIdentity, terms: HandshakeTerms, settings: WssSettings, handler: Handler) -> None:
        self.endpoint = ""
        self._identity = identity
        self._terms = terms
        self._settings = settings
        self._handler = handler
        self._http = web.Server(
            self._answer, access_log=None, max_line_size=MAX_HEADER_BYTES, max_field_size=MAX_HEADER_BYTES
        )
        self._server: asyncio.Server | None = None
        self._deadlines: dict[web.RequestHandler, TimerHandle] = {}
        self._meeting: Counter[str] = Counter()
        self._pipes: dict[WebSocketPipe, str] = {}

    async def open(self, host: str, port: int) -> None:
        """Bind and serve. Raises: PortInUse, ListenFailed."""
        loop = asyncio.get_running_loop()
        try:
            self._server = await loop.create_server(
                lambda: self._connection(loop), host, port, ssl=self._identity.server_ssl_context(),
                ssl_handshake_timeout=self._settings.handshake_timeout,
                ssl_shutdown_timeout=self._settings.close_timeout,
            )  # fmt: skip
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise PortInUse(host, port) from error
            raise ListenFailed(host, port, error.strerror or str(error)) from error
        except OverflowError as error:
            raise ListenFailed(host, port, "ports are 0 to 65535") from error
        bound = self._server.sockets[0].getsockname()[1]
        self.endpoint = f"wss://{f'[{host}]' if ':' in host else host}:{bound}{STREAM_PATH}"

    def _connection(self, loop: AbstractEventLoop) -> web.RequestHandler:
        connection = self._http()
        self._deadlines[connection] = loop.call_later(self._settings.handshake_timeout, self._expire, connection)
        return connection

    def _expire(self, connection: web.RequestHandler) -> None:
        del self._deadlines[connection]
        _abort(connection)

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        refusal = self._refusal(request)
        if refusal is not None:
            response = web.Response(status=refusal, text=f"{refusal.phrase}\n")
            response.force_close()
            return response
        socket = web.WebSocketResponse(
            timeout=self._settings.close_timeout, heartbeat=self._settings.heartbeat,
            compress=False, max_msg_size=self._settings.max_message + 1,
        )  # fmt: skip
        await self._run(request, socket)
        return socket

    def _refusal(self, request: web.BaseRequest) -> HTTPStatus | None:
        if request.path != STREAM_PATH:
            return HTTPStatus.NOT_FOUND
        if request.method != "GET" or not web.WebSocketResponse().can_prepare(request).ok:
            return HTTPStatus.UPGRADE_REQUIRED
        address = request.remote or ""
        silent = sum(pipe.is_silent for pipe, other in self._pipes.items() if other == address)
        if self._meeting[address] >= self._settings.max_handshakes_per_ip or silent >= self._settings.max_silent_per_ip:
            return HTTPStatus.TOO_MANY_REQUESTS
        if self._meeting.total() + len(self._pipes) >= self._settings.max_streams:
            return HTTPStatus.SERVICE_UNAVAILABLE
        return None

    async def _run(self, request: web.BaseRequest, socket: web.WebSocketResponse) -> None:
        connection, address = request.protocol, request.remote or ""
        self._meeting[address] += 1
        try:
            await socket.prepare(request)
            pipe = WebSocketPipe(socket, self._settings, lambda: _abort(connection))
            introduced = await meet(pipe, self._identity.peer, self._terms)
        except (NodeError, ConnectionError) as error:
            log.info("turned away %s: %s", address, error)
            return
        finally:
            self._meeting -= Counter({address: 1})
        deadline = self._deadlines.pop(connection, None)
        if deadline is None:  # it fired just now
            return
        deadline.cancel()
        stream = FrameStream(
            pipe, remote=introduced.address,
            send_limit=introduced.send_limit, receive_limit=self._settings.max_payload,
        )  # fmt: skip
        await self._serve(stream, pipe, address)

    async def _serve(self, stream: FrameStream, pipe: WebSocketPipe, address: str) -> None:
        self._pipes[pipe] = address
        try:
            await self._handler(stream)
        except NodeError as error:
            log.info("the stream of %s ended: %s", stream.remote, error)
        except Exception:
            log.exception("the handler of a stream of %s failed", stream.remote)
            await pipe.close(CloseCode.INTERNAL, "internal error")
        finally:
            await pipe.close(CloseCode.NORMAL, "")
            self._pipes.pop(pipe, None)

    async def close(self) -> None:
        """See Listener."""
        if self._server is None:
            return
        self._server.close()
        self._server = None
        await asyncio.gather(*(pipe.close(CloseCode.GOING_AWAY, "the node stops") for pipe in self._pipes))
        await self._http.shutdown(HANDLERS_GRACE_SECONDS)
        for deadline in self._deadlines.values():
            deadline.cancel()
        self._deadlines.clear()


def _abort(connection: web.RequestHandler) -> None:
    if connection.transport is not None:
        connection.transport.abort()
