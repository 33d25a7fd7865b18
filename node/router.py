"""Routes: the stages that serve a session best, by time, price and what is known of the nodes. Pure.

Cost in seconds = link + computing + waiting + price x seconds_per_unit / reliability, summed over the stages.
"""

import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import partial

from incentives.prices import paid_blocks
from node.client_errors import PriceTooHigh
from node.errors import NoRoute
from node.offers import Offer
from node.route_search import Exchange, Found, Hop, RouteGraph
from node.routing_errors import NoDistinctRoute, WishInvalid
from sharding.span import MAX_BLOCKS
from verification.addresses import Address
from verification.routes import RouteStage

TICKS_PER_SECOND = 10**12
"""Picoseconds: what a price of one unit is worth can be very little."""
FULL_SECONDS = 1e7
"""What a node without free pages costs besides, where one has to be taken: so that as few as possible are."""
MAX_OFFER_SECONDS = 3600.0
"""Longer times count as this long."""
DISTINCT_SEARCHES = 64
WEIGHED_SEARCHES = 8
"""Shortest paths that one search for distinct owners may take, the second for each weight of the price."""
_LEAST_POWER, _MOST_POWER = -64, 96


@dataclass(frozen=True, slots=True)
class RouteWish:
    """What a session needs. Raises WishInvalid when nobody can need it."""

    num_blocks: int
    seconds_per_unit: float = 0.0
    """Seconds per token that a price of one unit per token is worth: 1e-14 gives a second for 10^14 units."""
    max_price: int | None = None
    """Units per token for the whole route."""
    distinct_owners: bool = False
    excluded: Collection[Address] = frozenset()

    def __post_init__(self) -> None:
        if not 1 <= self.num_blocks <= MAX_BLOCKS:
            raise WishInvalid("the number of blocks", self.num_blocks, f"1 to {MAX_BLOCKS}")
        if not (math.isfinite(self.seconds_per_unit) and 0 <= self.seconds_per_unit <= 1):
            raise WishInvalid("seconds_per_unit", self.seconds_per_unit, "0 to 1")
        if self.max_price is not None and self.max_price < 0:
            raise WishInvalid("max_price", self.max_price, "0 or more")


def plan_route(offers: Iterable[Offer], wish: RouteWish) -> tuple[RouteStage, ...]:
    """Choose stages for all blocks at the least cost within the wish, the same ones whatever the offers' order.

    Where the price ceiling binds, the route is the best that a Lagrange multiplier on the price finds: never above the ceiling, and
    found whenever the cheapest route is within it, though another one within it may be faster.
    Raises: NoRoute with the blocks that nobody serves, NoDistinctRoute, PriceTooHigh.
    """
    usable = [each for each in offers if _usable(each.stage, wish.num_blocks, wish.excluded)]
    free = [each for each in usable if not each.full]
    try:
        return _plan(free, wish)
    except (NoRoute, PriceTooHigh):
        if len(free) == len(usable):
            raise
        return _plan(usable, wish)


def _plan(offers: list[Offer], wish: RouteWish) -> tuple[RouteStage, ...]:
    graph = RouteGraph([_hop(each, wish) for each in offers], wish.num_blocks)
    stages = [each.stage for each in offers]
    found = _required(graph, _time, wish, DISTINCT_SEARCHES, stages)
    if wish.max_price is not None and found.price > wish.max_price:
        found = _within(graph, wish, wish.max_price, stages)
    return found.stages


def _usable(stage: RouteStage, num_blocks: int, excluded: Collection[Address]) -> bool:
    return stage.ask > 0 and stage.end <= num_blocks and stage.node not in excluded  # vouchers must rise


def _hop(offer: Offer, wish: RouteWish) -> Hop:
    price = _price(offer.stage, wish.num_blocks)
    seconds = min(offer.computing + offer.waiting, MAX_OFFER_SECONDS) + (FULL_SECONDS if offer.full else 0.0)
    seconds += price * wish.seconds_per_unit / offer.reliability
    return Hop(offer.stage, _ticks(min(offer.link, MAX_OFFER_SECONDS)), _ticks(seconds), price)


def _price(stage: RouteStage, num_blocks: int) -> int:
    return paid_blocks(stage.span, num_blocks) * stage.ask


def _ticks(seconds: float) -> int:
    return round(seconds * TICKS_PER_SECOND)


def _time(ticks: int, _price: int) -> int:
    return ticks


def _price_only(_ticks: int, price: int) -> int:
    return price


def _weighed(ticks: int, price: int, *, multiplier: float) -> int:
    return ticks + round(price * multiplier)


def _required(graph: RouteGraph, exchange: Exchange, wish: RouteWish, searches: int, stages: list[RouteStage]) -> Found:
    found = _search(graph, exchange, wish, searches)
    if found is not None:
        return found
    if wish.distinct_owners and graph.cheapest(exchange) is not None:
        raise NoDistinctRoute(wish.num_blocks)
    raise NoRoute(_uncovered(stages, wish.num_blocks), wish.num_blocks)


def _search(graph: RouteGraph, exchange: Exchange, wish: RouteWish, searches: int) -> Found | None:
    return graph.cheapest_distinct(exchange, searches) if wish.distinct_owners else graph.cheapest(exchange)


def _within(graph: RouteGraph, wish: RouteWish, max_price: int, stages: list[RouteStage]) -> Found:
    """The fastest route within the ceiling that some weight of the price makes the best one. Raises: PriceTooHigh."""
    best = _required(graph, _price_only, wish, DISTINCT_SEARCHES, stages)
    if best.price > max_price:
        raise PriceTooHigh(best.price, max_price)
    low, high = float(_LEAST_POWER), float(_MOST_POWER)
    for _ in range(14):  # 160 powers of two halved to a hundredth of one
        middle = (low + high) / 2
        found = _search(graph, partial(_weighed, multiplier=2.0**middle), wish, WEIGHED_SEARCHES)
        if found is None or found.price > max_price:
            low = middle
        else:
            best, high = found, middle
    return best


def _uncovered(stages: Iterable[RouteStage], num_blocks: int) -> list[int]:
    covered = {block for stage in stages for block in range(stage.start, stage.end)}
    return sorted(set(range(num_blocks)) - covered)
