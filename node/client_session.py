"""A whole generation: token by token over one route, and over the next one where a stage is lost."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from incentives.errors import ChainError
from node.client_errors import SessionFailed
from node.errors import NodeError
from node.messages import MAX_PROMISES, MAX_STOP_TOKENS, VoucherMessage
from node.pace import Pace
from node.patience import Patience
from node.refusals import FailureCode
from node.reports import Recovery, Report, Request, bills_of, channel_bill, pool_of
from node.route_run import RouteRun

log = logging.getLogger(__name__)

STEP_SECONDS = 60.0
"""The longest wait for one token from stages that say they are at work."""
CLOSE_SECONDS = 10.0
LAY_THERE = 0.1
"""A token that was waited for no longer than this part of the time since the last one says nothing of the stages."""
MAX_ROUTES = 16
"""Further routes of one generation, each of which has its own bounded attempts."""
MAX_FRUITLESS = 3
"""Further routes in a row that give no token."""


class Opener(Protocol):
    """What finds another route for a generation that lost one, and the stage that holds one up."""

    async def reopen(self, session: "ClientSession", failure: SessionFailed) -> RouteRun:
        """Raises: NodeError where no route is left or the attempts are used up."""
        ...

    async def slowest(self, run: RouteRun, seconds_per_token: float) -> SessionFailed | None:
        """The stage that most of a token's time is spent in; None where there is no such stage."""
        ...

    async def elsewhere(self, session: "ClientSession", slow: SessionFailed) -> RouteRun | None:
        """A route without a stage that slows this one down; None where there is no way round it."""
        ...

    async def diagnose(self, run: RouteRun) -> SessionFailed | None:
        """Which stage keeps a token back; None where all are alive and at work."""
        ...

    async def retire(self, run: RouteRun) -> None:
        """The route has done all that was asked of it; its channel is idle again."""
        ...

    def took(self, run: RouteRun, seconds: float) -> None:
        """A token went round the route's ring in so long."""
        ...


Listener = Callable[[Recovery], None]


@dataclass(frozen=True, slots=True)
class _Timing:
    """Of one token, in seconds: how long it was waited for, and how long after the one before it came."""

    waited: float
    interval: float


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
        self._pace = Pace()
        self._newest: _Timing | None = None
        """Of the newest token, until it is taken in."""
        self._looking: asyncio.Task[SessionFailed | None] | None = None
        self._began = time.perf_counter()
        self._first_at = self._last_at = self._began
        self._reused = min(run.opened.held)
        self.on_token: Callable[[int], object] = lambda count: None
        """Hears how many tokens there are, for demonstrations and measurements."""

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
            at_limit = len(self._generated) == self.request.max_tokens
            if at_limit or token in self.request.stop_tokens:
                self.run.is_over = at_limit or len(self.request.stop_tokens) <= MAX_STOP_TOKENS
                return
            token = await self._surely(lambda token=token: self._step(token))  # type: ignore[misc]

    def _note(self, token: int) -> None:
        now = time.perf_counter()
        if not self._generated:
            self._first_at = now
        self._last_at = now
        self._generated.append(token)
        self.on_token(len(self._generated))

    async def _first(self) -> int:
        """The first token of a route: everything known goes in."""
        await self.run.begin()
        return await self._await_token()

    async def _step(self, token: int) -> int:
        if (moved := await self._moved()) is not None:
            return moved
        await self.run.feed(token)
        self._learn()  # while the stages are at work
        asked = time.perf_counter()
        found = await self._await_token()
        now = time.perf_counter()
        self._newest = _Timing(now - asked, now - self._last_at)
        return found

    def _learn(self) -> None:
        """Take in how long the last token took, and begin to look where it has become long."""
        if self._newest is None:
            return
        newest, self._newest = self._newest, None
        if newest.waited < newest.interval * LAY_THERE:
            return
        for each in (self._patience, self._pace):
            each.took(newest.waited)
        if newest.waited > newest.interval / 2:
            self._opener.took(self.run, newest.interval)
        self._look_where_it_pays()

    async def _moved(self) -> int | None:
        """The next token by another route, where this one has become so slow that a new one pays."""
        slow = self._slow_stage()
        if slow is None:
            return None
        began = time.perf_counter()
        run = await self._opener.elsewhere(self, slow)
        if run is None:
            return None
        await self._take_over(run)
        token = await self._first()
        self._recovered(slow, time.perf_counter() - began)
        return token

    def _slow_stage(self) -> SessionFailed | None:
        """What a look has found that began some tokens ago. Tokens go on meanwhile."""
        if self._looking is None or not self._looking.done():
            return None
        looked, self._looking = self._looking, None
        return None if looked.cancelled() or looked.exception() else looked.result()

    def _look_where_it_pays(self) -> None:
        known = len(self.request.prompt) + len(self._generated)
        replay_seconds = known * max(self._first_at - self._began, 0.0) / len(self.request.prompt)
        tokens_left = self.request.max_tokens - len(self._generated)
        if self._looking is None and self._pace.is_worth_moving(tokens_left, replay_seconds):
            self._pace.rest()
            self._looking = asyncio.create_task(self._opener.slowest(self.run, self._pace.median))

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
        await self._take_over(await self._opener.reopen(self, lost))

    async def _take_over(self, run: RouteRun) -> None:
        self._done.append(self.run)
        self.run = run
        self._newest = None
        self._pace.begin_anew()
        if self._looking is not None:
            self._looking.cancel()  # at a route that is no more
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
        """Pay what is left, let every stage free its cache and hand over the bill.

        A stage that is lost now costs nothing any more: all is generated, and what was promised is in the channel's next voucher.
        """
        self._learn()
        try:
            if not await self.run.close(CLOSE_SECONDS):
                log.warning("the last stage did not confirm the end")
        except SessionFailed as error:
            log.warning("after the last token: %s", error)
        await self._opener.retire(self.run)
        await self.abandon()
        return self._report()

    async def abandon(self) -> None:
        """Close all streams; the stages free their caches when they see it. Idempotent."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)
        for run in (*self._done, self.run):
            await run.abandon()

    def _report(self) -> Report:
        runs = [*self._done, self.run]
        bills = tuple(bill for number, run in enumerate(runs) if run.paid for bill in bills_of(run, number))
        return Report(
            route=self.run.opened.route,
            tokens=self.generated,
            prompt_tokens=len(self.request.prompt),
            paid=sum(run.paid for run in runs),
            stages=bills,
            pool=sum(pool_of(run) for run in runs),
            channel=self.run.opened.channel.channel,
            channels=tuple({run.opened.channel.channel: channel_bill(run) for run in runs if run.paid}.values()),
            first_token_seconds=self._first_at - self._began,
            decode_seconds=self._last_at - self._first_at,
            reused=self._reused,
            recoveries=tuple(self._recoveries),
        )
