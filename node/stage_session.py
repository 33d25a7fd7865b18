"""One route of a session on one stage: frames come from upstream, are checked, paid for, computed, and go downstream.

Ends exactly once: on the client's Close, on a fault of either neighbour, on a refusal of its own, or because the client came
back with a newer route; then what was earned is on disk, and the server keeps or frees the KV cache.
"""

import asyncio
import logging

from node.admission import Admitted
from node.credit import SessionCredit
from node.errors import MalformedMessage, NodeError
from node.frame_rules import check_work_frame
from node.hearing import Hearing
from node.kept import Account, Kept
from node.messages import Close, Closed, Failure, Progress, Start, VoucherMessage, message_frame, message_of
from node.neighbours import Neighbours
from node.refusals import FailureCode, Refused, refusal_of
from node.ring import OwnRing, Teller, Telling
from node.session_money import SessionMoney, SessionParts
from node.stage_work import Held, StageWork, at_fault
from node.transport import Stream
from node.upstream import Upstream
from node.watching import WorkDeadline, better_reason, watch_downstream, watch_sink
from node.wire import Frame, FrameType

log = logging.getLogger(__name__)

FIRST_WORK_SECONDS = 10.0
"""A session that is open but does not begin holds a place for this long."""


class StageSession:
    """The state of one route between its Open and its end."""

    def __init__(self, terms: Admitted, kept: Kept, held: Held, streams: Neighbours, parts: SessionParts) -> None:
        self.terms = terms
        self._kept = kept
        self._held = held
        self._streams = streams
        self._parts = parts
        self._work = StageWork(terms, kept, parts.engine, parts.batcher, held.next_has)
        loop = asyncio.get_running_loop()
        self._sink: asyncio.Future[Stream] = loop.create_future()
        self._deadline = WorkDeadline(loop.time() + terms.seconds_left)
        self._deadline.put_off(min(parts.idle_seconds, FIRST_WORK_SECONDS))
        self._upstream = Upstream(streams.upstream, terms, self._deadline)
        self.ended = asyncio.Event()
        self._told_to_end: asyncio.Future[Refused] = loop.create_future()
        self._next_step = 0
        self._received = self._from_upstream = held.own
        self.teller = Teller(terms)
        self._closed = False
        self._replayed = False
        self.money = SessionMoney(terms, parts, held.own)
        kept.account = Account(terms, self.credit)
        self._turn = asyncio.Lock()
        """One position after the other, whoever brought its token."""
        self._hearing = Hearing(terms, kept, self.money, parts.engine.spec.vocab_size, self._turn)

    @property
    def credit(self) -> SessionCredit:
        """What is computed and paid."""
        return self.money.credit

    @property
    def held(self) -> int:
        """Positions that the cache had when the route began."""
        return self._held.own

    def attach(self, sink: Stream) -> None:
        """Give the stream on which the client takes this session's tokens. Raises: Refused when there is one already."""
        if self._sink.done():
            raise Refused(FailureCode.PROTOCOL, "the session has a stream for its tokens already")
        self._sink.set_result(sink)

    def hear(self, ring: Telling) -> None:
        """Give the stream on which the last stage tells this first one its tokens. Raises: Refused where there is none to be."""
        if not self.terms.is_first:
            raise Refused(FailureCode.PROTOCOL, "only the first stage hears tokens from the last one")
        self._hearing.attach(ring)

    def progress(self) -> Progress:
        """How far this stage is, for the client."""
        own = self._received - self.credit.positions  # are no queue before it
        others = max(0, self._parts.batcher.waiting_rows - own)
        return Progress(self._received, self.credit.positions, others + self.money.waits_for_chain)

    def supersede(self) -> None:
        """End this route soon, because a newer one of the session is here."""
        self._end_for(Refused(FailureCode.STALE_EPOCH, "the client has signed a newer route of this session"))

    def move(self) -> None:
        """End this route soon, because the node is leaving: the client is to go on elsewhere."""
        self._end_for(Refused(FailureCode.DRAINING, "this node is leaving; go on with another one"))

    def _end_for(self, reason: Refused) -> None:
        if not self._told_to_end.done():
            self._told_to_end.set_result(reason)

    async def run(self) -> bool:
        """Serve until the session ends; both neighbours have been told. Returns whether the cache is worth keeping."""
        watching = [self._read_upstream(), self._watch_orders(), self._deadline.watch()]
        watching += [watch_sink(self._sink), self.money.watch_channel()]
        if self.terms.is_first:
            watching.append(self._hearing.run(self._work_on))
        if self._streams.downstream is not None:
            watching.append(watch_downstream(self._streams.downstream, self.terms.stage + 1))
        readers = [asyncio.create_task(each) for each in watching]
        try:
            done, _ = await asyncio.wait(readers, return_when=asyncio.FIRST_COMPLETED)
            error = next(iter(done)).exception()
            if error is None or self._closed:
                return False
            error = await better_reason(readers, error)
            refusal = refusal_of(error)
            await self._tell(error, refusal)
            return refusal.code not in _FINAL
        finally:
            await self._end(readers)

    async def _end(self, readers: list[asyncio.Task[None]]) -> None:
        for task in readers:
            task.cancel()
        await asyncio.gather(*readers, return_exceptions=True)
        await self.money.record()
        decoded = max(0, self.credit.positions - max(self.terms.prompt_tokens, self._held.own))
        log.info(
            "session ended: %d prompt and %d decode positions, decode compute %.3f ms",
            self.credit.positions - decoded,
            decoded,
            1000 * self._work.decode_seconds,
        )

    async def _tell(self, error: BaseException, refusal: Refused) -> None:
        """Send the reason both ways; a neighbour that is gone needs none."""
        if refusal.code is FailureCode.INTERNAL and refusal is not error:
            log.error("session ended by an unexpected error", exc_info=error)
        stage = self.terms.stage if refusal.stage is None else refusal.stage
        failure = self._control(Failure(refusal.code.value, refusal.message[:500], stage, refusal.retry_after_ms))
        sink = self._sink.result() if self._sink.done() else None
        await self._streams.tell(failure, sink)

    async def _read_upstream(self) -> None:
        while True:
            frame = await self._upstream.recv()
            if frame.type is FrameType.CONTROL:
                if await self._control_frame(frame):
                    return
            else:
                await self._work_frame(frame)

    def _blame(self, error: Exception) -> Exception:
        return at_fault(error, self.terms)

    async def _control_frame(self, frame: Frame) -> bool:
        """Handle a message; returns whether it ended the session."""
        try:
            message = message_of(frame)
        except MalformedMessage as error:
            raise self._blame(error) from error
        match message:
            case Start():
                self._start(message)
                await self._forward(frame)
            case VoucherMessage():
                signed = self.money.check(message)
                await self._forward(frame)  # the later stages write it to their disks while this one does
                await self.money.hold(signed)
                self._hearing.promise(message.positions)
                self._confirm(message.positions)
            case Close():
                self._closed = True
                await self._forward(frame)
                if self._streams.downstream is None:
                    await (await self._attached()).send(self._control(Closed()))
                return True
            case Failure(code=code, message=text, stage=stage):
                raise Refused(FailureCode.read(code), text, stage)
            case other:
                text = f"{type(other).__name__} has no place in a running session"
                raise self._blame(Refused(FailureCode.PROTOCOL, text))
        return False

    def _start(self, message: Start) -> None:
        """What all stages hold decides what each is paid for; a client that misstates it is found out by the stage concerned."""
        late = self._next_step or self.credit.held  # each Start would have the last stage dial the first one
        count = len(self.terms.route.stages)
        if late or len(message.held) != count or message.held[self.terms.stage] != self._held.own:
            raise Refused(
                FailureCode.PROTOCOL, f"Start must come first, once, and say that this stage holds {self._held.own}"
            )
        self.credit.held = message.held
        if self.terms.is_last:
            self._close_ring()

    def _close_ring(self) -> None:
        if self.terms.is_first:
            own = OwnRing()
            self.teller.begin(own)
            self.hear(own)
        elif self._streams.first is not None:
            self.teller.begin(self._streams.first)

    async def _work_frame(self, frame: Frame) -> None:
        async with self._turn:
            self._deadline.is_waiting = False
            try:
                check_work_frame(frame, self.terms, self._next_step, self._from_upstream, self._held.own)
            except Refused as error:
                raise self._blame(error) from error
            self._next_step += 1
            self._from_upstream += (rows := frame.shape[0])
            self._received = max(self._received, self._from_upstream)
            if self._from_upstream <= self.credit.positions:
                self._hearing.compare(frame)
            else:
                await self.money.check_credit(rows)
                await self._work_on(frame)
            if self.terms.is_first:
                self._confirm(self._from_upstream)

    async def _work_on(self, frame: Frame) -> None:
        self._received = frame.position + frame.shape[0]
        self._deadline.is_waiting = False
        if self.terms.is_first:
            await self._hearing.note(frame)
        await self._replay()
        outputs = await self._work.advance(frame)
        self.credit.worked(frame.shape[0])
        self._deadline.put_off(self._parts.idle_seconds)
        for output in outputs:
            await self._pass_on(output)
        self._deadline.is_waiting = True

    def _confirm(self, positions: int) -> None:
        """A voucher comes after the client's frames, through a first stage that has compared these with what it was told."""
        self._kept.confirmed = max(self._kept.confirmed, positions)

    async def _replay(self) -> None:
        """What the next stage lacks goes before anything new; the voucher that pays for it has gone before."""
        if not self._replayed:
            self._replayed = True
            for frame in self._work.replay(self._held.own):
                await self._forward(frame)

    async def _pass_on(self, output: Frame) -> None:
        if self._streams.downstream is not None:
            await self._forward(output)
            return
        sink = await self._attached()
        await self.teller.tell(output)
        await sink.send(output)

    async def _watch_orders(self) -> None:
        raise await asyncio.shield(self._told_to_end)

    async def _forward(self, frame: Frame) -> None:
        try:
            await self._streams.forward(frame)
        except NodeError as error:
            behind = self.terms.stage + 1
            text = f"the next stage does not take what it must: {error}"
            raise Refused(FailureCode.STAGE_LOST, text, behind) from error

    async def _attached(self) -> Stream:
        if not self._sink.done():
            raise Refused(
                FailureCode.PROTOCOL, "no stream for the session's tokens: attach to the last stage before the prompt"
            )
        return self._sink.result()

    def _control(self, message: Closed | Failure) -> Frame:
        return message_frame(message, self.terms.session, self.terms.route.epoch)


_FINAL = frozenset(
    {FailureCode.PEER_LOST, FailureCode.IDLE, FailureCode.CHANNEL, FailureCode.UNPAID, FailureCode.WRONG_ROUTE}
)
"""Ends that are the client's own: nobody will come back for the cache."""
