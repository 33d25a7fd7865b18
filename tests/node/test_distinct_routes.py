"""Routes with an owner of its own for each stage: the best one within the searches, and some one past them."""

import random
from itertools import groupby, product

import pytest

from node.distinct_routes import cheapest_distinct
from node.route_runs import Served
from node.route_search import RouteGraph, Search
from tests.node.test_route_search import by_both, by_time, hop, random_spans


def owners(graph: RouteGraph, searches: int) -> list[int]:
    """The numbers of the nodes on the cheapest route with distinct owners."""
    found = cheapest_distinct(graph, by_time, searches)
    return [int(stage.node, 16) for stage in found.stages] if found is not None else []


def best_apart(spans: list[Served], blocks: int) -> int | None:
    """Cost by both of the best choice of a node for every block in which each node has its blocks in a row."""
    hosts = [{each.stage.node: each for each in spans if at in each.stage.span.blocks} for at in range(blocks)]
    costs = []
    for choice in product(*(each.values() for each in hosts)):
        turns = [next(turn) for _, turn in groupby(choice, key=lambda each: each.stage.node)]
        if len({each.stage.node for each in turns}) == len(turns):
            ends = 3 * (choice[0].stage.ask + choice[-1].stage.ask)
            costs.append(
                ends + sum(each.work + 3 * each.stage.ask for each in choice) + sum(each.enter for each in turns)
            )
    return min(costs, default=None)


def tempting(chance: random.Random, blocks: int) -> list[Served]:
    """Two nodes with all blocks, three with a block here and there that they do for less: owners repeat of themselves."""
    made = [
        hop(number, 0, blocks, chance.randint(1, 4), chance.randint(3, 9), chance.randint(0, 4)) for number in (1, 2)
    ]
    for number in (3, 4, 5):
        ask, work, enter = chance.randint(1, 3), chance.randint(0, 5), chance.randint(0, 1)
        made += [hop(number, at, at + 1, ask, work, enter) for at in range(blocks) if chance.random() < 0.4]
    return made


@pytest.mark.parametrize("searches", [1, 64])
def test_a_route_of_distinct_owners_is_found_by_one_search_and_by_many(searches: int) -> None:
    """The greedy node keeps the end that no other could do as well."""
    spans = [hop(1, 0, 1), hop(1, 2, 3), hop(2, 0, 1, work=50), hop(3, 2, 3, work=20), hop(4, 1, 2)]

    assert owners(RouteGraph(spans, 3), searches) == [1, 4, 3]


def test_owners_that_cannot_be_apart_make_no_route() -> None:
    """Neither by many searches nor by the descent."""
    graph = RouteGraph([hop(1, 0, 1), hop(2, 1, 2), hop(1, 2, 3)], 3)

    assert owners(graph, 64) == owners(graph, 1) == []


def test_without_any_route_there_is_no_distinct_one() -> None:
    """An empty graph is a graph."""
    assert owners(RouteGraph([], 2), 64) == []


def test_an_owner_does_what_lies_between_its_two_best_parts_where_that_is_best() -> None:
    """Dearer than the other in the middle, and still the cheapest of all with one stage of each."""
    around, middle = hop(1, 0, 6, work=10), hop(2, 2, 4, work=9)
    other = hop(3, 0, 2, work=15)

    assert owners(RouteGraph([around, middle, other], 6), 64) == [1]
    assert owners(RouteGraph([around, hop(2, 2, 4, work=1), other], 6), 64) == [3, 2, 1]


def test_many_searches_find_the_best_of_all_and_few_find_one_that_is_allowed() -> None:
    """300 random graphs against every choice of nodes."""
    chance, repeated, missed = random.Random(4), 0, 0
    for number in range(300):
        blocks = chance.randint(2, 7)
        spans = (tempting if number % 3 else random_spans)(chance, blocks)
        graph, best = RouteGraph(spans, blocks), best_apart(spans, blocks)
        free = graph.cheapest(by_both)
        repeated += free is not None and len({stage.node for stage in free.stages}) < len(free.stages)
        found = cheapest_distinct(graph, by_both, 10_000)
        assert (found.cost >> 16 if found is not None else None) == best
        hurried = cheapest_distinct(graph, by_both, 1)
        missed += hurried is None and best is not None
        if hurried is not None:
            assert best is not None
            assert hurried.cost >> 16 >= best
            assert len({stage.node for stage in hurried.stages}) == len(hurried.stages)

    assert repeated > 50
    assert missed < 15


@pytest.mark.parametrize("searches", [10, 40])
def test_the_search_ends_at_its_limit(searches: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twelve owners whose cheap blocks lie everywhere among dear ones: then one of them after the other is settled."""
    spans = [hop(number, at, at + 1, work=number) for number in range(1, 13) for at in range(0, 24, 2)]
    graph = RouteGraph(spans + [hop(100 + at, at, at + 1, work=1000) for at in range(24)], 24)
    made, cheapest = [], Search.cheapest
    monkeypatch.setattr(Search, "cheapest", lambda *each: made.append(each) or cheapest(*each))
    found = cheapest_distinct(graph, by_time, searches)

    assert found is not None
    assert len({stage.node for stage in found.stages}) == len(found.stages) == 24
    assert searches <= len(made) <= searches + 3 + 12
