"""What placement speaks of: every number within its limits, blocks as spans that neither overlap nor touch."""

import math
from itertools import chain, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharding.errors import PlacementError
from sharding.placement_values import (
    MAX_BLOCK_RATE,
    MAX_BYTES,
    MAX_POSITIONS,
    MAX_SECONDS,
    MAX_SPANS,
    Holding,
    ModelNeeds,
    Move,
    Offer,
    Phase,
    Policy,
    count,
    merged,
    without,
)
from sharding.span import MAX_BLOCKS, Span
from tests.sharding.placement_cases import moving, offer, serving, spans

SPANS = st.lists(
    st.tuples(st.integers(0, 20), st.integers(1, 6)).map(lambda pair: Span(pair[0], sum(pair))), max_size=6
)


def blocks(held: tuple[Span, ...] | list[Span]) -> set[int]:
    return set(chain.from_iterable(span.blocks for span in held))


@given(SPANS)
def test_merged_spans_hold_the_same_blocks_apart_from_each_other(held: list[Span]) -> None:
    """Nothing is lost, nothing counted twice, and no two spans could be one."""
    made = merged(held)

    assert blocks(made) == blocks(held)
    assert count(made) == len(blocks(held))
    assert all(left.end < right.start for left, right in pairwise(made))


@given(SPANS, SPANS)
def test_without_takes_away_exactly_the_blocks_that_are_gone(held: list[Span], gone: list[Span]) -> None:
    """It is the difference of the two sets of blocks."""
    assert blocks(without(held, gone)) == blocks(held) - blocks(gone)


def test_a_node_offers_from_nothing_to_the_most_bytes() -> None:
    """Both ends are taken."""
    assert Offer("a", 0, 1.0).capacity_bytes == 0
    assert Offer("a", MAX_BYTES, 1 / MAX_BLOCK_RATE).capacity_bytes == MAX_BYTES
    assert Offer("a", 1, MAX_BLOCK_RATE).block_rate == MAX_BLOCK_RATE


@pytest.mark.parametrize(
    ("capacity", "rate"),
    [
        (-1, 1.0),
        (MAX_BYTES + 1, 1.0),
        (1.5, 1.0),
        (True, 1.0),
        (1, 0.0),
        (1, -1.0),
        (1, math.nan),
        (1, math.inf),
        (1, math.nextafter(MAX_BLOCK_RATE, math.inf)),
        (1, math.nextafter(1 / MAX_BLOCK_RATE, 0)),
        (1, "fast"),
    ],
)
def test_an_offer_that_is_no_offer_is_refused(capacity: object, rate: object) -> None:
    """A stranger's record cannot bring in a number that the sums do not survive."""
    with pytest.raises(PlacementError, match="it must be"):
        Offer("a", capacity, rate)  # type: ignore[arg-type]


def test_the_largest_model_is_taken() -> None:
    """All limits of a model at once."""
    needs = ModelNeeds(MAX_BLOCKS, MAX_BYTES, MAX_BYTES, MAX_POSITIONS, MAX_BYTES, MAX_BYTES)

    assert needs.room(Offer("a", MAX_BYTES, 1.0)) == 0


@pytest.mark.parametrize(
    "numbers",
    [
        (0, 1, 0, 0),
        (MAX_BLOCKS + 1, 1, 0, 0),
        (1, 0, 0, 0),
        (1, MAX_BYTES + 1, 0, 0),
        (1, 1, -1, 0),
        (1, 1, MAX_BYTES + 1, 0),
        (1, 1, 0, -1),
        (1, 1, 0, MAX_POSITIONS + 1),
        (1, 1, 0, 0, MAX_BYTES + 1),
        (1, 1, 0, 0, 0, MAX_BYTES + 1),
    ],
)
def test_a_model_outside_the_limits_is_refused(numbers: tuple[int, ...]) -> None:
    """Each number has its own range."""
    with pytest.raises(PlacementError):
        ModelNeeds(*numbers)


def test_memory_is_weights_and_caches_and_what_the_ends_need_on_top() -> None:
    """The embedding counts for the first block, the head for the last, the cache for every position."""
    needs = ModelNeeds(4, weight_bytes=60, kv_bytes=2, positions=20, first_bytes=7, last_bytes=5)

    assert needs.block_bytes == 100
    assert needs.bytes_of(spans("0:1")) == 107
    assert needs.bytes_of(spans("1:3")) == 200
    assert needs.bytes_of(spans("0:1", "3:4")) == 212
    assert needs.room(Offer("a", 307, 1.0), spans("0:1")) == 2
    assert needs.room(Offer("a", 306, 1.0), spans("0:1")) == 1


def test_a_move_changes_something_and_overlaps_nothing() -> None:
    """An empty move and one that gives what it takes are refused."""
    for give, take in (((), ()), (spans("0:2"), spans("1:3")), (spans("0:1"), spans("0:1"))):
        with pytest.raises(PlacementError):
            Move(give, take)

    assert Move(spans("0:1"), spans("1:2")).closes == 0


@pytest.mark.parametrize("phase", [Phase.SERVING, Phase.LEAVING])
def test_only_a_node_that_moves_has_a_move(phase: Phase) -> None:
    """Neither a move at rest nor a moving phase without one."""
    with pytest.raises(PlacementError):
        Holding(offer("a", 2), (), phase, 0.0, Move((), spans("0:1")))
    with pytest.raises(PlacementError):
        Holding(offer("a", 2), (), Phase.LOADING, 0.0)


def test_a_node_holds_as_many_spans_as_the_limit_and_no_more() -> None:
    """One span more is refused, and so are spans that touch or stand in disorder."""
    most = tuple(Span(2 * index, 2 * index + 1) for index in range(MAX_SPANS + 1))

    assert Holding(offer("a", 99), most[:-1], Phase.SERVING, 0.0).spans == most[:-1]
    for bad in (most, spans("0:1", "1:2"), spans("4:5", "0:1")):
        with pytest.raises(PlacementError):
            Holding(offer("a", 99), bad, Phase.SERVING, 0.0)


def test_what_is_served_relied_on_and_planned_differs_by_phase() -> None:
    """A claim is served on and no longer relied on; a drain is neither; a leaving node is served and not counted on."""
    own = serving("a", "0:4")
    shown = {
        phase: moving(own, phase, give="0:2", take="6:8") for phase in (Phase.CLAIMING, Phase.DRAINING, Phase.LOADING)
    }

    assert {str(phase): each.serving for phase, each in shown.items()} == {
        "claiming": spans("0:4"),
        "draining": spans("2:4"),
        "loading": spans("2:4"),
    }
    assert {each.relied_on for each in shown.values()} == {spans("2:4")}
    assert {each.planned for each in shown.values()} == {spans("2:4", "6:8")}

    leaving = Holding(own.offer, own.spans, Phase.LEAVING, 0.0)
    assert (leaving.serving, leaving.relied_on, leaving.planned) == (spans("0:4"), (), ())


def test_a_policy_takes_its_limits() -> None:
    """The ends of each range."""
    assert Policy(threshold=10.0, settle=MAX_SECONDS, slot=0.01, bidders=1 << 16, max_spans=MAX_SPANS).rest == 30.0
    assert Policy(threshold=0.0, nudge=0, good=0.0, rest=0.0, bidders=1, max_spans=1).nudge == 0


@pytest.mark.parametrize(
    "rules",
    [
        {"threshold": 10.1},
        {"threshold": -0.1},
        {"nudge": math.nan},
        {"good": 11.0},
        {"settle": MAX_SECONDS + 1},
        {"rest": -1.0},
        {"drain": math.inf},
        {"gap_drain": -0.1},
        {"patience": MAX_SECONDS + 1},
        {"slot": 0.0},
        {"bidders": 0},
        {"bidders": (1 << 16) + 1},
        {"max_spans": 0},
        {"max_spans": MAX_SPANS + 1},
    ],
)
def test_a_policy_outside_its_limits_is_refused(rules: dict[str, float]) -> None:
    """One past each limit, and what is no number."""
    with pytest.raises(PlacementError):
        Policy(**rules)  # type: ignore[arg-type]
