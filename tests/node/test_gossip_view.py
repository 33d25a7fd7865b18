"""A node's place in words, as `tally network ls` shows it."""

from dataclasses import replace

import pytest

from node.gossip_view import NodeView
from sharding.placement_values import Phase
from sharding.span import Span
from tests.node.records import on_chain, record
from verification.node_records import ServedSpan
from verification.placement_claims import FIXED, PlacementClaim

MOVE = PlacementClaim(1 << 30, 1000, Phase.CLAIMING, 0, (Span(0, 2),), (Span(4, 6), Span(8, 9)), 1)


@pytest.mark.parametrize(
    ("claim", "shown"),
    [
        (FIXED, "serving"),
        (replace(FIXED, phase=Phase.LEAVING), "leaving"),
        (MOVE, "claiming 4:6,8:9"),
        (replace(MOVE, phase=Phase.DRAINING), "draining 0:2"),
        (replace(MOVE, phase=Phase.LOADING), "loading 4:6,8:9"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_phase_is_shown_with_the_blocks_that_change(claim: PlacementClaim, shown: str) -> None:
    """Serving goes without saying in the list."""
    seen = NodeView(on_chain(1), replace(record(1), placement=claim), 1.0)

    assert seen.phase == shown
    assert seen.load == "0 waiting, 1 pages free, 1.0 tokens/s" + ("" if claim is FIXED else f", {shown}")


def test_the_ask_of_today_is_the_records() -> None:
    """The chain has the most that a node with an automatic ask will ask for."""
    several = replace(record(1), spans=(ServedSpan(0, 2, 9, 1), ServedSpan(6, 8, 7, 1)))
    assert NodeView(replace(on_chain(1), ask=50), several, 1.0).ask == 7
    assert NodeView(replace(on_chain(1), ask=50), replace(several, spans=()), 1.0).ask == 50
    assert NodeView(replace(on_chain(1), ask=50), None, 0.0).ask == 50


def test_a_draining_node_is_shown_as_one() -> None:
    """It takes nobody any more, whatever its phase."""
    assert NodeView(on_chain(1), replace(record(1), draining=True, placement=MOVE), 1.0).phase == "draining"


def test_blocks_are_the_records_or_else_the_chains() -> None:
    """A node that joins has none yet."""
    several = replace(record(1), spans=(ServedSpan(0, 2, 1, 1), ServedSpan(6, 8, 1, 1)))
    joining = replace(record(1), spans=(), placement=replace(MOVE, give=()))

    assert NodeView(on_chain(1), several, 1.0).blocks == "0:2,6:8"
    assert NodeView(on_chain(1), joining, 1.0).blocks == "-"
    assert NodeView(on_chain(1), None, 0.0).blocks == "0:4"
    assert NodeView(on_chain(1), None, 0.0).phase == "-"
