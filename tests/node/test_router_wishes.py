"""Routes by wish: the best by time and price, within the ceiling, owners apart, the full ones left for last."""

import math
import random
from collections.abc import Iterator
from dataclasses import replace

import pytest

from incentives.prices import StagePrice, route_price
from node.client_errors import PriceTooHigh
from node.errors import NoRoute
from node.offers import Offer
from node.router import RouteWish, plan_route
from node.routing_errors import NoDistinctRoute, WishInvalid
from sharding.span import MAX_BLOCKS, Span
from tests.node.records import address
from verification.addresses import Address
from verification.routes import RouteStage

MANIFEST, PROFILE = b"m" * 32, b"p" * 32


def offer(
    number: int, span: str, ask: int = 1, computing: float = 0.01, link: float = 0.01,
    waiting: float = 0.0, reliability: float = 0.5, full: bool = False,
) -> Offer:  # fmt: skip
    """A node's offer of one span."""
    blocks = Span.parse(span)
    return Offer(
        RouteStage(address(number), blocks.start, blocks.end, ask), link, computing, waiting, reliability, full
    )


def chosen(*offers: Offer, wish: RouteWish | None = None) -> list[tuple[Address, int, int]]:
    """Node, start and end of each stage; over four blocks unless wished otherwise."""
    return [(stage.node, stage.start, stage.end) for stage in plan_route(offers, wish or RouteWish(4))]


def one(number: int, blocks: int = 4) -> list[tuple[Address, int, int]]:
    """The route over one node."""
    return [(address(number), 0, blocks)]


def routes_from(start: int, offers: list[Offer], blocks: int) -> Iterator[tuple[Offer, ...]]:
    """Every sequence of offers that computes the blocks from `start` on once."""
    if start == blocks:
        yield ()
    for each in offers:
        if each.stage.start == start and each.stage.end <= blocks:
            for rest in routes_from(each.stage.end, offers, blocks):
                yield (each, *rest)


def price_of(route: tuple[Offer, ...] | tuple[RouteStage, ...], blocks: int) -> int:
    """What a voucher pays per token."""
    stages = [each.stage if isinstance(each, Offer) else each for each in route]
    return route_price([StagePrice(each.node, each.span, each.ask) for each in stages], blocks).per_token


def cost_of(route: tuple[Offer, ...], wish: RouteWish) -> float:
    """The formula, written once more: a node that keeps the state for its next span has no link."""
    seconds, previous = 0.0, None
    for each in route:
        stage = each.stage
        ends = (stage.start == 0) + (stage.end == wish.num_blocks)
        price = (stage.end - stage.start + ends) * stage.ask
        seconds += 0.0 if stage.node == previous else each.link
        seconds += each.computing + each.waiting + price * wish.seconds_per_unit / each.reliability
        previous = stage.node
    return seconds


def allowed(route: tuple[Offer, ...], wish: RouteWish) -> bool:
    """Whether a route keeps to the wish's limits."""
    owners = [each.stage.node for each in route]
    within = wish.max_price is None or price_of(route, wish.num_blocks) <= wish.max_price
    return within and (not wish.distinct_owners or len(set(owners)) == len(owners))


def random_offers(chance: random.Random, blocks: int) -> list[Offer]:
    """Up to a dozen spans of up to six nodes, so that owners repeat."""
    offers = {}
    for _ in range(chance.randint(1, 12)):
        start, number = chance.randrange(blocks), chance.randint(1, 6)
        span = f"{start}:{chance.randint(start + 1, blocks)}"
        offers[number, span] = offer(
            number, span, chance.randint(1, 9), chance.randint(1, 50) / 1000, number / 1000,
            chance.choice((0.0, 0.0, 0.02)), chance.choice((0.3, 0.6, 0.9)),
        )  # fmt: skip
    return list(offers.values())


@pytest.mark.parametrize("distinct", [False, True])
@pytest.mark.parametrize("seconds_per_unit", [0.0, 1e-3])
def test_routes_are_the_best_of_all(distinct: bool, seconds_per_unit: float) -> None:
    """150 random networks against trying every route."""
    chance, outcomes = random.Random(11), set()
    for _ in range(150):
        wish = RouteWish(chance.randint(1, 7), seconds_per_unit, distinct_owners=distinct)
        offers = random_offers(chance, wish.num_blocks)
        routes = [each for each in routes_from(0, offers, wish.num_blocks) if allowed(each, wish)]
        outcomes.add(bool(routes))
        if not routes:
            with pytest.raises(NoRoute):
                plan_route(offers, wish)
            continue
        by_stages = {tuple(each.stage for each in route): route for route in routes}
        planned = by_stages[plan_route(offers, wish)]
        assert cost_of(planned, wish) == pytest.approx(min(cost_of(route, wish) for route in routes), abs=1e-9)

    assert outcomes == {True, False}


@pytest.mark.parametrize("distinct", [False, True])
def test_a_price_ceiling_is_kept_and_used(distinct: bool) -> None:
    """150 random networks: never above the ceiling, no slower than the cheapest route, mostly the best within the ceiling."""
    chance, best, binding, slower = random.Random(12), 0, 0, 0
    for _ in range(150):
        free = RouteWish(chance.randint(2, 7), distinct_owners=distinct)
        offers = random_offers(chance, free.num_blocks)
        routes = [each for each in routes_from(0, offers, free.num_blocks) if allowed(each, free)]
        prices = sorted({price_of(route, free.num_blocks) for route in routes})
        if len(prices) < 2:
            continue
        ceiling = chance.choice(prices)
        wish = replace(free, max_price=ceiling)
        planned = plan_route(offers, wish)
        seconds = min(cost_of(route, wish) for route in routes if tuple(each.stage for each in route) == planned)
        fastest = min(cost_of(route, wish) for route in routes if allowed(route, wish))
        cheapest = min(cost_of(route, wish) for route in routes if price_of(route, wish.num_blocks) == prices[0])
        assert price_of(planned, wish.num_blocks) <= ceiling
        assert fastest - 1e-9 <= seconds
        slower += seconds > cheapest + 1e-9
        binding += 1
        best += seconds <= fastest + 1e-9

    assert binding > 30
    assert best / binding > 0.8
    assert slower == 0


def test_a_ceiling_at_the_cheapest_price_is_met_and_one_below_it_is_refused() -> None:
    """The error says what it would take."""
    offers = (offer(1, "0:4", 10, computing=0.01), offer(2, "0:4", 2, computing=0.5))

    assert chosen(*offers, wish=RouteWish(4, max_price=60)) == one(1)
    assert chosen(*offers, wish=RouteWish(4, max_price=59)) == one(2)
    assert chosen(*offers, wish=RouteWish(4, max_price=12)) == one(2)
    with pytest.raises(PriceTooHigh) as caught:
        chosen(*offers, wish=RouteWish(4, max_price=11))
    assert (caught.value.price, caught.value.limit) == (12, 11)


def test_each_part_of_the_cost_decides() -> None:
    """Link, computing, waiting, price by reliability: the node that is better in one wins."""
    usual = offer(1, "0:4", 10)
    for better in (
        offer(2, "0:4", 10, link=0.009),
        offer(2, "0:4", 10, computing=0.009),
        offer(2, "0:4", 9),
        offer(2, "0:4", 10, reliability=0.6),
    ):
        assert chosen(usual, better, wish=RouteWish(4, seconds_per_unit=1e-3)) == one(2)
        assert chosen(replace(usual, waiting=1.0), offer(2, "0:4", 99, computing=0.9)) == one(2)


def test_the_exchange_rate_says_what_time_is_worth() -> None:
    """A tenth of a second against 600 units: at 1/6000 of a second each both are equal."""
    fast, cheap = offer(1, "0:4", 200, computing=0.1), offer(2, "0:4", 100, computing=0.2)
    at_half = RouteWish(4, seconds_per_unit=1 / 12_000 * 1.001)

    assert chosen(fast, cheap, wish=RouteWish(4, seconds_per_unit=1 / 12_000 * 0.999)) == one(1)
    assert chosen(fast, cheap, wish=at_half) == one(2), "reliability of a half doubles every price"


def test_fewer_hops_and_lower_addresses_win_among_equals() -> None:
    """Whatever the order of the offers."""
    offers = [offer(3, "0:4", computing=0.02, link=0.0), offer(2, "0:4", computing=0.02, link=0.0)]
    offers += [offer(1, "0:2", computing=0.01, link=0.0), offer(4, "2:4", computing=0.01, link=0.0)]
    for seed in range(12):
        random.Random(seed).shuffle(offers)
        assert chosen(*offers) == one(2)


def test_adjacent_spans_of_one_node_need_no_link_between_them() -> None:
    """The state stays where it is; with distinct owners they are not both taken."""
    spans = (offer(1, "0:2", link=0.1), offer(1, "2:4", link=0.1), offer(2, "2:4", link=0.05))

    assert chosen(*spans) == [(address(1), 0, 2), (address(1), 2, 4)]
    assert chosen(*spans, wish=RouteWish(4, distinct_owners=True)) == [(address(1), 0, 2), (address(2), 2, 4)]


def test_a_span_is_neither_entered_nor_left_in_its_middle() -> None:
    """Every block has a server, yet no block is computed once; nothing is uncovered."""
    with pytest.raises(NoRoute) as caught:
        chosen(offer(1, "0:3"), offer(1, "2:4"))

    assert caught.value.uncovered == []


def test_owners_that_cannot_be_apart_are_named_as_the_reason() -> None:
    """One node with all spans is a route only for those who allow it."""
    spans = (offer(1, "0:2"), offer(1, "2:4"))

    assert len(chosen(*spans)) == 2
    with pytest.raises(NoDistinctRoute, match="an owner of its own"):
        chosen(*spans, wish=RouteWish(4, distinct_owners=True))


def test_an_owner_with_tempting_spans_everywhere_gets_one_stage_at_most() -> None:
    """Eight owners whose cheap spans fill the search: the honest nodes still make a route."""
    greedy = [offer(number, f"{at}:{at + 1}", computing=1e-6 * number) for number in range(1, 9) for at in range(16)]
    honest = [offer(100 + at, f"{at}:{at + 1}", computing=1.0) for at in range(16)]
    stages = plan_route(greedy + honest, RouteWish(16, distinct_owners=True))

    assert len({stage.node for stage in stages}) == len(stages) == 16
    assert sum(stage.node <= address(8) for stage in stages) == 8


@pytest.mark.parametrize(
    ("spans", "gaps"), [((), [0, 1, 2, 3]), (("0:2",), [2, 3]), (("0:1", "3:4"), [1, 2]), (("0:3", "3:6"), [3])]
)
@pytest.mark.parametrize("wish", [RouteWish(4), RouteWish(4, distinct_owners=True), RouteWish(4, max_price=1)])
def test_gaps_are_named(spans: tuple[str, ...], gaps: list[int], wish: RouteWish) -> None:
    """Whoever wants to help sees which blocks to serve."""
    with pytest.raises(NoRoute) as caught:
        chosen(*[offer(number, span) for number, span in enumerate(spans, 1)], wish=wish)

    assert caught.value.uncovered == gaps


def test_excluded_nodes_are_passed_over_and_leave_gaps() -> None:
    """All spans of such a node, however good."""
    offers = (offer(1, "0:2", computing=1e-6), offer(1, "2:4", computing=1e-6), offer(2, "0:4", computing=1.0))

    assert chosen(*offers, wish=RouteWish(4, excluded={address(1)})) == one(2)
    with pytest.raises(NoRoute) as caught:
        chosen(*offers[:2], wish=RouteWish(4, excluded={address(1)}))
    assert caught.value.uncovered == [0, 1, 2, 3]


def test_a_full_node_is_asked_only_where_nobody_else_will_do() -> None:
    """However slow the others are; and then as few full ones as possible."""
    full, slow = offer(1, "0:4", computing=1e-6, full=True), offer(2, "0:4", computing=3000.0)

    assert chosen(full, slow) == one(2)
    assert chosen(full) == one(1)
    halves = (offer(3, "0:2", computing=3000.0), offer(4, "2:4", full=True))
    assert chosen(offer(1, "0:2", full=True), *halves) == [(address(3), 0, 2), (address(4), 2, 4)]


def test_a_full_node_is_asked_when_the_others_are_too_dear_or_of_one_owner() -> None:
    """Busy now is better than never."""
    full = offer(1, "0:4", 1, full=True)
    halves = (offer(2, "0:2", 9), offer(2, "2:4", 9))

    assert chosen(full, *halves, wish=RouteWish(4, max_price=10)) == one(1)
    assert chosen(full, *halves, wish=RouteWish(4, distinct_owners=True)) == one(1)


@pytest.mark.parametrize(
    "change",
    [{"num_blocks": 0}, {"num_blocks": MAX_BLOCKS + 1}, {"seconds_per_unit": -1e-9}, {"seconds_per_unit": 1.1},
     {"seconds_per_unit": math.nan}, {"seconds_per_unit": math.inf}, {"max_price": -1}],
    ids=str,
)  # fmt: skip
def test_what_nobody_can_wish_for_is_refused(change: dict[str, float]) -> None:
    """At the limits a wish is fine."""
    RouteWish(MAX_BLOCKS, seconds_per_unit=1.0, max_price=0)
    RouteWish(1, seconds_per_unit=0.0)
    with pytest.raises(WishInvalid):
        replace(RouteWish(4), **change)  # type: ignore[arg-type]


def test_the_largest_amounts_and_times_have_a_route() -> None:
    """Asks of 96 bits, an hour for a token, a reliability of next to nothing, all blocks."""
    offers = [
        offer(1 + at, f"{at}:{at + 1}", 2**96 - 1, computing=1e9, waiting=1e9, reliability=1e-9)
        for at in range(MAX_BLOCKS)
    ]

    assert len(chosen(*offers, wish=RouteWish(MAX_BLOCKS, seconds_per_unit=1.0, max_price=2**120))) == MAX_BLOCKS


def test_a_thousand_nodes_and_eighty_blocks_have_a_route() -> None:
    """The size that a client must be able to plan for; how fast is the benchmark's question."""
    chance = random.Random(5)
    offers = []
    for number in range(1000):
        length = chance.randint(2, 12)
        start = chance.choice((0, 80 - length, chance.randint(0, 80 - length)))
        offers.append(offer(number, f"{start}:{start + length}", chance.randint(1, 99), chance.uniform(0.001, 0.05)))
    stages = plan_route(offers, RouteWish(80, 1e-4, distinct_owners=True))

    assert [stage.start for stage in stages[1:]] == [stage.end for stage in stages[:-1]]
    assert (stages[0].start, stages[-1].end) == (0, 80)
