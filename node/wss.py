"""The transport between machines: WebSockets over TLS 1.3, certificates pinned by the chain's record, no compression.

Endpoints are wss://HOST:PORT/v1/stream. A stream is one connection, because the frames of one session must never wait
behind another's.
"""

import asyncio
import re
from types import SimpleNamespace
from typing import cast

import aiohttp
from aiohttp import ClientWSTimeout, DummyCookieJar, TCPConnector, TraceConfig, TraceRequestRedirectParams, WSCloseCode

from incentives.signing import Signer
from node.errors import EndpointInvalid, HandshakeFailed, ListenFailed, PeerRefused, PeerUnreachable
from node.handshake import HandshakeTerms, check_certificate, introduce
from node.identity import NodeIdentity, client_ssl_context, peer_of_certificate
from node.transport import FrameStream, Handler
from node.wss_listener import STREAM_PATH, WssListener
from node.wss_pipe import WebSocketPipe, WssSettings
from verification.typed_data import Domain

__all__ = ["WssSettings", "WssTransport", "stream_url"]

MAX_ENDPOINT_CHARS = 200
_ENDPOINT = re.compile(
    r"wss://(?P<host>[A-Za-z0-9](?:[A-Za-z0-9.\-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\]):(?P<port>[0-9]{1,5})"
    rf"(?:{STREAM_PATH})?"
)
_BUSY = {429: "too many handshakes at once", 503: "no room for another stream"}


def stream_url(endpoint: str) -> str:
    """Check an announced endpoint, which anybody may have written; a bare wss://HOST:PORT gets the path.

    Raises: EndpointInvalid.
    """
    match = _ENDPOINT.fullmatch(endpoint) if len(endpoint) <= MAX_ENDPOINT_CHARS else None
    if match is None or not 0 < int(match["port"]) <= 65535:
        raise EndpointInvalid(endpoint)
    return f"wss://{match['host']}:{int(match['port'])}{STREAM_PATH}"


class WssTransport:
    """Dials as `signer`; listens where it has an identity. `domain` is that of the Stakes contract."""

    def __init__(
        self, signer: Signer, domain: Domain, identity: NodeIdentity | None = None, settings: WssSettings | None = None
    ) -> None:
        self._signer = signer
        self._identity = identity
        self._settings = settings or WssSettings()
        self._terms = HandshakeTerms(domain, self._settings.max_payload, self._settings.handshake_timeout)
        self._ssl = client_ssl_context()
        self._session: aiohttp.ClientSession | None = None

    async def dial(self, endpoint: str, peer: bytes) -> FrameStream:
        """See Transport. Nothing but the upgrade request is sent before the certificate is known to be the peer's."""
        socket = await self._connect(endpoint)
        pipe = WebSocketPipe(socket, self._settings, socket.abort)
        try:
            check_certificate(peer, _shown_peer(socket))
            send_limit = await introduce(pipe, peer, self._signer, self._terms)
        except BaseException:
            socket.abort()
            raise
        return FrameStream(pipe, peer=peer, send_limit=send_limit, receive_limit=self._settings.max_payload)

    async def _connect(self, endpoint: str) -> "_Socket":
        url = stream_url(endpoint)
        try:
            async with asyncio.timeout(self._settings.dial_timeout):
                socket = await self._client().ws_connect(
                    url, ssl=self._ssl, compress=0, max_msg_size=self._settings.max_message + 1,
                    heartbeat=self._settings.heartbeat, timeout=ClientWSTimeout(ws_close=self._settings.close_timeout),
                )  # fmt: skip
                return cast("_Socket", socket)
        except TimeoutError as error:
            raise PeerUnreachable(endpoint, f"no answer within {self._settings.dial_timeout:g} s") from error
        except aiohttp.WSServerHandshakeError as error:
            if error.status in _BUSY:
                raise PeerRefused("busy", _BUSY[error.status]) from error
            raise PeerUnreachable(endpoint, f"something else answers, with HTTP {error.status}") from error
        except (aiohttp.ClientError, OSError, ValueError, _Redirected) as error:
            raise PeerUnreachable(endpoint, _reason(error)) from error

    def _client(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=TCPConnector(limit=0, force_close=True), cookie_jar=DummyCookieJar(),
                trust_env=False, ws_response_class=_Socket, trace_configs=[_no_redirects()],
            )  # fmt: skip
        return self._session

    async def listen(self, host: str, port: int, handler: Handler) -> WssListener:
        """See Transport. Raises also: ListenFailed without an identity."""
        if self._identity is None:
            raise ListenFailed(host, port, "this process has no TLS identity; it can only dial")
        listener = WssListener(self._identity, self._terms, self._settings, handler)
        await listener.open(host, port)
        return listener

    async def close(self) -> None:
        """See Transport."""
        if self._session is not None:
            session, self._session = self._session, None
            await session.close()


def _reason(error: Exception) -> str:
    """aiohttp wraps the system's words in more of its own."""
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    return str(cause) or type(cause).__name__


class _Socket(aiohttp.ClientWebSocketResponse):
    """A client's WebSocket that lets go of its connection however it ended."""

    async def close(self, *, code: int = WSCloseCode.OK, message: bytes = b"") -> bool:
        """Close; aiohttp itself keeps the connection of a WebSocket that was lost."""
        try:
            return await super().close(code=code, message=message)
        finally:
            self._response.close()

    def abort(self) -> None:
        """Drop the connection at once; closing it would wait until a full buffer is flushed."""
        connection = self._response.connection
        if connection is not None and connection.transport is not None:
            connection.transport.abort()
        self._response.close()


class _Redirected(Exception):
    """An answer that would have sent us elsewhere."""


def _no_redirects() -> TraceConfig:
    """A node's endpoint is where the node is; following redirects would let it aim our requests at other hosts."""

    async def refuse(
        session: aiohttp.ClientSession, context: SimpleNamespace, params: TraceRequestRedirectParams
    ) -> None:
        raise _Redirected("it redirects elsewhere, which nodes never do")

    config = TraceConfig()
    config.on_request_redirect.append(refuse)
    return config


def _shown_peer(socket: _Socket) -> bytes:
    tls = socket.get_extra_info("ssl_object")
    certificate = tls.getpeercert(binary_form=True) if tls is not None else None
    if not certificate:
        raise HandshakeFailed("the connection ended before its certificate could be read")
    try:
        return peer_of_certificate(certificate)
    except ValueError as error:
        raise HandshakeFailed(f"the certificate cannot be read: {error}") from error
