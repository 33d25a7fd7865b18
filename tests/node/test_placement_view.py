"""What one node believes of the others: records as far as they hold together, and only of those that answer."""

from dataclasses import replace

import pytest

from node.placement_view import Sight, sole_holders, witnesses
from node.placing_parts import TELL_SECONDS, spread_seconds
from sharding.placement import World
from sharding.placement_values import Holding, ModelNeeds, Offer, Phase, Policy
from sharding.span import Span
from tests.node.records import NOW, address, record
from verification.node_records import ServedSpan, ServiceRecord
from verification.placement_claims import PlacementClaim

WORLD = World(ModelNeeds(8, 100, 0, 0), Policy(patience=100.0, rest=30.0), b"seed")


def served(number: int, *spans: str, sequence: int = 1) -> ServiceRecord:
    """What a node with fixed blocks says."""
    parsed = [Span.parse(text) for text in spans]
    made = tuple(ServedSpan(each.start, each.end, 1, 1000) for each in parsed)
    return replace(record(number, sequence), spans=made)


def loading(number: int, since: float, sequence: int = 1) -> ServiceRecord:
    """A node that takes the second half of the model beside the first."""
    claim = PlacementClaim(800, 1000, Phase.LOADING, int(since * 1000), (), (Span(4, 8),), 4)
    return replace(served(number, "0:4", sequence=sequence), placement=claim)


def test_records_become_holdings_of_the_others() -> None:
    """This node's own is not among them; a node without memory to offer holds what it serves."""
    view = Sight(address(1)).view([served(1, "0:4"), served(2, "0:2", "4:6")], WORLD, NOW)

    assert view == {
        address(2): Holding(Offer(address(2), 0, 0.001), (Span(0, 2), Span(4, 6)), Phase.SERVING, 0.0),
    }


@pytest.mark.parametrize(("span", "there"), [("4:8", True), ("4:9", False)])
def test_what_speaks_of_other_blocks_than_the_models_counts_for_nothing(span: str, there: bool) -> None:
    """At the model's last block and one past it, in what is served and in what is taken."""
    claim = PlacementClaim(800, 1000, Phase.LOADING, 0, (), (Span.parse(span),))
    for made in (served(2, span), replace(served(2, "0:1"), placement=claim)):
        assert (address(2) in Sight(address(1)).view([made], WORLD, NOW)) is there


def test_who_does_not_answer_counts_again_when_it_answers_or_speaks() -> None:
    """A record that was there before is no sign of life; a newer one is."""
    sight, old, new = Sight(address(1)), served(2, "0:4"), served(2, "0:4", sequence=2)
    assert sight.view([old], WORLD, NOW)
    sight.lost([address(2), address(9)])
    assert (sight.view([old], WORLD, NOW), sight.missed) == ({}, {address(2)})
    sight.found([address(2)])
    assert sight.view([old], WORLD, NOW)
    sight.lost([address(2)])
    assert sight.view([new], WORLD, NOW)
    assert not sight.missed


def test_a_move_counts_for_its_patience_however_often_it_is_announced() -> None:
    """Just below the limit it does, at the limit it does not; a new date on it changes nothing."""
    sight = Sight(address(1))
    for seconds, counts in ((0.0, True), (50.0, True), (99.9, True), (100.0, False), (500.0, False)):
        [seen] = sight.view([loading(2, NOW + seconds)], WORLD, NOW + seconds).values()
        assert (seen.planned == (Span(0, 8),)) is counts
        assert seen.relied_on == (Span(0, 4),)


def test_who_has_rested_may_move_again() -> None:
    """For as long as Policy.rest says and no less; then its next move is a new one."""
    for rested, counts in ((29.9, False), (30.0, True)):
        sight = Sight(address(1))
        sight.view([loading(2, NOW)], WORLD, NOW)
        sight.view([served(2, "0:4", sequence=2)], WORLD, NOW + 50)
        sight.view([served(2, "0:4", sequence=3)], WORLD, NOW + 50 + rested)
        [seen] = sight.view([loading(2, NOW + 120, sequence=4)], WORLD, NOW + 120).values()
        assert (seen.move is not None) is counts


def test_those_whose_loss_leaves_a_gap_are_known() -> None:
    """Who has a block alone, whatever else it shares; who is leaving is not relied on."""
    leaving = replace(served(4, "6:8"), placement=PlacementClaim(phase=Phase.LEAVING))
    records = [served(2, "0:4"), served(3, "0:3", "5:6"), leaving]

    assert sole_holders(Sight(address(1)).view(records, WORLD, NOW), WORLD) == [address(2), address(3)]


def test_witnesses_are_asked_for_every_block_in_turn() -> None:
    """Those with most of the blocks first, every block once before any twice, and never more than allowed."""
    records = [served(2, "0:1"), served(3, "1:2"), served(4, "0:2"), served(5, "0:2"), served(6, "2:8")]
    others = list(Sight(address(1)).view(records, WORLD, NOW).values())

    assert witnesses([Span(0, 2)], others, 16) == [address(number) for number in (4, 5, 2, 3)]
    assert witnesses([Span(0, 2)], others, 2) == [address(4), address(5)]
    assert witnesses([Span(1, 2)], others, 16) == [address(number) for number in (3, 4, 5)]
    assert witnesses([], others, 16) == []


@pytest.mark.parametrize(("nodes", "rounds"), [(1, 0), (17, 0), (18, 2), (51, 2), (52, 3), (153, 3), (1000, 5)])
def test_news_takes_longer_in_a_larger_network(nodes: int, rounds: int) -> None:
    """Sixteen hear at once; each round of exchanges triples them."""
    assert spread_seconds(nodes, 3.0) == TELL_SECONDS + 3.0 * rounds
