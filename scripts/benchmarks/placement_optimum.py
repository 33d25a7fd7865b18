"""The best weakest block that any placement could give: exact up to a stated bracket, for a handful of nodes and blocks.

Every node may hold any set of blocks that fits its memory, so blocks are interchangeable and only the sorted list of what each
still lacks matters. `reachable` asks whether all blocks can get `level` tokens/s: depth first over the nodes, the fastest first,
each choosing how many blocks it holds and which (of blocks that lack the same, one stands for all). A branch ends when the
remaining nodes together have less to give than is lacking. What is lacking never falls below zero, so that states which differ
only in surplus are one state and are visited once. Bisection between 0 and the average then brackets the optimum; its upper end,
at which the search proved that nothing reaches it, is what is reported. A search that runs past its budget counts as one that
succeeded, which only raises the reported value: a ratio to it is never flattered.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

BRACKET = 0.005
BUDGET = 100_000
_DUST = 1e-9

Lacks = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Machine:
    """Blocks x tokens per second, and how many blocks fit."""

    rate: float
    room: int


def optimum(machines: Sequence[Machine], blocks: int) -> float:
    """Tokens per second of the weakest block in the best placement, at most BRACKET too high; 0 where they cannot hold all."""
    order = sorted((each for each in machines if each.room), key=lambda each: -each.rate / min(each.room, blocks))
    if sum(min(each.room, blocks) for each in order) < blocks:
        return 0.0
    low, high = 0.0, sum(each.rate for each in order) / blocks
    if reachable(order, blocks, high):
        return high
    while high > low * (1 + BRACKET):
        middle = (low + high) / 2
        low, high = (middle, high) if reachable(order, blocks, middle) else (low, middle)
    return high


def reachable(machines: Sequence[Machine], blocks: int, level: float) -> bool:
    """Whether some placement gives every block this many tokens per second, or the budget ends before that is ruled out."""
    return _search(Search(machines, level), 0, (1.0,) * blocks)


@dataclass(slots=True)
class Search:
    """One question: the states visited, and how many more may be made."""

    machines: Sequence[Machine]
    level: float
    left: int = BUDGET
    seen: set[tuple[int, Lacks]] = field(default_factory=set)


def _search(search: Search, index: int, lacks: Lacks) -> bool:
    """lacks: sorted falling, as fractions of the level."""
    if lacks[0] <= _DUST:
        return True
    if not _enough(search.machines[index:], lacks, search.level) or (index, lacks) in search.seen:
        return False
    search.seen.add((index, lacks))
    choices = _choices(search.machines[index], lacks, search.level)
    search.left -= len(choices)
    if search.left < 0:
        return True
    return any(_search(search, index + 1, each) for each in choices)


def _enough(rest: Sequence[Machine], lacks: Lacks, level: float) -> bool:
    """Enough speed for all that is lacking, and enough memory for the blocks that lack something."""
    short = sum(1 for each in lacks if each > _DUST)
    if sum(each.rate for each in rest) / level < sum(lacks) * (1 - _DUST):
        return False
    return sum(min(each.room, len(lacks)) for each in rest) >= short


def _choices(machine: Machine, lacks: Lacks, level: float) -> list[Lacks]:
    """The states after this node, those that waste least first."""
    made: set[Lacks] = set()
    short = sum(1 for each in lacks if each > _DUST)
    for number in range(1, min(machine.room, short) + 1):
        share = machine.rate / number / level
        made.update(_shares(lacks, share, number))
    return sorted(made, key=lambda state: (sum(state), state[0]))


def _shares(lacks: Lacks, share: float, number: int) -> Iterator[Lacks]:
    """All ways to give the share to so many blocks, one for each multiset of what they lack."""
    groups = [(value, lacks.count(value)) for value in sorted(set(lacks), reverse=True) if value > _DUST]
    for taken in _compositions([size for _, size in groups], number):
        state = [value for value in lacks if value <= _DUST]
        for (value, size), chosen in zip(groups, taken, strict=True):
            state += [value] * (size - chosen) + [round(max(0.0, value - share), 9)] * chosen
        yield tuple(sorted(state, reverse=True))


def _compositions(sizes: Sequence[int], number: int) -> Iterator[tuple[int, ...]]:
    if not sizes:
        if number == 0:
            yield ()
        return
    for chosen in range(min(sizes[0], number), -1, -1):
        for rest in _compositions(sizes[1:], number - chosen):
            yield (chosen, *rest)
