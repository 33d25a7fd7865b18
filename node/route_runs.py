"""What a node does in one go: the spans of a node that touch or overlap, made one. Pure.

A route names a node once for blocks in a row, so there is one price for all blocks of such a run: the dearest of the asks
that it takes to have them. A node that lists a part of its blocks at a lower price is not asked at that price.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from verification.addresses import Address
from verification.routes import RouteStage


@dataclass(frozen=True, slots=True)
class Served:
    """Blocks of which any part may be taken. In ticks: `enter` once, `work` for each block, `worth` for each paid block."""

    stage: RouteStage
    enter: int
    work: int
    worth: int


@dataclass(frozen=True, slots=True)
class Run:
    """Blocks in a row of one node; `work` has one number for each of them."""

    node: Address
    start: int
    ask: int
    enter: int
    worth: int
    work: tuple[int, ...]

    @property
    def end(self) -> int:
        """The boundary behind the last block."""
        return self.start + len(self.work)


def runs_of(served: Iterable[Served]) -> list[Run]:
    """The runs by the nodes' addresses and their starts, the same ones whatever the order of the spans."""
    by_node: dict[Address, list[Served]] = {}
    for each in served:
        by_node.setdefault(each.stage.node, []).append(each)
    return [run for node in sorted(by_node, key=str.lower) for run in _runs_of_one(by_node[node])]


def _runs_of_one(served: Sequence[Served]) -> list[Run]:
    """Each block is done as the span with the lowest price does it, and of those the fastest."""
    blocks: dict[int, Served] = {}
    for each in sorted(served, key=_order):
        for block in range(each.stage.start, each.stage.end):
            blocks.setdefault(block, each)
    rows: list[list[int]] = []
    for block in sorted(blocks):
        if not rows or rows[-1][-1] + 1 != block:
            rows.append([])
        rows[-1].append(block)
    return [_run(row[0], [blocks[block] for block in row]) for row in rows]


def _run(start: int, parts: list[Served]) -> Run:
    return Run(
        node=parts[0].stage.node,
        start=start,
        ask=max(part.stage.ask for part in parts),
        enter=min(part.enter for part in parts),
        worth=max(part.worth for part in parts),
        work=tuple(part.work for part in parts),
    )


def _order(served: Served) -> tuple[int, int, int, int, int, int]:
    stage = served.stage
    return stage.ask, served.work, served.enter, served.worth, stage.start, stage.end
