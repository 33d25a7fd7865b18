"""One route of a session on one stage: frames come from upstream, are checked, paid for, computed, and go downstream.

Ends exactly once: on the client's Close, on a fault of either neighbour, on a refusal of its own, or because the client came
back with a newer route; then what was earned is on disk, and the server keeps or frees the KV cache.
"""

import asyncio
import logging

from node.admission import Admitted
from node.credit import SessionCredit
from node.errors import MalformedMessage, NodeError, PeerError
from node.frame_rules import check_work_frame
from node.kept import Account, Kept
from node.messages import Close, Closed, Failure, Progress, Start, VoucherMessage, message_frame, message_of
from node.neighbours import Neighbours
from node.refusals import FailureCode, Refused, refusal_of
from node.session_money import SessionMoney, SessionParts
from node.stage_work import Held, StageWork, at_fault
from node.transport import Stream
from node.wire import Frame, FrameType, frame_to_tokens
from verification.routes import prompt_root

log = logging.getLogger(__name__)

REASON_SECONDS = 0.05
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
        self._expires = loop.time() + terms.seconds_left
        self._deadline = min(self._expires, loop.time() + min(parts.idle_seconds, FIRST_WORK_SECONDS))
        self.ended = asyncio.Event()
        self._told_to_end: asyncio.Future[Refused] = loop.create_future()
        self._next_step = 0
        self._received = held.own
        self._closed = False
        self._replayed = False
        self.money = SessionMoney(terms, parts, held.own)
        kept.account = Account(terms, self.credit)

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

    def progress(self) -> Progress:
        """How far this stage is, for the client."""
        own = self._received - self.credit.positions
        others = max(0, self._parts.batcher.waiting_rows - own)  # its own rows are no queue before it
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
        watching = (self._read_upstream(), self._watch_sink(), self.money.watch_channel(), self._watch_orders())
        readers = [asyncio.create_task(each) for each in watching]
        if self._streams.downstream is not None:
            readers.append(asyncio.create_task(self._read_downstream(self._streams.downstream)))
        try:
            done, _ = await asyncio.wait(readers, return_when=asyncio.FIRST_COMPLETED)
            error = next(iter(done)).exception()
            if error is None or self._closed:
                return False
            error = await self._better_reason(readers, error)
            refusal = refusal_of(error)
            await self._tell(error, refusal)
            return refusal.code not in _FINAL
        finally:
            await self._end(readers)

    async def _better_reason(self, readers: list[asyncio.Task[None]], error: BaseException) -> BaseException:
        """A stream that broke says less than a neighbour who had time to say why: that the client has left, above all."""
        if refusal_of(error).code is not FailureCode.STAGE_LOST or not isinstance(error.__cause__, NodeError):
            return error
        done, _ = await asyncio.wait(readers, timeout=REASON_SECONDS, return_when=asyncio.ALL_COMPLETED)
        reasons = [task.exception() for task in done]
        left = [each for each in reasons if each is not None and refusal_of(each).code is FailureCode.PEER_LOST]
        return left[0] if left else error

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
            frame = await self._receive()
            if frame.type is FrameType.CONTROL:
                if await self._control_frame(frame):
                    return
            else:
                await self._work_frame(frame)

    async def _receive(self) -> Frame:
        try:
            async with asyncio.timeout_at(self._deadline):
                frame = await self._streams.upstream.recv()
        except TimeoutError as error:
            raise Refused(FailureCode.IDLE, "no work came in time, or the route has expired") from error
        except PeerError as error:
            raise self._upstream_lost(error) from error
        if frame.session != self.terms.session:
            raise self._blame(
                Refused(FailureCode.UNKNOWN_SESSION, "the frame names another session than this stream's")
            )
        if frame.epoch != self.terms.route.epoch:
            stale = f"the frame is of epoch {frame.epoch}, the route of {self.terms.route.epoch}"
            raise self._blame(Refused(FailureCode.STALE_EPOCH, stale))
        return frame

    def _upstream_lost(self, error: PeerError) -> Exception:
        """Upstream of the first stage is the client; further on it is a stage, and the client may still be there."""
        if self.terms.is_first:
            return error
        return Refused(FailureCode.STAGE_LOST, f"the stage before is gone: {error}", self.terms.stage - 1)

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
            case Close():
                self._closed = True
                await self._forward(frame)
                if self._streams.downstream is None:
                    await (await self._attached()).send(self._control(Closed()))
                return True
            case Failure(code=code, message=text, stage=stage):
                raise Refused(FailureCode.read(code), text, stage)
            case other:
                raise self._blame(
                    Refused(FailureCode.PROTOCOL, f"{type(other).__name__} has no place in a running session")
                )
        return False

    def _start(self, message: Start) -> None:
        """What all stages hold decides what each is paid for; a client that misstates it is found out by the stage concerned."""
        own = message.held[self.terms.stage] if self.terms.stage < len(message.held) else None
        if len(message.held) != len(self.terms.route.stages) or own != self._held.own or self._next_step:
            raise Refused(FailureCode.PROTOCOL, f"Start must come first and say that this stage holds {self._held.own}")
        self.credit.held = message.held

    async def _work_frame(self, frame: Frame) -> None:
        try:
            check_work_frame(frame, self.terms, self._next_step, self.credit.positions, self._held.own)
        except Refused as error:
            raise self._blame(error) from error
        rows = frame.shape[0]
        self._received = frame.position + rows
        await self.money.check_credit(rows)
        if self.terms.is_first:
            await self._check_prompt(frame)
        await self._replay()
        outputs = await self._work.advance(frame)
        self._next_step += 1
        self.credit.worked(rows)
        self._deadline = min(self._expires, asyncio.get_running_loop().time() + self._parts.idle_seconds)
        for output in outputs:
            await self._pass_on(output)

    async def _replay(self) -> None:
        """What the next stage lacks goes before anything new; the voucher that pays for it has gone before."""
        if not self._replayed:
            self._replayed = True
            for frame in self._work.replay(self._held.own):
                await self._forward(frame)

    async def _pass_on(self, output: Frame) -> None:
        if self._streams.downstream is not None:
            await self._forward(output)
        else:
            await (await self._attached()).send(output)

    async def _check_prompt(self, frame: Frame) -> None:
        """The first stage sees the prompt: it must be the one that the route commits to."""
        seen, wanted = self._kept.tokens, self.terms.prompt_tokens
        try:
            seen += frame_to_tokens(frame, self._parts.engine.spec.vocab_size).tolist()
        except NodeError as error:
            raise self._blame(error) from error
        if frame.position + frame.shape[0] != wanted:
            return
        root = await asyncio.to_thread(prompt_root, self.terms.salt, seen)
        if root != self.terms.route.prompt_root:
            raise Refused(FailureCode.WRONG_ROUTE, "the prompt is not the one that the route commits to")

    async def _read_downstream(self, downstream: Stream) -> None:
        """After the opening a later stage only ever speaks to say that it failed."""
        behind = self.terms.stage + 1
        try:
            frame = await downstream.recv()
            message = message_of(frame) if frame.type is FrameType.CONTROL else None
        except PeerError as error:
            raise Refused(FailureCode.STAGE_LOST, f"the next stage is gone: {error}", behind) from error
        except MalformedMessage as error:
            raise Refused(FailureCode.MALFORMED, str(error), behind) from error
        if not isinstance(message, Failure):
            raise Refused(FailureCode.PROTOCOL, "the next stage sent something unasked", behind)
        raise Refused(FailureCode.read(message.code), message.message, message.stage, message.retry_after_ms)

    async def _watch_sink(self) -> None:
        """The client only ever leaves the stream of its tokens."""
        sink = await asyncio.shield(self._sink)
        try:
            await sink.recv()
        except PeerError as error:
            raise Refused(FailureCode.PEER_LOST, f"the client has left: {error}") from error
        raise Refused(FailureCode.PROTOCOL, "the client sent something on the stream of its tokens")

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
