"""A node's way through a move, as values: claim, drain, load, serve. Whoever runs the node does what each phase asks for.

CLAIMING: nothing, the record is being spread. DRAINING: refuse new sessions over move.give, let the others finish or migrate
them. LOADING: let go of move.give (it is no longer in spans), load move.take. Each call returns the next value, the same one
where nothing changes; a changed one is to be announced.
"""

from collections.abc import Iterable
from dataclasses import replace

from sharding.placement import View, World, before, current, place, propose_move, releases, still_right
from sharding.placement_coverage import Coverage
from sharding.placement_values import Holding, Move, Offer, Phase, merged, without
from sharding.span import Span

Silent = frozenset[str]
NOBODY: Silent = frozenset()


def join(offer: Offer, view: View, world: World, now: float) -> Holding:
    """A node that holds nothing claims its spans. Raises PlacementError where not even one block fits."""
    others = [each for each in current(view, world, now).values() if each.offer.node != offer.node]
    spans = place(offer, others, world)
    return Holding(offer, (), Phase.CLAIMING, now, _arrival(spans, world.planned(others)))


def leave(own: Holding, now: float) -> Holding:
    """The node says that it will go, and serves what it holds in memory until `may_go`. What it was loading is forgotten."""
    return Holding(own.offer, own.serving, Phase.LEAVING, now)


def may_go(node: str, view: View, world: World, now: float, silent: Silent = NOBODY) -> bool:
    """Whether everybody has heard of it and others hold all blocks; without that it may go once its patience has ended.

    silent: who has not answered since the node said that it would go; their copies do not count.
    """
    waited = now - view[node].since
    if waited >= world.policy.patience:
        return True
    return waited >= world.policy.settle and releases(node, _answering(view, silent), world)


def step(node: str, view: View, world: World, now: float, *, done: bool, silent: Silent = NOBODY) -> Holding:
    """The node's next value. done: the drain or the load that its phase waits for has ended.

    silent: the nodes that have not answered since the node announced its claim. A node may be dead for seconds before its
    record is dropped, so whoever is about to give up blocks asks the others first and does not rely on those that say nothing.
    """
    own = view[node]
    view = {**current(view, world, now), node: own}
    if own.phase is Phase.SERVING:
        move = propose_move(node, view, world, now)
        return own if move is None else _begin(own, move, now)
    if own.phase is Phase.CLAIMING and now - own.since >= world.policy.settle:
        return _settle(own, _answering(view, silent), world, now)
    if own.phase is Phase.DRAINING:
        return _drain(own, view, world, now, done)
    if own.phase is Phase.LOADING and done:
        return Holding(own.offer, own.planned, Phase.SERVING, now)
    return own


def _answering(view: View, silent: Silent) -> View:
    return {name: each for name, each in view.items() if name not in silent}


def load_failed(own: Holding, now: float) -> Holding:
    """The blocks could not be loaded: serve what is left."""
    return Holding(own.offer, own.serving, Phase.SERVING, now)


def _begin(own: Holding, move: Move, now: float) -> Holding:
    """A move that covers a block and gives up nothing can do no harm: it does not wait."""
    at_once = move.closes > 0 and not move.give
    return replace(own, phase=Phase.LOADING if at_once else Phase.CLAIMING, since=now, move=move)


def _settle(own: Holding, view: View, world: World, now: float) -> Holding:
    """Everybody has heard of the claim, and the node of all that were made before that."""
    if not own.spans:
        others = before(own, view, world)
        return replace(
            own, phase=Phase.LOADING, since=now, move=_arrival(place(own.offer, others, world), world.planned(others))
        )
    if not still_right(own.offer.node, view, world):
        return Holding(own.offer, own.spans, Phase.SERVING, now)
    drains = own.move is not None and bool(own.move.give)
    return replace(own, phase=Phase.DRAINING if drains else Phase.LOADING, since=now)


def _drain(own: Holding, view: View, world: World, now: float, done: bool) -> Holding:
    """A node whose blocks nobody else holds any longer takes them up again: their weights are still there.

    Where nobody else holds what it is about to load, it no longer waits for the sessions: the gap may be younger than the move.
    """
    if own.move is None or not releases(own.offer.node, view, world):
        return Holding(own.offer, own.spans, Phase.SERVING, now)
    if not done and now - own.since < drain_limit(own.offer.node, view, world):
        return own
    left = without(own.spans, own.move.give)
    if not own.move.take:
        return Holding(own.offer, left, Phase.SERVING, now)
    return Holding(own.offer, left, Phase.LOADING, now, own.move)


def drain_limit(node: str, view: View, world: World) -> float:
    """Seconds that the sessions on what a node gives up may take to finish."""
    move = view[node].move
    take = move.take if move is not None else ()
    others = [each for each in view.values() if each.offer.node != node]
    return world.policy.gap_drain if world.planned(others).only_here(take) else world.policy.drain


def _arrival(spans: Iterable[Span], others: Coverage) -> Move:
    taken = merged(spans)
    return Move((), taken, others.gaps_in(taken))
