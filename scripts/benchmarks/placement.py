"""`placement`: seeded histories of nodes that join, leave and crash, in virtual time, and how long one decision takes.

Half of the histories are small (8 blocks, up to 8 nodes), so that the best possible placement is known (placement_optimum.py);
the other half have 32 blocks and up to 28 nodes and are compared with an upper bound only (sharding.placement_coverage.attainable).
Nodes differ in speed (lognormal, sigma 0.7) and memory (1 to 6 blocks); together they keep at least twice the memory that the model
needs, so that a placement exists. A history is a sequence of bursts: one to four nodes join, leave or crash some seconds apart,
then two minutes of quiet. Half of the departures are crashes.

`uncovered` counts blocks that were served and then were not although the remaining nodes had the memory, crashes of a last holder
apart; how long those lasted, from the crash until the block is served again, is `gap_closed_s` (the longest one). `unforeseen` are
blocks that a node let go in the half second in which nobody could know that the other holder had crashed; their gaps count too.
`min_throughput_ratio` is the lowest over all small histories and quiet periods of the weakest block's tokens per second over the
optimum's, `mean_throughput_ratio` the mean. Moves are counted per network and hour of these histories, of which
`changes_per_hour` says how often somebody came or went; `gap_moves_per_hour` of them covered a block. `decision_ms` is the
median of a full decision (every change of the node weighed) at 1,000 nodes and 80 blocks, `decision_ms_max` the slowest.
"""

import argparse
import random
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from benchmarks.placement_optimum import Machine, optimum
from benchmarks.placement_world import Network, Tally
from sharding.placement import World, place, propose_move
from sharding.placement_coverage import Memory, attainable
from sharding.placement_values import Holding, ModelNeeds, Offer, Phase, Policy

QUIET, BURSTS, SPARE = 120.0, 8, 2
BLOCK_BYTES = 1 << 29


@dataclass(frozen=True, slots=True)
class Size:
    """How large a history's model and network are."""

    blocks: int
    least: int
    most: int


SMALL, LARGE = Size(8, 5, 8), Size(32, 16, 28)


@dataclass(slots=True)
class History:
    """What one history showed."""

    tally: Tally
    hours: float
    changes: int = 0
    ratios: list[float] = field(default_factory=list)
    pieces: list[float] = field(default_factory=list)


def run(arguments: Sequence[str], say: Callable[[str], None]) -> dict[str, object]:
    """Play the histories and time decisions."""
    parser = argparse.ArgumentParser(prog="placement")
    parser.add_argument("--histories", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--nodes", type=int, default=1000)
    parser.add_argument("--blocks", type=int, default=80)
    parser.add_argument("--nudge", type=float, default=Policy().nudge)
    options = parser.parse_args(arguments)
    policy = Policy(nudge=options.nudge)
    made: dict[Size, list[History]] = {SMALL: [], LARGE: []}
    for number in range(options.histories):
        size = (SMALL, LARGE)[number % 2]
        history = play(options.seed + number, size, policy)
        made[size].append(history)
        say(
            f"seed {options.seed + number}, {size.blocks} blocks: uncovered {history.tally.uncovered}, "
            f"gap {max(history.tally.gaps, default=0):.1f} s, moves {history.tally.moves}, least ratio {min(history.ratios):.2f}"
        )
    return figures(made[SMALL], made[LARGE]) | time_decisions(options.nodes, options.blocks)


def figures(small: list[History], large: list[History]) -> dict[str, object]:
    every = [*small, *large]
    hours = sum(each.hours for each in every)
    gaps = sorted(gap for each in every for gap in each.tally.gaps)
    ratios = sorted(ratio for each in small for ratio in each.ratios)
    return {
        "uncovered": sum(each.tally.uncovered for each in every),
        "unforeseen": sum(each.tally.unforeseen for each in every),
        "min_throughput_ratio": round(min(ratios, default=0.0), 3),
        "mean_throughput_ratio": round(statistics.mean(ratios), 3) if ratios else 0.0,
        "bound_ratio_large": round(statistics.mean(ratio for each in large for ratio in each.ratios), 3)
        if large
        else None,
        "gap_closed_s": round(max(gaps, default=0.0), 2),
        "gap_median_s": round(statistics.median(gaps), 2) if gaps else 0.0,
        "gaps": len(gaps),
        "unclosed": sum(each.tally.unclosed for each in every),
        "moves_per_hour": round(sum(each.tally.moves for each in every) / hours, 2),
        "gap_moves_per_hour": round(sum(each.tally.gap_moves for each in every) / hours, 2),
        "changes_per_hour": round(sum(each.changes for each in every) / hours, 2),
        "spans_per_node": round(statistics.mean(pieces for each in every for pieces in each.pieces), 2),
        "histories": len(every),
        "virtual_hours": round(hours, 2),
        "samples": len(ratios),
        "samples_below_0.75": sum(ratio < 0.75 for ratio in ratios),
    }


def play(seed: int, size: Size, policy: Policy | None = None, bursts: int = BURSTS) -> History:
    """One history from its seed."""
    draw = random.Random(seed)  # noqa: S311
    needs = ModelNeeds(size.blocks, BLOCK_BYTES, 0, 0)
    network = Network(World(needs, policy or Policy(), b"%d" % seed), seed)
    history = History(network.tally, 0.0)
    names = (f"{seed}/{number}" for number in range(1 << 20))
    while len(network.members) < size.least or _memory(network) < SPARE * size.blocks:
        network.join(_offer(draw, next(names)))
        network.run_until(network.now + draw.expovariate(0.5))
    for _ in range(bursts):
        network.run_until(network.now + QUIET)
        _sample(network, history, size)
        for _ in range(draw.randint(1, 4)):
            history.changes += 1
            _change(network, draw, size, names)
            network.run_until(network.now + draw.expovariate(1 / 8))
    network.run_until(network.now + QUIET)
    _sample(network, history, size)
    history.hours = network.now / 3600
    return history


def _offer(draw: random.Random, name: str) -> Offer:
    return Offer(name, draw.randint(1, 6) * BLOCK_BYTES, draw.lognormvariate(3.0, 0.7))


def _memory(network: Network, besides: str = "") -> int:
    """Blocks that fit in all members that stay."""
    stay = (each for each in network.members.values() if each.own.phase is not Phase.LEAVING and each.name != besides)
    return sum(network.world.needs.room(each.own.offer) for each in stay)


def _change(network: Network, draw: random.Random, size: Size, names: Iterator[str]) -> None:
    """A node joins, or one whose memory is not needed leaves or crashes."""
    name = draw.choice(sorted(network.members))
    spared = network.members[name].own.phase is not Phase.LEAVING and _memory(network, name) >= SPARE * size.blocks
    if len(network.members) < size.most and (draw.random() < 0.5 or not spared):
        network.join(_offer(draw, next(names)))
    elif spared:
        network.crash(name) if draw.random() < 0.5 else network.leave(name)


def _sample(network: Network, history: History, size: Size) -> None:
    offers = [each.own.offer for each in network.members.values()]
    rooms = [network.world.needs.room(each) for each in offers]
    weakest = network.coverage.weakest
    if size is SMALL:
        machines = [Machine(offer.block_rate, room) for offer, room in zip(offers, rooms, strict=True)]
        best = optimum(machines, size.blocks)
    else:
        memories = [Memory(offer.block_rate, room) for offer, room in zip(offers, rooms, strict=True)]
        best = attainable(memories, size.blocks)
    history.ratios.append(weakest / best)
    history.pieces.append(statistics.mean(len(each.own.spans) for each in network.members.values()))


def time_decisions(nodes: int, blocks: int) -> dict[str, object]:
    """Build a network of that size node by node, then time full decisions of nodes whose turn it is, and of one that joins."""
    draw = random.Random(1)  # noqa: S311
    world = World(ModelNeeds(blocks, BLOCK_BYTES, 0, 0), Policy(), b"time")
    view: dict[str, Holding] = {}
    for number in range(nodes):
        offer = Offer(f"{number}", draw.randint(1, 12) * BLOCK_BYTES, draw.lognormvariate(3.0, 0.7))
        began = time.perf_counter()
        spans = place(offer, view.values(), world)
        joined = time.perf_counter() - began
        view[offer.node] = Holding(offer, spans, Phase.SERVING, 0.0)
    turns = [1000.0 + slot for slot in range(40)]
    took = [seconds for now in turns for seconds in _timed(view, world, now)]
    return {
        "decision_ms": round(1000 * statistics.median(took), 2),
        "decision_ms_max": round(1000 * max(took), 2),
        "join_ms": round(1000 * joined, 2),
        "decision_nodes": nodes,
        "decision_blocks": blocks,
    }


def _timed(view: dict[str, Holding], world: World, now: float) -> list[float]:
    """Seconds of the decision of a node that is drawn in this slot."""
    name = min(view, key=lambda node: (world.draw(node, now), node))
    began = time.perf_counter()
    propose_move(name, view, world, now)
    return [time.perf_counter() - began]
