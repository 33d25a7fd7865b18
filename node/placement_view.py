"""What one node believes of where the others stand: their signed records, less those that answer nobody.

A record is a staked node's claim. Its blocks, speed and memory are believed while the node answers: that it computes what it
says is for routers to measure and for audits to prove. What no claim can do is bounded here and in sharding/placement*.py:
a phase begins no later than its record, a move counts for `patience` at the most however often it is announced anew, a node
that does not answer counts for nothing, and nobody's claim makes another node give up a block that only silent ones hold too.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from sharding.placement import View, World
from sharding.placement_values import Holding, Phase
from sharding.span import Span
from verification.addresses import Address
from verification.node_records import ServiceRecord


@dataclass(slots=True)
class _Restless:
    """A node that was seen to move: since when, and since when it has served again (None: it moves)."""

    since: float
    calm: float | None = None


@dataclass(slots=True)
class Sight:
    """One node's view of the others; times in seconds by its clock."""

    own: Address
    _sequences: dict[Address, int] = field(default_factory=dict)
    """Of the last view, so that somebody who is lost can be told from somebody who has spoken since."""
    _lost: dict[Address, int] = field(default_factory=dict)
    """Who did not answer, with the sequence of the record that was known then."""
    _restless: dict[Address, _Restless] = field(default_factory=dict)

    def view(self, records: Iterable[ServiceRecord], world: World, now: float) -> dict[str, Holding]:
        """What the others hold and plan; records of one model and profile, this node's own does not count."""
        others = {each.node: each for each in records if each.node != self.own}
        self._sequences = {node: each.sequence for node, each in others.items()}
        self._lost = {node: sequence for node, sequence in self._lost.items() if self._sequences.get(node) == sequence}
        self._restless = {node: each for node, each in self._restless.items() if node in others}
        seen: dict[str, Holding] = {}
        for node, record in others.items():
            holding = record.holding
            if holding is not None and node not in self._lost and _fits(holding, world.needs.num_blocks):
                seen[node] = self._unless_late(holding, world, now)
        return seen

    def lost(self, nodes: Collection[Address]) -> None:
        """They did not answer: they count for nothing until they do, or until a newer record of theirs comes."""
        self._lost |= {node: self._sequences[node] for node in nodes if node in self._sequences}

    def found(self, nodes: Collection[Address]) -> None:
        """They answered."""
        for node in nodes:
            self._lost.pop(node, None)

    @property
    def missed(self) -> frozenset[Address]:
        """Who is lost at present."""
        return frozenset(self._lost)

    def _unless_late(self, holding: Holding, world: World, now: float) -> Holding:
        """Who announces one move after the other without ever resting is taken for what it holds."""
        node, policy = Address(holding.offer.node), world.policy
        known = self._restless.get(node)
        if holding.move is None:
            if known is not None:
                known.calm = now if known.calm is None else known.calm
                if now - known.calm >= policy.rest:
                    del self._restless[node]
            return holding
        known = self._restless.setdefault(node, _Restless(now))
        known.calm = None
        if now - known.since < policy.patience:
            return holding
        return Holding(holding.offer, holding.relied_on, Phase.SERVING, holding.since)


def _fits(holding: Holding, num_blocks: int) -> bool:
    move = holding.move
    every = (*holding.spans, *(move.give if move else ()), *(move.take if move else ()))
    return all(span.end <= num_blocks for span in every)


def sole_holders(view: View, world: World) -> list[str]:
    """Who holds a block that nobody else does."""
    everybody = world.relied_on(view.values())
    return [
        name
        for name, each in view.items()
        if any(bool((everybody.holders[span.start : span.end] == 1).any()) for span in each.relied_on)
    ]


def witnesses(given: Collection[Span], others: Iterable[Holding], most: int) -> list[str]:
    """Whom to ask before these blocks are given up: for each block in turn those that others may rely on for it."""
    holders = sorted(others, key=lambda each: (-_overlap(given, each), each.offer.node))
    chosen: dict[str, None] = {}
    blocks = [block for span in given for block in span.blocks]
    for turn in range(most):
        for block in blocks:
            having = [each.offer.node for each in holders if any(block in span.blocks for span in each.relied_on)]
            if turn < len(having) and len(chosen) < most:
                chosen[having[turn]] = None
    return list(chosen)


def _overlap(given: Collection[Span], other: Holding) -> int:
    return sum(
        max(0, min(span.end, held.end) - max(span.start, held.start)) for span in given for held in other.relied_on
    )
