"""From an Open to the end of its route: admitted, given a cache and its neighbours, run, kept or freed."""

import asyncio

from node.admission import Admission, Admitted
from node.claims import COMING_BACK, Claims
from node.downstream import Downstream, dial_node, open_downstream
from node.hosting import Hosting
from node.kept import Kept, Room, SessionKey, Shelf
from node.messages import Accept, Accepted, Open, amount_bytes, message_frame
from node.neighbours import Neighbours
from node.refusals import FailureCode, Refused
from node.ring import Dial, Teller
from node.session_money import SessionParts, take_payment
from node.stage_context import StageContext
from node.stage_session import StageSession
from node.stage_work import settle_held
from node.transport import Stream
from node.wire import Frame
from sharding.batch_runner import BatchRunner
from verification.addresses import Address, address_bytes


class OpenSessions:
    """The sessions of one node, running or kept for their next route."""

    def __init__(self, context: StageContext, hosting: Hosting) -> None:
        limits = context.limits
        self._context = context
        self._hosting = hosting
        self._admission = Admission(context.terms, context.network, context.directory, lambda: hosting.all_spans)
        self._claims = Claims(limits.sessions, limits.sessions_per_client)
        room = Room(COMING_BACK * limits.sessions, COMING_BACK * limits.sessions_per_client)
        self._shelf = Shelf(hosting.leave, limits.log_bytes, limits.keep_seconds, room)
        self._running: dict[bytes, dict[int, StageSession]] = {}
        self.idle = asyncio.Event()
        """Set while no route runs."""
        self.idle.set()
        self.draining = False
        self._closing: set[asyncio.Task[None]] = set()

    @property
    def active(self) -> int:
        """Sessions that a route runs on; one whose route names this node twice counts twice."""
        return sum(map(len, self._running.values()))

    @property
    def parked(self) -> int:
        """Sessions whose route was lost, waiting for the next one with their caches."""
        return self._shelf.parked

    def is_busy(self, channel: bytes) -> bool:
        """Whether a session runs on a channel. May be asked from any thread."""
        return self._claims.is_busy(channel)

    def move_all(self) -> None:
        """Have every session go on elsewhere."""
        for stages in self._running.values():
            for session in stages.values():
                session.move()

    def find(self, client: Address | None, route: bytes, stage: int | None = None) -> StageSession:
        """A client's running session; without a stage, the last of the route's stages here. Raises: Refused."""
        stages = self._running.get(route)
        session = stages.get(max(stages) if stage is None else stage) if stages else None
        if session is None or client != session.terms.client:
            raise Refused(FailureCode.UNKNOWN_SESSION, "no such session of yours is open on this stage")
        return session

    async def find_for_last(self, remote: Address | None, route: bytes) -> StageSession:
        """A route's first stage, for the node that is its last. Raises: Refused, NodeError, ChainError."""
        session = self._running.get(route, {}).get(0)
        if session is not None:
            last = await self._context.directory.record(session.terms.route.stages[-1].node)
            if last.signer == remote:
                return session
        raise Refused(FailureCode.UNKNOWN_SESSION, "no session is open on this stage of which you are the last stage")

    async def close(self) -> None:
        """Free what is parked; running sessions end as their streams do."""
        await self._shelf.close()

    async def closed(self) -> None:
        """Wait for streams that are being closed."""
        await asyncio.gather(*self._closing, return_exceptions=True)

    async def serve(self, stream: Stream, frame: Frame, opening: Open) -> None:
        """Serve a session whose Open came in this frame. Raises: Refused, and the errors that refusal_of translates."""
        self._check_room(opening, stream.remote)
        admitted = await self._admission.admit(opening, stream.remote)
        if frame.session != admitted.session:
            raise Refused(FailureCode.UNKNOWN_SESSION, "the frame names another session than the route")
        self._claims.claim_epoch(admitted)
        kept, keep = await self._shelf.take(SessionKey.of(admitted), admitted.digest, admitted.own_spans), True
        if kept is None:
            self._check_open(admitted)
        try:
            if kept is not None:
                await take_payment(kept, opening, self._context.network.money_domain, self._context.ledger)
            async with self._claims.claim(admitted, 1 if kept is None else COMING_BACK):
                kept = kept or await self._begin(admitted, opening)
                keep = await self._join(stream, admitted, opening, kept)
        finally:
            if kept is not None:
                await self._shelf.put(kept, keep=keep and kept.has_rows)

    def _check_room(self, opening: Open, remote: Address | None) -> None:
        """A full node says so before it asks the chain and checks signatures: refusing must cost less than serving.

        Nothing is checked yet, so who passes here is looked at again. One that says it comes back may have its place still.
        """
        node, route = address_bytes(self._context.terms.node), opening.route
        has_place = any(stage.node == node for stage in route.stages[: opening.stage])
        if route.epoch == 0 and not has_place:
            self._check_leaving()
            self._check_queue()
            self._claims.check_room(remote if opening.stage == 0 else None)

    def _check_queue(self) -> None:
        waiting, limit = self._hosting.waiting_rows, self._context.limits.waiting_rows
        if waiting > limit:
            text = f"{waiting} rows are waiting, the limit is {limit}"
            retry_after_ms = min(60_000, int(1000 * self._hosting.waiting_seconds))
            raise Refused(FailureCode.BUSY, text, retry_after_ms=retry_after_ms)

    def _check_leaving(self) -> None:
        if self.draining:
            raise Refused(FailureCode.DRAINING, "this node is leaving and takes no new sessions; choose another one")

    def _check_open(self, admitted: Admitted) -> None:
        """Whether a session may begin here; one that comes back was accepted before."""
        self._check_queue()
        self._check_leaving()
        self._hosting.check_open(admitted.span)

    async def _begin(self, admitted: Admitted, opening: Open) -> Kept:
        kept = self._shelf.new(SessionKey.of(admitted))
        hosted = self._hosting.enter(kept.name, admitted.span)
        try:
            await hosted.batcher.call(_opened, hosted.batcher.runner, kept.name, admitted)
            if self._context.limits.reuses_prefixes:
                kept.tokens += await hosted.prefixes.adopt(kept, admitted, opening.prefix)
        except BaseException:
            await self._hosting.leave(kept.name)
            raise
        return kept

    async def _join(self, stream: Stream, admitted: Admitted, opening: Open, kept: Kept) -> bool:
        """Run the route to its end; returns whether the session's cache is worth keeping."""
        downstream = await open_downstream(self._context.directory, self._context.transport, admitted, opening)
        try:
            return await self._run(stream, downstream, admitted, opening, kept)
        finally:
            if downstream is not None:
                self._close_soon(downstream.stream)

    def _close_soon(self, stream: Stream | Teller) -> None:
        """A neighbour that is stopped takes a second to be given up, and a client may be waiting for the session's cache."""
        task = asyncio.create_task(stream.close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def _run(
        self, stream: Stream, downstream: Downstream | None, admitted: Admitted, opening: Open, kept: Kept
    ) -> bool:
        next_has = downstream.accepts[0].held if downstream else None
        hosted, context = self._hosting.home(kept.name), self._context
        held = await settle_held(kept, admitted, hosted.batcher, next_has)
        streams = Neighbours(stream, downstream.stream if downstream else None, self._way_to_first(admitted))
        parts = SessionParts(
            hosted.engine, hosted.batcher, context.ledger, context.network, context.limits.idle_seconds
        )
        session = StageSession(admitted, kept, held, streams, parts)
        self._note(session, kept)
        try:
            accepted = Accepted(accepts=(self._accept(session), *(downstream.accepts if downstream else ())))
            await stream.send(message_frame(accepted, admitted.session, admitted.route.epoch))
            keep = await session.run()
            if context.limits.reuses_prefixes and hosted in self._hosting.current:
                await hosted.prefixes.publish(kept, admitted, opening.prefix)
            return keep
        finally:
            session.ended.set()
            self._close_soon(session.teller)
            self._forget(session, kept)

    def _way_to_first(self, admitted: Admitted) -> Dial | None:
        if not admitted.is_last:
            return None
        first = admitted.route.stages[0].node
        return lambda: dial_node(self._context.directory, self._context.transport, first)

    def _note(self, session: StageSession, kept: Kept) -> None:
        terms = session.terms
        self._running.setdefault(terms.digest, {})[terms.stage] = session
        self.idle.clear()
        self._shelf.runs(kept, terms.digest, session.supersede)
        self._hosting.runs(kept.name, session.move)

    def _forget(self, session: StageSession, kept: Kept) -> None:
        terms = session.terms
        self._hosting.rests(kept.name)
        stages = self._running[terms.digest]
        del stages[terms.stage]
        if not stages:
            del self._running[terms.digest]
        if not self._running:
            self.idle.set()

    def _accept(self, session: StageSession) -> Accept:
        return Accept(
            stage=session.terms.stage,
            node=address_bytes(self._context.terms.node),
            signature=self._context.signer.sign_digest(session.terms.digest),
            earned=amount_bytes(session.money.earned_before),
            held=session.held,
        )


def _opened(runner: BatchRunner, name: bytes, admitted: Admitted) -> None:
    """In the compute thread: room for the prompt and one window is promised."""
    promised = min(admitted.prompt_tokens + admitted.route.window, admitted.capacity)
    runner.open(name, admitted.capacity, admitted.span, promised=promised, priority=admitted.priority)
