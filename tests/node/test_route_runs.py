"""What a node's spans are together: one run where they touch, at one price."""

import random

import pytest

from node.route_runs import Run, Served, runs_of
from tests.node.records import address
from verification.routes import RouteStage


def served(start: int, end: int, ask: int = 1, work: int = 7, enter: int = 5, number: int = 1) -> Served:
    """A span of a numbered node; a paid block is worth ten times the ask."""
    return Served(RouteStage(address(number), start, end, ask), enter, work, 10 * ask)


def run(start: int, work: tuple[int, ...], ask: int = 1, enter: int = 5, number: int = 1) -> Run:
    """A run of a numbered node."""
    return Run(address(number), start, ask, enter, 10 * ask, work)


@pytest.mark.parametrize(
    ("spans", "runs"),
    [
        ([served(0, 2), served(4, 6)], [run(0, (7, 7)), run(4, (7, 7))]),
        ([served(0, 2), served(2, 4)], [run(0, (7, 7, 7, 7))]),
        ([served(0, 3), served(1, 4)], [run(0, (7, 7, 7, 7))]),
        ([served(0, 2), served(3, 5)], [run(0, (7, 7)), run(3, (7, 7))]),
    ],
    ids=["apart", "touching", "overlapping", "one block between"],
)
def test_spans_that_touch_or_overlap_are_one_run(spans: list[Served], runs: list[Run]) -> None:
    """And only those."""
    assert runs_of(spans) == runs_of(spans[::-1]) == runs


def test_a_run_has_the_pace_of_each_of_its_spans_and_the_nearest_entry() -> None:
    """Where two have a block, it is done as the faster one does it."""
    spans = [served(0, 3, work=7, enter=5), served(2, 5, work=4, enter=6), served(5, 6, work=9, enter=3)]

    assert runs_of(spans) == [run(0, (7, 7, 4, 4, 4, 9), enter=3)]


def test_a_run_has_the_dearest_ask_that_it_takes_to_have_its_blocks() -> None:
    """A node is named once for blocks in a row, so it cannot be paid two prices; a dearer offer of the same blocks is none."""
    assert runs_of([served(0, 2, ask=1), served(2, 4, ask=3)]) == [run(0, (7, 7, 7, 7), ask=3)]
    assert runs_of([served(0, 4, ask=1), served(1, 3, ask=3, work=1)]) == [run(0, (7, 7, 7, 7), ask=1)]
    assert runs_of([served(0, 4, ask=3), served(1, 3, ask=1)]) == [run(0, (7, 7, 7, 7), ask=3)]
    assert runs_of([served(0, 1, ask=1), served(2, 4, ask=3)]) == [run(0, (7,), ask=1), run(2, (7, 7), ask=3)]


def test_runs_are_in_the_order_of_addresses_and_blocks() -> None:
    """Whatever the order of the spans."""
    spans = [served(0, 2, number=3), served(5, 6, number=1), served(0, 2, number=1), served(3, 4, number=2)]
    in_order = [run(0, (7, 7)), run(5, (7,)), run(3, (7,), number=2), run(0, (7, 7), number=3)]
    for seed in range(6):
        random.Random(seed).shuffle(spans)
        assert runs_of(spans) == in_order
