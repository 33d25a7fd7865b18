"""Where a node goes when it joins, and when it may move: never at the price of a block that nobody else holds."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sharding.errors import PlacementError
from sharding.placement import place, propose_move, releases, still_right
from sharding.placement_values import Holding, Move, Offer, Phase
from sharding.span import Span
from tests.sharding.placement_cases import moving, offer, serving, spans, view, world


def test_the_first_node_takes_all_that_fits() -> None:
    """Nothing is covered, so the most blocks win."""
    assert place(offer("a", 8), [], world(4)) == spans("0:4")
    assert sum(len(span) for span in place(offer("a", 3), [], world(4))) == 3


def test_a_joining_node_takes_the_gap() -> None:
    """Blocks 2 and 3 are held by nobody."""
    assert place(offer("a", 2), [serving("b", "0:2"), serving("c", "4:6")], world(6)) == spans("2:4")


def test_a_joining_node_takes_two_gaps_that_no_span_reaches_together() -> None:
    """Several spans of one model on one node."""
    assert place(offer("a", 2), [serving("b", "1:7")], world(8)) == spans("0:1", "7:8")


def test_without_a_gap_it_helps_the_weakest_block() -> None:
    """Block 1 has a tenth of the others' speed."""
    others = [serving("b", "0:1", rate=10.0), serving("c", "1:2", rate=1.0), serving("d", "2:3", rate=10.0)]

    assert place(offer("a", 1), others, world(3)) == spans("1:2")


def test_what_others_are_loading_counts_as_theirs_already() -> None:
    """The gap at 2 is taken by a node that has announced it, so the next one goes to the gap at 3."""
    loading = moving(serving("b", "0:2", room=1), Phase.LOADING, take="2:3")

    assert place(offer("a", 1), [loading], world(4)) == spans("3:4")


def test_a_leaving_node_counts_as_gone() -> None:
    """Its blocks are the ones to take."""
    leaving = Holding(offer("c", 2), spans("2:4"), Phase.LEAVING, 0.0)

    assert place(offer("a", 2), [serving("b", "0:2"), leaving], world(4)) == spans("2:4")


def test_a_node_without_room_for_one_block_is_told_so() -> None:
    """One byte less than a block is refused with both numbers, a block is enough."""
    short = replace(offer("a", 1), capacity_bytes=99)

    with pytest.raises(PlacementError, match=r"99.*at least 100"):
        place(short, [], world(4))
    assert place(offer("a", 1), [], world(4))


def test_a_move_waits_for_the_rest_to_pass() -> None:
    """At 30 seconds of rest a move is proposed, just before it is not."""
    both = view(serving("a", "0:2"), serving("b", "0:1"), serving("c", "1:2", rate=0.1), serving("d", "0:1"))
    rules = world(2, rest=30.0, nudge=0.15)

    assert all(propose_move(node, both, rules, 29.9) is None for node in both)
    assert any(propose_move(node, both, rules, 30.0 + slot) for node in both for slot in range(20))


def test_the_same_view_seed_and_time_give_the_same_decision() -> None:
    """Nothing else goes in."""
    both = view(serving("a", "0:2"), serving("b", "0:1"), serving("c", "1:2", rate=0.1), serving("d", "0:1"))
    turns = [(node, 30.0 + slot) for node in both for slot in range(10)]
    backwards = dict(reversed(both.items()))

    assert [propose_move(node, both, world(2), now) for node, now in turns] == [
        propose_move(node, backwards, world(2), now) for node, now in turns
    ]


def test_in_one_slot_only_one_of_few_nodes_may_move() -> None:
    """Twenty nodes crowd one block of two; each slot has at most one proposal, some slot has one."""
    crowd = view(serving("x", "1:2", rate=0.1), *(serving(f"n{index}", "0:1") for index in range(20)))
    counts = [
        sum(propose_move(node, crowd, world(2), 100.0 + slot) is not None for node in crowd) for slot in range(30)
    ]

    assert max(counts) == 1


@pytest.mark.parametrize("phase", [Phase.CLAIMING, Phase.DRAINING, Phase.LOADING])
def test_while_somebody_moves_nobody_else_does_until_patience_ends(phase: Phase) -> None:
    """At 300 seconds a move that never ends no longer stands in the way."""
    mover = moving(serving("m", "0:1"), phase, give="0:1", take="1:2", since=0.0)
    crowd = view(
        mover,
        serving("x", "2:3", rate=0.1),
        serving("y", "1:2", rate=9.0),
        *(serving(f"n{i}", "0:1") for i in range(6)),
    )
    rules = world(3, patience=300.0, slot=0.01)

    def proposals(start: float) -> int:
        return sum(
            propose_move(node, crowd, rules, start + slot / 100) is not None for node in crowd for slot in range(9)
        )

    assert proposals(299.8) == 0
    assert proposals(300.0) > 0


def test_a_move_must_gain_more_than_the_threshold() -> None:
    """In a network that is good already a gain of a few per cent is not worth a move at 15 %, and is at 1 %."""
    crowd = view(serving("a", "0:1", rate=10.0), serving("b", "1:2", rate=9.0), serving("c", "0:2", rate=1.0))
    turns = [100.0 + slot for slot in range(20)]

    strict, keen = world(2, good=0.0, threshold=0.15), world(2, good=0.0, threshold=0.01)

    assert not any(propose_move(node, crowd, strict, now) for node in crowd for now in turns)
    assert any(propose_move(node, crowd, keen, now) for node in crowd for now in turns)


def test_far_from_what_is_attainable_a_small_gain_suffices() -> None:
    """The same threshold, but the weakest block has less than `good` of what the nodes could give it."""
    crowd = view(serving("a", "0:1", rate=10.0), serving("b", "1:2", rate=9.0), serving("c", "0:2", rate=1.0))
    rules = world(2, good=1.0, threshold=0.15, nudge=0.01)

    assert any(propose_move(node, crowd, rules, 100.0 + slot) for node in crowd for slot in range(20))


def test_a_gap_is_answered_at_once_without_rest() -> None:
    """A node with free memory takes the gap, though it has moved only now."""
    both = view(serving("a", "0:2", room=1, since=100.0))

    assert propose_move("a", both, world(3), 100.0) == Move((), spans("2:3"), closes=1)


def test_a_full_node_gives_up_what_others_hold_to_close_a_gap() -> None:
    """Block 1 is held twice: one of its holders goes to block 2, nobody gives up block 0 or 3."""
    crowd = view(serving("a", "0:2"), serving("b", "1:2"), serving("c", "3:4"))
    moves = [move for node in crowd if (move := propose_move(node, crowd, world(4), 0.0))]

    assert moves
    assert all((move.give, move.take) == (spans("1:2"), spans("2:3")) for move in moves)


def test_a_gap_that_nobody_can_close_moves_nobody() -> None:
    """Two nodes that are full of blocks which only they hold stay where they are."""
    crowd = view(serving("a", "0:2"), serving("b", "2:4"))

    assert [propose_move(node, crowd, world(5), 50.0 + slot) for node in crowd for slot in range(9)] == [None] * 18


def test_a_gap_is_answered_by_as_many_as_may_bid() -> None:
    """Forty nodes could; four and not five say so in each slot."""
    crowd = view(*(serving(f"n{index}", "0:1", room=1) for index in range(40)))

    for slot in range(5):
        assert sum(propose_move(node, crowd, world(2), float(slot)) is not None for node in crowd) == 4


@settings(deadline=None, max_examples=60)
@given(
    st.lists(
        st.tuples(st.integers(0, 5), st.integers(1, 4), st.integers(0, 2), st.integers(1, 50)), min_size=2, max_size=7
    ),
    st.integers(0, 1000),
)
def test_no_proposal_ever_gives_up_a_block_that_nobody_else_holds(
    nodes: list[tuple[int, int, int, int]], slot: int
) -> None:
    """Whatever the network, whoever's turn it is."""
    crowd = view(
        *(
            serving(f"n{index}", str(Span(start, min(6, start + length))), room=room, rate=float(rate))
            for index, (start, length, room, rate) in enumerate(nodes)
        )
    )
    for node, own in crowd.items():
        move = propose_move(node, crowd, world(6), 100.0 + slot)
        if move is not None:
            elsewhere = {
                block for name, each in crowd.items() if name != node for span in each.spans for block in span.blocks
            }
            assert {block for span in move.give for block in span.blocks} <= elsewhere
            after = Holding(own.offer, own.spans, Phase.CLAIMING, 0.0, move)
            assert world(6).needs.bytes_of(after.planned) <= own.offer.capacity_bytes


def test_of_two_claims_on_the_last_copies_only_one_begins() -> None:
    """Both holders of block 0 want to leave it for the gap; each sees the other's claim and the same one yields."""
    first = moving(serving("a", "0:1"), Phase.CLAIMING, give="0:1", take="1:2", closes=1)
    second = moving(serving("b", "0:1"), Phase.CLAIMING, give="0:1", take="1:2", closes=1)
    crowd = view(first, second)

    assert sorted(still_right(node, crowd, world(2)) for node in crowd) == [False, True]


def test_a_claim_that_covers_more_goes_before_one_that_covers_less() -> None:
    """Whatever the draw says."""
    for seed in range(8):
        rules = replace(world(4), seed=bytes([seed]))
        less = moving(serving("a", "0:1", room=1), Phase.CLAIMING, take="1:2", closes=1)
        more = moving(serving("b", "0:1", room=3), Phase.CLAIMING, take="1:4", closes=3)
        crowd = view(less, more)

        assert [still_right(node, crowd, rules) for node in ("a", "b")] == [False, True]


def test_a_claim_yields_to_a_drain_that_has_begun() -> None:
    """The other holder of the block is on its way out already."""
    claim = moving(serving("a", "0:1"), Phase.CLAIMING, give="0:1", take="1:2", closes=1)
    drain = moving(serving("b", "0:1"), Phase.DRAINING, give="0:1", take="2:3", closes=1)

    assert not still_right("a", view(claim, drain, serving("c", "3:4")), world(4))
    assert still_right("a", view(claim, serving("b", "0:1"), serving("c", "3:4")), world(4))


def test_a_claim_yields_where_a_joining_node_has_closed_the_gap() -> None:
    """Nothing is left to gain."""
    claim = moving(serving("a", "0:1", room=1), Phase.CLAIMING, take="1:2", closes=1)
    joined = moving(serving("b"), Phase.LOADING, take="1:2", closes=1)

    assert not still_right("a", view(claim, joined), world(2))


def test_a_node_that_announced_nothing_has_nothing_to_begin() -> None:
    """Serving is no claim."""
    assert not still_right("a", view(serving("a", "0:1")), world(2))


def test_a_leaving_node_is_released_when_others_hold_all_its_blocks() -> None:
    """Not by one that leaves too, and not by one that has announced to give the block up."""
    leaving = Holding(offer("a", 1), spans("0:1"), Phase.LEAVING, 0.0)
    also = Holding(offer("b", 1), spans("0:1"), Phase.LEAVING, 0.0)
    claim = moving(serving("b", "0:1"), Phase.CLAIMING, give="0:1", take="1:2")

    assert not releases("a", view(leaving), world(2))
    assert not releases("a", view(leaving, also), world(2))
    assert not releases("a", view(leaving, claim), world(2))
    assert releases("a", view(leaving, serving("b", "0:1")), world(2))


@pytest.mark.parametrize("capacity", [0, 400])
def test_a_node_that_offers_no_memory_stays_and_costs_nobody_a_turn(capacity: int) -> None:
    """Its operator chose its blocks: they count, but it moves nowhere, and of two nodes the other is drawn every time."""
    chosen = replace(serving("a", "0:2"), offer=Offer("a", capacity, 8.0))
    crowd = view(chosen, serving("b", "0:2", room=2), serving("c", "2:3", rate=1.0))
    rules = world(3)
    moves = [propose_move("a", crowd, rules, 1000.0 + second) for second in range(40)]
    turns = [propose_move("b", crowd, rules, 1000.0 + second) for second in range(40)]

    assert any(moves) is (capacity > 0)
    assert turns.count(None) <= (40 if capacity else 26), "c has its turns too"


def test_blocks_that_were_chosen_count_for_what_the_network_could_do() -> None:
    """A node without memory to offer has room for what it holds: far from the attainable, a small gain suffices."""
    chosen = [replace(serving(name, held), offer=Offer(name, 0, 8.0)) for name, held in (("a", "0:2"), ("b", "2:4"))]
    weak = replace(serving("c", "3:4"), offer=Offer("c", 0, 1.0))
    rules = world(4)

    assert rules.hurdle(chosen) == rules.policy.threshold
    assert rules.hurdle([chosen[0], replace(chosen[1], offer=Offer("b", 0, 2.0)), weak]) == rules.policy.nudge
