"""The seam between sessions and the network: streams of frames between two sides that know each other.

A transport (wss.py, memory.py) supplies pipes, which carry whole messages of bytes; FrameStream turns a pipe whose two
sides have shaken hands into a stream. Every way a stream can end is its own error, and it stays that error: PeerClosed,
PeerTimeout, ProtocolViolation (the other side's doing), ClosedHere (this side's).
"""

from collections.abc import Awaitable, Callable
from enum import IntEnum
from types import TracebackType
from typing import Protocol, Self

from node.errors import FrameTooLarge, MalformedFrame, NodeError, ProtocolViolation, again
from node.wire import DEFAULT_MAX_PAYLOAD_BYTES, HEADER_BYTES, Frame, decode, encode
from verification.addresses import Address

MAX_CLOSE_REASON_BYTES = 120
"""A WebSocket close frame holds 123 bytes of reason."""


class CloseCode(IntEnum):
    """Why a side ends a stream. Source: RFC 6455, section 7.4.1."""

    NORMAL = 1000
    GOING_AWAY = 1001
    PROTOCOL = 1002
    TEXT = 1003
    LOST = 1006  # never sent: what a side sees when the connection breaks
    POLICY = 1008
    TOO_BIG = 1009
    INTERNAL = 1011


class Pipe(Protocol):
    """Whole messages of bytes, in order, both ways."""

    async def send(self, data: bytes) -> None:
        """Hand over one message. Raises: PeerClosed, PeerTimeout, ProtocolViolation, ClosedHere."""
        ...

    async def receive(self) -> bytes | bytearray:
        """Wait for one message. Raises: PeerClosed, PeerTimeout, ProtocolViolation, ClosedHere."""
        ...

    async def close(self, code: CloseCode, reason: str) -> None:
        """End the pipe and wait, not for ever, until the other side knows. Idempotent."""
        ...


class Stream(Protocol):
    """One session's way between two neighbours. One task receives; any may send."""

    @property
    def remote(self) -> Address | None:
        """The dialer's authenticated address; None on the dialer's own side, which knows `peer` instead."""
        ...

    @property
    def peer(self) -> bytes | None:
        """The listener's authenticated TLS key hash; None on the listener's own side."""
        ...

    async def send(self, frame: Frame) -> None:
        """Send one frame; waits while the other side is slow to read, up to the transport's deadline.

        Raises: MalformedFrame, FrameTooLarge (nothing was sent, the stream goes on); PeerClosed, PeerTimeout,
        ProtocolViolation, ClosedHere.
        """
        ...

    async def recv(self) -> Frame:
        """Wait for the next frame; safe to cancel. Frames sent before the other side closed still arrive.

        Raises: PeerClosed, PeerTimeout, ProtocolViolation, ClosedHere.
        """
        ...

    async def close(self, reason: str = "") -> None:
        """End the stream. Idempotent, never fails."""
        ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


Handler = Callable[[Stream], Awaitable[None]]
"""Serves one authenticated stream; the stream is closed when it returns or raises."""


class Listener(Protocol):
    """An open door."""

    @property
    def endpoint(self) -> str:
        """Where it can be dialled, with the port that the system chose."""
        ...

    async def close(self) -> None:
        """Take no more streams, end those that are open, wait for their handlers. Idempotent."""
        ...


class Transport(Protocol):
    """Opens streams."""

    async def dial(self, endpoint: str, peer: bytes) -> Stream:
        """Open a stream to the holder of the TLS key whose hash is `peer`.

        Raises: EndpointInvalid, PeerUnreachable, PeerRefused, CertificateMismatch, HandshakeFailed.
        """
        ...

    async def listen(self, host: str, port: int, handler: Handler) -> Listener:
        """Serve streams; port 0 lets the system choose. Raises: PortInUse, ListenFailed."""
        ...

    async def close(self) -> None:
        """Release what dialling needs; streams that are open end. Idempotent."""
        ...


class FrameStream:
    """A Stream over a Pipe."""

    def __init__(
        self, pipe: Pipe, *, remote: Address | None = None, peer: bytes | None = None,
        send_limit: int = DEFAULT_MAX_PAYLOAD_BYTES, receive_limit: int = DEFAULT_MAX_PAYLOAD_BYTES,
    ) -> None:  # fmt: skip
        self.remote = remote
        self.peer = peer
        self._pipe = pipe
        self._send_limit = send_limit
        self._receive_limit = receive_limit
        self._violation: ProtocolViolation | None = None

    async def send(self, frame: Frame) -> None:
        """See Stream."""
        data = encode(frame, self._send_limit)
        if self._violation is not None:
            raise again(self._violation)
        await self._pipe.send(data)

    async def recv(self) -> Frame:
        """See Stream."""
        if self._violation is not None:
            raise again(self._violation)
        data = await self._pipe.receive()
        try:
            return decode(data, self._receive_limit)
        except (MalformedFrame, FrameTooLarge) as error:
            raise await self._violated(error) from error

    async def _violated(self, error: NodeError) -> ProtocolViolation:
        self._violation = ProtocolViolation(str(error))
        code = CloseCode.TOO_BIG if isinstance(error, FrameTooLarge) else CloseCode.PROTOCOL
        await self._pipe.close(code, str(error))
        return self._violation

    async def close(self, reason: str = "") -> None:
        """See Stream."""
        await self._pipe.close(CloseCode.NORMAL, reason)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close("" if error is None else "the session failed")


def max_message_bytes(max_payload: int) -> int:
    """The largest message that a pipe must carry for frames with `max_payload` bytes."""
    return max_payload + HEADER_BYTES


def close_reason(reason: str) -> bytes:
    """Fit a reason into a close frame, cut between two characters."""
    return reason.encode("utf-8", "replace")[:MAX_CLOSE_REASON_BYTES].decode("utf-8", "ignore").encode()
