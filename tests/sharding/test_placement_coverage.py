"""How fast the blocks are served: sums of shares, and a measure that always sees the weakest block."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharding.placement_coverage import SHARPNESS, Coverage, Held, Memory, attainable
from sharding.span import Span
from tests.sharding.placement_cases import spans


def test_a_node_shares_its_rate_out_over_all_its_blocks() -> None:
    """Two spans of one node share one rate; two nodes on a block add up."""
    found = Coverage.of([Held(12.0, spans("0:2", "4:5")), Held(6.0, spans("1:3"))], 6)

    np.testing.assert_allclose(found.rates, [4, 7, 3, 0, 4, 0])
    assert found.holders.tolist() == [1, 2, 1, 0, 1, 0]
    assert (found.uncovered, found.weakest) == (2, 0.0)


def test_a_claim_of_great_speed_leaves_its_neighbours_as_they_are() -> None:
    """The sums lose nothing beside a rate that is fifteen orders of magnitude larger."""
    found = Coverage.of([Held(1e9, spans("0:1")), Held(2e-6, spans("1:3"))], 4)

    assert found.rates.tolist() == [1e9, 1e-6, 1e-6, 0.0]
    assert found.uncovered == 1


def test_a_record_that_names_blocks_outside_the_model_counts_for_nothing() -> None:
    """One bad record neither raises nor covers anything."""
    assert Coverage.of([Held(1.0, spans("0:1", "3:5")), Held(1.0, ())], 4).uncovered == 4


def test_gaps_are_counted_within_the_spans_that_are_asked_for() -> None:
    """Blocks 2 and 3 are held by nobody."""
    found = Coverage.of([Held(1.0, spans("0:2"))], 4)

    assert found.gaps_in(spans("1:3")) == 1
    assert found.only_here(spans("0:1", "3:4"))
    assert not found.only_here(spans("0:2"))
    assert not found.only_here(())


@given(st.lists(st.floats(0.01, 1000.0), min_size=1, max_size=80))
def test_strength_stays_close_above_the_weakest_block(rates: list[float]) -> None:
    """Never below the minimum, never above it by more than the root of the number of blocks."""
    found = Coverage.of([Held(rate, (Span(index, index + 1),)) for index, rate in enumerate(rates)], len(rates))

    assert found.weakest * 0.999 <= found.strength <= found.weakest * len(rates) ** (1 / SHARPNESS) * 1.001


def test_strength_of_nothing_is_nothing() -> None:
    """No holder, no service."""
    assert Coverage.of([], 3).strength == 0.0


def test_strength_rises_when_one_of_two_equally_weak_blocks_is_helped() -> None:
    """The minimum would not move."""
    before = Coverage.of([Held(4.0, spans("0:4"))], 4)
    after = Coverage.of([Held(4.0, spans("0:4")), Held(1.0, spans("0:1"))], 4)

    assert before.weakest == after.weakest
    assert after.strength > before.strength


@pytest.mark.parametrize(
    ("nodes", "expected"),
    [
        ([], 0.0),
        ([Memory(8.0, 3)], 0.0),
        ([Memory(8.0, 4)], 2.0),
        ([Memory(8.0, 9)], 2.0),
        ([Memory(100.0, 1), Memory(6.0, 4)], 2.0),
        ([Memory(1.0, 1), Memory(7.0, 4)], 2.0),
    ],
)
def test_no_more_is_attainable_than_rates_and_memory_allow(nodes: list[Memory], expected: float) -> None:
    """A fast node with room for one block can do no more than lift that block to the level of the others."""
    assert attainable(nodes, 4) == pytest.approx(expected)
