"""The search itself: ties, doubled offers, limits, and every small graph against all of its routes."""

import random
from collections.abc import Iterator
from itertools import product

import pytest

from node.route_runs import Served
from node.route_search import NO_LIMITS, Limits, RouteGraph
from sharding.span import Span
from tests.node.records import address
from verification.routes import RouteStage


def hop(number: int, start: int, end: int, ask: int = 1, work: int = 1, enter: int = 0) -> Served:
    """A span of a numbered node; time is worth nothing in money."""
    return Served(RouteStage(address(number), start, end, ask), enter, work, 0)


def by_price(_time: int, price: int) -> int:
    """Only money counts."""
    return price


def by_time(time: int, _price: int) -> int:
    """Only time counts."""
    return time


def by_both(time: int, price: int) -> int:
    """A unit is worth three ticks."""
    return time + 3 * price


def spans_of(graph: RouteGraph) -> list[tuple[int, int]]:
    """Start and end of the stages of the cheapest route by price."""
    found = graph.cheapest(by_price)
    return [(stage.start, stage.end) for stage in found.stages] if found is not None else []


def test_fewest_stages_win_where_the_longer_route_is_found_first() -> None:
    """All blocks have one price; a search by cost alone may as well take the three short ones."""
    spans = ((0, 1), (1, 2), (2, 4), (0, 3), (3, 4))
    graph = RouteGraph([hop(number, *span) for number, span in enumerate(spans, 1)], 4)
    found = graph.cheapest(by_price)

    assert found is not None
    assert found.price == 6
    assert len(found.stages) == 2


def test_of_two_prices_for_one_span_of_one_node_the_lower_one_counts() -> None:
    """In any order."""
    offers = [hop(1, 0, 2, ask=7), hop(1, 0, 2, ask=5)]
    for order in (offers, offers[::-1]):
        found = RouteGraph(order, 2).cheapest(by_price)
        assert found is not None
        assert found.price == 4 * 5
        assert found.stages == (RouteStage(address(1), 0, 2, 5),)


def test_embedding_and_head_are_paid_on_the_first_and_the_last_block() -> None:
    """Once each, however the blocks are divided; a model of one block has both on it."""
    halves = RouteGraph([hop(1, 0, 3, ask=10), hop(2, 3, 6, ask=100)], 6).cheapest(by_price)
    only = RouteGraph([hop(1, 0, 1, ask=10)], 1).cheapest(by_price)

    assert halves is not None
    assert only is not None
    assert halves.price == 4 * 10 + 4 * 100
    assert only.price == 3 * 10


def test_a_part_is_entered_and_left_anywhere() -> None:
    """The cheap node in the middle takes the place of the dear one around it; where it ends the dear one goes on."""
    wide = hop(1, 0, 6, ask=5)

    assert spans_of(RouteGraph([wide, hop(2, 2, 4)], 6)) == [(0, 2), (2, 4), (4, 6)]
    assert spans_of(RouteGraph([wide, hop(2, 0, 1), hop(3, 5, 6)], 6)) == [(0, 1), (1, 5), (5, 6)]
    assert spans_of(RouteGraph([wide, hop(1, 2, 4, ask=5)], 6)) == [(0, 6)]


def test_two_stages_of_one_node_never_follow_each_other() -> None:
    """Nodes refuse such routes: spans that touch are one, at one price, even where two prices would cost less."""
    found = RouteGraph([hop(1, 0, 2, ask=1), hop(1, 2, 4, ask=9)], 4).cheapest(by_price)

    assert found is not None
    assert found.stages == (RouteStage(address(1), 0, 4, 9),)
    assert found.price == 6 * 9


def test_what_is_paid_for_in_time_is_told_apart_from_the_exchanged_cost() -> None:
    """Ticks and price are the route's own."""
    found = RouteGraph([hop(1, 0, 2, ask=5, work=10, enter=100)], 2).cheapest(by_both)

    assert found is not None
    assert (found.ticks, found.price) == (120, 20)
    assert found.cost >> 16 == 120 + 3 * 20


@pytest.mark.parametrize("number", [1, 2])
def test_limits_say_who_may_compute_what(number: int) -> None:
    """An owner on its span only; a block by its owner only; without anybody left there is no route."""
    search = RouteGraph([hop(1, 0, 4, work=1), hop(2, 0, 4, work=2)], 4).by(by_time)
    other = address(3 - number)
    limits = NO_LIMITS.within(other, Span(1, 3))
    assert limits is not None
    found = search.cheapest(limits)
    assert found is not None
    assert {stage.node for stage in found.stages if stage.start == 0 or stage.end == 4} == {address(number)}

    due = NO_LIMITS.with_due(2, address(number))
    assert due is not None
    found = search.cheapest(due)
    assert found is not None
    assert next(stage.node for stage in found.stages if stage.start <= 2 < stage.end) == address(number)

    nobody = due.within(other, Span(3, 4))
    nobody = nobody.with_due(0, address(9)) if nobody is not None else None
    assert nobody is not None
    assert search.cheapest(nobody) is None


def test_limits_that_contradict_each_other_are_none() -> None:
    """What is due from an owner lies within its blocks."""
    due = NO_LIMITS.with_due(2, address(1))
    assert due is not None
    assert due.within(address(1), Span(2, 3)) is not None
    assert due.within(address(1), Span(0, 2)) is None
    assert due.within(address(1), Span(3, 9)) is None
    assert due.with_due(2, address(2)) is None
    left = NO_LIMITS.within(address(1), Span(0, 2))
    assert left is not None
    assert left.within(address(1), Span(2, 4)) is None
    assert left.with_due(2, address(1)) is None


def test_nothing_offered_is_no_route() -> None:
    """An empty graph is a graph, and so is one with a gap."""
    assert RouteGraph([], 2).cheapest(by_time) is None
    assert RouteGraph([hop(1, 0, 1), hop(2, 2, 3)], 3).cheapest(by_time) is None
    assert RouteGraph([hop(1, 1, 2)], 2).by(by_time).cheapest(Limits()) is None


def random_spans(chance: random.Random, blocks: int) -> list[Served]:
    """Spans of up to five nodes, few different numbers so that ties are common; one price and one pace a node."""
    nodes = [(chance.randint(1, 4), chance.randint(0, 6), chance.choice((0, 0, 1, 5))) for _ in range(5)]
    made = []
    for _ in range(chance.randint(1, 10)):
        number, start = chance.randrange(5), chance.randrange(blocks)
        ask, work, enter = nodes[number]
        made.append(hop(number + 1, start, chance.randint(start + 1, blocks), ask, work, enter))
    return made


def all_costs(spans: list[Served], blocks: int, limits: Limits) -> Iterator[tuple[int, int]]:
    """Cost by both and number of stages of each choice of a node for every block."""
    hosts = [
        {
            each.stage.node: each
            for each in spans
            if block in each.stage.span.blocks and limits.allow(each.stage.node, block)
        }
        for block in range(blocks)
    ]
    for choice in product(*(each.values() for each in hosts)):
        nodes = [each.stage.node for each in choice]
        begins = [each for at, each in enumerate(choice) if at == 0 or nodes[at - 1] != nodes[at]]
        cost = sum(each.work + 3 * each.stage.ask for each in choice) + sum(each.enter for each in begins)
        yield cost + 3 * (choice[0].stage.ask + choice[-1].stage.ask), len(begins)


def test_every_small_graph_gives_the_best_of_all_its_routes_within_limits() -> None:
    """300 random graphs, with random limits: the least cost, and of those the fewest stages."""
    chance, outcomes = random.Random(3), set()
    for _ in range(300):
        blocks = chance.randint(1, 6)
        spans = random_spans(chance, blocks)
        owner, start = address(chance.randint(1, 5)), chance.randrange(blocks)
        limits = chance.choice((NO_LIMITS, Limits({owner: Span(start, start + 1)}), Limits(due={start: owner})))
        best = min(all_costs(spans, blocks, limits), default=None)
        found = RouteGraph(spans, blocks).by(by_both).cheapest(limits)
        outcomes.add(found is None)
        assert ((found.cost >> 16, found.cost % 2**16) if found is not None else None) == best
        assert found is None or len(found.stages) == found.cost % 2**16

    assert outcomes == {True, False}
