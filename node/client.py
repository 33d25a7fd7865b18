"""The client: finds a route, locks the money for it, gets every stage's signature, and hands over a running session.

Where a stage of a running session is lost, it finds another route for what is left of it.
"""

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Sequence
from functools import partial

from incentives.errors import ChainError
from node.attempts import Attempts
from node.channel_book import OpenedChannel
from node.client_context import ClientContext
from node.client_errors import PriceTooHigh, PromptTooLong, SessionFailed
from node.client_money import ClientMoney
from node.client_session import ClientSession, Listener
from node.diagnosis import LOOKS, diagnose, slowest
from node.downstream import dial_node, dial_record
from node.errors import NodeError, NoRoute, PeerRefused
from node.gossip_routes import Planner
from node.refusals import BUSY_RETRY_MS, FailureCode
from node.reports import Request
from node.route_opening import Draft, Wanted, attach, exchange_open, failure, payees_of, price_of
from node.route_run import OpenRoute, RouteRun, Wallet
from node.router import RouteWish
from node.transport import Stream
from verification.addresses import Address
from verification.routes import AUDIT_NONE, ZERO_HASH, Route, RouteStage, profile_id, prompt_root, sampler_commitment

log = logging.getLogger(__name__)

MAX_ROUTE_ATTEMPTS = 6
RECOVERY_SECONDS = 30.0
"""From the loss of a stage to a route without it; then the partial text is handed over."""
ROUTE_SECONDS = 3600
URGENT_MULTIPLE = 2
GARBAGE = frozenset({
    FailureCode.MALFORMED, FailureCode.NOT_FINITE, FailureCode.OUT_OF_RANGE, FailureCode.SHAPE, FailureCode.TOKEN_RANGE,
    FailureCode.OUT_OF_ORDER, FailureCode.PROTOCOL, FailureCode.STALE_EPOCH, FailureCode.UNKNOWN_SESSION,
})  # fmt: skip
"""What a stage says of the one before it; a stage that is lost is named by the one before."""


class Client:
    """Opens sessions on the network."""

    def __init__(self, context: ClientContext) -> None:
        self._context = context
        self.money = ClientMoney(context.network, context.signer, context.book)
        model, minimum = context.model, context.network.deployment.params.min_stake
        self._look_for = partial(dial_record, context.directory, context.transport)
        self.planner = Planner(
            context.directory, context.gossip, model.manifest, model.profile, minimum, context.scores
        )  # fmt: skip

    async def open(self, request: Request, on_recovery: Listener | None = None) -> ClientSession:
        """Open a session; where a stage fails, try routes without it, then without the stage that accused it.

        on_recovery hears of each stage that is lost later and replaced.
        Raises: PromptTooLong, NoRoute, PriceTooHigh, SessionFailed (of the last attempt), ChainError.
        """
        self._check_length(request)
        await self.planner.freshen()

        def wanted() -> Wanted:
            return Wanted(request, request.prompt, secrets.token_bytes(32), 0, ZERO_HASH)

        busy, refusal = self.planner.busy.nodes(), self.planner.busy.first_refusal()
        try:
            run = await self._search([busy], wanted, request)
        except (NoRoute, PriceTooHigh):
            if refusal is not None:
                raise refusal from None
            raise
        return ClientSession(run, request, self, on_recovery)

    def _check_length(self, request: Request) -> None:
        limit = self._context.model.max_positions
        if not request.prompt or request.max_tokens < 1:
            raise PromptTooLong(len(request.prompt), request.max_tokens, limit)
        if len(request.prompt) + request.max_tokens > limit:
            raise PromptTooLong(len(request.prompt), request.max_tokens, limit)

    async def reopen(self, session: ClientSession, failure: SessionFailed) -> RouteRun:
        """See Opener: first without the stage that failed, then without the one that said so, then with both again."""
        old = session.run
        await old.pay_delivered()
        await self.money.give_back(old.opened.channel.channel, old.owing)
        suspects = self._suspects(failure, old.opened.route.stages)
        return await self._go_on(session, [*(frozenset({suspect}) for suspect in suspects), frozenset[Address]()])

    async def slowest(self, run: RouteRun, seconds_per_token: float) -> SessionFailed | None:
        """See Opener."""
        records = await self._context.directory.records()
        return await slowest(run, self._look_for, records, seconds_per_token / LOOKS)

    async def elsewhere(self, session: ClientSession, slow: SessionFailed) -> RouteRun | None:
        """See Opener."""
        old = session.run
        await old.pay_delivered()
        try:
            run = await self._go_on(session, [frozenset({Address(slow.node)})])
        except (NodeError, ChainError) as error:
            log.info("no way round stage %d, which is slow: %s", slow.stage, error)
            return None
        await self.money.give_back(old.opened.channel.channel, old.owing)
        return run

    async def _go_on(self, session: ClientSession, to_try: list[frozenset[Address]]) -> RouteRun:
        """Another route for what is left of a session."""
        old = session.run.opened

        def wanted() -> Wanted:
            session.epoch += 1
            known, promises = session.known, session.promises
            return Wanted(session.request, known, old.route.nonce, session.epoch, old.digest, promises)

        try:
            async with asyncio.timeout(RECOVERY_SECONDS):
                return await self._search(to_try, wanted, session.request, at_once=True, kept=old.route.stages)
        except TimeoutError as error:
            raise NoRoute([], self._context.model.num_blocks) from error

    async def _search(
        self,
        to_try: list[frozenset[Address]],
        wanted: Callable[[], Wanted],
        request: Request,
        *,
        at_once: bool = False,
        kept: tuple[RouteStage, ...] = (),
    ) -> RouteRun:
        """The first route that all its stages accept, without the first set of nodes, or the next one, and so on.

        A node that is lost on the way is left out of what is tried after it; one that only said no, or whose neighbour
        said so, gives two sets more to leave out. at_once: for a session that was accepted before, which comes back to a
        busy node where nobody else is left. Raises: SessionFailed, NoRoute, PriceTooHigh, ChainError.
        """
        problem: NodeError = NoRoute([], self._context.model.num_blocks)
        attempts = Attempts(to_try)
        for attempt in range(1, MAX_ROUTE_ATTEMPTS + 1):
            stages: tuple[RouteStage, ...] = ()
            while attempts and not stages:
                try:
                    stages = await self._plan(attempts.excluded, request, kept)
                except (NoRoute, PriceTooHigh) as error:
                    problem = error if isinstance(problem, NoRoute) else problem
                    attempts.drop()
            if not stages:
                break
            await attempts.due([stage.node for stage in stages])
            lost_before, excluded = self.planner.shunned.nodes(), attempts.excluded
            try:
                return await self._open_on(stages, wanted(), at_once=at_once)
            except PriceTooHigh as error:
                problem = error if isinstance(problem, NoRoute) else problem
                attempts.drop()
            except SessionFailed as error:
                log.warning("attempt %d: %s", attempt, error)
                problem = error
                suspects = self._suspects(error, stages)
                if not self.planner.shunned.nodes() - lost_before:
                    attempts.divide(suspects)
                    if at_once and error.code == FailureCode.BUSY:  # who was accepted does not give up so soon
                        attempts.come_back(excluded, suspects[0], error.retry_after_ms or BUSY_RETRY_MS)
        raise problem

    async def diagnose(self, run: RouteRun) -> SessionFailed | None:
        """See Opener."""
        return await diagnose(run, self._look_for, await self._context.directory.records())

    async def retire(self, run: RouteRun) -> None:
        """See Opener."""
        self.planner.succeeded({stage.node for stage in run.opened.route.stages})
        await self.money.give_back(run.opened.channel.channel, run.owing)

    def took(self, run: RouteRun, seconds: float) -> None:
        """See Opener."""
        self.planner.took(run.opened.route, seconds)

    def _suspects(self, error: SessionFailed, stages: Sequence[RouteStage]) -> list[Address]:
        """Whom to do without: the stage that is said to have failed, or else its neighbour, which said so."""
        nodes = [stage.node for stage in stages]
        accused = error.stage if nodes[error.stage : error.stage + 1] == [error.node] else 0
        if error.code == FailureCode.DRAINING:
            self.planner.shunned.add(nodes[accused])
            return [nodes[accused]]
        if error.code == FailureCode.BUSY and accused == 0:  # of others it is only said: one stage could hide many
            self.planner.busy.note(nodes[accused], error)
        accuser = accused + 1 if error.code in GARBAGE else accused - 1
        if error.code == FailureCode.PROTOCOL and accused == len(nodes) - 1 > 0:
            accuser = 0  # whom the last stage tells its tokens
        suspects = [nodes[accused], *([nodes[accuser]] if 0 <= accuser < len(nodes) else [])]
        if error.code in (FailureCode.STAGE_LOST, FailureCode.IDLE):
            self.planner.failed(nodes[accused : accused + 1], shun=True)
        elif error.code in GARBAGE:
            self.planner.failed(suspects, shun=False)
        return suspects

    async def _plan(
        self, excluded: frozenset[Address], request: Request, kept: tuple[RouteStage, ...]
    ) -> tuple[RouteStage, ...]:
        """kept: stages that hold the session's caches. Raises: NoRoute, PriceTooHigh, ChainError."""
        wish = RouteWish(
            num_blocks=self._context.model.num_blocks,
            seconds_per_unit=min(1.0, self._context.price_seconds / max(1, request.max_price)),
            max_price=request.max_price,
            distinct_owners=request.distinct_owners,
            excluded=excluded,
            kept=kept,
        )
        return await self.planner.plan(wish, URGENT_MULTIPLE if request.is_urgent else 1)

    async def _open_on(self, stages: tuple[RouteStage, ...], wanted: Wanted, *, at_once: bool = False) -> RouteRun:
        """at_once: do not wait for the channel to be mined. Raises: SessionFailed, PriceTooHigh, ChainError."""
        price, most = price_of(stages, self._context.model.num_blocks), wanted.request.max_price
        if price.per_token > most:
            raise PriceTooHigh(price.per_token, most)
        payees = payees_of(stages, self._context.model.num_blocks, self._context.network.pool)
        need = price.session_cost(len(wanted.known), len(wanted.known) + wanted.tokens_left)
        channel = await (self.money.take_at_once if at_once else self.money.take)(payees, need)
        try:
            draft = await asyncio.to_thread(self._draft, stages, wanted, channel)
            run = await self._accept(draft, wanted)
        except BaseException:  # nothing was promised on it yet
            await self.money.give_back(channel.channel, channel.owing)
            raise
        self.planner.opened(stages)
        if self._context.keeps_reserve:
            self.money.reserve(need)
        return run

    def _draft(self, stages: tuple[RouteStage, ...], wanted: Wanted, channel: OpenedChannel) -> Draft:
        context, salt, blocks = self._context, secrets.token_bytes(32), self._context.model.num_blocks
        route = Route(
            nonce=wanted.nonce,
            channel=channel.channel,
            epoch=wanted.epoch,
            previous=wanted.previous,
            stages=stages,
            manifest=context.model.manifest,
            profile=profile_id(context.model.profile),
            sampler=sampler_commitment(wanted.request.sampling),
            prompt_root=prompt_root(salt, wanted.known),
            window=context.window,
            audit_policy=AUDIT_NONE,
            expiry=context.network.chain.head().timestamp + ROUTE_SECONDS,
        )
        digest = route.digest(context.network.route_domain)
        signature = context.signer.sign_digest(digest)
        payees = payees_of(stages, blocks, context.network.pool)
        return Draft(route, digest, signature, salt, price_of(stages, blocks), payees, channel)

    async def _accept(self, draft: Draft, wanted: Wanted) -> RouteRun:
        """Get every stage's signature on the route, then attach to the last stage."""
        context, stages = self._context, draft.route.stages
        records = await context.directory.records()
        control = await self._dial(stages[0].node, 0, draft.route)
        try:
            agreed = await exchange_open(control, draft, wanted, records)
            tokens = await self._dial(stages[-1].node, len(stages) - 1, draft.route)
        except BaseException:
            await control.close()
            raise
        try:
            await attach(tokens, draft)
        except BaseException:
            await control.close()
            await tokens.close()
            raise
        opened = OpenRoute(
            draft.route,
            draft.digest,
            draft.price,
            draft.payees,
            draft.channel,
            control,
            tokens,
            agreed.held,
            agreed.due,
        )
        return RouteRun(opened, wanted.known, Wallet(context.signer, context.book), context.model.vocab_size)

    async def _dial(self, node: Address, stage: int, route: Route) -> Stream:
        began = time.perf_counter()
        try:
            stream = await dial_node(self._context.directory, self._context.transport, node)
        except PeerRefused as error:
            raise failure(FailureCode.BUSY, str(error), stage, route, BUSY_RETRY_MS) from error
        except NodeError as error:
            raise failure(FailureCode.STAGE_LOST, str(error), stage, route) from error
        self.planner.dialled(node, time.perf_counter() - began)
        return stream

    async def close(self) -> None:
        """Wait for transactions that were sent."""
        await self.money.close()
