"""Shortest paths over (node, block): which stages take a token through all blocks at the least cost. Pure, exact, deterministic.

A vertex (node, boundary) is a hidden state at a boundary between blocks, held by a node; a plain boundary is the state on its way.
Reaching a node costs its link and its queue, each block its work, leaving is free: so any part of what a node serves may be a
stage, and a node goes on to its next block without a link. Costs are whole numbers, so that sums do not depend on their order.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import groupby, pairwise
from typing import cast

import networkx

from incentives.prices import paid_blocks
from node.route_runs import Run, Served, runs_of
from sharding.span import Span
from verification.addresses import Address
from verification.routes import RouteStage

HOP_BITS = 16
"""Costs are shifted by this much, and the stages counted below: of equal routes the shortest wins."""

Vertex = int | tuple[Address, int]
Edge = tuple[Vertex, Vertex, dict[str, int]]
Exchange = Callable[[int, int], int]
"""From time and price of one edge to its cost."""


@dataclass(frozen=True, slots=True)
class Toll:
    """What an edge takes: `ticks` of time, `price` units per token, and the stages that begin on it."""

    ticks: int = 0
    price: int = 0
    stages: int = 0


@dataclass(frozen=True, slots=True)
class Found:
    """A route and what it costs by the exchange it was searched with; `ticks` and `price` as they are without one."""

    stages: tuple[RouteStage, ...]
    cost: int
    ticks: int
    price: int


@dataclass(frozen=True, slots=True)
class Limits:
    """Who may not compute what: an owner in `own` nothing outside its span there, a block in `due` nobody but its owner."""

    own: Mapping[Address, Span] = field(default_factory=dict)
    due: Mapping[int, Address] = field(default_factory=dict)

    def allow(self, owner: Address, block: int) -> bool:
        """Whether this owner may compute this block."""
        span = self.own.get(owner)
        return (span is None or span.start <= block < span.end) and self.due.get(block, owner) == owner

    def within(self, owner: Address, span: Span) -> "Limits | None":
        """With the owner on these blocks only; None where it could not do what is due from it, or nothing at all."""
        old = self.own.get(owner, span)
        start, end = max(old.start, span.start), min(old.end, span.end)
        if start >= end or any(who == owner and not start <= block < end for block, who in self.due.items()):
            return None
        return replace(self, own={**self.own, owner: Span(start, end)})

    def with_due(self, block: int, owner: Address) -> "Limits | None":
        """With the owner as the only one for a block; None where it may not compute it."""
        return replace(self, due={**self.due, block: owner}) if self.allow(owner, block) else None


NO_LIMITS = Limits()


class RouteGraph:
    """What is served between the boundaries 0 and `num_blocks`; spans that reach past the model must have been left out."""

    def __init__(self, served: Iterable[Served], num_blocks: int) -> None:
        self.num_blocks = num_blocks
        self.runs: dict[Address, list[Run]] = {}
        self._paid = [paid_blocks(Span(block, block + 1), num_blocks) for block in range(num_blocks)]
        self._tolls: dict[Toll, int] = {}
        self._graph: networkx.DiGraph[Vertex] = networkx.DiGraph()
        self._graph.add_nodes_from((0, num_blocks))
        for run in runs_of(served):
            self.runs.setdefault(run.node, []).append(run)
            self._graph.add_edges_from(self._edges(run))

    def _edges(self, run: Run) -> Iterator[Edge]:
        enter, free = {"toll": self._toll(Toll(run.enter, 0, 1))}, {"toll": self._toll(Toll())}
        paces = {
            (work, paid): {"toll": self._toll(Toll(work + paid * run.worth, paid * run.ask))}
            for work, paid in set(zip(run.work, self._paid[run.start : run.end], strict=True))
        }
        here = (run.node, run.start)
        for block, work in enumerate(run.work, run.start):
            there = (run.node, block + 1)
            yield block, here, enter
            yield here, there, paces[work, self._paid[block]]
            yield there, block + 1, free
            here = there

    def _toll(self, toll: Toll) -> int:
        return self._tolls.setdefault(toll, len(self._tolls))

    def cheapest(self, exchange: Exchange) -> Found | None:
        """The route of least cost; ties go to fewer stages, then to lower addresses."""
        return self.by(exchange).cheapest()

    def by(self, exchange: Exchange) -> "Search":
        """Searches with one exchange, which share what they know of the graph."""
        tolls = tuple(self._tolls)
        costs = [(exchange(toll.ticks, toll.price) << HOP_BITS) + toll.stages for toll in tolls]
        return Search(self, self._graph, tolls, costs)


class Search:
    """Searches by one exchange. The distances to the end without limits bound those with limits from below, so A* is exact."""

    def __init__(
        self, graph: RouteGraph, edges: "networkx.DiGraph[Vertex]", tolls: tuple[Toll, ...], costs: list[int]
    ) -> None:
        self.graph = graph
        self._edges = edges
        self._tolls = tolls
        self._costs = costs

        def weight(_here: Vertex, _there: Vertex, edge: dict[str, int]) -> int:
            return costs[edge["toll"]]

        backwards = edges.reverse(copy=False)
        found = networkx.single_source_dijkstra_path_length(backwards, graph.num_blocks, weight=weight)
        self._left = cast("dict[Vertex, int]", found)

    def cheapest(self, limits: Limits = NO_LIMITS) -> Found | None:
        """The route of least cost within the limits."""
        costs, left = self._costs, self._left

        def weight(here: Vertex, there: Vertex, edge: dict[str, int]) -> int | None:
            if there not in left:
                return None
            if isinstance(there, tuple) and not limits.allow(*(here if isinstance(here, tuple) else there)):
                return None
            return costs[edge["toll"]]

        if 0 not in left:
            return None
        try:
            path = networkx.astar_path(
                self._edges, 0, self.graph.num_blocks, heuristic=lambda vertex, _end: left[vertex], weight=weight
            )
        except networkx.NetworkXNoPath:
            return None
        return self._found(path)

    def _found(self, path: list[Vertex]) -> Found:
        taken = [self._edges.edges[edge]["toll"] for edge in pairwise(path)]
        tolls = [self._tolls[each] for each in taken]
        return Found(
            stages=tuple(self._stages(path)),
            cost=sum(self._costs[each] for each in taken),
            ticks=sum(toll.ticks for toll in tolls),
            price=sum(toll.price for toll in tolls),
        )

    def _stages(self, path: list[Vertex]) -> Iterator[RouteStage]:
        for is_held, group in groupby(path, key=lambda vertex: isinstance(vertex, tuple)):
            if is_held:
                held = cast("list[tuple[Address, int]]", list(group))
                (node, start), (_, end) = held[0], held[-1]
                yield RouteStage(node, start, end, self._run_of(node, start).ask)

    def _run_of(self, node: Address, block: int) -> Run:
        return next(run for run in self.graph.runs[node] if run.start <= block < run.end)
