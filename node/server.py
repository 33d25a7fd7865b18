"""The stage server: accepts authenticated streams, opens sessions along the route, and lets each run.

A stream carries one session: an `Open` from upstream, or an `Attach` from the client that takes a session's tokens. A
`Probe` asks how far a session is, and is answered at once.
"""

import asyncio
import contextlib
import logging
from dataclasses import dataclass, field

from incentives.errors import IncentivesError
from incentives.signing import Signer
from node.admission import Admission, Admitted, StageTerms
from node.batcher import Batcher
from node.claims import Claims
from node.directory import Directory
from node.downstream import Downstream, open_downstream
from node.errors import ClosedHere, NodeError, PeerError
from node.gossip import Gossip
from node.kept import KEEP_SECONDS, Kept, SessionKey, Shelf
from node.ledger import Ledger
from node.messages import (
    Accept,
    Accepted,
    Attach,
    Attached,
    Failure,
    Open,
    Probe,
    amount_bytes,
    message_frame,
    message_of,
)
from node.neighbours import Neighbours
from node.network import Network
from node.prefixes import Prefixes
from node.refusals import FailureCode, Refused, refusal_of
from node.session_money import SessionParts, take_payment
from node.stage_session import StageSession
from node.stage_work import settle_held
from node.transport import Listener, Stream, Transport
from node.wire import Frame, FrameType
from node.worker import Worker
from sharding.batch_runner import DEFAULT_SWAP_BYTES, BatchRunner
from sharding.engine import Engine
from sharding.errors import ShardingError
from sharding.scheduler import DEFAULT_BUDGET
from verification.addresses import address_bytes
from verification.errors import VerificationError

log = logging.getLogger(__name__)

FIRST_FRAME_SECONDS = 5.0
"""A stream that opens says what for."""
DEFAULT_LOG_BYTES = 256 << 20
QUIET_SECONDS = 5.0
"""Without a session, after which none will come back to a node that leaves."""


@dataclass(frozen=True, slots=True)
class StageLimits:
    """What one stage takes on. Sizes in bytes, times in seconds."""

    sessions: int = 64
    sessions_per_client: int = 16
    idle_seconds: float = 60.0
    batch_rows: int = DEFAULT_BUDGET
    waiting_rows: int = 4096
    """Past this a new session is told to come back later."""
    swap_bytes: int = DEFAULT_SWAP_BYTES
    log_bytes: int = DEFAULT_LOG_BYTES
    keep_seconds: float = KEEP_SECONDS
    reuses_prefixes: bool = True


@dataclass(frozen=True, slots=True)
class StageContext:
    """What a stage server works with."""

    terms: StageTerms
    network: Network
    directory: Directory
    engine: Engine
    worker: Worker
    ledger: Ledger
    signer: Signer
    transport: Transport
    limits: StageLimits = field(default_factory=StageLimits)
    gossip: Gossip | None = None


_PEERS_FAULT = (NodeError, IncentivesError, ShardingError, VerificationError, TimeoutError)
"""What a peer can cause: it is told, and no line of the log is spent on it."""


class StageServer:
    """Serves the sessions of one span."""

    def __init__(self, context: StageContext) -> None:
        limits = context.limits
        self._context = context
        self._admission = Admission(context.terms, context.network, context.directory)
        self._sessions: dict[bytes, StageSession] = {}
        self._claims = Claims(limits.sessions, limits.sessions_per_client)
        self.batcher = Batcher(BatchRunner(context.engine, limits.swap_bytes), context.worker, limits.batch_rows)
        self._shelf = Shelf(self._free, limits.log_bytes, limits.keep_seconds)
        self._prefixes = Prefixes(self.batcher)
        self._parts = SessionParts(context.engine, self.batcher, context.ledger, context.network, limits.idle_seconds)
        self._listener: Listener | None = None
        self.draining = False
        self._idle = asyncio.Event()
        self._idle.set()
        self._closing: set[asyncio.Task[None]] = set()

    async def start(self, host: str, port: int) -> Listener:
        """Listen. Raises: PortInUse."""
        self._listener = await self._context.transport.listen(host, port, self.serve)
        return self._listener

    async def close(self) -> None:
        """Stop listening; running sessions end as their streams do."""
        if self._listener is not None:
            await self._listener.close()
        await self._shelf.close()
        await self.batcher.close()
        await asyncio.gather(*self._closing, return_exceptions=True)

    async def drain(self, grace_seconds: float) -> None:
        """Take no new sessions, let those that run finish, ask what is left after a while to go on elsewhere; return when all have.

        A session that comes back, because no other node can go on with it, is served to its end.
        """
        self.draining = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace_seconds):
                await self._idle.wait()
        for session in list(self._sessions.values()):
            session.move()
        while not self._idle.is_set():
            await self._idle.wait()
            await asyncio.sleep(QUIET_SECONDS)

    @property
    def active_sessions(self) -> int:
        """Sessions that a route runs on."""
        return len(self._sessions)

    @property
    def parked_sessions(self) -> int:
        """Sessions whose route was lost, waiting for the next one with their caches."""
        return self._shelf.parked

    def is_busy(self, channel: bytes) -> bool:
        """Whether a session runs on a channel."""
        return self._claims.is_busy(channel)

    async def serve(self, stream: Stream) -> None:
        """Serve one authenticated stream to its end. Raises nothing that a peer can cause."""
        session = bytes(16)
        try:
            async with asyncio.timeout(FIRST_FRAME_SECONDS):
                frame = await stream.recv()
            session = frame.session
            await self._serve_opening(stream, frame)
        except _PEERS_FAULT as error:
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
                await self._serve_open(stream, frame, message)
            case Attach():
                await self._serve_attach(stream, frame, message)
            case Probe():
                await self._serve_probe(stream, frame, message)
            case _:
                raise Refused(FailureCode.UNKNOWN_SESSION, "a stream begins with Open, Attach or Probe")

    async def _refuse(self, stream: Stream, session: bytes, error: BaseException) -> None:
        refusal = refusal_of(error)
        failure = Failure(refusal.code.value, refusal.message[:500], refusal.stage or 0, refusal.retry_after_ms)
        try:
            await stream.send(message_frame(failure, session))
        except (PeerError, ClosedHere):
            log.debug("a peer was gone before it could be refused")

    async def _serve_open(self, stream: Stream, frame: Frame, opening: Open) -> None:
        admitted = await self._admission.admit(opening, stream.remote)
        if frame.session != admitted.session:
            raise Refused(FailureCode.UNKNOWN_SESSION, "the frame names another session than the route")
        self._check_queue()
        self._claims.claim_epoch(admitted)
        kept, keep = await self._shelf.take(SessionKey.of(admitted), admitted.span), True
        if kept is None and self.draining:
            raise Refused(FailureCode.DRAINING, "this node is leaving and takes no new sessions; choose another one")
        try:
            if kept is not None:
                await take_payment(kept, opening, self._context.network.money_domain, self._context.ledger)
            async with self._claims.claim(admitted):
                kept = kept or await self._new_session(admitted, opening)
                keep = await self._serve_session(stream, admitted, opening, kept)
        finally:
            if kept is not None:
                await self._shelf.put(kept, keep=keep and kept.has_rows)

    def _check_queue(self) -> None:
        waiting, limit = self.batcher.waiting_rows, self._context.limits.waiting_rows
        if waiting > limit:
            seconds = waiting / max(self.batcher.load.rows_per_second, 1.0)
            text = f"{waiting} rows are waiting, the limit is {limit}"
            raise Refused(FailureCode.BUSY, text, retry_after_ms=min(60_000, int(1000 * seconds)))

    async def _new_session(self, admitted: Admitted, opening: Open) -> Kept:
        kept, runner = self._shelf.new(SessionKey.of(admitted), admitted.span), self.batcher.runner
        promised = min(admitted.prompt_tokens + admitted.route.window, admitted.capacity)
        await self.batcher.call(
            runner.open, kept.name, admitted.capacity, admitted.span, promised=promised, priority=admitted.priority
        )
        try:
            if self._context.limits.reuses_prefixes:
                kept.tokens += await self._prefixes.adopt(kept, admitted, opening.prefix)
        except BaseException:
            await self._free(kept.name)
            raise
        return kept

    async def _serve_session(self, stream: Stream, admitted: Admitted, opening: Open, kept: Kept) -> bool:
        """Run the route to its end; returns whether the session's cache is worth keeping."""
        downstream = await open_downstream(self._context.directory, self._context.transport, admitted, opening)
        try:
            return await self._run_session(stream, downstream, admitted, opening, kept)
        finally:
            self._sessions.pop(admitted.digest, None)
            if not self._sessions:
                self._idle.set()
            if downstream is not None:
                self._close_soon(downstream.stream)

    def _close_soon(self, stream: Stream) -> None:
        """A neighbour that is stopped takes a second to be given up, and a client may be waiting for the session's cache."""
        task = asyncio.create_task(stream.close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def _run_session(
        self, stream: Stream, downstream: Downstream | None, admitted: Admitted, opening: Open, kept: Kept
    ) -> bool:
        next_has = downstream.accepts[0].held if downstream else None
        held = await settle_held(kept, admitted, self.batcher, next_has)
        streams = Neighbours(stream, downstream.stream if downstream else None)
        session = StageSession(admitted, kept, held, streams, self._parts)
        self._sessions[admitted.digest] = session
        self._idle.clear()
        self._shelf.runs(kept, session.supersede)
        try:
            accepted = Accepted(accepts=(self._accept(session), *(downstream.accepts if downstream else ())))
            await stream.send(message_frame(accepted, admitted.session, admitted.route.epoch))
            keep = await session.run()
            if self._context.limits.reuses_prefixes:
                await self._prefixes.publish(kept, admitted, opening.prefix)
            return keep
        finally:
            session.ended.set()

    def _accept(self, session: StageSession) -> Accept:
        return Accept(
            stage=session.terms.stage,
            node=address_bytes(self._context.terms.node),
            signature=self._context.signer.sign_digest(session.terms.digest),
            earned=amount_bytes(session.money.earned_before),
            held=session.held,
        )

    async def _serve_attach(self, stream: Stream, frame: Frame, attach: Attach) -> None:
        session = self._own_session(stream, attach.route)
        session.attach(stream)
        await stream.send(message_frame(Attached(), frame.session, session.terms.route.epoch))
        await session.ended.wait()

    async def _serve_probe(self, stream: Stream, frame: Frame, probe: Probe) -> None:
        progress = self._own_session(stream, probe.route).progress()
        await stream.send(message_frame(progress, frame.session, frame.epoch))

    def _own_session(self, stream: Stream, route: bytes) -> StageSession:
        session = self._sessions.get(route)
        if session is None or stream.remote != session.terms.client:
            raise Refused(FailureCode.UNKNOWN_SESSION, "no such session of yours is open on this stage")
        return session

    async def _free(self, name: bytes) -> None:
        await self.batcher.call(self.batcher.runner.close, name)
