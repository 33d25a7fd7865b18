"""Routes by wish: the best by time and price, within the ceiling, owners apart, the full ones left for last."""

import math
import random
from dataclasses import replace

import pytest

from incentives.prices import with_pool
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


def test_a_ceiling_at_the_cheapest_price_is_met_and_one_below_it_is_refused() -> None:
    """The error says what it would take."""
    offers = (
        offer(1, "0:4", 10, computing=0.01),
        offer(2, "0:2", 2, computing=0.25),
        offer(3, "2:4", 2, computing=0.3),
    )

    assert chosen(*offers, wish=RouteWish(4, max_price=with_pool(60))) == one(1)
    for ceiling in (59, 44):
        assert chosen(*offers, wish=RouteWish(4, max_price=with_pool(ceiling))) == [
            (address(2), 0, 1),
            (address(1), 1, 4),
        ]
    cheaper = [(address(2), 0, 1), (address(1), 1, 3), (address(3), 3, 4)]
    for ceiling in (43, 28):
        assert chosen(*offers, wish=RouteWish(4, max_price=with_pool(ceiling))) == cheaper
    for ceiling in (19, 12):
        assert chosen(*offers, wish=RouteWish(4, max_price=with_pool(ceiling))) == [
            (address(2), 0, 2),
            (address(3), 2, 4),
        ]
    with pytest.raises(PriceTooHigh) as caught:
        chosen(*offers, wish=RouteWish(4, max_price=with_pool(11)))
    assert (caught.value.price, caught.value.limit) == (with_pool(12), with_pool(11))


def test_a_dear_node_is_worth_its_price_where_nothing_is_paid_twice() -> None:
    """It saves as much on each block; the first and the last one are paid for the embedding and the head as well."""
    cheap, dear = offer(1, "0:6", 1, computing=0.6, link=1e-6), offer(2, "0:6", 2, computing=0.06, link=1e-6)

    def at(gain_per_unit: float) -> list[tuple[Address, int, int]]:
        """Each unit is worth so much of what the dear node saves on a block; a reliability of a half doubles every price."""
        return chosen(cheap, dear, wish=RouteWish(6, seconds_per_unit=gain_per_unit * 0.09 / 2))

    assert at(0.4) == one(2, 6)
    assert at(0.6) == [(address(1), 0, 1), (address(2), 1, 5), (address(1), 5, 6)]
    assert at(1.1) == one(1, 6)


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


def test_adjacent_spans_of_one_node_are_one_stage() -> None:
    """The state stays where it is: a route names a node once for blocks in a row, and waits there once."""
    spans = [offer(1, "0:2", link=0.1, waiting=0.3), offer(1, "2:4", link=0.1, waiting=0.3)]

    for wish in (RouteWish(4), RouteWish(4, distinct_owners=True)):
        assert chosen(*spans, offer(2, "2:4", link=0.2, waiting=0.2), wish=wish) == one(1)
        assert chosen(offer(1, "1:4", link=0.1), *spans, wish=wish) == one(1)


def test_a_node_far_away_and_one_with_a_queue_are_not_taken_twice_for_little() -> None:
    """Link and waiting count for each stage: two blocks elsewhere must save more than that."""
    for own in ({"link": 0.1}, {"waiting": 0.1}):
        wide = offer(1, "0:6", computing=0.6, **({"link": 0.0} | own))
        assert chosen(wide, offer(2, "2:4", computing=0.12, link=0.0), wish=RouteWish(6)) == one(1, 6)
        stages = chosen(wide, offer(2, "2:4", computing=0.08, link=0.0), wish=RouteWish(6))
        assert stages == [(address(1), 0, 2), (address(2), 2, 4), (address(1), 4, 6)]


def test_spans_that_overlap_are_a_route_in_which_the_faster_one_does_more() -> None:
    """No block is computed twice, whoever it is."""
    assert chosen(offer(1, "0:3", computing=0.03), offer(2, "1:4", computing=0.06)) == [
        (address(1), 0, 3),
        (address(2), 3, 4),
    ]
    assert chosen(offer(1, "0:3", computing=0.06), offer(2, "1:4", computing=0.03)) == [
        (address(1), 0, 1),
        (address(2), 1, 4),
    ]


def test_owners_that_cannot_be_apart_are_named_as_the_reason() -> None:
    """One node with both ends is a route only for those who allow it."""
    spans = (offer(1, "0:1"), offer(2, "0:3"), offer(1, "3:4"))

    assert len(chosen(offer(1, "0:1"), offer(2, "1:3"), offer(1, "3:4"))) == 3
    assert chosen(*spans, wish=RouteWish(4, distinct_owners=True)) == [(address(2), 0, 3), (address(1), 3, 4)]
    with pytest.raises(NoDistinctRoute, match="an owner of its own"):
        chosen(offer(1, "0:1"), offer(2, "1:3"), offer(1, "3:4"), wish=RouteWish(4, distinct_owners=True))


def test_an_owner_with_tempting_spans_everywhere_gets_one_stage_at_most() -> None:
    """Eight owners whose cheap spans fill the search: the honest nodes still make a route."""
    greedy = [
        offer(number, f"{at}:{at + 1}", computing=1e-6 * number) for number in range(1, 9) for at in range(0, 16, 2)
    ]
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
    others = (offer(2, "0:1", 9), offer(3, "1:3", 9), offer(2, "3:4", 9))

    assert chosen(full, *others, wish=RouteWish(4, max_price=with_pool(10))) == one(1)
    assert chosen(full, *others, wish=RouteWish(4, distinct_owners=True)) == one(1)
    assert len(chosen(full, *others)) == 3


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
