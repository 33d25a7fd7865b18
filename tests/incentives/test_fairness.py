"""Jain's index, exact: what it is at its ends, what does not move it, and what it is not taken of."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from incentives.errors import FairnessError
from incentives.fairness import AIM, NodeEpoch, in_bps, jain_index

EARNED = st.integers(0, 2**96)
CAPACITY = st.integers(1, 2**64)


def epoch(*rows: tuple[int, int]) -> list[NodeEpoch]:
    """Nodes with (earned, capacity)."""
    return [NodeEpoch(f"node {at}", earned, capacity) for at, (earned, capacity) in enumerate(rows)]


def test_equal_rates_are_perfectly_fair() -> None:
    """A node with twice the capacity earns twice as much."""
    assert jain_index(epoch((10, 5), (20, 10), (2, 1))) == 1


@pytest.mark.parametrize("count", [1, 2, 7])
def test_one_of_n_that_takes_all_is_one_nth(count: int) -> None:
    """The least that is possible."""
    assert jain_index(epoch((10**18, 3), *[(0, 5)] * (count - 1))) == Fraction(1, count)


def test_the_index_is_exact() -> None:
    """Rates of 1/3 and 1/7: (1/3 + 1/7)^2 / (2 (1/9 + 1/49)) = 25/29, not a number near it."""
    assert jain_index(epoch((1, 3), (1, 7))) == Fraction(25, 29)
    assert jain_index(epoch((2**96 - 1, 1), (2**96, 1))) < 1


@given(st.lists(st.tuples(EARNED, CAPACITY), min_size=1, max_size=8))
def test_the_index_lies_between_one_nth_and_one(rows: list[tuple[int, int]]) -> None:
    """Whatever was earned."""
    assert Fraction(1, len(rows)) <= jain_index(epoch(*rows)) <= 1


@given(st.lists(st.tuples(EARNED, CAPACITY), min_size=1, max_size=6), st.integers(1, 10**20), st.randoms())
def test_neither_the_unit_nor_the_order_matters(rows: list[tuple[int, int]], unit: int, dice: object) -> None:
    """Of money and of capacity."""
    index = jain_index(epoch(*rows))
    assert jain_index(epoch(*[(earned * unit, capacity) for earned, capacity in reversed(rows)])) == index
    assert jain_index(epoch(*[(earned, capacity * unit) for earned, capacity in rows])) == index


def test_an_epoch_in_which_nobody_earned_is_fair() -> None:
    """All got the same."""
    assert jain_index(epoch((0, 1), (0, 9))) == 1


def test_who_offers_nothing_is_not_counted() -> None:
    """A node that is leaving does not make the others look unfairly treated."""
    assert jain_index(epoch((5, 1), (5, 1), (0, 0), (3, 0))) == 1


def test_a_thousand_nodes_are_added_up_exactly() -> None:
    """With a thousand different capacities, each earning by its own: still exactly 1."""
    assert jain_index(epoch(*[(7 * capacity, capacity) for capacity in range(10**6, 10**6 + 1_000)])) == 1


@pytest.mark.parametrize("rows", [[], [(0, 0)], [(5, 0), (0, 0)]])
def test_of_no_capacity_at_all_nothing_is_measured(rows: list[tuple[int, int]]) -> None:
    """Neither without nodes nor with none that offers anything."""
    with pytest.raises(FairnessError, match="no node offered"):
        jain_index(epoch(*rows))


def test_a_node_that_is_listed_twice_is_refused() -> None:
    """Its halves would count as two nodes."""
    with pytest.raises(FairnessError, match="twice"):
        jain_index([NodeEpoch("a", 1, 1), NodeEpoch("a", 1, 1)])


@pytest.mark.parametrize(("earned", "capacity"), [(-1, 1), (1, -1)])
def test_negative_numbers_are_refused(earned: int, capacity: int) -> None:
    """Of money and of capacity."""
    with pytest.raises(FairnessError):
        NodeEpoch("a", earned, capacity)


def test_the_index_is_published_in_bps_rounded_down() -> None:
    """So that 9,000 is never said of less."""
    assert in_bps(Fraction(1)) == 10_000
    assert in_bps(AIM) == 9_000
    assert in_bps(AIM - Fraction(1, 10**9)) == 8_999
