"""One route of a generation as the client drives it: what is known goes in, then token by token round the ring, paying every W."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from incentives.payees import Payee
from incentives.prices import RoutePrice
from incentives.signing import Signer
from node.channel_book import ChannelBook, OpenedChannel
from node.client_errors import SessionFailed
from node.errors import NodeError
from node.messages import (
    Close,
    Closed,
    Failure,
    Start,
    VoucherMessage,
    amount_bytes,
    amount_of,
    message_frame,
    message_of,
)
from node.refusals import FailureCode
from node.session_book import SessionRecord
from node.transport import Stream
from node.wire import Frame, FrameType, frame_to_token, tokens_frame
from verification.routes import Route
from verification.work import session_work

PREFILL_CHUNK_TOKENS = 128
EXPLAIN_SECONDS = 1.0
"""When one stream breaks, how long the other has to say why."""


@dataclass(frozen=True, slots=True)
class OpenRoute:
    """A route that every stage has accepted, with the streams at its two ends.

    held: positions of the known tokens that each stage has already; due: what stages have worked for on the channel and were
    not promised, which the first voucher makes good.
    """

    route: Route
    digest: bytes
    price: RoutePrice
    payees: tuple[Payee, ...]
    channel: OpenedChannel
    control: Stream
    tokens: Stream
    held: tuple[int, ...]
    due: int


@dataclass(frozen=True, slots=True)
class Wallet:
    """What signs vouchers, and where they are written down first."""

    signer: Signer
    book: ChannelBook


class RouteRun:
    """Use `begin` once, then `next_token` and `feed` by turns, `close` at the end of it all, `abandon` in any case."""

    def __init__(self, opened: OpenRoute, known: Sequence[int], wallet: Wallet, vocab_size: int) -> None:
        """known: the prompt, and what an earlier route has generated."""
        self.opened = opened
        self._known = tuple(known)
        self._wallet = wallet
        self._vocab_size = vocab_size
        self._session = opened.route.nonce[:16]
        self._base = opened.channel.cumulative + opened.due
        self._paid_positions = 0
        self._positions = opened.held[0]
        self._delivered = 0
        self._step = 0
        self._waiting: asyncio.Timeout | None = None
        self.last_voucher: VoucherMessage | None = None
        self.is_over = False
        """Whether the stages know that no token is wanted after the last one; else the ring may be ahead of the client."""
        self.failure = asyncio.create_task(self._watch_control())
        self.failure.add_done_callback(self._wait_no_longer)

    @property
    def promised(self) -> int:
        """On the channel, by all routes."""
        return self._base if self.last_voucher is None else amount_of(self.last_voucher.cumulative)

    @property
    def paid(self) -> int:
        """Promised on this route."""
        return self.promised - self._base

    @property
    def owing(self) -> int:
        """The most that the stages can have worked for and were not promised."""
        if self.last_voucher is None:
            return self.opened.channel.owing
        ahead = 0 if self.is_over else self.opened.price.decode_cost(self.opened.route.window)
        return max(ahead, self._cost(self._positions) - self.paid)

    @property
    def positions(self) -> int:
        """Fed into this route, with those that the first stage had."""
        return self._positions

    @property
    def replayed(self) -> int:
        """Known tokens that some stage has to compute again."""
        return len(self._known) - 1 - min(self.opened.held)

    async def begin(self) -> None:
        """Feed what is known and the first stage lacks, paid chunk by chunk. Raises: SessionFailed."""
        await self._send_message(Start(held=self.opened.held))
        for at in range(self._positions, len(self._known), PREFILL_CHUNK_TOKENS):
            chunk = self._known[at : at + PREFILL_CHUNK_TOKENS]
            await self._pay(self._positions + len(chunk))
            await self._send_tokens(chunk)

    async def feed(self, token: int) -> None:
        """Send a token back into the ring, where the last stage may have told it already. Raises: SessionFailed."""
        await self._send_tokens([token])
        await self._pay_if_due()

    async def _pay_if_due(self) -> None:
        """A voucher before the stages' credit is used up, signed and written while they compute.

        The last quarter of the window is for the way: a ring does not wait for the client.
        """
        window = self.opened.route.window
        if self._positions - self._paid_positions >= window - window // 4:
            await self._pay(self._positions)

    async def _send_tokens(self, tokens: Sequence[int]) -> None:
        frame = tokens_frame(self._session, self.opened.route.epoch, self._step, self._positions, tokens)
        await self._send(frame)
        self._step += 1
        self._positions += len(tokens)

    async def _send_message(self, message: Start | VoucherMessage | Close) -> None:
        await self._send(message_frame(message, self._session, self.opened.route.epoch))

    async def _send(self, frame: Frame) -> None:
        try:
            await self.opened.control.send(frame)
        except NodeError as error:
            raise await self._explain(error, 0) from error

    async def _pay(self, positions: int) -> None:
        await self._send_message(await self._sign(positions))

    async def _sign(self, positions: int) -> VoucherMessage:
        amount, opened = self._cost(positions), self.opened
        cumulative, work = self._base + amount, session_work(opened.digest, amount, positions)
        kept = SessionRecord(opened.digest, opened.route, opened.channel.channel, cumulative, amount, positions)
        book, signer = self._wallet.book, self._wallet.signer
        signed = await asyncio.to_thread(book.sign, signer, kept.channel, cumulative, work, kept)
        self._paid_positions = positions
        self.last_voucher = VoucherMessage(amount_bytes(cumulative), work, positions, signed.signature)
        return self.last_voucher

    async def pay_delivered(self) -> VoucherMessage | None:
        """Promise what was delivered and is not paid yet, when the route is lost; returns the last promise, if there is any."""
        if self._delivered > self._paid_positions:
            await self._sign(self._delivered)
        return self.last_voucher

    def _cost(self, positions: int) -> int:
        return self.opened.price.session_cost(len(self._known), positions, self.opened.held)

    async def next_token(self, seconds: float) -> int | None:
        """The next token, or None where none came in time; ask again then. Raises: SessionFailed."""
        frame = await self._receive(seconds)
        if frame is None:
            return None
        if (frame.session, frame.epoch, frame.position) != (self._session, self.opened.route.epoch, self._positions):
            raise self.failed(FailureCode.OUT_OF_ORDER, "the last stage sent a token of another step", self.last_stage)
        try:
            token = frame_to_token(frame, self._vocab_size)
        except NodeError as error:
            raise self.failed(FailureCode.TOKEN_RANGE, str(error), self.last_stage) from error
        self._delivered = self._positions
        return token

    async def _receive(self, seconds: float) -> Frame | None:
        """What came before a failure still counts."""
        try:
            frame = await self._arrival(0 if self.failure.done() else seconds)
        except TimeoutError:
            if self.failure.done():
                raise self.failure.result() from None
            return None
        except NodeError as error:
            raise await self._explain(error, self.last_stage) from error
        return self._checked(frame)

    async def _arrival(self, seconds: float) -> Frame:
        """No frame is lost to the timeout: a stream's recv is safe to cancel. Raises: TimeoutError, also on a failure."""
        try:
            async with asyncio.timeout(seconds) as self._waiting:
                return await self.opened.tokens.recv()
        finally:
            self._waiting = None

    def _wait_no_longer(self, _failure: object) -> None:
        if self._waiting is not None and not self._waiting.expired():
            self._waiting.reschedule(asyncio.get_running_loop().time())

    def _checked(self, frame: Frame) -> Frame:
        if frame.type is FrameType.SAMPLED:
            return frame
        raise self._unasked(frame, self.last_stage)

    async def _watch_control(self) -> SessionFailed:
        """The first stage speaks on its stream only to say that some stage failed."""
        try:
            frame = await self.opened.control.recv()
        except NodeError as error:
            return self.failed(FailureCode.STAGE_LOST, f"the first stage is gone: {error}", 0)
        return self._unasked(frame, 0)

    def _unasked(self, frame: Frame, stage: int) -> SessionFailed:
        """What a stage said in place of nothing or a token: its reason to end, or nonsense."""
        try:
            message = message_of(frame) if frame.type is FrameType.CONTROL else None
        except NodeError as error:
            return self.failed(FailureCode.MALFORMED, str(error), stage)
        if isinstance(message, Failure):
            return self.failed(FailureCode.read(message.code), message.message, message.stage, message.retry_after_ms)
        return self.failed(FailureCode.PROTOCOL, f"stage {stage} sent something unasked", stage)

    async def _explain(self, error: BaseException, stage: int) -> SessionFailed:
        """A stream broke: a Failure on another one says more than the breaking itself."""
        waiting: set[asyncio.Task[object]] = {self.failure}
        done, _ = await asyncio.wait(waiting, timeout=EXPLAIN_SECONDS)
        if done:
            return self.failure.result()
        return self.failed(FailureCode.STAGE_LOST, f"stage {stage} is gone: {error}", stage)

    def failed(self, code: FailureCode, message: str, stage: int, retry_after_ms: int = 0) -> SessionFailed:
        """An error that names a stage of this route."""
        stages = self.opened.route.stages
        named = stage if stage < len(stages) else self.last_stage
        return SessionFailed(code, message, named, stages[named].node, retry_after_ms=retry_after_ms)

    @property
    def last_stage(self) -> int:
        return len(self.opened.route.stages) - 1

    async def close(self, seconds: float) -> bool:
        """Pay what is left and have every stage free its cache; returns whether the last stage confirmed. Raises: SessionFailed."""
        if self._positions > self._paid_positions:
            await self._pay(self._positions)
        await self._send_message(Close())
        try:
            async with asyncio.timeout(seconds):
                return isinstance(message_of(await self._after_tokens()), Closed)
        except (NodeError, TimeoutError):
            return False

    async def _after_tokens(self) -> Frame:
        """A client that stops early has not taken those that the ring was ahead."""
        while (frame := await self.opened.tokens.recv()).type is FrameType.SAMPLED:
            pass
        return frame

    async def abandon(self) -> None:
        """Close both streams; the stages free their caches when they see it, but for those a newer route has. Idempotent."""
        self.failure.cancel()
        await self.opened.control.close()
        await self.opened.tokens.close()
