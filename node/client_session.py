"""One generation as the client drives it: prefill, then token by token round the ring, paying every W tokens."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from incentives.payees import Payee
from incentives.prices import RoutePrice
from incentives.signing import Signer
from node.channel_book import ChannelBook, OpenedChannel
from node.client_errors import SessionFailed
from node.errors import NodeError, PeerError
from node.messages import Close, Closed, Failure, VoucherMessage, amount_bytes, message_frame, message_of
from node.refusals import FailureCode
from node.transport import Stream
from node.wire import Frame, FrameType, frame_to_token, tokens_frame
from sharding.sampling import SamplingParams
from verification.routes import Route
from verification.work import session_work

log = logging.getLogger(__name__)

PREFILL_CHUNK_TOKENS = 128
STEP_SECONDS = 60.0
"""The longest wait for one token, the first one included."""
CLOSE_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Request:
    """What to generate."""

    prompt: tuple[int, ...]
    sampling: SamplingParams
    max_tokens: int
    max_price: int
    """The most that one token may cost through all stages, in the smallest unit."""
    stop_tokens: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class StageBill:
    """One stage's part of the bill, in the smallest unit."""

    payee: Payee
    blocks: str
    ask: int
    amount: int


@dataclass(frozen=True, slots=True)
class Report:
    """A finished generation. Seconds are wall time; amounts in the smallest unit."""

    route: Route
    tokens: tuple[int, ...]
    prompt_tokens: int
    paid: int
    stages: tuple[StageBill, ...]
    channel: bytes
    first_token_seconds: float
    decode_seconds: float

    @property
    def tokens_per_second(self) -> float:
        """Decode speed: tokens after the first over the time they took."""
        return (len(self.tokens) - 1) / self.decode_seconds if self.decode_seconds > 0 else 0.0


@dataclass(frozen=True, slots=True)
class OpenRoute:
    """A route that every stage has accepted, with the streams at its two ends."""

    route: Route
    digest: bytes
    price: RoutePrice
    payees: tuple[Payee, ...]
    channel: OpenedChannel
    control: Stream
    tokens: Stream


class ClientSession:
    """Drives one open route. Use `tokens()` once, then `finish()`; `abandon()` where something failed."""

    def __init__(self, opened: OpenRoute, request: Request, signer: Signer, book: ChannelBook, vocab_size: int) -> None:
        self._opened = opened
        self._request = request
        self._signer = signer
        self._book = book
        self._vocab_size = vocab_size
        self._session = opened.route.nonce[:16]
        self._base = opened.channel.cumulative
        self._paid_positions = 0
        self._positions = 0
        self._step = 0
        self._generated: list[int] = []
        self._began = time.perf_counter()
        self._first_at = self._last_at = self._began
        self._failure = asyncio.create_task(self._watch_control())

    @property
    def generated(self) -> tuple[int, ...]:
        """The tokens so far, also after a failure."""
        return tuple(self._generated)

    async def tokens(self) -> AsyncIterator[int]:
        """Yield tokens as they arrive until a stop token or the limit. Raises: SessionFailed with what was generated so far."""
        await self._prefill()
        while True:
            token = await self._receive_token()
            self._generated.append(token)
            yield token
            if token in self._request.stop_tokens or len(self._generated) == self._request.max_tokens:
                return
            await self._pay_if_due()
            await self._send([token])

    async def _prefill(self) -> None:
        prompt = self._request.prompt
        for at in range(0, len(prompt), PREFILL_CHUNK_TOKENS):
            chunk = prompt[at : at + PREFILL_CHUNK_TOKENS]
            await self._pay(self._positions + len(chunk))
            await self._send(chunk)

    async def _send(self, tokens: Sequence[int]) -> None:
        frame = tokens_frame(self._session, self._opened.route.epoch, self._step, self._positions, tokens)
        await self._send_control(frame)
        self._step += 1
        self._positions += len(tokens)

    async def _send_control(self, frame: Frame) -> None:
        try:
            await self._opened.control.send(frame)
        except NodeError as error:
            raise await self._explain(error) from error

    async def _pay_if_due(self) -> None:
        """Pay before the stages' credit would be used up: one voucher per window."""
        if self._positions - self._paid_positions >= self._opened.route.window:
            await self._pay(self._positions)

    async def _pay(self, positions: int) -> None:
        cumulative = self._base + self._cost(positions)
        work = session_work(self._opened.digest, positions)
        signed = await asyncio.to_thread(self._book.sign, self._signer, self._opened.channel.channel, cumulative, work)
        message = VoucherMessage(
            cumulative=amount_bytes(cumulative), work=work, positions=positions, signature=signed.signature
        )
        await self._send_control(message_frame(message, self._session, self._opened.route.epoch))
        self._paid_positions = positions

    def _cost(self, positions: int) -> int:
        return self._opened.price.session_cost(len(self._request.prompt), positions)

    async def _receive_token(self) -> int:
        """The next token, or the reason why there will be none."""
        frame = await self._receive()
        expected = (self._session, self._opened.route.epoch, self._step - 1, self._positions)
        if (frame.session, frame.epoch, frame.step, frame.position) != expected:
            raise self._failed(
                FailureCode.OUT_OF_ORDER, "the last stage sent a token of another step", self._last_stage
            )
        try:
            token = frame_to_token(frame, self._vocab_size)
        except NodeError as error:
            raise self._failed(FailureCode.TOKEN_RANGE, str(error), self._last_stage) from error
        self._last_at = time.perf_counter()
        if not self._generated:
            self._first_at = self._last_at
        return token

    async def _receive(self) -> Frame:
        receiving = asyncio.create_task(self._opened.tokens.recv())
        try:
            await asyncio.wait({receiving, self._failure}, timeout=STEP_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            if receiving.done() and receiving.exception() is None:
                return self._checked(receiving.result())
            if receiving.done():
                raise await self._explain(receiving.exception())
            if self._failure.done():
                raise self._failure.result()
            raise self._failed(FailureCode.IDLE, f"no token for {STEP_SECONDS:.0f} s", self._last_stage)
        finally:
            receiving.cancel()

    def _checked(self, frame: Frame) -> Frame:
        if frame.type is FrameType.SAMPLED:
            return frame
        message = message_of(frame) if frame.type is FrameType.CONTROL else None
        if isinstance(message, Failure):
            raise self._failed(FailureCode.read(message.code), message.message, message.stage)
        raise self._failed(FailureCode.PROTOCOL, "the last stage sent something other than a token", self._last_stage)

    async def _watch_control(self) -> SessionFailed:
        """The first stage speaks on its stream only to say that some stage failed."""
        try:
            frame = await self._opened.control.recv()
        except PeerError as error:
            return self._failed(FailureCode.STAGE_LOST, f"the first stage is gone: {error}", 0)
        message = message_of(frame) if frame.type is FrameType.CONTROL else None
        if isinstance(message, Failure):
            return self._failed(FailureCode.read(message.code), message.message, message.stage)
        return self._failed(FailureCode.PROTOCOL, "the first stage sent something unasked", 0)

    async def _explain(self, error: BaseException | None) -> SessionFailed:
        """A stream broke: a Failure on the other one says more than the breaking itself."""
        done, _ = await asyncio.wait({self._failure}, timeout=1.0)
        if done:
            return self._failure.result()
        return self._failed(FailureCode.STAGE_LOST, f"the last stage is gone: {error}", self._last_stage)

    def _failed(self, code: FailureCode, message: str, stage: int) -> SessionFailed:
        stages = self._opened.route.stages
        named = stage if stage < len(stages) else self._last_stage
        return SessionFailed(code, message, named, stages[named].node, self.generated)

    @property
    def _last_stage(self) -> int:
        return len(self._opened.route.stages) - 1

    async def finish(self) -> Report:
        """Pay what is left, let every stage free its cache and hand over the bill. Raises: SessionFailed."""
        if self._positions > self._paid_positions:
            await self._pay(self._positions)
        await self._send_control(message_frame(Close(), self._session, self._opened.route.epoch))
        await self._await_closed()
        await asyncio.to_thread(self._book.set_state, self._opened.channel.channel, "open")
        await self.abandon()
        return self._report()

    async def _await_closed(self) -> None:
        """All is paid and generated: a last stage that does not confirm the end is worth a warning, not the answer."""
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                closed = message_of(await self._opened.tokens.recv())
        except (NodeError, TimeoutError) as error:
            log.warning("the last stage did not confirm the end: %s", error)
            return
        if not isinstance(closed, Closed):
            log.warning("the last stage answered the end with %s", type(closed).__name__)

    async def abandon(self) -> None:
        """Close both streams; the stages free their caches when they see it. Idempotent."""
        self._failure.cancel()
        await self._opened.control.close()
        await self._opened.tokens.close()

    def _report(self) -> Report:
        opened, paid = self._opened, self._cost(self._positions)
        stages = tuple(
            StageBill(payee, f"{stage.start}:{stage.end}", stage.ask, payee.share_of(paid))
            for payee, stage in zip(opened.payees, opened.route.stages, strict=True)
        )
        return Report(
            opened.route, self.generated, len(self._request.prompt), paid, stages, opened.channel.channel,
            self._first_at - self._began, self._last_at - self._first_at,
        )  # fmt: skip
