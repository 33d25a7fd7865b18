"""Random networks against every route that there is: each block by any node that offers it."""

import random
from collections.abc import Iterator
from dataclasses import replace
from itertools import product

import pytest

from incentives.prices import StagePrice, route_price
from node.errors import NoRoute
from node.offers import Offer
from node.router import RouteWish, plan_route
from tests.node.test_router_wishes import offer
from verification.routes import RouteStage


def routes_over(offers: list[Offer], blocks: int) -> Iterator[tuple[RouteStage, ...]]:
    """Every way to have each block computed by a node that offers it; the blocks in a row of one node are one stage."""
    hosts = [
        {each.stage.node: each.stage.ask for each in offers if block in each.stage.span.blocks}
        for block in range(blocks)
    ]
    for choice in product(*hosts):
        stages: list[RouteStage] = []
        for block, node in enumerate(choice):
            if stages and stages[-1].node == node:
                stages[-1] = replace(stages[-1], end=block + 1)
            else:
                stages.append(RouteStage(node, block, block + 1, hosts[block][node]))
        yield tuple(stages)


def price_of(route: tuple[RouteStage, ...], blocks: int) -> int:
    """What a voucher pays per token."""
    return route_price([StagePrice(each.node, each.span, each.ask) for each in route], blocks).per_token


def cost_of(route: tuple[RouteStage, ...], wish: RouteWish, offers: list[Offer]) -> float:
    """The formula, written once more: link and waiting for each stage, computing and price for its blocks."""
    seconds, of_node = 0.0, {each.stage.node: each for each in offers}
    for stage in route:
        offer = of_node[stage.node]
        blocks = stage.end - stage.start
        price = (blocks + (stage.start == 0) + (stage.end == wish.num_blocks)) * stage.ask
        seconds += offer.link + offer.waiting + offer.computing * blocks / len(offer.stage.span)
        seconds += price * wish.seconds_per_unit / offer.reliability
    return seconds


def allowed(route: tuple[RouteStage, ...], wish: RouteWish) -> bool:
    """Whether a route keeps to the wish's limits."""
    owners = [each.node for each in route]
    within = wish.max_price is None or price_of(route, wish.num_blocks) <= wish.max_price
    return within and (not wish.distinct_owners or len(set(owners)) == len(owners))


def random_offers(chance: random.Random, blocks: int) -> list[Offer]:
    """Up to a dozen spans of up to six nodes, so that owners repeat; the spans of one may touch and overlap."""
    nodes = {
        number: (
            chance.randint(1, 9), chance.randint(1, 50) / 5000, chance.choice((0.0, 0.0, 0.02)),
            chance.choice((0.3, 0.6, 0.9)),
        )
        for number in range(1, 7)
    }  # fmt: skip
    offers = {}
    for _ in range(chance.randint(1, 12)):
        start, number = chance.randrange(blocks), chance.randint(1, 6)
        end = chance.randint(start + 1, blocks)
        ask, pace, waiting, reliability = nodes[number]
        offers[number, start, end] = offer(
            number, f"{start}:{end}", ask, pace * (end - start), number / 1000, waiting, reliability
        )
    return list(offers.values())


@pytest.mark.parametrize("distinct", [False, True])
@pytest.mark.parametrize("seconds_per_unit", [0.0, 1e-3])
def test_routes_are_the_best_of_all(distinct: bool, seconds_per_unit: float) -> None:
    """150 random networks against trying every route."""
    chance, outcomes = random.Random(11), set()
    for _ in range(150):
        wish = RouteWish(chance.randint(1, 7), seconds_per_unit, distinct_owners=distinct)
        offers = random_offers(chance, wish.num_blocks)
        routes = [each for each in routes_over(offers, wish.num_blocks) if allowed(each, wish)]
        outcomes.add(bool(routes))
        if not routes:
            with pytest.raises(NoRoute):
                plan_route(offers, wish)
            continue
        planned = plan_route(offers, wish)
        assert planned in routes
        best = min(cost_of(route, wish, offers) for route in routes)
        assert cost_of(planned, wish, offers) == pytest.approx(best, abs=1e-9)

    assert outcomes == {True, False}


@pytest.mark.parametrize("distinct", [False, True])
def test_a_price_ceiling_is_kept_and_used(distinct: bool) -> None:
    """150 random networks: never above the ceiling, no slower than the cheapest route, mostly the best within the ceiling."""
    chance, best, binding, slower = random.Random(12), 0, 0, 0
    for _ in range(150):
        free = RouteWish(chance.randint(2, 7), distinct_owners=distinct)
        offers = random_offers(chance, free.num_blocks)
        routes = [each for each in routes_over(offers, free.num_blocks) if allowed(each, free)]
        prices = sorted({price_of(route, free.num_blocks) for route in routes})
        if len(prices) < 2:
            continue
        ceiling = chance.choice(prices)
        wish = replace(free, max_price=ceiling)
        planned = plan_route(offers, wish)
        assert planned in routes
        seconds = cost_of(planned, wish, offers)
        fastest = min(cost_of(route, wish, offers) for route in routes if allowed(route, wish))
        cheapest = min(
            cost_of(route, wish, offers) for route in routes if price_of(route, wish.num_blocks) == prices[0]
        )
        assert price_of(planned, wish.num_blocks) <= ceiling
        assert fastest - 1e-9 <= seconds
        slower += seconds > cheapest + 1e-9
        binding += 1
        best += seconds <= fastest + 1e-9

    assert binding > 30
    assert best / binding > 0.8
    assert slower == 0
