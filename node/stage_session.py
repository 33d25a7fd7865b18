"""One session on one stage: frames come from upstream, are checked, paid for, computed, and go downstream.

Ends exactly once: on the client's Close, on a fault of either neighbour, or on a refusal of its own; then what was earned
is on disk, and the server frees the KV cache.
"""

import asyncio
import logging
import time
from collections.abc import Callable

import torch

from incentives.errors import ChainError
from incentives.vouchers import SignedVoucher, Voucher, check_voucher
from node.admission import Admitted
from node.credit import SessionCredit
from node.errors import ClosedHere, NodeError, PeerError
from node.frame_rules import check_work_frame
from node.ledger import Ledger
from node.messages import Close, Closed, Failure, VoucherMessage, amount_of, message_frame, message_of
from node.network import Network
from node.refusals import FailureCode, Refused, refusal_of
from node.transport import Stream
from node.wire import Frame, FrameType, frame_to_tensor, frame_to_tokens, hidden_frame, sampled_frame
from node.worker import Worker
from sharding.engine import Chunk, Engine
from sharding.sampling import sample
from verification.routes import prompt_root
from verification.work import session_work

log = logging.getLogger(__name__)

FIRST_WORK_SECONDS = 10.0
"""A session that is open but does not begin holds a place for this long."""
SHORTEST_CHANNEL_WATCH, LONGEST_CHANNEL_WATCH = 1.0, 30.0


class StageSession:
    """The state of one session between its Open and its end."""

    def __init__(
        self, terms: Admitted, upstream: Stream, downstream: Stream | None, engine: Engine, worker: Worker,
        ledger: Ledger, network: Network, idle_seconds: float,
    ) -> None:  # fmt: skip
        self.terms = terms
        self._upstream = upstream
        self._downstream = downstream
        self._sink: asyncio.Future[Stream] = asyncio.get_running_loop().create_future()
        self._engine = engine
        self._worker = worker
        self._ledger = ledger
        self._network = network
        self._idle_seconds = idle_seconds
        now = asyncio.get_running_loop().time()
        self._expires = now + terms.seconds_left
        self._deadline = min(self._expires, now + min(idle_seconds, FIRST_WORK_SECONDS))
        self._decode_compute = 0.0
        self.ended = asyncio.Event()
        self._next_step = 0
        self._closed = False
        self._prompt: list[int] = []
        held = ledger.open_channel(terms.route.channel, terms.key, terms.payees, terms.stage)
        self.due = max(0, held.earned - held.cumulative)
        self.credit = SessionCredit(
            terms.price, terms.prompt_tokens, terms.route.window, held.earned, held.cumulative, held.cumulative, terms.locked,
        )  # fmt: skip

    def attach(self, sink: Stream) -> None:
        """Give the stream on which the client takes this session's tokens. Raises: Refused when there is one already."""
        if self._sink.done():
            raise Refused(FailureCode.PROTOCOL, "the session has a stream for its tokens already")
        self._sink.set_result(sink)

    async def run(self) -> None:
        """Serve until the session ends; both neighbours have been told when this returns."""
        watching = (self._read_upstream(), self._watch_sink(), self._watch_channel())
        readers = [asyncio.create_task(each) for each in watching]
        if self._downstream is not None:
            readers.append(asyncio.create_task(self._read_downstream(self._downstream)))
        try:
            done, _ = await asyncio.wait(readers, return_when=asyncio.FIRST_COMPLETED)
            errors = [task.exception() for task in readers if task in done]
            if errors[0] is not None and not self._closed:
                await self._tell(errors[0])
        finally:
            await self._end(readers)

    async def _end(self, readers: list[asyncio.Task[None]]) -> None:
        for task in readers:
            task.cancel()
        await asyncio.gather(*readers, return_exceptions=True)
        try:
            await asyncio.to_thread(self._ledger.add_earned, self.terms.route.channel, self.credit.earned)
        finally:
            self.ended.set()
        decoded = max(0, self.credit.positions - self.terms.prompt_tokens)
        log.info(
            "session ended: %d prompt and %d decode positions, decode compute %.3f ms",
            self.credit.positions - decoded,
            decoded,
            1000 * self._decode_compute,
        )

    async def _tell(self, error: BaseException) -> None:
        """Send the reason both ways; a neighbour that is gone needs none."""
        refusal = refusal_of(error)
        if refusal.code is FailureCode.INTERNAL and refusal is not error:
            log.error("session ended by an unexpected error", exc_info=error)
        stage = self.terms.stage if refusal.stage is None else refusal.stage
        failure = self._control(Failure(code=refusal.code.value, message=refusal.message[:500], stage=stage))
        sink = self._sink.result() if self._sink.done() else None
        for stream in (self._upstream, self._downstream, sink):
            if stream is not None:
                await _send_quietly(stream, failure)

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
                frame = await self._upstream.recv()
        except TimeoutError as error:
            raise Refused(FailureCode.IDLE, "no work came in time, or the route has expired") from error
        if frame.session != self.terms.session:
            raise Refused(FailureCode.UNKNOWN_SESSION, "the frame names another session than this stream's")
        if frame.epoch != self.terms.route.epoch:
            raise Refused(
                FailureCode.STALE_EPOCH, f"the frame is of epoch {frame.epoch}, the route of {self.terms.route.epoch}"
            )
        return frame

    async def _control_frame(self, frame: Frame) -> bool:
        """Handle a message; returns whether it ended the session."""
        match message_of(frame):
            case VoucherMessage() as message:
                signed = self._checked_voucher(message)
                await self._forward(frame)  # the later stages write it to their disks while this one does
                await self._hold(signed)
                return False
            case Close():
                self._closed = True
                await self._forward(frame)
                if self._downstream is None:
                    await (await self._attached()).send(self._control(Closed()))
                return True
            case Failure(code=code, message=text, stage=stage):
                raise Refused(FailureCode.read(code), text, stage)
            case other:
                raise Refused(FailureCode.PROTOCOL, f"{type(other).__name__} has no place in a running session")

    def _checked_voucher(self, message: VoucherMessage) -> SignedVoucher:
        terms = self.terms
        voucher = Voucher(terms.route.channel, amount_of(message.cumulative), message.work)
        signed = SignedVoucher(terms.key, voucher, message.signature)
        check_voucher(
            signed,
            self._network.money_domain,
            channel=terms.route.channel,
            locked=terms.locked,
            previous=self.credit.paid,
            work=session_work(terms.digest, message.positions),
        )
        return signed

    async def _hold(self, signed: SignedVoucher) -> None:
        """Put a checked voucher on disk; only then does it count."""
        await asyncio.to_thread(self._ledger.hold_voucher, signed)
        self.credit.paid = signed.voucher.cumulative

    async def _work_frame(self, frame: Frame) -> None:
        check_work_frame(frame, self.terms, self._next_step, self.credit.positions)
        rows = frame.shape[0]
        if not self.credit.allows(rows):
            raise Refused(FailureCode.UNPAID, f"{rows} more positions are past what is paid and the window's credit")
        if self.terms.is_first:
            await self._check_prompt(frame)
        output = await self._worker.run(self._computation(frame))
        self._next_step += 1
        self.credit.worked(rows)
        self._deadline = min(self._expires, asyncio.get_running_loop().time() + self._idle_seconds)
        if self._downstream is not None:
            await self._forward(output)
        elif self.credit.positions >= self.terms.prompt_tokens:
            await (await self._attached()).send(output)

    async def _check_prompt(self, frame: Frame) -> None:
        """The first stage sees the prompt: it must be the one that the route commits to."""
        if self.credit.positions >= self.terms.prompt_tokens:
            return
        self._prompt += frame_to_tokens(frame, self._engine.spec.vocab_size).tolist()
        if len(self._prompt) < self.terms.prompt_tokens:
            return
        root = await self._worker.run(prompt_root, self.terms.salt, self._prompt)
        if root != self.terms.route.prompt_root:
            raise Refused(FailureCode.WRONG_ROUTE, "the prompt is not the one that the route commits to")

    def _computation(self, frame: Frame) -> Callable[[], Frame]:
        """Everything between two frames as one call for the compute thread."""
        spec, terms = self._engine.spec, self.terms

        def compute() -> Frame:
            inputs = frame_to_tensor(frame, spec.hidden_size, spec.vocab_size, self._engine.hidden_dtype)
            began = time.perf_counter()
            [output] = self._engine.forward([Chunk(terms.session, frame.position, inputs)])
            made = self._output_frame(frame, output)
            if frame.position >= terms.prompt_tokens:
                self._decode_compute += time.perf_counter() - began
            return made

        return compute

    def _output_frame(self, frame: Frame, output: torch.Tensor) -> Frame:
        if not self.terms.is_last:
            return hidden_frame(frame.session, frame.epoch, frame.step, frame.position, output)
        position = frame.position + frame.shape[0]
        token = sample(output, self.terms.sampling, position)
        return sampled_frame(frame.session, frame.epoch, frame.step, position, token)

    async def _read_downstream(self, downstream: Stream) -> None:
        """After the opening a later stage only ever speaks to say that it failed."""
        behind = self.terms.stage + 1
        try:
            frame = await downstream.recv()
        except PeerError as error:
            raise Refused(FailureCode.STAGE_LOST, f"the next stage is gone: {error}", behind) from error
        message = message_of(frame) if frame.type is FrameType.CONTROL else None
        if not isinstance(message, Failure):
            raise Refused(FailureCode.PROTOCOL, "the next stage sent something unasked", behind)
        raise Refused(FailureCode.read(message.code), message.message, message.stage)

    async def _watch_sink(self) -> None:
        """The client only ever leaves the stream of its tokens."""
        sink = await asyncio.shield(self._sink)
        try:
            await sink.recv()
        except PeerError as error:
            raise Refused(FailureCode.PEER_LOST, f"the client has left: {error}") from error
        raise Refused(FailureCode.PROTOCOL, "the client sent something on the stream of its tokens")

    async def _forward(self, frame: Frame) -> None:
        if self._downstream is None:
            return
        try:
            await self._downstream.send(frame)
        except NodeError as error:
            behind = self.terms.stage + 1
            raise Refused(
                FailureCode.STAGE_LOST, f"the next stage does not take what it must: {error}", behind
            ) from error

    async def _watch_channel(self) -> None:
        """A payer that closes its channel while a session runs would take the money back before it is settled."""
        every = min(
            max(self._network.deployment.params.close_delay_s / 4, SHORTEST_CHANNEL_WATCH), LONGEST_CHANNEL_WATCH
        )
        while True:
            await asyncio.sleep(every)
            try:
                state = await asyncio.to_thread(self._network.channels.state, self.terms.route.channel)
            except ChainError:
                continue  # a chain that is down ends no session: what is owed is within the credit
            if state.closes_at:
                raise Refused(FailureCode.CHANNEL, "the channel is being closed on chain")

    async def _attached(self) -> Stream:
        if not self._sink.done():
            raise Refused(
                FailureCode.PROTOCOL, "no stream for the session's tokens: attach to the last stage before the prompt"
            )
        return self._sink.result()

    def _control(self, message: Closed | Failure) -> Frame:
        return message_frame(message, self.terms.session, self.terms.route.epoch)


async def _send_quietly(stream: Stream, frame: Frame) -> None:
    try:
        await stream.send(frame)
    except (PeerError, ClosedHere):
        log.debug("a neighbour was gone before it could be told")
