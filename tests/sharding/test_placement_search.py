"""The best change of one node, against the plain way: try every change and score the whole network."""

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sharding.placement_coverage import Coverage, Held
from sharding.placement_search import NEAR, Score, Situation, best_change, cheapest_gives
from sharding.placement_values import ModelNeeds, Offer, count, merged, without
from sharding.span import Span
from tests.sharding.placement_cases import BLOCK, offer, spans

BLOCKS = 7
RATES = st.floats(1e-6, 1e6)
HELD = st.builds(
    lambda start, length, rate: Held(rate, (Span(start, min(BLOCKS, start + length)),)),
    st.integers(0, BLOCKS - 1),
    st.integers(1, BLOCKS),
    RATES,
)


def scored(situation: Situation, held: tuple[Span, ...], others: list[Held]) -> Score:
    found = Coverage.of([*others, Held(situation.offer.block_rate, held)], situation.needs.num_blocks)
    return Score(found.uncovered, found.strength)


def possible(situation: Situation, give: Span | None) -> Iterator[tuple[Span, ...]]:
    """All that the node could hold after giving that span up, by the definition."""
    kept = without(situation.spans, [give] if give else [])
    if kept:
        yield kept
    for start in range(BLOCKS):
        for end in range(start + 1, BLOCKS + 1):
            after = merged((*kept, Span(start, end)))
            disjoint = count(merged((*situation.spans, Span(start, end)))) == count(situation.spans) + end - start
            fits = situation.needs.bytes_of((*kept, Span(start, end))) <= situation.offer.capacity_bytes
            if disjoint and fits and len(after) <= situation.max_spans:
                yield after


def situation_of(
    others: list[Held], own: Offer, held: tuple[Span, ...], first: int = 0, last: int = 0, pieces: int = 4
) -> Situation:
    return Situation(Coverage.of(others, BLOCKS), own, held, ModelNeeds(BLOCKS, BLOCK, 0, 0, first, last), pieces)


@settings(deadline=None)
@given(
    st.lists(HELD, max_size=5),
    RATES,
    st.integers(1, 8),
    st.sampled_from([(), spans("1:3"), spans("0:1", "4:6")]),
    st.sampled_from([0, 50, 150]),
    st.integers(2, 3),
)
def test_no_change_that_is_possible_is_better(
    others: list[Held], rate: float, room: int, held: tuple[Span, ...], extra: int, pieces: int
) -> None:
    """Whatever the others hold, however far rates lie apart, with and without extra bytes at the ends."""
    own = Offer("a", (count(held) + room) * BLOCK + extra, rate)
    situation = situation_of(others, own, held, first=extra, last=extra, pieces=pieces)
    gives = (None, *held)
    every = [scored(situation, after, others) for give in gives for after in possible(situation, give)]

    found = best_change(situation, gives)

    assert found is not None
    covering = [score for score in every if score.uncovered == min(each.uncovered for each in every)]
    assert found.score.uncovered == covering[0].uncovered
    assert found.score.strength >= max(each.strength for each in covering) * (1 - NEAR) * (1 - 1e-6)
    kept = without(held, [found.give] if found.give else [])
    after = merged((*kept, found.take)) if found.take else kept
    assert after in [each for give in gives for each in possible(situation, give)]
    assert scored(situation, after, others).strength == pytest.approx(found.score.strength, rel=1e-6)


def test_a_healthy_block_beside_a_very_slow_one_still_counts() -> None:
    """Blocks 0 to 2 lie 9 orders of magnitude apart from block 6; the choice between 0 and 3 is still the right one."""
    others = [Held(1e9, spans("0:1")), Held(2e9, spans("1:6")), Held(1.0, spans("6:7"))]
    own = offer("a", 1, 100.0)

    found = best_change(situation_of(others, own, ()), [None])

    assert found is not None
    assert found.take == Span(6, 7)


def test_where_no_block_fits_there_is_no_change() -> None:
    """A node that is one byte short of a block takes nothing; with that byte it does."""
    assert best_change(situation_of([], Offer("a", BLOCK - 1, 1.0), ()), [None]) is None
    assert best_change(situation_of([], Offer("a", BLOCK, 1.0), ()), [None]) is not None


def test_an_end_block_needs_room_for_what_comes_with_it() -> None:
    """One byte short of the embedding, the first block goes to somebody else."""
    others = [Held(70.0, spans("1:7"))]

    exact = best_change(situation_of(others, Offer("a", BLOCK + 30, 1.0), (), first=30), [None])
    short = best_change(situation_of(others, Offer("a", BLOCK + 29, 1.0), (), first=30), [None])

    assert exact is not None
    assert short is not None
    assert (exact.take, exact.score.uncovered) == (Span(0, 1), 0)
    assert short.take != Span(0, 1)


def test_a_node_never_holds_more_pieces_than_it_may() -> None:
    """With one piece allowed a gap elsewhere cannot be taken beside the own span; with two it is."""
    others = [Held(5.0, spans("1:5")), Held(1.0, spans("6:7"))]
    own, held = offer("a", 2), spans("0:1")

    one = best_change(situation_of(others, own, held, pieces=1), [None])
    two = best_change(situation_of(others, own, held, pieces=2), [None])

    assert one is not None
    assert two is not None
    assert one.score.uncovered == 1
    assert (two.take, two.score.uncovered) == (Span(5, 6), 0)


def test_nodes_with_other_names_choose_other_spans_among_equals() -> None:
    """On an empty model every span of a length is as good; not everybody takes the same one."""
    chosen = [best_change(situation_of([], offer(f"node {index}", 2), ()), [None]) for index in range(12)]

    assert len({change.take for change in chosen if change}) > 1


def test_of_equals_one_that_gives_nothing_up_goes_first() -> None:
    """A node so slow that nothing it does makes a difference keeps what it has."""
    others = [Held(7e6, spans("0:7"))]
    own, held = offer("a", 5, 1e-3), spans("0:1")

    found = best_change(situation_of(others, own, held), [*held, None])

    assert found is not None
    assert found.give is None


def test_what_is_missed_least_is_given_up_even_from_the_middle() -> None:
    """Blocks 2 and 3 have a strong holder besides; each length up to the whole span has one candidate."""
    others = [Held(7.0, spans("0:7")), Held(100.0, spans("2:4"))]
    situation = situation_of(others, offer("a", 5, 5.0), spans("0:5"))

    gives = cheapest_gives(situation, spans("0:5"))

    assert [len(give) for give in gives] == [1, 2, 4, 5]
    assert gives[1:] == [Span(2, 4), gives[2], Span(0, 5)]
    assert gives[0] in spans("2:3", "3:4")
    assert cheapest_gives(situation, ()) == []


def test_a_node_does_not_split_what_it_holds_into_more_pieces_than_it_may() -> None:
    """Giving up the middle would leave two."""
    others = [Held(7e3, spans("0:7")), Held(1e6, spans("1:2"))]
    situation = situation_of(others, offer("a", 3, 5e3), spans("0:3"), pieces=1)

    found = best_change(situation, cheapest_gives(situation, spans("1:2")))

    assert found is None or found.take is not None
