"""The stage server: accepts authenticated streams and gives each to what it asks for.

A stream carries one session: an `Open` from upstream, an `Attach` from the client that takes a session's tokens, or a `Ring`
from the last stage that tells them. A `Probe` asks how far a session is, and is answered at once.
"""

import asyncio
import contextlib
import logging

from node.errors import ClosedHere, PeerError
from node.hosting import Hosting
from node.messages import Attach, Attached, Failure, Open, Probe, Ring, message_frame, message_of
from node.open_sessions import OpenSessions
from node.refusals import FROM_OUTSIDE, FailureCode, Refused, refusal_of
from node.stage_context import StageContext
from node.transport import Listener, Stream
from node.wire import Frame, FrameType

log = logging.getLogger(__name__)

FIRST_FRAME_SECONDS = 5.0
"""A stream that opens says what for."""
QUIET_SECONDS = 5.0
"""Without a session, after which none will come back to a node that leaves."""
LAST_SECONDS = 3600.0
"""How long a node that leaves serves those that come back to it: two sessions that did so by turns would hold it for ever."""


class StageServer:
    """Serves the sessions of all spans that a node hosts."""

    def __init__(self, context: StageContext) -> None:
        self._context = context
        self.hosting = Hosting(context.engines, context.means)
        self._sessions = OpenSessions(context, self.hosting)
        self._listener: Listener | None = None

    async def start(self, host: str, port: int) -> Listener:
        """Listen. Raises: PortInUse."""
        self._listener = await self._context.transport.listen(host, port, self.serve)
        return self._listener

    async def close(self) -> None:
        """Stop listening; running sessions end as their streams do."""
        if self._listener is not None:
            await self._listener.close()
        await self._sessions.close()
        await self.hosting.close()
        await self._sessions.closed()

    async def drain(self, grace_seconds: float) -> None:
        """Take no new sessions, let those that run finish, ask what is left after a while to go on elsewhere; return when all have.

        A session that comes back, because no other node can go on with it, is served to its end, if that comes in an hour.
        """
        self.draining = True
        idle = self._sessions.idle
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace_seconds):
                await idle.wait()
        self._sessions.move_all()
        try:
            async with asyncio.timeout(LAST_SECONDS):
                while not idle.is_set():
                    await idle.wait()
                    await asyncio.sleep(QUIET_SECONDS)
        except TimeoutError:
            log.warning("%d sessions came back again and again and are left now", self.active_sessions)

    @property
    def draining(self) -> bool:
        """Whether new sessions are sent elsewhere."""
        return self._sessions.draining

    @draining.setter
    def draining(self, leaves: bool) -> None:
        self._sessions.draining = leaves

    @property
    def active_sessions(self) -> int:
        """Sessions that a route runs on."""
        return self._sessions.active

    @property
    def parked_sessions(self) -> int:
        """Sessions whose route was lost, waiting for the next one with their caches."""
        return self._sessions.parked

    def is_busy(self, channel: bytes) -> bool:
        """Whether a session runs on a channel. May be asked from any thread."""
        return self._sessions.is_busy(channel)

    async def serve(self, stream: Stream) -> None:
        """Serve one authenticated stream to its end. Raises nothing that a peer can cause."""
        session = bytes(16)
        try:
            async with asyncio.timeout(FIRST_FRAME_SECONDS):
                frame = await stream.recv()
            session = frame.session
            await self._serve_opening(stream, frame)
        except FROM_OUTSIDE as error:  # no line of the log is spent on it
            await self._refuse(stream, session, error)
        except Exception as error:  # one session's fault must never end the node
            log.exception("a stream ended by an unexpected error")
            await self._refuse(stream, session, error)

    async def _serve_opening(self, stream: Stream, frame: Frame) -> None:
        if (gossip := self._context.gossip) is not None and gossip.is_for(frame):
            await gossip.answer(stream, frame)
            return
        message = message_of(frame) if frame.type is FrameType.CONTROL else None
        match message:
            case Open():
                await self._sessions.serve(stream, frame, message)
            case Attach():
                await self._serve_attach(stream, frame, message)
            case Ring():
                await self._serve_ring(stream, frame, message)
            case Probe():
                await self._serve_probe(stream, frame, message)
            case _:
                raise Refused(FailureCode.UNKNOWN_SESSION, "a stream begins with Open, Attach, Ring or Probe")

    async def _refuse(self, stream: Stream, session: bytes, error: BaseException) -> None:
        refusal = refusal_of(error)
        failure = Failure(refusal.code.value, refusal.message[:500], refusal.stage or 0, refusal.retry_after_ms)
        try:
            await stream.send(message_frame(failure, session))
        except (PeerError, ClosedHere):
            log.debug("a peer was gone before it could be refused")

    async def _serve_attach(self, stream: Stream, frame: Frame, attach: Attach) -> None:
        session = self._sessions.find(stream.remote, attach.route)
        session.attach(stream)
        await stream.send(message_frame(Attached(), frame.session, session.terms.route.epoch))
        await session.ended.wait()

    async def _serve_ring(self, stream: Stream, frame: Frame, ring: Ring) -> None:
        session = await self._sessions.find_for_last(stream.remote, ring.route)
        session.hear(stream)
        await stream.send(message_frame(Attached(), frame.session, session.terms.route.epoch))
        await session.ended.wait()

    async def _serve_probe(self, stream: Stream, frame: Frame, probe: Probe) -> None:
        progress = self._sessions.find(stream.remote, probe.route, probe.stage).progress()
        await stream.send(message_frame(progress, frame.session, frame.epoch))
