"""Streams inside one process, with the same handshake, limits and endings as those between machines. For tests."""

import asyncio
import itertools
import logging

from incentives.signing import Signer
from node.errors import (
    ClosedHere,
    EndpointInvalid,
    NodeError,
    PeerClosed,
    PeerTimeout,
    PeerUnreachable,
    PortInUse,
    ProtocolViolation,
    again,
)
from node.handshake import HandshakeTerms, check_certificate, introduce, meet
from node.inbox import Inbox
from node.transport import CloseCode, FrameStream, Handler, close_reason, max_message_bytes
from node.wire import DEFAULT_MAX_PAYLOAD_BYTES

SEND_SECONDS = 10.0
MAX_MESSAGE = max_message_bytes(DEFAULT_MAX_PAYLOAD_BYTES)
FIRST_FREE_PORT = 49152

log = logging.getLogger(__name__)


class MemoryPipe:
    """One end of a pair; a message is in the other end's inbox when it is sent."""

    def __init__(self, max_message: int, send_seconds: float = SEND_SECONDS) -> None:
        self.other = self
        self.inbox = Inbox(max_message)
        self._max_message = max_message
        self._send_seconds = send_seconds

    async def send(self, data: bytes) -> None:
        """See Pipe."""
        self._check_open()
        if len(data) > self.other._max_message:
            self.other.inbox.end(ProtocolViolation(f"a message of {len(data)} bytes"))
            self.inbox.end(PeerClosed(CloseCode.TOO_BIG, "message too big"))
            return
        try:
            async with asyncio.timeout(self._send_seconds):
                await self.other.inbox.put(data)
        except TimeoutError:
            self.inbox.end(PeerTimeout("reading", self._send_seconds))
            self.other.inbox.end(PeerClosed(CloseCode.LOST, "connection lost"))
        except NodeError:
            self.inbox.end(PeerClosed(CloseCode.LOST, "connection lost"))
        self._check_open()

    def _check_open(self) -> None:
        if self.inbox.ended is not None:
            raise again(self.inbox.ended)

    async def receive(self) -> bytes | bytearray:
        """See Pipe."""
        return await self.inbox.take()

    async def close(self, code: CloseCode, reason: str) -> None:
        """See Pipe."""
        self.inbox.end(ClosedHere(), discard=True)
        self.other.inbox.end(PeerClosed(code, close_reason(reason).decode()))


def pipe_pair(max_message: int = MAX_MESSAGE) -> tuple[MemoryPipe, MemoryPipe]:
    """Make two connected ends."""
    left, right = MemoryPipe(max_message), MemoryPipe(max_message)
    left.other, right.other = right, left
    return left, right


class MemoryNetwork:
    """What listens where. Give the same one to every transport that shall meet."""

    def __init__(self) -> None:
        self.listeners: dict[str, MemoryListener] = {}
        self._ports = itertools.count(FIRST_FREE_PORT)

    def claim(self, host: str, port: int, listener: "MemoryListener") -> str:
        """Register a listener; returns its endpoint. Raises: PortInUse."""
        endpoint = f"memory://{host}:{port or next(self._ports)}"
        if endpoint in self.listeners:
            raise PortInUse(host, port)
        self.listeners[endpoint] = listener
        return endpoint


class MemoryListener:
    """A registered handler and the streams that came in through it."""

    def __init__(
        self, network: MemoryNetwork, peer: bytes, terms: HandshakeTerms, handler: Handler, send_seconds: float
    ) -> None:
        self.endpoint = ""
        self.peer = peer
        self._network = network
        self._terms = terms
        self._handler = handler
        self._send_seconds = send_seconds
        self._served: dict[asyncio.Task[None], MemoryPipe] = {}

    def connect(self, theirs: MemoryPipe) -> None:
        """Serve the other end of a dialer's pipe."""
        ours = MemoryPipe(max_message_bytes(self._terms.max_payload), self._send_seconds)
        theirs.other, ours.other = ours, theirs
        task = asyncio.create_task(self._serve(ours))
        self._served[task] = ours
        task.add_done_callback(self._served.pop)

    async def _serve(self, pipe: MemoryPipe) -> None:
        try:
            introduced = await meet(pipe, self.peer, self._terms)
            stream = FrameStream(
                pipe, remote=introduced.address,
                send_limit=introduced.send_limit, receive_limit=self._terms.max_payload,
            )  # fmt: skip
            await self._handler(stream)
        except NodeError as error:
            log.info("a stream ended: %s", error)
        except Exception:
            log.exception("the handler of a stream failed")
            await pipe.close(CloseCode.INTERNAL, "internal error")
        finally:
            await pipe.close(CloseCode.NORMAL, "")

    async def close(self) -> None:
        """See Listener."""
        self._network.listeners.pop(self.endpoint, None)
        served = dict(self._served)
        for pipe in served.values():
            await pipe.close(CloseCode.GOING_AWAY, "the node stops")
        if served:
            _, late = await asyncio.wait(served, timeout=SEND_SECONDS)
            for task in late:
                task.cancel()


class MemoryTransport:
    """Dials as `signer` and listens as `peer`, on one network."""

    def __init__(
        self, network: MemoryNetwork, signer: Signer, terms: HandshakeTerms, peer: bytes,
        send_seconds: float = SEND_SECONDS,
    ) -> None:  # fmt: skip
        self._network = network
        self._signer = signer
        self._peer = peer
        self._terms = terms
        self._send_seconds = send_seconds

    async def dial(self, endpoint: str, peer: bytes) -> FrameStream:
        """See Transport."""
        if not endpoint.startswith("memory://"):
            raise EndpointInvalid(endpoint)
        listener = self._network.listeners.get(endpoint)
        if listener is None:
            raise PeerUnreachable(endpoint, "nobody listens there")
        check_certificate(peer, listener.peer)
        pipe = MemoryPipe(max_message_bytes(self._terms.max_payload), self._send_seconds)
        listener.connect(pipe)
        send_limit = await introduce(pipe, peer, self._signer, self._terms)
        return FrameStream(pipe, peer=peer, send_limit=send_limit, receive_limit=self._terms.max_payload)

    async def listen(self, host: str, port: int, handler: Handler) -> MemoryListener:
        """See Transport."""
        listener = MemoryListener(self._network, self._peer, self._terms, handler, self._send_seconds)
        listener.endpoint = self._network.claim(host, port, listener)
        return listener

    async def close(self) -> None:
        """See Transport."""
