"""A whole generation: token by token over one route, and over the next one where a stage is lost."""

import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from incentives.errors import ChainError
from incentives.payees import Payee
from node.client_errors import SessionFailed
from node.errors import NodeError
from node.messages import MAX_PROMISES, VoucherMessage
from node.patience import Patience
from node.refusals import FailureCode
from node.route_run import RouteRun
from sharding.sampling import SamplingParams
from verification.routes import Route

log = logging.getLogger(__name__)

STEP_SECONDS = 60.0
"""The longest wait for one token from stages that say they are at work."""
CLOSE_SECONDS = 10.0
MAX_ROUTES = 16
"""Further routes of one generation, each of which has its own bounded attempts."""
MAX_FRUITLESS = 3
"""Further routes in a row that give no token."""


@dataclass(frozen=True, slots=True)
class Request:
    """What to generate."""

    prompt: tuple[int, ...]
    sampling: SamplingParams
    max_tokens: int
    max_price: int
    """The most that one token may cost through all stages, in the smallest unit."""
    stop_tokens: frozenset[int] = frozenset()
    is_urgent: bool = False
    """Pay every stage twice its ask, to go before those who do not."""


@dataclass(frozen=True, slots=True)
class StageBill:
    """One stage's part of the bill, in the smallest unit."""

    payee: Payee
    blocks: str
    ask: int
    amount: int


@dataclass(frozen=True, slots=True)
class Recovery:
    """A stage that was lost in the middle, and what going on without it took."""

    stage: int
    node: str
    reason: str
    replacement: str
    replayed: int
    """Tokens that some stage had to compute again, at the prefill price."""
    seconds: float
    """From noticing the loss to the next token."""


@dataclass(frozen=True, slots=True)
class Report:
    """A finished generation. Seconds are wall time; amounts in the smallest unit."""

    route: Route
    """The last one."""
    tokens: tuple[int, ...]
    prompt_tokens: int
    paid: int
    stages: tuple[StageBill, ...]
    """Of all routes, in their order."""
    channel: bytes
    """The last route's."""
    channels: tuple[bytes, ...]
    first_token_seconds: float
    decode_seconds: float
    reused: int = 0
    """Tokens of the prompt that all stages still had from an earlier session."""
    recoveries: tuple[Recovery, ...] = ()

    @property
    def tokens_per_second(self) -> float:
        """Decode speed: tokens after the first over the time they took."""
        return (len(self.tokens) - 1) / self.decode_seconds if self.decode_seconds > 0 else 0.0


class Opener(Protocol):
    """What finds another route for a generation that lost one, and the stage that holds one up."""

    async def reopen(self, session: "ClientSession", failure: SessionFailed) -> RouteRun:
        """Raises: NodeError where no route is left or the attempts are used up."""
        ...

    async def diagnose(self, run: RouteRun) -> SessionFailed | None:
        """Which stage keeps a token back; None where all are alive and at work."""
        ...

    async def retire(self, run: RouteRun) -> None:
        """The route's channel is idle again."""
        ...


Listener = Callable[[Recovery], None]


class ClientSession:
    """Use `tokens()` once, then `finish()`; `abandon()` in any case."""

    def __init__(self, run: RouteRun, request: Request, opener: Opener, on_recovery: Listener | None = None) -> None:
        self.run = run
        self.request = request
        self._opener = opener
        self._on_recovery = on_recovery
        self._generated: list[int] = []
        self._done: list[RouteRun] = []
        self._recoveries: list[Recovery] = []
        self._routes_left = MAX_ROUTES
        self.epoch = run.opened.route.epoch
        """Of the last route that was asked for, accepted or not."""
        self._patience = Patience()
        self._began = time.perf_counter()
        self._first_at = self._last_at = self._began
        self._reused = min(run.opened.held)

    @property
    def generated(self) -> tuple[int, ...]:
        """The tokens so far, also after a failure."""
        return tuple(self._generated)

    @property
    def promises(self) -> tuple[VoucherMessage, ...]:
        """The last voucher of each route so far, for stages that were on one and are to be on another."""
        last = [run.last_voucher for run in (*self._done, self.run)]
        return tuple(voucher for voucher in last if voucher is not None)[-MAX_PROMISES:]

    @property
    def known(self) -> tuple[int, ...]:
        """The prompt and everything after it."""
        return (*self.request.prompt, *self._generated)

    async def tokens(self) -> AsyncIterator[int]:
        """Yield tokens as they arrive until a stop token or the limit. Raises: SessionFailed with what was generated so far."""
        token = await self._surely(self._first)
        while True:
            self._note(token)
            yield token
            if token in self.request.stop_tokens or len(self._generated) == self.request.max_tokens:
                return
            token = await self._surely(lambda token=token: self._step(token))  # type: ignore[misc]

    def _note(self, token: int) -> None:
        now = time.perf_counter()
        if self._generated:
            self._patience.took(now - self._last_at)
        else:
            self._first_at = now
        self._last_at = now
        self._generated.append(token)

    async def _first(self) -> int:
        """The first token of a route: everything known goes in."""
        await self.run.begin()
        return await self._await_token()

    async def _step(self, token: int) -> int:
        await self.run.feed(token)
        return await self._await_token()

    async def _await_token(self) -> int:
        """Wait, and look into it when it takes too long. Raises: SessionFailed."""
        deadline = time.monotonic() + STEP_SECONDS
        while (token := await self.run.next_token(self._patience.seconds)) is None:
            if (failure := await self._opener.diagnose(self.run)) is not None:
                raise failure
            if time.monotonic() > deadline:
                raise self.run.failed(FailureCode.IDLE, f"no token for {STEP_SECONDS:.0f} s", self.run.last_stage)
        return token

    async def _surely(self, step: Callable[[], Awaitable[int]]) -> int:
        """The step's token, by another route where this one fails. Raises: SessionFailed."""
        try:
            return await step()
        except SessionFailed as failure:
            return await self._recover(failure)

    async def _recover(self, failure: SessionFailed) -> int:
        """The next token by another route; a route may be lost again before it gives one."""
        began, lost = time.perf_counter(), failure
        for _ in range(min(self._routes_left, MAX_FRUITLESS)):
            self._routes_left -= 1
            try:
                await self._change_route(failure)
                token = await self._first()
            except SessionFailed as error:
                failure = error
            except (NodeError, ChainError) as error:  # no other route, or none that can be paid
                failure.generated = self.generated
                raise failure from error
            else:
                self._recovered(lost, time.perf_counter() - began)
                return token
        failure.generated = self.generated
        raise failure

    async def _change_route(self, lost: SessionFailed) -> None:
        """The old route's streams close last: its stages know of the new one by then, and keep what they have for it."""
        run = await self._opener.reopen(self, lost)
        self._done.append(self.run)
        self.run = run
        await self._done[-1].abandon()

    def _recovered(self, lost: SessionFailed, seconds: float) -> None:
        stages = self.run.opened.route.stages
        took_over = stages[min(lost.stage, len(stages) - 1)].node
        recovery = Recovery(lost.stage, lost.node, str(lost.message), took_over, self.run.replayed, seconds)
        log.info("stage %d (%s) lost, %d tokens replayed in %.2f s", lost.stage, lost.node, self.run.replayed, seconds)
        self._recoveries.append(recovery)
        if self._on_recovery is not None:
            self._on_recovery(recovery)

    async def finish(self) -> Report:
        """Pay what is left, let every stage free its cache and hand over the bill. Raises: SessionFailed."""
        if not await self.run.close(CLOSE_SECONDS):
            log.warning("the last stage did not confirm the end")  # all is paid and generated
        await self._opener.retire(self.run)
        await self.abandon()
        return self._report()

    async def abandon(self) -> None:
        """Close all streams; the stages free their caches when they see it. Idempotent."""
        for run in (*self._done, self.run):
            await run.abandon()

    def _report(self) -> Report:
        runs = [*self._done, self.run]
        bills = tuple(bill for run in runs if run.paid for bill in _bills(run, run.paid))
        return Report(
            route=self.run.opened.route,
            tokens=self.generated,
            prompt_tokens=len(self.request.prompt),
            paid=sum(run.paid for run in runs),
            stages=bills,
            channel=self.run.opened.channel.channel,
            channels=tuple(dict.fromkeys(run.opened.channel.channel for run in runs)),
            first_token_seconds=self._first_at - self._began,
            decode_seconds=self._last_at - self._first_at,
            reused=self._reused,
            recoveries=tuple(self._recoveries),
        )


def _bills(run: RouteRun, paid: int) -> list[StageBill]:
    opened = run.opened
    return [
        StageBill(payee, f"{stage.start}:{stage.end}", stage.ask, payee.share_of(paid))
        for payee, stage in zip(opened.payees, opened.route.stages, strict=True)
    ]
