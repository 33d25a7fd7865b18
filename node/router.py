"""The cheapest chain of staked nodes that covers every block once. Pure."""

from collections.abc import Collection, Iterable
from itertools import pairwise

import networkx

from incentives.prices import paid_blocks
from node.directory import NodeRecord
from node.errors import NoRoute
from verification.addresses import Address
from verification.routes import RouteStage


def plan_stages(
    records: Iterable[NodeRecord],
    manifest: bytes,
    num_blocks: int,
    minimum_stake: int,
    excluded: Collection[Address] = (),
) -> tuple[RouteStage, ...]:
    """Choose stages for blocks [0, num_blocks) with the lowest price, then the fewest hops.

    Raises: NoRoute with the blocks that nobody serves.
    """
    usable = [
        record
        for record in records
        if record.manifest == manifest
        and record.ask > 0  # vouchers must rise
        and record.bonded >= minimum_stake
        and record.node not in excluded
        and record.span.end <= num_blocks
    ]
    graph = _spans_graph(usable, num_blocks)
    try:
        boundaries = networkx.shortest_path(graph, 0, num_blocks, weight="cost")
    except networkx.NetworkXNoPath as error:
        raise NoRoute(_uncovered(usable, num_blocks), num_blocks) from error
    return tuple(_stage(graph.edges[edge]["record"]) for edge in pairwise(boundaries))


def _spans_graph(records: Iterable[NodeRecord], num_blocks: int) -> "networkx.DiGraph[int]":
    """Blocks' boundaries as nodes, the cheapest server of each span as edge; ties go to the lower address."""
    graph: networkx.DiGraph[int] = networkx.DiGraph()
    graph.add_nodes_from((0, num_blocks))
    for record in sorted(records, key=lambda each: (each.ask, each.node)):
        span = record.span
        if not graph.has_edge(span.start, span.end):
            price = paid_blocks(span, num_blocks) * record.ask
            graph.add_edge(span.start, span.end, record=record, cost=(price << 16) + 1)
    return graph


def _stage(record: NodeRecord) -> RouteStage:
    return RouteStage(record.node, record.span.start, record.span.end, record.ask)


def _uncovered(records: Iterable[NodeRecord], num_blocks: int) -> list[int]:
    covered = {block for record in records for block in range(record.span.start, record.span.end)}
    return sorted(set(range(num_blocks)) - covered)
