"""Whether a node takes part in a session: every check on an `Open` before any work or memory is spent on it."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

from incentives.channels import NEVER_OPENED
from incentives.errors import InvalidSignature
from incentives.payees import WHOLE_BPS, payee_words
from incentives.prices import RoutePrice, StagePrice, route_payees, route_price, stage_price
from incentives.signing import recover
from incentives.vouchers import ChannelKey
from node.advances import Advances
from node.asking import Asks
from node.directory import Directory, NodeRecord
from node.messages import Open
from node.network import Network
from node.refusals import FailureCode, Refused
from node.route_messages import channel_key, route_of, sampling_of
from sharding.errors import SamplingError, SpanError
from sharding.sampling import SamplingParams
from sharding.span import Span, covers
from verification.addresses import Address
from verification.routes import Route, profile_id, sampler_commitment

MAX_ROUTE_SECONDS = 24 * 3600
PRIORITY_MULTIPLE = 2
"""Of a stage's ask: who pays that goes before those who do not."""
MAX_ASKING = 4
"""Opens whose money is looked up at one time: who has none costs a question too, and vouchers share the threads that ask."""
SESSION_BYTES = 16


@dataclass(frozen=True, slots=True)
class StageTerms:
    """What this node offers: it takes part only in routes that ask for exactly this."""

    node: Address
    num_blocks: int
    manifest: bytes
    profile: str
    ask: int
    max_window: int
    max_positions: int
    asks: Asks | None = None
    """Of a node whose ask moves; `ask` is the most that it may become."""

    @property
    def least_ask(self) -> int:
        """What a route must pay at the moment."""
        return self.ask if self.asks is None else self.asks.accepted


@dataclass(frozen=True, slots=True)
class Admitted:
    """A session that passed every check."""

    route: Route
    digest: bytes
    session: bytes
    stage: int
    client: Address
    key: ChannelKey
    payees: tuple[bytes, ...]
    price: RoutePrice
    locked: int
    seconds_left: int
    """Until the route expires, by the chain's clock when it was admitted."""
    sampling: SamplingParams
    salt: bytes
    prompt_tokens: int
    capacity: int
    is_provisional: bool
    """The channel is not on the chain yet: `locked` is what the payer's free balance would cover, for W tokens."""
    priority: int
    """1 where the route pays this stage at least twice its ask, else 0."""
    stop_tokens: frozenset[int] = frozenset()
    """Some after which the client wants no more."""

    @property
    def span(self) -> Span:
        """The blocks that this stage computes: all of a span that the node hosts, or some of them."""
        return self.route.stages[self.stage].span

    @property
    def own_spans(self) -> frozenset[Span]:
        """This stage's blocks and those of other stages of this node."""
        node = self.route.stages[self.stage].node
        return frozenset(stage.span for stage in self.route.stages if stage.node == node)

    @property
    def is_first(self) -> bool:
        """Whether this stage takes tokens."""
        return self.stage == 0

    @property
    def is_last(self) -> bool:
        """Whether this stage gives tokens."""
        return self.stage == len(self.route.stages) - 1


@dataclass(frozen=True, slots=True)
class _Funds:
    locked: int
    seconds_left: int
    is_provisional: bool


class Admission:
    """The door of one node; `spans` says what it hosts at the moment."""

    def __init__(
        self, terms: StageTerms, network: Network, directory: Directory, spans: Callable[[], tuple[Span, ...]]
    ) -> None:
        self._terms = terms
        self._spans = spans
        self._network = network
        self._directory = directory
        self._asking = asyncio.Semaphore(MAX_ASKING)
        self._advances = Advances(lambda channel: network.channels.state(channel) != NEVER_OPENED)

    async def admit(self, opening: Open, remote: Address | None) -> Admitted:
        """Check an Open that arrived from an authenticated peer. Raises: Refused, and the errors that refusal_of translates."""
        route = route_of(opening.route)
        digest = route.digest(self._network.route_domain)
        stage = self._own_stage(route, opening.stage)
        key = channel_key(opening.channel)
        client = _signed_by_client(digest, opening.signature, key)
        self._check_terms(route, stage)
        sampling = _checked_sampling(opening, route)
        offers = _offers(route)
        price = route_price(offers, self._terms.num_blocks)
        payees = self._checked_payees(opening, offers)
        capacity = self._checked_capacity(opening)
        self._check_share(offers[stage], payees[stage], price)
        await self._check_upstream(route, stage, remote, client)
        first_part = price.prefill_cost(opening.prompt_tokens) + price.decode_cost(
            min(route.window, opening.max_tokens)
        )
        async with self._asking:
            funds = await self._check_chain(route, key, first_part)
        return Admitted(
            route, digest, route.nonce[:SESSION_BYTES], stage, client, key, payees, price, funds.locked,
            funds.seconds_left, sampling, opening.salt, opening.prompt_tokens, capacity, funds.is_provisional,
            int(route.stages[stage].ask >= PRIORITY_MULTIPLE * self._terms.least_ask), frozenset(opening.stop_tokens),
        )  # fmt: skip

    def _own_stage(self, route: Route, stage: int) -> int:
        """The stage that is meant, which must be this node's: a route may name a node for several."""
        if stage >= len(route.stages) or route.stages[stage].node != self._terms.node:
            raise Refused(FailureCode.WRONG_ROUTE, f"stage {stage} of the route is not this node")
        return stage

    async def _check_upstream(self, route: Route, stage: int, remote: Address | None, client: Address) -> None:
        """The peer at the other end must be the one that the route puts there, with a stake where it is a node."""
        expected = client
        if stage > 0:
            record = await self._directory.record(route.stages[stage - 1].node)
            self._check_staked(record)
            expected = record.signer
        if remote != expected:
            raise Refused(FailureCode.WRONG_ROUTE, f"the route puts {expected} before this stage, not {remote}")

    def _check_staked(self, record: NodeRecord) -> None:
        minimum = self._network.deployment.params.min_stake
        if record.bonded < minimum:
            raise Refused(
                FailureCode.NOT_STAKED, f"node {record.node} has {record.bonded} staked, the minimum is {minimum}"
            )

    def _check_terms(self, route: Route, stage: int) -> None:
        terms, own = self._terms, route.stages[stage]
        if (route.manifest, route.profile) != (terms.manifest, profile_id(terms.profile)):
            raise Refused(
                FailureCode.WRONG_MODEL, f"this node serves manifest {terms.manifest.hex()} in profile {terms.profile}"
            )
        if not _is_pipeline(route, terms.num_blocks):
            raise Refused(
                FailureCode.WRONG_ROUTE, f"the stages do not cover blocks 0:{terms.num_blocks} once and in order"
            )
        if any(one.node == next_one.node for one, next_one in pairwise(route.stages)):
            raise Refused(FailureCode.WRONG_ROUTE, "two stages in a row are one node's: name it once for both")
        spans = self._spans()
        if not covers(spans, own.span):
            text = f"this node serves blocks {', '.join(map(str, spans))}, not {own.start}:{own.end}"
            raise Refused(FailureCode.WRONG_ROUTE, text)
        if own.ask < (least := terms.least_ask):
            raise Refused(
                FailureCode.WRONG_ROUTE, f"the route pays {own.ask} per token and block, this node asks {least}"
            )
        if route.window > terms.max_window:
            raise Refused(
                FailureCode.WRONG_ROUTE, f"a window of {route.window} tokens is past this node's {terms.max_window}"
            )

    def _checked_capacity(self, opening: Open) -> int:
        capacity = opening.prompt_tokens + opening.max_tokens
        if capacity > self._terms.max_positions:
            raise Refused(
                FailureCode.TOO_LONG,
                f"{opening.prompt_tokens} prompt tokens and {opening.max_tokens} new ones are past the context of"
                f" {self._terms.max_positions}; shorten the prompt or ask for fewer",
            )
        return capacity

    def _checked_payees(self, opening: Open, offers: list[StagePrice]) -> tuple[bytes, ...]:
        """The channel must pay every stage its weight of the route's price, and the audit pool its share."""
        words = tuple(opening.channel.payees)
        if words != payee_words(route_payees(offers, self._terms.num_blocks, self._network.pool)):
            text = (
                "the channel's payees are not the route's stages with their weights, and the audit pool with its share"
            )
            raise Refused(FailureCode.CHANNEL, text)
        return words

    def _check_share(self, offer: StagePrice, payee: bytes, price: RoutePrice) -> None:
        """Shares are whole basis points: next to a very dear stage, one could be rounded to a part of its own price."""
        earned = int.from_bytes(payee[20:], "big") * price.per_token
        if 100 * earned < 99 * WHOLE_BPS * stage_price(offer, self._terms.num_blocks):
            raise Refused(FailureCode.WRONG_ROUTE, "this stage's share of the route's price is rounded below its ask")

    async def _check_chain(self, route: Route, key: ChannelKey, first_part: int) -> "_Funds":
        """The channel must be open, with enough for the prompt and one window, and the route not expired.

        A route that takes another's place may come before its channel is mined: then the payer's free balance counts, where the
        payer itself has signed the route; of anybody else's balance its signature says nothing.
        """
        now = (await asyncio.to_thread(self._network.chain.head)).timestamp
        if not now < route.expiry <= now + MAX_ROUTE_SECONDS:
            raise Refused(FailureCode.WRONG_ROUTE, f"the route expires at {route.expiry}, the chain's clock says {now}")
        if key.id(self._network.money_domain) != route.channel:
            raise Refused(FailureCode.CHANNEL, "the channel's key is not the one that the route names")
        replaces, free = route.epoch > 0, 0
        if replaces:  # read before the channel: mined in between, the money is seen in one of the two
            free = await asyncio.to_thread(self._network.channels.free_of, key.payer)
        state = await asyncio.to_thread(self._network.channels.state, route.channel)
        if replaces and state == NEVER_OPENED and free >= first_part and key.payer == key.signer:
            await self._advances.trust(key.payer, route.channel, first_part, free)
            return _Funds(first_part, route.expiry - now, is_provisional=True)
        if state.closes_at or state.locked - state.settled < first_part:
            raise Refused(
                FailureCode.CHANNEL,
                f"the channel is not open on chain, or has less left than the {first_part} of the prompt and one window",
            )
        return _Funds(state.locked, route.expiry - now, is_provisional=False)


def _signed_by_client(digest: bytes, signature: bytes, key: ChannelKey) -> Address:
    """The route must be signed by the key that signs the channel's vouchers."""
    if recover(digest, signature) != key.signer:
        raise InvalidSignature("the route is not signed by the channel's signer")
    return key.signer


def _is_pipeline(route: Route, num_blocks: int) -> bool:
    boundaries = [0, *(stage.end for stage in route.stages)]
    starts = [stage.start for stage in route.stages]
    ordered = all(stage.start < stage.end for stage in route.stages)
    return ordered and starts == boundaries[:-1] and boundaries[-1] == num_blocks


def _checked_sampling(opening: Open, route: Route) -> SamplingParams:
    try:
        params = sampling_of(opening.sampling)
        params.validate()
    except SamplingError as error:
        raise Refused(FailureCode.WRONG_ROUTE, str(error)) from error
    if sampler_commitment(params) != route.sampler:
        raise Refused(FailureCode.WRONG_ROUTE, "the sampling parameters are not those that the route commits to")
    return params


def _offers(route: Route) -> list[StagePrice]:
    try:
        return [StagePrice(stage.node, stage.span, stage.ask) for stage in route.stages]
    except SpanError as error:
        raise Refused(FailureCode.WRONG_ROUTE, str(error)) from error
