"""The stage server: accepts authenticated streams, opens sessions along the route, and lets each run.

A stream carries one session: an `Open` from upstream, or an `Attach` from the client that takes a session's tokens.
"""

import asyncio
import logging
from dataclasses import dataclass

from incentives.errors import IncentivesError
from incentives.signing import Signer
from node.admission import Admission, Admitted, StageTerms
from node.claims import Claims
from node.directory import Directory
from node.errors import ClosedHere, NodeError, PeerError
from node.ledger import Ledger
from node.messages import (
    Accept,
    Accepted,
    Attach,
    Attached,
    Failure,
    Open,
    amount_bytes,
    message_frame,
    message_of,
)
from node.network import Network
from node.refusals import FailureCode, Refused, opening_seconds, refusal_of
from node.stage_session import StageSession
from node.transport import Listener, Stream, Transport
from node.wire import Frame, FrameType
from node.worker import Worker
from sharding.engine import Engine
from sharding.errors import ShardingError
from verification.addresses import address_bytes
from verification.errors import VerificationError
from verification.routes import MAX_STAGES

log = logging.getLogger(__name__)

FIRST_FRAME_SECONDS = 5.0
"""A stream that opens says what for."""


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
    max_sessions: int
    idle_seconds: float


_PEERS_FAULT = (NodeError, IncentivesError, ShardingError, VerificationError, TimeoutError)
"""What a peer can cause: it is told, and no line of the log is spent on it."""


class StageServer:
    """Serves the sessions of one span."""

    def __init__(self, context: StageContext) -> None:
        self._context = context
        self._admission = Admission(context.terms, context.network, context.directory)
        self._sessions: dict[bytes, StageSession] = {}
        self._claims = Claims(context.max_sessions)
        self._listener: Listener | None = None

    async def start(self, host: str, port: int) -> Listener:
        """Listen. Raises: PortInUse."""
        self._listener = await self._context.transport.listen(host, port, self.serve)
        return self._listener

    async def close(self) -> None:
        """Stop listening; running sessions end as their streams do."""
        if self._listener is not None:
            await self._listener.close()

    @property
    def active_sessions(self) -> int:
        """Sessions with a KV cache."""
        return len(self._sessions)

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
        message = message_of(frame) if frame.type is FrameType.CONTROL else None
        match message:
            case Open():
                await self._serve_open(stream, frame, message)
            case Attach():
                await self._serve_attach(stream, frame, message)
            case _:
                raise Refused(FailureCode.UNKNOWN_SESSION, "a stream begins with Open or Attach")

    async def _refuse(self, stream: Stream, session: bytes, error: BaseException) -> None:
        refusal = refusal_of(error)
        failure = Failure(code=refusal.code.value, message=refusal.message[:500], stage=refusal.stage or 0)
        try:
            await stream.send(message_frame(failure, session))
        except (PeerError, ClosedHere):
            log.debug("a peer was gone before it could be refused")

    async def _serve_open(self, stream: Stream, frame: Frame, opening: Open) -> None:
        admitted = await self._admission.admit(opening, stream.remote)
        if frame.session != admitted.session:
            raise Refused(FailureCode.UNKNOWN_SESSION, "the frame names another session than the route")
        async with self._claims.claim(admitted):
            downstream = await self._open_downstream(admitted, opening)
            try:
                await self._run_session(stream, downstream, admitted)
            finally:
                self._sessions.pop(admitted.digest, None)
                if downstream is not None:
                    await downstream.stream.close()

    async def _open_downstream(self, admitted: Admitted, opening: Open) -> "Downstream | None":
        """Carry the Open to the next stage; its answer holds the acceptances of all stages behind it."""
        if admitted.is_last:
            return None
        index = admitted.stage + 1
        node = admitted.route.stages[index].node
        try:
            record = await self._context.directory.record(node)
            stream = await self._context.transport.dial(record.endpoint, record.peer)
        except NodeError as error:
            log.info("stage %d (%s) cannot be reached: %s", index, node, error)
            raise _unreachable(index, node) from error  # no details: they would map this node's network for strangers
        try:
            return await self._exchange_open(stream, opening, admitted, index)
        except BaseException:
            await stream.close()
            raise

    async def _exchange_open(self, stream: Stream, opening: Open, admitted: Admitted, index: int) -> "Downstream":
        """Each stage waits less long than the one before it, so that the one next to a silent stage names it."""
        try:
            await stream.send(message_frame(opening, admitted.session, admitted.route.epoch))
            async with asyncio.timeout(opening_seconds(len(admitted.route.stages) - index)):
                answer = await stream.recv()
        except (NodeError, TimeoutError) as error:
            raise _unreachable(index, admitted.route.stages[index].node) from error
        return Downstream(stream, _accepted(answer, index))

    async def _run_session(self, stream: Stream, downstream: "Downstream | None", admitted: Admitted) -> None:
        engine, worker = self._context.engine, self._context.worker
        await worker.run(engine.open, admitted.session, admitted.capacity)
        try:
            session = self._make_session(stream, downstream, admitted)
            accepted = Accepted(accepts=(self._accept(session), *(downstream.accepts if downstream else ())))
            await stream.send(message_frame(accepted, admitted.session, admitted.route.epoch))
            await session.run()
        finally:
            await worker.run(engine.close, admitted.session)

    def _make_session(self, stream: Stream, downstream: "Downstream | None", admitted: Admitted) -> StageSession:
        context = self._context
        session = StageSession(
            admitted, stream, downstream.stream if downstream else None, context.engine, context.worker,
            context.ledger, context.network, context.idle_seconds,
        )  # fmt: skip
        self._sessions[admitted.digest] = session
        return session

    def _accept(self, session: StageSession) -> Accept:
        return Accept(
            stage=session.terms.stage,
            node=address_bytes(self._context.terms.node),
            signature=self._context.signer.sign_digest(session.terms.digest),
            due=amount_bytes(session.due),
        )

    async def _serve_attach(self, stream: Stream, frame: Frame, attach: Attach) -> None:
        session = self._sessions.get(attach.route)
        if session is None or stream.remote != session.terms.client:
            raise Refused(FailureCode.UNKNOWN_SESSION, "no such session of yours is open on this stage")
        session.attach(stream)
        await stream.send(message_frame(Attached(), frame.session, session.terms.route.epoch))
        await session.ended.wait()


@dataclass(frozen=True, slots=True)
class Downstream:
    """An open stream to the next stage, and the acceptances that came back on it."""

    stream: Stream
    accepts: list[Accept]


def _unreachable(index: int, node: str) -> Refused:
    return Refused(FailureCode.STAGE_LOST, f"stage {index} ({node}) cannot be reached or does not answer", index)


def _accepted(frame: Frame, stage: int) -> list[Accept]:
    message = message_of(frame) if frame.type is FrameType.CONTROL else None
    match message:
        case Accepted(accepts=tuple(accepts)):
            return list(accepts)
        case Failure(code=code, message=text, stage=failed):
            known = failed if stage <= failed < MAX_STAGES else stage
            raise Refused(FailureCode.read(code), text, known)
        case _:
            raise Refused(FailureCode.PROTOCOL, f"stage {stage} answered an Open with something else")
