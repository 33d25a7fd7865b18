"""Routes: the stages that serve a session best, by time, price and what is known of the nodes. Pure.

Cost in seconds = link + computing + waiting + price x seconds_per_unit / reliability, summed over the stages. A stage is any part
of what a node offers: it takes its blocks' share of the computing and pays for them, link and waiting count once. What a block
takes and what it is paid are rounded to whole ticks, so a whole offer costs within a tick a block of what the formula says.
"""

import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from incentives.prices import with_pool, without_pool
from node.client_errors import PriceTooHigh
from node.distinct_routes import cheapest_distinct
from node.errors import NoRoute
from node.offers import Offer, with_kept
from node.route_runs import Served
from node.route_search import Exchange, Found, RouteGraph
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
KEPT_FACTOR = 2
"""A route with the stages that are to be kept may take this many times as long per token as the best one without them."""
MAX_WEIGHTS = 14
"""Of the price, that are tried for a route within a ceiling."""
_PRICE_FIRST_BITS = 256
"""More than the time of any route has."""


@dataclass(frozen=True, slots=True)
class RouteWish:
    """What a session needs. Raises WishInvalid when nobody can need it."""

    num_blocks: int
    seconds_per_unit: float = 0.0
    """Seconds per token that a price of one unit per token is worth: 1e-14 gives a second for 10^14 units."""
    max_price: int | None = None
    """Units per token for the whole route, the audit pool's share included."""
    distinct_owners: bool = False
    excluded: Collection[Address] = frozenset()
    kept: Collection[RouteStage] = ()
    """Stages that hold a session's caches, which are of use for exactly their blocks: only the blocks between are planned, unless
    that is much dearer. Those that are excluded or not on offer any more are no reason to keep anything."""

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
        return _plan_kept(free, usable, wish).stages
    except (NoRoute, PriceTooHigh):
        if len(free) == len(usable):
            raise
        return _plan_kept(usable, usable, wish).stages


def _plan_kept(offers: list[Offer], usable: list[Offer], wish: RouteWish) -> Found:
    """Around the stages that are to be kept if that is possible; where their nodes are full, they have their pages already."""
    around = with_kept(offers, usable, wish.kept)
    if around is None:
        return _plan(offers, wish)
    try:
        kept = _plan(around, wish)
    except (NoRoute, PriceTooHigh):
        return _plan(offers, wish)
    try:
        anew = _plan(offers, wish)
    except (NoRoute, PriceTooHigh):
        return kept
    return kept if kept.ticks <= KEPT_FACTOR * anew.ticks else anew


def _plan(offers: list[Offer], wish: RouteWish) -> Found:
    graph = RouteGraph([_served(each, wish) for each in offers], wish.num_blocks)
    stages = [each.stage for each in offers]
    found = _required(graph, _time, wish, DISTINCT_SEARCHES, stages)
    if wish.max_price is None or found.price <= without_pool(wish.max_price):
        return found
    try:
        return _within(graph, wish, without_pool(wish.max_price), found, stages)
    except PriceTooHigh as error:
        raise PriceTooHigh(with_pool(error.price), wish.max_price) from error


def _usable(stage: RouteStage, num_blocks: int, excluded: Collection[Address]) -> bool:
    return stage.ask > 0 and stage.end <= num_blocks and stage.node not in excluded  # vouchers must rise


def _served(offer: Offer, wish: RouteWish) -> Served:
    computing = min(offer.computing, MAX_OFFER_SECONDS)
    waiting = min(offer.waiting, MAX_OFFER_SECONDS - computing) + (FULL_SECONDS if offer.full else 0.0)
    return Served(
        stage=offer.stage,
        enter=_ticks(min(offer.link, MAX_OFFER_SECONDS)) + _ticks(waiting),
        work=_ticks(computing / len(offer.stage.span)),
        worth=_ticks(offer.stage.ask * wish.seconds_per_unit / offer.reliability),
    )


def _ticks(seconds: float) -> int:
    return round(seconds * TICKS_PER_SECOND)


def _time(ticks: int, _price: int) -> int:
    return ticks


def _price_first(ticks: int, price: int) -> int:
    return (price << _PRICE_FIRST_BITS) + ticks


@dataclass(frozen=True, slots=True)
class _Weights:
    """What a tick and a unit count. Whole numbers: two routes that count the same do so exactly."""

    tick: int
    unit: int

    def __call__(self, ticks: int, price: int) -> int:
        return self.tick * ticks + self.unit * price


def _required(graph: RouteGraph, exchange: Exchange, wish: RouteWish, searches: int, stages: list[RouteStage]) -> Found:
    found = _search(graph, exchange, wish, searches)
    if found is not None:
        return found
    if uncovered := _uncovered(stages, wish.num_blocks):
        raise NoRoute(uncovered, wish.num_blocks)
    raise NoDistinctRoute(wish.num_blocks)  # any part of a span will do, so all blocks covered are a route


def _search(graph: RouteGraph, exchange: Exchange, wish: RouteWish, searches: int) -> Found | None:
    return cheapest_distinct(graph, exchange, searches) if wish.distinct_owners else graph.cheapest(exchange)


def _within(graph: RouteGraph, wish: RouteWish, max_price: int, fast: Found, stages: list[RouteStage]) -> Found:
    """The fastest route within the ceiling that some weight of the price makes the best one. Raises: PriceTooHigh.

    Of the fast one above the ceiling and the best one within it, the weight by which both count the same is tried: what counts
    less lies between them and takes the place of one; where nothing does, no other weight has anything to offer.
    """
    best = _required(graph, _price_first, wish, DISTINCT_SEARCHES, stages)
    if best.price > max_price:
        raise PriceTooHigh(best.price, max_price)
    for _ in range(MAX_WEIGHTS):
        weights = _Weights(fast.price - best.price, best.ticks - fast.ticks)
        if weights.unit <= 0:  # can only be where a search for distinct owners had to stop early
            return best
        found = _search(graph, weights, wish, WEIGHED_SEARCHES)
        if found is None or weights(found.ticks, found.price) >= weights(best.ticks, best.price):
            return best
        fast, best = (found, best) if found.price > max_price else (fast, found)
    return best


def _uncovered(stages: Iterable[RouteStage], num_blocks: int) -> list[int]:
    covered = {block for stage in stages for block in range(stage.start, stage.end)}
    return sorted(set(range(num_blocks)) - covered)
