"""A route from its draft to the signatures of all its stages: what the client asks, and what it takes for an answer."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from incentives.errors import InvalidSignature
from incentives.payees import Payee
from incentives.prices import RoutePrice, StagePrice, route_payees, route_price
from incentives.signing import recover
from node.channel_book import OpenedChannel
from node.client_errors import SessionFailed
from node.directory import NodeRecord
from node.errors import NodeError, ProtocolViolation
from node.messages import (
    MAX_STOP_TOKENS,
    Accepted,
    Attach,
    Attached,
    Failure,
    Message,
    Open,
    VoucherMessage,
    amount_of,
    message_frame,
    message_of,
)
from node.prefixes import prefix_keys
from node.refusals import FailureCode, opening_seconds
from node.reports import Request
from node.route_messages import channel_message, route_message, sampling_message
from node.transport import Stream
from node.wire import Frame, FrameType
from verification.addresses import Address
from verification.routes import Route, RouteStage


@dataclass(frozen=True, slots=True)
class Wanted:
    """One attempt at a route of a generation. known: the prompt and what is generated already."""

    request: Request
    known: tuple[int, ...]
    nonce: bytes
    epoch: int
    previous: bytes
    paid: tuple[VoucherMessage, ...] = ()
    """The last promise on each route before."""

    @property
    def tokens_left(self) -> int:
        """That may still be generated."""
        return self.request.max_tokens - (len(self.known) - len(self.request.prompt))


@dataclass(frozen=True, slots=True)
class Draft:
    """A route that is signed but not accepted yet."""

    route: Route
    digest: bytes
    signature: bytes
    salt: bytes
    price: RoutePrice
    payees: tuple[Payee, ...]
    channel: OpenedChannel

    def opening(self, wanted: Wanted) -> Open:
        """The message that asks the stages."""
        return Open(
            route=route_message(self.route),
            signature=self.signature,
            channel=channel_message(self.channel.key, self.channel.payees),
            sampling=sampling_message(wanted.request.sampling),
            salt=self.salt,
            prompt_tokens=len(wanted.known),
            max_tokens=wanted.tokens_left,
            prefix=prefix_keys(wanted.known),
            paid=wanted.paid,
            stop_tokens=tuple(sorted(wanted.request.stop_tokens))[:MAX_STOP_TOKENS],
        )


@dataclass(frozen=True, slots=True)
class Agreed:
    """What the stages said with their signatures: the positions that each holds, and the most that was not promised to one."""

    held: tuple[int, ...]
    due: int


async def exchange_open(control: Stream, draft: Draft, wanted: Wanted, signers: dict[Address, NodeRecord]) -> "Agreed":
    """Get every stage's signature on the route. Raises: SessionFailed."""
    answer = await _ask(control, draft.opening(wanted), draft.route, 0)
    if not isinstance(answer, Accepted):
        raise failure(FailureCode.PROTOCOL, "answered an Open with something else", 0, draft.route)
    _check_acceptances(answer, draft, signers)
    due = max(0, max(amount_of(accept.earned) for accept in answer.accepts) - draft.channel.cumulative)
    return Agreed(_checked_held(answer, draft, len(wanted.known)), due)


async def attach(tokens: Stream, draft: Draft) -> None:
    """Have the last stage send the tokens here. Raises: SessionFailed."""
    last = len(draft.route.stages) - 1
    answer = await _ask(tokens, Attach(route=draft.digest), draft.route, last)
    if not isinstance(answer, Attached):
        raise failure(FailureCode.PROTOCOL, "answered an Attach with something else", last, draft.route)


async def _ask(stream: Stream, message: Open | Attach, route: Route, stage: int) -> Message:
    """Send a message and take its answer. Raises: SessionFailed for a Failure, a silence or a broken stream."""
    try:
        await stream.send(message_frame(message, route.nonce[:16], route.epoch))
        async with asyncio.timeout(opening_seconds(len(route.stages) + 1)):
            answer = _control_message(await stream.recv())
    except TimeoutError as error:
        raise failure(FailureCode.IDLE, "no answer in time", stage, route) from error
    except NodeError as error:
        raise failure(FailureCode.STAGE_LOST, str(error), stage, route) from error
    if isinstance(answer, Failure):
        raise failure(FailureCode.read(answer.code), answer.message, answer.stage, route, answer.retry_after_ms)
    return answer


def _control_message(frame: Frame) -> Message:
    if frame.type is not FrameType.CONTROL:
        raise ProtocolViolation(f"expected a message, got a {frame.type.name} frame")
    return message_of(frame)


def failure(code: FailureCode, message: str, stage: int, route: Route, retry_after_ms: int = 0) -> SessionFailed:
    """An error that names a stage of a route."""
    named = stage if stage < len(route.stages) else 0  # who names a stage that is not there is at fault itself
    return SessionFailed(code, message, named, route.stages[named].node, retry_after_ms=retry_after_ms)


def _check_acceptances(answer: Accepted, draft: Draft, records: dict[Address, NodeRecord]) -> None:
    """Every stage, in order, signed this route with the key that the chain knows it by, and claims no more than its credit."""
    route = draft.route
    if [accept.stage for accept in answer.accepts] != list(range(len(route.stages))):
        raise failure(FailureCode.PROTOCOL, "not every stage accepted, or not in order", 0, route)
    for accept, stage in zip(answer.accepts, route.stages, strict=True):
        try:
            signer = recover(draft.digest, accept.signature)
        except InvalidSignature as error:
            raise failure(FailureCode.SIGNATURE, str(error), accept.stage, route) from error
        if signer != records[stage.node].signer:
            raise failure(FailureCode.SIGNATURE, "the acceptance is not signed by the node's key", accept.stage, route)
        due = amount_of(accept.earned) - draft.channel.cumulative
        if due > min(route.window * draft.price.decode_cost(1), draft.channel.owing):
            text = "the stage claims more unpaid work than its credit allows, or than it was given"
            raise failure(FailureCode.UNPAID, text, accept.stage, route)


def _checked_held(answer: Accepted, draft: Draft, known: int) -> tuple[int, ...]:
    """The last known token is computed by every stage, or its successor would never be drawn."""
    for accept in answer.accepts:
        if accept.held >= known:
            text = f"the stage claims {accept.held} positions of {known}, the last one among them"
            raise failure(FailureCode.PROTOCOL, text, accept.stage, draft.route)
    return tuple(accept.held for accept in answer.accepts)


def price_of(stages: Sequence[RouteStage], num_blocks: int) -> RoutePrice:
    """Of a whole route, by what its stages ask."""
    return route_price(_offers(stages), num_blocks)


def payees_of(stages: Sequence[RouteStage], num_blocks: int, pool: Address) -> tuple[Payee, ...]:
    """Whom the route's channel pays, with their weights: the stages, and the audit pool."""
    return route_payees(_offers(stages), num_blocks, pool)


def _offers(stages: Sequence[RouteStage]) -> list[StagePrice]:
    return [StagePrice(stage.node, stage.span, stage.ask) for stage in stages]
