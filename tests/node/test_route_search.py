"""The search itself: ties, doubled offers, and what happens when the searches for distinct owners run out."""

import pytest

from node.route_search import Hop, RouteGraph
from tests.node.records import address
from verification.routes import RouteStage


def hop(number: int, start: int, end: int, price: int = 1, work: int = 1, link: int = 0) -> Hop:
    """A hop of a numbered node."""
    return Hop(RouteStage(address(number), start, end, 1), link, work, price)


def by_price(_time: int, price: int) -> int:
    """Only money counts."""
    return price


def by_time(time: int, _price: int) -> int:
    """Only time counts."""
    return time


def owners(graph: RouteGraph, searches: int) -> list[int]:
    """The numbers of the nodes on the cheapest route with distinct owners."""
    found = graph.cheapest_distinct(by_time, searches)
    return [int(hop.stage.node, 16) for hop in found.hops] if found is not None else []


def test_fewest_hops_win_where_the_longer_route_is_found_first() -> None:
    """Both cost 6; a search by cost alone reaches the end over the three short hops before it has seen the other way."""
    spans = ((0, 3, 4), (3, 4, 2), (0, 1, 2), (1, 2, 1), (2, 4, 3))
    graph = RouteGraph([hop(number, *span) for number, span in enumerate(spans, 1)], 4)
    found = graph.cheapest(by_price)

    assert found is not None
    assert [(stage.start, stage.end) for stage in found.stages] == [(0, 3), (3, 4)]
    assert found.price == 6


def test_of_two_prices_for_one_span_of_one_node_the_lower_one_counts() -> None:
    """In any order."""
    offers = [hop(1, 0, 2, price=7), hop(1, 0, 2, price=5)]
    for order in (offers, offers[::-1]):
        found = RouteGraph(order, 2).cheapest(by_price)
        assert found is not None
        assert found.price == 5


def test_stages_that_are_cut_are_not_taken() -> None:
    """Without the last one there is no route."""
    first, second = hop(1, 0, 2), hop(2, 0, 2, work=9)
    graph = RouteGraph([first, second], 2)
    found = graph.cheapest(by_time, frozenset({first.stage}))

    assert found is not None
    assert found.stages == (second.stage,)
    assert graph.cheapest(by_time, frozenset({first.stage, second.stage})) is None


@pytest.mark.parametrize("searches", [1, 64])
def test_a_route_of_distinct_owners_is_found_by_one_search_and_by_many(searches: int) -> None:
    """The greedy node keeps the span that no other could do as well."""
    graph = RouteGraph([hop(1, 0, 1), hop(1, 1, 2), hop(2, 0, 1, work=50), hop(3, 1, 2, work=20)], 2)

    assert owners(graph, searches) == [1, 3]


def test_owners_that_cannot_be_apart_make_no_route() -> None:
    """Neither by many searches nor by the descent."""
    graph = RouteGraph([hop(1, 0, 1), hop(1, 1, 2)], 2)

    assert owners(graph, 64) == owners(graph, 1) == []


def test_without_any_route_there_is_no_distinct_one() -> None:
    """An empty graph is a graph."""
    assert owners(RouteGraph([], 2), 64) == []
