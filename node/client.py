"""The client: finds a route, locks the money for it, gets every stage's signature, and hands over a running session."""

import asyncio
import logging
import secrets
from dataclasses import dataclass

from incentives.errors import InvalidSignature
from incentives.payees import Payee
from incentives.prices import RoutePrice, StagePrice, route_payees, route_price
from incentives.signing import Signer, recover
from node.channel_book import ChannelBook, OpenedChannel
from node.channel_care import sync
from node.client_errors import PriceTooHigh, PromptTooLong, SessionFailed
from node.client_session import ClientSession, OpenRoute, Request
from node.directory import Directory, NodeRecord
from node.errors import NodeError, NoRoute, ProtocolViolation
from node.messages import (
    Accepted,
    Attach,
    Attached,
    Failure,
    Message,
    Open,
    amount_of,
    channel_message,
    message_frame,
    message_of,
    route_message,
    sampling_message,
)
from node.network import Network
from node.refusals import FailureCode, opening_seconds
from node.router import plan_stages
from node.transport import Stream, Transport
from node.wire import Frame, FrameType
from verification.addresses import Address
from verification.routes import AUDIT_NONE, ZERO_HASH, Route, RouteStage, profile_id, prompt_root, sampler_commitment

log = logging.getLogger(__name__)

MAX_ROUTE_ATTEMPTS = 5
ROUTE_SECONDS = 3600
DEFAULT_WINDOW_TOKENS = 16


@dataclass(frozen=True, slots=True)
class ModelTerms:
    """What the client wants to be computed, as its own copy of the model's configuration and manifest says."""

    manifest: bytes
    profile: str
    num_blocks: int
    vocab_size: int
    max_positions: int


@dataclass(frozen=True, slots=True)
class ClientContext:
    """What a client works with."""

    network: Network
    directory: Directory
    transport: Transport
    signer: Signer
    book: ChannelBook
    model: ModelTerms
    window: int = DEFAULT_WINDOW_TOKENS


@dataclass(frozen=True, slots=True)
class _Draft:
    """A route that is signed but not accepted yet."""

    route: Route
    digest: bytes
    salt: bytes
    price: RoutePrice
    payees: tuple[Payee, ...]
    channel: OpenedChannel


class Client:
    """Opens sessions on the network."""

    def __init__(self, context: ClientContext) -> None:
        self._context = context
        self._funding = asyncio.Lock()
        """One at a time: two sessions must not take one channel, nor sign two permits with one nonce."""

    async def open(self, request: Request) -> ClientSession:
        """Open a session; where a stage fails, try routes without it, then without the stage that accused it.

        Raises: PromptTooLong, NoRoute, PriceTooHigh, SessionFailed (of the last attempt), ChainError.
        """
        self._check_length(request)
        to_try: list[frozenset[Address]] = [frozenset()]
        attempts = 0
        failure: NodeError | None = None
        while to_try and attempts < MAX_ROUTE_ATTEMPTS:
            excluded = to_try.pop(0)
            try:
                stages = await self._plan(excluded)
                attempts += 1
                return await self._open_on(stages, request)
            except SessionFailed as error:
                log.warning("attempt %d: %s", attempts, error)
                failure = error
                to_try += [excluded | {suspect} for suspect in _suspects(error, stages)]
            except (NoRoute, PriceTooHigh) as error:
                failure = failure or error
        raise failure or NoRoute([], self._context.model.num_blocks)

    def _check_length(self, request: Request) -> None:
        limit = self._context.model.max_positions
        if not request.prompt or request.max_tokens < 1:
            raise PromptTooLong(len(request.prompt), request.max_tokens, limit)
        if len(request.prompt) + request.max_tokens > limit:
            raise PromptTooLong(len(request.prompt), request.max_tokens, limit)

    async def _plan(self, excluded: frozenset[Address]) -> tuple[RouteStage, ...]:
        context = self._context
        records = await context.directory.records()
        return plan_stages(
            records.values(), context.model.manifest, context.model.num_blocks,
            context.network.deployment.params.min_stake, excluded,
        )  # fmt: skip

    async def _open_on(self, stages: tuple[RouteStage, ...], request: Request) -> ClientSession:
        offers = [StagePrice(stage.node, stage.span, stage.ask) for stage in stages]
        price = route_price(offers, self._context.model.num_blocks)
        if price.per_token > request.max_price:
            raise PriceTooHigh(price.per_token, request.max_price)
        payees = route_payees(offers, self._context.model.num_blocks)
        need = price.session_cost(len(request.prompt), len(request.prompt) + request.max_tokens)
        async with self._funding:
            channel = await asyncio.shield(asyncio.to_thread(self._funded_channel, payees, need))
        try:
            draft = await asyncio.to_thread(self._draft, stages, request, price, payees, channel)
            return await self._accept(draft, request)
        except BaseException:  # nothing was promised on it yet
            self._context.book.set_state(channel.channel, "open")
            raise

    def _funded_channel(self, payees: tuple[Payee, ...], need: int) -> OpenedChannel:
        """Take an idle channel to these payees, or a new one, with enough left in it; it is busy from here on."""
        context = self._context
        address = context.signer.address
        channel = self._idle_channel(payees) or context.book.plan(address, address, payees)
        missing = need - channel.left
        if missing > 0:
            context.network.channels.fund(context.signer, channel.key, missing)
            context.book.set_locked(channel.channel, channel.locked + missing)
        context.book.set_state(channel.channel, "busy")
        return context.book.get(channel.channel)

    def _idle_channel(self, payees: tuple[Payee, ...]) -> OpenedChannel | None:
        """An idle channel that the chain knows as the book does; a local chain that began anew has none of the old."""
        context = self._context
        while (channel := context.book.idle(payees, context.signer.address)) is not None:
            if sync(context.book, context.network, channel).is_open:
                return context.book.get(channel.channel)
            context.book.set_state(channel.channel, "reclaimed")
        return None

    def _draft(
        self, stages: tuple[RouteStage, ...], request: Request, price: RoutePrice, payees: tuple[Payee, ...],
        channel: OpenedChannel,
    ) -> _Draft:  # fmt: skip
        context, salt = self._context, secrets.token_bytes(32)
        route = Route(
            nonce=secrets.token_bytes(32),
            channel=channel.channel,
            epoch=0,
            previous=ZERO_HASH,
            stages=stages,
            manifest=context.model.manifest,
            profile=profile_id(context.model.profile),
            sampler=sampler_commitment(request.sampling),
            prompt_root=prompt_root(salt, request.prompt),
            window=context.window,
            audit_policy=AUDIT_NONE,
            expiry=context.network.chain.head().timestamp + ROUTE_SECONDS,
        )
        return _Draft(route, route.digest(context.network.route_domain), salt, price, payees, channel)

    async def _accept(self, draft: _Draft, request: Request) -> ClientSession:
        """Get every stage's signature on the route, then attach to the last stage."""
        context = self._context
        first, last = draft.route.stages[0].node, draft.route.stages[-1].node
        records = await context.directory.records()
        control = await self._dial(records[first], 0)
        try:
            await self._exchange_open(control, draft, request, records)
            tokens = await self._dial(records[last], len(draft.route.stages) - 1)
        except BaseException:
            await control.close()
            raise
        opened = OpenRoute(draft.route, draft.digest, draft.price, draft.payees, draft.channel, control, tokens)
        try:
            await self._attach(opened)
        except BaseException:
            await control.close()
            await tokens.close()
            raise
        return ClientSession(opened, request, context.signer, context.book, context.model.vocab_size)

    async def _dial(self, record: NodeRecord, stage: int) -> Stream:
        try:
            return await self._context.transport.dial(record.endpoint, record.peer)
        except NodeError as error:
            raise SessionFailed(FailureCode.STAGE_LOST, str(error), stage, record.node) from error

    async def _exchange_open(
        self, control: Stream, draft: _Draft, request: Request, records: dict[Address, NodeRecord]
    ) -> None:
        signature = self._context.signer.sign_digest(draft.digest)
        opening = Open(
            route=route_message(draft.route),
            signature=signature,
            channel=channel_message(draft.channel.key, draft.channel.payees),
            sampling=sampling_message(request.sampling),
            salt=draft.salt,
            prompt_tokens=len(request.prompt),
            max_tokens=request.max_tokens,
        )
        answer = await _ask(control, opening, draft.route, 0)
        if not isinstance(answer, Accepted):
            raise _failure(FailureCode.PROTOCOL, "answered an Open with something else", 0, draft.route)
        _check_acceptances(answer, draft, records, self._context.window)

    async def _attach(self, opened: OpenRoute) -> None:
        last = len(opened.route.stages) - 1
        answer = await _ask(opened.tokens, Attach(route=opened.digest), opened.route, last)
        if not isinstance(answer, Attached):
            raise _failure(FailureCode.PROTOCOL, "answered an Attach with something else", last, opened.route)


def _suspects(error: SessionFailed, stages: tuple[RouteStage, ...]) -> list[Address]:
    """Whom to do without: the stage that is said to have failed, or else the one before it, which said so."""
    nodes = [stage.node for stage in stages]
    accused = nodes.index(Address(error.node)) if error.node in nodes else 0
    return nodes[accused : accused + 1] + nodes[max(accused - 1, 0) : accused]


async def _ask(stream: Stream, message: Open | Attach, route: Route, stage: int) -> Message:
    """Send a message and take its answer. Raises: SessionFailed for a Failure, a silence or a broken stream."""
    try:
        await stream.send(message_frame(message, route.nonce[:16], route.epoch))
        async with asyncio.timeout(opening_seconds(len(route.stages) + 1)):
            answer = _control_message(await stream.recv())
    except TimeoutError as error:
        raise _failure(FailureCode.IDLE, "no answer in time", stage, route) from error
    except NodeError as error:
        raise _failure(FailureCode.STAGE_LOST, str(error), stage, route) from error
    if isinstance(answer, Failure):
        raise _failure(FailureCode.read(answer.code), answer.message, answer.stage, route)
    return answer


def _control_message(frame: Frame) -> Message:
    if frame.type is not FrameType.CONTROL:
        raise ProtocolViolation(f"expected a message, got a {frame.type.name} frame")
    return message_of(frame)


def _failure(code: FailureCode, message: str, stage: int, route: Route) -> SessionFailed:
    named = stage if stage < len(route.stages) else 0  # who names a stage that is not there is at fault itself
    return SessionFailed(code, message, named, route.stages[named].node)


def _check_acceptances(answer: Accepted, draft: _Draft, records: dict[Address, NodeRecord], window: int) -> None:
    """Every stage, in order, signed this route with the key that the chain knows it by, and claims no more than its credit."""
    route = draft.route
    if [accept.stage for accept in answer.accepts] != list(range(len(route.stages))):
        raise _failure(FailureCode.PROTOCOL, "not every stage accepted, or not in order", 0, route)
    for accept, stage in zip(answer.accepts, route.stages, strict=True):
        try:
            signer = recover(draft.digest, accept.signature)
        except InvalidSignature as error:
            raise _failure(FailureCode.SIGNATURE, str(error), accept.stage, route) from error
        if signer != records[stage.node].signer:
            raise _failure(FailureCode.SIGNATURE, "the acceptance is not signed by the node's key", accept.stage, route)
        if amount_of(accept.due) > window * draft.price.decode_cost(1):
            raise _failure(
                FailureCode.UNPAID, "the stage claims more unpaid work than its credit allows", accept.stage, route
            )
