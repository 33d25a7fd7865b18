"""What work costs. The unit is token x block; the embedding and the head count as one pseudo-block each.

A route has one price per token, so one number in a voucher pays all its stages and their shares stay constant. The audit pool's
share comes on top of what the stages ask.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from incentives.errors import PayeesError, PriceError
from incentives.payees import MAX_PAYEES, POOL_BPS, WHOLE_BPS, Payee, payees_for
from sharding.span import Span, is_cover
from verification.addresses import Address

PREFILL_DISCOUNT = 8
"""A prompt's token costs an eighth of a generated one: its rows share one reading of the weights."""
MAX_ASK = 2**96 - 1
STAGES_BPS = WHOLE_BPS - POOL_BPS
"""What all stages of a route have together."""


@dataclass(frozen=True, slots=True)
class StagePrice:
    """One stage's offer: `ask` units of the token for one token through one block."""

    node: Address
    span: Span
    ask: int


@dataclass(frozen=True, slots=True)
class RoutePrice:
    """The price of one token through all stages, in the token's smallest unit."""

    per_token: int
    per_stage: tuple[int, ...] = ()
    """What each stage asks, in their order; the rest is the audit pool's."""

    def decode_cost(self, tokens: int) -> int:
        """Cost of generating `tokens` tokens: n x A."""
        return _counted(tokens) * self.per_token

    def prefill_cost(self, tokens: int) -> int:
        """Cost of reading `tokens` prompt tokens: ceil(n x A / 8)."""
        return -(-_counted(tokens) * self.per_token // PREFILL_DISCOUNT)

    def entry_cost(self, tokens: int, held: Sequence[int]) -> int:
        """Like prefill_cost, of the tokens that some stage lacks; where held is given, stage i has the first held[i] already.

        A pot is divided by weights and knows no reasons: were only those paid for that lack tokens, they would get their weight of
        their own price, and next to nothing beside a dear stage that says it has all.
        Raises: ValueError for another number of stages.
        """
        if held and len(held) != len(self.per_stage):
            raise ValueError(f"{len(held)} numbers of held positions for a route of {len(self.per_stage)} stages")
        return self.prefill_cost(max(0, _counted(tokens) - min(held, default=0)))

    def session_cost(self, prompt_tokens: int, positions: int, held: Sequence[int] = ()) -> int:
        """Cost of a session's first `positions` positions: its prompt at the prefill price, the rest at the full one.

        held: positions of the prompt that each stage had at the beginning, from a prefix or an earlier route.
        """
        prefill = min(positions, prompt_tokens)
        return self.entry_cost(prefill, held) + self.decode_cost(positions - prefill)


def _counted(tokens: int) -> int:
    if tokens < 0:
        raise PriceError(f"{tokens} tokens cannot be priced")
    return tokens


def paid_blocks(span: Span, num_blocks: int) -> int:
    """Blocks that a span is paid for: the first and the last stage do one pseudo-block more each.

    Raises: SpanError when the span does not lie within the model.
    """
    span.within(num_blocks)
    return len(span) + (span.start == 0) + (span.end == num_blocks)


def stage_price(stage: StagePrice, num_blocks: int) -> int:
    """What one stage takes per token. Raises: SpanError, PriceError."""
    if not 0 <= stage.ask <= MAX_ASK:
        raise PriceError(f"{stage.node} asks {stage.ask}; an ask lies between 0 and 2^96 - 1")
    return paid_blocks(stage.span, num_blocks) * stage.ask


def with_pool(asked: int) -> int:
    """What a route costs whose stages ask so much together: the least of which their shares are no less."""
    return -(-asked * WHOLE_BPS // STAGES_BPS)


def without_pool(price: int) -> int:
    """The most that the stages of a route of that price may ask together."""
    return price * STAGES_BPS // WHOLE_BPS


def route_price(stages: Sequence[StagePrice], num_blocks: int) -> RoutePrice:
    """Price the stages of a route over all blocks [0, num_blocks), and the pool. Raises: SpanError, PriceError."""
    prices = [stage_price(stage, num_blocks) for stage in stages]
    if not is_cover([stage.span for stage in stages], num_blocks):
        raise PriceError(
            f"the stages {', '.join(str(stage.span) for stage in stages)} do not cover 0:{num_blocks} once"
        )
    return RoutePrice(with_pool(sum(prices)), tuple(prices))


def route_payees(stages: Sequence[StagePrice], num_blocks: int, pool: Address) -> tuple[Payee, ...]:
    """Split a route's price: payee i is stage i, the last one the audit pool. Raises: SpanError, PriceError, PayeesError."""
    if len(stages) >= MAX_PAYEES:
        raise PayeesError(
            f"{len(stages)} stages: {MAX_PAYEES - 1} can share a channel with the audit pool; use fewer stages"
        )
    weights = [(stage.node, stage_price(stage, num_blocks)) for stage in stages]
    return (*payees_for(weights, STAGES_BPS), Payee(pool, POOL_BPS))
