"""A pipe over one WebSocket, the same for the side that dialled and the side that listens.

A task of its own reads the socket into a bounded inbox, because aiohttp answers heartbeats only while somebody reads:
so a stage that computes for ten seconds stays alive, and a neighbour's end is noticed before anybody waits for it.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import aiohttp
from aiohttp import WSMessage, WSMsgType, web
from aiohttp.http_websocket import WebSocketError

from node.errors import ClosedHere, NodeError, PeerClosed, PeerTimeout, ProtocolViolation, again
from node.handshake import HANDSHAKE_SECONDS
from node.inbox import Inbox
from node.transport import CloseCode, close_reason, max_message_bytes
from node.wire import DEFAULT_MAX_PAYLOAD_BYTES

WATCHES = 4
"""How often per send timeout a stalled send is looked for."""

WebSocket = web.WebSocketResponse | aiohttp.ClientWebSocketResponse


@dataclass(frozen=True, slots=True)
class WssSettings:
    """Limits of the transport. Times in seconds, sizes in bytes."""

    max_payload: int = DEFAULT_MAX_PAYLOAD_BYTES
    heartbeat: float = 5.0
    """A ping after this much silence; without an answer in half of it again, the other side is dead."""
    handshake_timeout: float = HANDSHAKE_SECONDS
    """From the first byte of TCP to the end of our handshake."""
    dial_timeout: float = 5.0
    send_timeout: float = 10.0
    """How long a full socket may stay full."""
    close_timeout: float = 1.0
    max_streams: int = 256
    max_handshakes_per_ip: int = 32
    """Unfinished ones at one time."""
    max_silent_per_ip: int = 64
    """Streams that are open and say nothing yet: else whoever opens them without end leaves no room for others."""

    @property
    def max_message(self) -> int:
        """The largest WebSocket message. aiohttp refuses messages that reach its limit, so its limit is one more."""
        return max_message_bytes(self.max_payload)


class WebSocketPipe:
    """Messages over a WebSocket. `abort` drops the connection at once."""

    def __init__(self, socket: WebSocket, settings: WssSettings, abort: Callable[[], None]) -> None:
        self._socket = socket
        self._settings = settings
        self._abort = abort
        self._inbox = Inbox(settings.max_message)
        self._reader = asyncio.create_task(self._read())
        self._loop = asyncio.get_running_loop()
        self._received = 0
        self._sending = 0
        self._progress = self._loop.time()
        self._watch = self._loop.call_later(settings.send_timeout / WATCHES, self._check_sending)

    async def send(self, data: bytes) -> None:
        """See Pipe. A message counts as sent when it is in the socket's bounded buffer."""
        self._check_open()
        if not self._sending:
            self._progress = self._loop.time()
        self._sending += 1
        try:
            await self._socket.send_bytes(data)
        except (ConnectionError, aiohttp.ClientError):
            await asyncio.sleep(0)  # the reader may know better why
            self._inbox.end(_lost())
            self._check_open()
        finally:
            self._sending -= 1
            self._progress = self._loop.time()

    def _check_open(self) -> None:
        if self._inbox.ended is not None:
            raise again(self._inbox.ended)

    def _check_sending(self) -> None:
        """A timer per send would cost more than the send; this one looks from time to time."""
        if self._sending and self._loop.time() - self._progress > self._settings.send_timeout:
            self._inbox.end(PeerTimeout("reading", self._settings.send_timeout))
            self._abort()
        elif not self._reader.done():
            self._watch = self._loop.call_later(self._settings.send_timeout / WATCHES, self._check_sending)

    @property
    def is_silent(self) -> bool:
        """Whether nothing has come but the first message, which is the handshake's."""
        return self._received <= 1

    async def receive(self) -> bytes | bytearray:
        """See Pipe."""
        return await self._inbox.take()

    async def close(self, code: CloseCode, reason: str) -> None:
        """See Pipe."""
        self._inbox.end(ClosedHere(), discard=True)
        try:
            async with asyncio.timeout(self._settings.close_timeout):
                await self._socket.close(code=code, message=close_reason(reason))
                await asyncio.wait([self._reader])
        except (TimeoutError, ConnectionError, aiohttp.ClientError):
            self._abort()
        finally:
            self._watch.cancel()
            self._reader.cancel()

    async def _read(self) -> None:
        """Move messages into the inbox until the WebSocket ends, then say how it did."""
        try:
            while (message := await self._socket.receive()).type is WSMsgType.BINARY:
                self._received += 1
                await self._inbox.put(message.data)
            self._inbox.end(self._ending_of(message))
            if message.type is WSMsgType.TEXT:
                await self._socket.close(code=CloseCode.TEXT, message=b"binary frames only")
            elif message.type is not WSMsgType.CLOSING:  # then close is under way elsewhere, with its reason
                await self._socket.close()
        except NodeError:
            pass  # close or send ended the inbox, and know why
        finally:
            self._inbox.end(_lost())  # the first end counts; nobody may wait for a reader that is gone

    def _ending_of(self, message: WSMessage) -> NodeError:
        if message.type is WSMsgType.TEXT:
            return ProtocolViolation("a text message, where only binary ones belong")
        if message.type is WSMsgType.CLOSE:
            return PeerClosed(int(message.data), message.extra or "")
        error = message.data if message.type is WSMsgType.ERROR else self._socket.exception()
        if isinstance(error, WebSocketError):
            return ProtocolViolation(str(error))
        if isinstance(error, TimeoutError):
            return PeerTimeout("heartbeat", self._settings.heartbeat * 1.5)
        return _lost()


def _lost() -> PeerClosed:
    return PeerClosed(CloseCode.LOST, "connection lost")
