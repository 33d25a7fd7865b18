"""The network in virtual time that the benchmark plays, and the optimum that it is measured against."""

import random
import sys
from itertools import combinations, product
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

from benchmarks.placement import SMALL, play
from benchmarks.placement_optimum import BRACKET, Machine, optimum


def tried(machines: list[Machine], blocks: int) -> float:
    """The best weakest block over every set of blocks for every node."""
    best = 0.0
    sets = [
        [held for size in range(1, min(blocks, each.room) + 1) for held in combinations(range(blocks), size)]
        for each in machines
    ]
    for placement in product(*sets):
        rates = [0.0] * blocks
        for machine, held in zip(machines, placement, strict=True):
            for block in held:
                rates[block] += machine.rate / len(held)
        best = max(best, min(rates))
    return best


@pytest.mark.parametrize("seed", range(12))
def test_the_optimum_is_that_of_trying_everything(seed: int) -> None:
    """Never below it, above it by the bracket at most."""
    draw = random.Random(seed)
    machines = [Machine(draw.lognormvariate(1.0, 0.7), draw.randint(1, 4)) for _ in range(draw.randint(2, 4))]

    expected, found = tried(machines, 4), optimum(machines, 4)

    assert expected * (1 - 1e-6) <= found <= expected * (1 + 2 * BRACKET)


def test_a_history_uncovers_nothing_and_closes_every_gap() -> None:
    """Nodes join, leave and crash."""
    history = play(2, SMALL, bursts=2)

    assert (history.tally.uncovered, history.tally.unclosed) == (0, 0)
    assert all(gap < 10 for gap in history.tally.gaps)
    assert min(history.ratios) >= 0.75


def test_the_same_seed_plays_the_same_history() -> None:
    """A history that went wrong can be looked at again."""
    assert play(1, SMALL, bursts=1) == play(1, SMALL, bursts=1)
