"""Looks: an idle channel is left alone for longer each time, and never for longer than was said."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from node.ledger import HeldChannel, Ledger
from node.looks import MOST_SKIPPED, Looks
from node.store import Store
from tests.node.money_fakes import open_held


@pytest.fixture
def held(tmp_path: Path) -> Iterator[HeldChannel]:
    """A channel."""
    store = Store(tmp_path)
    yield open_held(Ledger(store))
    store.close()


def looks_in(looks: Looks, held: HeldChannel, rounds: int) -> list[int]:
    """The rounds in which an idle channel is looked at."""
    seen = []
    for number in range(rounds):
        if looks.is_due(held):
            seen.append(number)
            looks.found_nothing(held)
    return seen


@pytest.mark.parametrize(("most", "seen"), [(0, [0, 1, 2, 3, 4, 5]), (1, [0, 1, 3, 5]), (3, [0, 1, 3])])
def test_pauses_grow_to_the_longest(held: HeldChannel, most: int, seen: list[int]) -> None:
    """By doubling, and one."""
    assert looks_in(Looks(most), held, 6) == seen


def test_something_to_do_ends_the_pauses(held: HeldChannel) -> None:
    """A raised voucher, or a chain that says something else."""
    looks = Looks()
    looks_in(looks, held, 5)
    assert not looks.is_due(held)

    assert looks.is_due(replace(held, cumulative=held.cumulative + 1))
    looks.found_something(held.channel)
    assert looks.is_due(held)


@pytest.mark.parametrize(
    ("seconds", "every", "most"), [(0.5, 0.25, 1), (0.2, 0.25, 0), (30, 15, 1), (43_200, 30, MOST_SKIPPED)]
)
def test_no_pause_is_longer_than_was_said(held: HeldChannel, seconds: float, every: float, most: int) -> None:
    """Of rounds, between two looks; with many rounds in it, the usual longest."""
    seen = looks_in(Looks.within(seconds, every), held, 100)

    assert max(later - before for before, later in pairwise(seen)) == most + 1
