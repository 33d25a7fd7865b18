"""Shortest paths over (node, block): which stages take a token through all blocks at the least cost. Pure, exact, deterministic.

A vertex (node, boundary) is a hidden state at a boundary between blocks, held by a node; a plain boundary is the state on its way.
Reaching a node costs its link, a span of it its work; adjacent spans of one node have no link between them. A span is entered at
its start and left at its end. Costs are whole numbers, so that sums do not depend on their order.
"""

import heapq
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, cast

import networkx

from verification.addresses import Address
from verification.routes import RouteStage

HOP_BITS = 16
"""Costs are shifted by this much, and the hops counted below: of equal routes the shortest wins."""

Vertex = int | tuple[Address, int]
Cut = frozenset[RouteStage]


@dataclass(frozen=True, slots=True)
class Hop:
    """A stage that may be taken; `link` and `work` are times, `price` units per token."""

    stage: RouteStage
    link: int
    work: int
    price: int


@dataclass(frozen=True, slots=True)
class Found:
    """A route and what it costs."""

    hops: tuple[Hop, ...]
    cost: int

    @property
    def price(self) -> int:
        """Units per token for all stages."""
        return sum(hop.price for hop in self.hops)

    @property
    def stages(self) -> tuple[RouteStage, ...]:
        """As a Route has them."""
        return tuple(hop.stage for hop in self.hops)


Exchange = Callable[[int, int], int]
"""From time and price of one edge to its cost."""


class RouteGraph:
    """The hops between the boundaries 0 and `num_blocks`; hops that reach past the model must have been left out."""

    def __init__(self, hops: Iterable[Hop], num_blocks: int) -> None:
        self._num_blocks = num_blocks
        self._hops: dict[Address, list[Hop]] = {}
        self._graph: networkx.DiGraph[Vertex] = networkx.DiGraph()
        self._graph.add_nodes_from((0, num_blocks))
        for hop in sorted(hops, key=_order):
            self._add(hop)

    def _add(self, hop: Hop) -> None:
        stage = hop.stage
        enter, leave = (stage.node, stage.start), (stage.node, stage.end)
        if self._graph.has_edge(enter, leave):  # one node, one span, two prices: the first is the lowest
            return
        self._graph.add_edge(stage.start, enter, link=hop.link, hop=None)
        self._graph.add_edge(enter, leave, link=0, hop=hop)
        self._graph.add_edge(leave, stage.end, link=0, hop=None)
        self._hops.setdefault(stage.node, []).append(hop)

    def cheapest(self, exchange: Exchange, cut: Cut = frozenset()) -> Found | None:
        """The route of least cost without the stages in `cut`; ties go to fewer hops, then to lower addresses."""

        def weight(_from: Vertex, _to: Vertex, edge: dict[str, Any]) -> int | None:
            hop: Hop | None = edge["hop"]
            if hop is None:
                return exchange(edge["link"], 0) << HOP_BITS
            return None if hop.stage in cut else (exchange(hop.work, hop.price) << HOP_BITS) + 1

        try:
            result = networkx.single_source_dijkstra(self._graph, 0, self._num_blocks, weight=weight)
        except networkx.NetworkXNoPath:
            return None
        cost, path = cast("tuple[int, list[Vertex]]", result)
        edges = (self._graph.edges[edge]["hop"] for edge in pairwise(path))
        return Found(tuple(hop for hop in edges if hop is not None), cost)

    def cheapest_distinct(self, exchange: Exchange, searches: int) -> Found | None:
        """The cheapest route without two stages of one owner, by branch and bound over about `searches` searches.

        Past them the best that they and a plain descent have found, which may be dearer; None where there is none.
        """
        first = self.cheapest(exchange)
        queue = [(first.cost, 0, Cut(), first)] if first is not None else []
        while queue and searches > 0:
            _, _, cut, found = heapq.heappop(queue)
            owner = _repeated(found)
            if owner is None:
                return found
            for further in self._divided(found, owner):
                searches -= 1
                if (better := self.cheapest(exchange, cut | further)) is not None:
                    heapq.heappush(queue, (better.cost, searches, cut | further, better))
        settled = [found for *_, found in queue if _repeated(found) is None]
        if queue and (descended := self._descend(exchange, first)) is not None:
            settled.append(descended)
        return min(settled, key=lambda found: found.cost, default=None)

    def _divided(self, found: Found, owner: Address) -> list[Cut]:
        """Cuts after which no route has all of the owner's stages, and no route that has at most one of them is lost."""
        used = [stage for stage in found.stages if stage.node == owner]
        others = frozenset(hop.stage for hop in self._hops[owner])
        return [others - {stage} for stage in used] + [frozenset(used)]

    def _descend(self, exchange: Exchange, found: Found | None) -> Found | None:
        """Settle one owner after the other on its longest stage of the moment, if it can be on blocks that no other got."""
        cut: Cut = frozenset()
        settled: list[RouteStage] = []
        while found is not None and (owner := _repeated(found)) is not None:
            used = [stage for stage in found.stages if stage.node == owner]
            kept = max(used, key=lambda stage: (not _overlaps(stage, settled), stage.end - stage.start))
            settled.append(kept)
            cut |= frozenset(hop.stage for hop in self._hops[owner]) - {kept}
            found = self.cheapest(exchange, cut)
        return found


def _overlaps(stage: RouteStage, others: list[RouteStage]) -> bool:
    return any(stage.start < other.end and other.start < stage.end for other in others)


def _repeated(found: Found) -> Address | None:
    """The owner with the most stages, if it has more than one."""
    owner, stages = Counter(stage.node for stage in found.stages).most_common(1)[0]
    return owner if stages > 1 else None


def _order(hop: Hop) -> tuple[str, int, int, int, int]:
    stage = hop.stage
    return stage.node.lower(), stage.start, stage.end, hop.price, hop.work
