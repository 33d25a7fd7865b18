"""Which blocks a node should hold: when it joins, and when what others hold has changed.

Every decision is a pure function of (view, node, seed, now). The view holds one Holding per node, as the signed records show it.
Nobody decides for anybody else, so two rules keep nodes from acting on the same news at once: a draw (from the seed and the
time slot) says who may act, and whoever would give up blocks announces it first, waits until everybody must have heard of it, and
goes on only if it is still right beside all announcements that go before its own.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from sharding.errors import PlacementError
from sharding.hashing import sha256
from sharding.placement_coverage import Coverage, Held, Memory, attainable
from sharding.placement_search import Change, Situation, best_change, cheapest_gives
from sharding.placement_values import Holding, ModelNeeds, Move, Offer, Phase, Policy, count, merged, without
from sharding.span import Span

View = Mapping[str, Holding]

ROUNDS = 8
"""Improvements of a plan before anything of it is loaded."""
WORTH = 0.02
"""What such an improvement must gain."""
HEAD_START = 0.25
"""By this a node's place in the draw for an uncovered block is scaled if it has room: it need not give up anything."""
ONE_IN = 64
"""Of so many nodes one may consider a move at a time, and one more."""


@dataclass(frozen=True, slots=True)
class World:
    """What everybody knows: the model, the rules, the seed of all draws."""

    needs: ModelNeeds
    policy: Policy
    seed: bytes

    def draw(self, node: str, now: float) -> float:
        """A node's number from 0 to 1 in the slot of this time; the lowest goes first."""
        slot = int(now // self.policy.slot)
        return int.from_bytes(sha256(b"%b/%d/%b" % (self.seed, slot, node.encode()))[:8]) / 2**64

    def coverage(self, held: Iterable[tuple[Offer, tuple[Span, ...]]]) -> Coverage:
        return Coverage.of((Held(offer.block_rate, spans) for offer, spans in held), self.needs.num_blocks)

    def planned(self, nodes: Iterable[Holding]) -> Coverage:
        """What nodes will hold once all moves are done."""
        return self.coverage((each.offer, each.planned) for each in nodes)

    def relied_on(self, nodes: Iterable[Holding]) -> Coverage:
        """What nodes hold and have not announced to give up."""
        return self.coverage((each.offer, each.relied_on) for each in nodes)

    def situation(self, own: Holding, others: Iterable[Holding]) -> Situation:
        return Situation(self.planned(others), own.offer, own.spans, self.needs, self.policy.max_spans)

    def hurdle(self, nodes: Sequence[Holding]) -> float:
        """What a move must gain: little while the weakest block is far below what these nodes could give it, else more."""
        stay = [each for each in nodes if each.phase is not Phase.LEAVING]
        memories = (
            Memory(each.offer.block_rate, max(self.needs.room(each.offer), count(each.planned))) for each in stay
        )
        poor = self.planned(stay).weakest < self.policy.good * attainable(memories, self.needs.num_blocks)
        return self.policy.nudge if poor else self.policy.threshold


def place(joining: Offer, others: Iterable[Holding], world: World) -> tuple[Span, ...]:
    """The spans for a node that holds nothing: those that raise the weakest blocks most. Raises PlacementError if none fits.

    Announced moves count as done, so that of nodes that join one after the other each takes what the earlier ones left.
    """
    coverage = world.planned(others)
    spans: tuple[Span, ...] = ()
    for _ in range(ROUNDS):
        situation = Situation(coverage, joining, spans, world.needs, world.policy.max_spans)
        change = best_change(situation, (None, *cheapest_gives(situation, spans)))
        if change is None or (spans and not change.score.beats(situation.now, WORTH)):
            break
        spans = _changed(spans, change)
    if not spans:
        raise PlacementError("capacity_bytes", joining.capacity_bytes, _smallest(world.needs))
    return spans


def propose_move(node: str, view: View, world: World, now: float) -> Move | None:
    """The move that this node should announce now, if it is its turn and there is one that is worth it. Nothing is uncovered by it.

    While the announced moves leave a block uncovered, only moves that cover one are proposed, without a threshold and without rest.
    """
    own, view = view[node], current(view, world, now)
    if not _may_move(own):
        return None
    others = [each for each in view.values() if each.offer.node != node]
    situation = world.situation(own, others)
    urgent = situation.now.uncovered > 0
    drawn = _may_answer(own, view, world, now) if urgent else _may_improve(own, view, world, now)
    return _worthwhile(situation, world.relied_on(others), world.hurdle([*others, own])) if drawn else None


def current(view: View, world: World, now: float) -> View:
    """The view without moves that have not ended in time: whoever never finishes loading must not hide a gap for ever."""
    return {name: _unless_late(each, now - world.policy.patience) for name, each in view.items()}


def _unless_late(each: Holding, since: float) -> Holding:
    if each.move is None or each.since > since:
        return each
    return Holding(each.offer, each.relied_on, Phase.SERVING, each.since)


def still_right(node: str, view: View, world: World) -> bool:
    """Whether an announced move may begin: safe and worth it beside all moves that go before it, whatever the later ones wanted."""
    own = view[node]
    if own.move is None:
        return False
    others = before(own, view, world)
    if world.relied_on(others).only_here(own.move.give):
        return False
    still = replace(own, phase=Phase.SERVING, move=None)
    situation = world.situation(still, others)
    stay, go = situation.now, replace(situation, spans=own.planned).now
    if own.move.closes:
        return go.uncovered < stay.uncovered
    return not any(_moves(each) for each in others) and go.beats(stay, world.hurdle([*others, still]))


def before(own: Holding, view: View, world: World) -> list[Holding]:
    """The other nodes, those whose claims come after one's own as if they had announced nothing."""
    mine = _precedence(own, world)
    return [_unless_later(each, mine, world) for each in view.values() if each.offer.node != own.offer.node]


def releases(node: str, view: View, world: World) -> bool:
    """Whether others hold all that a node gives up, or, where it leaves, all that it holds."""
    own = view[node]
    others = [each for each in view.values() if each.offer.node != node]
    given = own.move.give if own.move else own.spans
    return not world.relied_on(others).only_here(given)


def _precedence(own: Holding, world: World) -> tuple[int, bool, float, str]:
    """Whose claim goes first: that which covers most, then one that gives up nothing, then by the draw of its time."""
    if own.move is None:
        return (0, False, 0.0, own.offer.node)
    return (-own.move.closes, bool(own.move.give), world.draw(own.offer.node, own.since), own.offer.node)


def _unless_later(other: Holding, mine: tuple[int, bool, float, str], world: World) -> Holding:
    if other.phase is Phase.CLAIMING and _precedence(other, world) > mine:
        return replace(other, phase=Phase.SERVING, move=None)
    return other


def _moves(other: Holding) -> bool:
    """Whether a node that serves already is about to change what it serves."""
    return other.move is not None and bool(other.spans)


def _may_answer(own: Holding, view: View, world: World, now: float) -> bool:
    """Whether a node is among the first of the draw of those that could cover a block without uncovering another."""
    holders = world.relied_on(view.values())
    able = {
        each.offer.node: world.draw(each.offer.node, now)
        * (HEAD_START if world.needs.room(each.offer, each.spans) else 1)
        for each in view.values()
        if _may_move(each) and (world.needs.room(each.offer, each.spans) or _has_double(each, holders))
    }
    return own.offer.node in sorted(able, key=lambda name: (able[name], name))[: world.policy.bidders]


def _may_move(own: Holding) -> bool:
    """A node that offers no memory holds what its operator chose; were it drawn, a turn would be lost."""
    return own.phase is Phase.SERVING and own.offer.capacity_bytes > 0


def _has_double(own: Holding, everybody: Coverage) -> bool:
    return any(bool((everybody.holders[span.start : span.end] > 1).any()) for span in own.spans)


def _may_improve(own: Holding, view: View, world: World, now: float) -> bool:
    """Whether nobody moves and the node is drawn among those that have rested."""
    policy = world.policy
    if any(_moves(each) for each in view.values()):
        return False
    rested = [each.offer.node for each in view.values() if _may_move(each) and now - each.since >= policy.rest]
    first = sorted(rested, key=lambda name: (world.draw(name, now), name))[: 1 + len(rested) // ONE_IN]
    return own.offer.node in first


def _worthwhile(situation: Situation, relied_on: Coverage, hurdle: float) -> Move | None:
    gives = cheapest_gives(situation, _doubles(situation.spans, relied_on))
    change = best_change(situation, (None, *gives))
    stay = situation.now
    if (
        change is None
        or not change.score.beats(stay, hurdle)
        or (stay.uncovered and change.score.uncovered == stay.uncovered)
    ):
        return None
    closes = stay.uncovered - change.score.uncovered
    return Move((change.give,) if change.give else (), (change.take,) if change.take else (), closes)


def _doubles(spans: Iterable[Span], others: Coverage) -> tuple[Span, ...]:
    """The blocks of the spans that others hold too."""
    return merged(Span(block, block + 1) for span in spans for block in span.blocks if others.holders[block])


def _changed(spans: tuple[Span, ...], change: Change) -> tuple[Span, ...]:
    kept = without(spans, [change.give]) if change.give else spans
    return merged((*kept, change.take)) if change.take else kept


def _smallest(needs: ModelNeeds) -> str:
    return f"at least {needs.block_bytes} for one block with its cache: offer more memory or fewer positions"
