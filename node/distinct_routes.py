"""The cheapest route on which no owner has two stages, by branch and bound. Pure, deterministic.

Where an owner has two stages with others' blocks between them, take one of those blocks. On a route with at most one stage of the
owner, either that stage has the block, or it ends before it, or it begins behind it: three searches in which the
route just found is impossible, and which lose none that is allowed.
"""

import heapq
from collections import Counter
from itertools import pairwise

from node.route_search import NO_LIMITS, Exchange, Found, Limits, RouteGraph, Search
from sharding.span import Span
from verification.addresses import Address
from verification.routes import RouteStage


def cheapest_distinct(graph: RouteGraph, exchange: Exchange, searches: int) -> Found | None:
    """The cheapest route without two stages of one owner, by branch and bound over about `searches` searches.

    Past them the best that they and a plain descent have found, which may be dearer; None where there is none.
    """
    search = graph.by(exchange)
    first = search.cheapest()
    queue = [(first.cost, 0, NO_LIMITS, first)] if first is not None else []
    while queue and searches > 0:
        _, _, limits, found = heapq.heappop(queue)
        owner = _repeated(found)
        if owner is None:
            return found
        for further in _divided(graph, limits, found, owner):
            searches -= 1
            if (better := search.cheapest(further)) is not None:
                heapq.heappush(queue, (better.cost, searches, further, better))
    settled = [found for *_, found in queue if _repeated(found) is None]
    if queue and (descended := _descend(search, first)) is not None:
        settled.append(descended)
    return min(settled, key=lambda found: found.cost, default=None)


def _divided(graph: RouteGraph, limits: Limits, found: Found, owner: Address) -> list[Limits]:
    """Limits that no route with all of the owner's stages keeps, and each route with at most one of them keeps some of."""
    before, after = next(pairwise(stage for stage in found.stages if stage.node == owner))
    block = (before.end + after.start) // 2
    children = [limits.within(owner, Span(0, block)), limits.within(owner, Span(block + 1, graph.num_blocks))]
    for run in graph.runs[owner]:
        if run.start <= block < run.end and (due := limits.with_due(block, owner)) is not None:
            children.append(due.within(owner, Span(run.start, run.end)))
    return [each for each in children if each is not None]


def _descend(search: Search, found: Found | None) -> Found | None:
    """Settle one owner after the other on its longest stage of the moment, if it can be on blocks that no other got."""
    limits: Limits | None = NO_LIMITS
    settled: list[RouteStage] = []
    while found is not None and limits is not None and (owner := _repeated(found)) is not None:
        used = [stage for stage in found.stages if stage.node == owner]
        kept = max(used, key=lambda stage: (not _overlaps(stage, settled), stage.end - stage.start))
        settled.append(kept)
        limits = limits.within(owner, kept.span)
        found = search.cheapest(limits) if limits is not None else None
    return found


def _overlaps(stage: RouteStage, others: list[RouteStage]) -> bool:
    return any(stage.start < other.end and other.start < stage.end for other in others)


def _repeated(found: Found) -> Address | None:
    """The owner with the most stages, if it has more than one."""
    owner, stages = Counter(stage.node for stage in found.stages).most_common(1)[0]
    return owner if stages > 1 else None
