"""The router where all nodes are as fast: the cheapest whole route, the same one every time, only from nodes that may serve it."""

import random
from dataclasses import replace
from itertools import permutations

import pytest

from incentives.prices import StagePrice, route_price, with_pool
from node.client_errors import PriceTooHigh
from node.directory import NodeRecord
from node.errors import NoRoute
from node.hop_times import HopTimes
from node.offers import announced_offers
from node.router import RouteWish, plan_route
from sharding.span import Span, covers
from verification.addresses import Address, to_address
from verification.routes import RouteStage

MANIFEST = b"\x0a" * 32
MINIMUM = 100


def address(number: int) -> Address:
    """An address that sorts by its number."""
    return to_address(number.to_bytes(20, "big"))


def node(number: int, span: str, ask: int = 1, bonded: int = MINIMUM, manifest: bytes = MANIFEST) -> NodeRecord:
    """A node that serves a span."""
    return NodeRecord(
        node=address(number), signer=address(1000 + number), peer=bytes(32), bonded=bonded, exiting=0, manifest=manifest,
        span=Span.parse(span), ask=ask, endpoint=f"wss://node{number}.test:1/v1/stream",
    )  # fmt: skip


def plan(
    *records: NodeRecord, blocks: int = 4, excluded: tuple[Address, ...] = (), max_price: int | None = None
) -> tuple[RouteStage, ...]:
    """Plan with this file's model and minimum stake, by the price alone."""
    announced = announced_offers(records, MANIFEST, MINIMUM, HopTimes(lambda: 0.0))
    offers = [replace(each, link=0.0, computing=0.0, waiting=0.0, reliability=1.0) for each in announced]
    return plan_route(offers, RouteWish(blocks, 1.0, max_price=max_price, excluded=excluded))


def chosen(*records: NodeRecord, blocks: int = 4, excluded: tuple[Address, ...] = ()) -> list[Address]:
    """The nodes of the planned route."""
    return [stage.node for stage in plan(*records, blocks=blocks, excluded=excluded)]


def price_of(stages: tuple[RouteStage, ...], blocks: int) -> int:
    """What a voucher pays per token."""
    return route_price([StagePrice(stage.node, stage.span, stage.ask) for stage in stages], blocks).per_token


def cheapest(records: list[NodeRecord], blocks: int) -> tuple[int, int] | None:
    """Price and stages of the best route: each block at its lowest ask, by nodes that go on for as long as theirs is that."""
    asks = [
        min((each.ask for each in records if covers([each.span], Span(at, at + 1))), default=0) for at in range(blocks)
    ]
    if 0 in asks:
        return None
    price, reached, stages = sum(asks) + asks[0] + asks[-1], 0, 0
    while reached < blocks:
        ahead = [_reach(each, reached, asks) for each in records]
        reached, stages = max(ahead), stages + 1
    return with_pool(price), stages


def _reach(record: NodeRecord, start: int, asks: list[int]) -> int:
    """The boundary up to which a node has the lowest ask from `start` on."""
    end = start
    while end < len(asks) and record.span.start <= end < record.span.end and record.ask == asks[end]:
        end += 1
    return end


def test_stages_carry_what_their_nodes_announced() -> None:
    """In the order of the blocks, whatever the order of the nodes."""
    stages = plan(node(3, "3:4", 7), node(1, "0:1", 5), node(2, "1:3", 6))

    assert stages == (RouteStage(address(1), 0, 1, 5), RouteStage(address(2), 1, 3, 6), RouteStage(address(3), 3, 4, 7))


def test_one_node_covers_all() -> None:
    """A route of one stage is a route."""
    assert chosen(node(1, "0:4")) == [address(1)]
    assert chosen(node(1, "0:1"), blocks=1) == [address(1)]


def test_cheaper_route_wins_over_a_shorter_one() -> None:
    """Price first."""
    assert chosen(node(1, "0:4", 10), node(2, "0:2", 9), node(3, "2:4", 9)) == [address(2), address(3)]


def test_fewest_hops_among_equal_prices() -> None:
    """Hops second: each one costs time."""
    halves, whole = (node(1, "0:2", 5), node(2, "2:4", 5)), node(3, "0:4", 5)

    assert chosen(*halves, whole) == [address(3)]


def test_fewest_hops_where_the_search_meets_in_the_middle() -> None:
    """Two routes of one price, of which a search by price alone finds the longer one first."""
    spans = (("0:5", 1), ("1:6", 1), ("0:1", 1), ("6:7", 1), ("7:8", 1), ("5:7", 1))

    stages = plan(*[node(number, span, ask) for number, (span, ask) in enumerate(spans, 1)], blocks=8)

    assert [(stage.start, stage.end) for stage in stages] == [(0, 5), (5, 7), (7, 8)]


def test_price_outweighs_any_number_of_hops() -> None:
    """One unit less a block is cheaper although it takes many more stages."""
    many = [node(1 + block, f"{block}:{block + 1}", 999_999) for block in range(64)]
    whole = node(65, "0:64", 1_000_000)

    assert len(chosen(*many, whole, blocks=64)) == 64


def test_first_and_last_stage_are_priced_as_they_are_paid() -> None:
    """The embedding and the head are paid as a block each, to whoever has the first block and the last one."""
    dear_at_the_end = (node(1, "0:1", 5), node(2, "1:4", 1))
    dear_in_the_middle = (node(3, "0:2", 1), node(4, "2:3", 6), node(5, "3:4", 1))

    end, middle = with_pool(10 + 4), with_pool(3 + 6 + 2)
    assert price_of(plan(*dear_at_the_end, max_price=end), 4) == end
    assert price_of(plan(*dear_in_the_middle, max_price=middle), 4) == middle
    for records, price in ((dear_at_the_end, end), (dear_in_the_middle, middle)):
        with pytest.raises(PriceTooHigh) as caught:
            plan(*records, max_price=price - 1)
        assert caught.value.price == price


def test_a_stage_may_be_any_part_of_what_a_node_serves() -> None:
    """The beginning, the middle or the end, wherever another one is cheaper or has nothing."""
    wide = node(1, "0:6", 5)

    assert plan(wide, node(2, "2:4", 1), blocks=6) == (
        RouteStage(address(1), 0, 2, 5),
        RouteStage(address(2), 2, 4, 1),
        RouteStage(address(1), 4, 6, 5),
    )
    assert plan(wide, node(2, "0:3", 1), blocks=6)[1] == RouteStage(address(1), 3, 6, 5)
    assert plan(wide, node(2, "3:6", 1), blocks=6)[0] == RouteStage(address(1), 0, 3, 5)
    assert plan(node(2, "0:2"), node(3, "1:5", 2), node(4, "4:6"), blocks=6) == (
        RouteStage(address(2), 0, 2, 1),
        RouteStage(address(3), 2, 4, 2),
        RouteStage(address(4), 4, 6, 1),
    )


def test_lower_address_wins_among_equals() -> None:
    """Every client that sees the same nodes plans the same route."""
    records = [node(number, "0:4", 5) for number in (4, 2, 3)]

    for order in permutations(records):
        assert chosen(*order) == [address(2)]


def test_order_of_the_nodes_does_not_matter() -> None:
    """Also between routes that differ in their boundaries and cost the same."""
    records = [node(1, "0:1"), node(2, "1:4"), node(3, "0:3"), node(4, "3:4"), node(5, "0:2"), node(6, "2:4")]
    random.Random(5).shuffle(records)
    first = chosen(*records)

    for seed in range(20):
        random.Random(seed).shuffle(records)
        assert chosen(*records) == first


@pytest.mark.parametrize(
    "unusable",
    [
        node(9, "0:4", 0, bonded=MINIMUM - 1),
        node(9, "0:4", 0, bonded=0),
        node(9, "0:4", 0, manifest=b"\x0b" * 32),
        node(9, "0:5", 0),
        node(9, "1:4", 0),
        node(9, "0:3", 0),
    ],
    ids=["under-staked", "slashed", "other model", "overruns", "starts late", "ends early"],
)
def test_node_that_does_not_fit_is_ignored(unusable: NodeRecord) -> None:
    """However cheap it is; alone it makes no route."""
    assert chosen(node(1, "0:4", 5), unusable) == [address(1)]
    with pytest.raises(NoRoute):
        plan(unusable)


def test_node_with_just_the_minimum_stake_is_used() -> None:
    """The limit itself is enough."""
    assert chosen(node(1, "0:4", bonded=MINIMUM)) == [address(1)]


def test_excluded_nodes_are_passed_over() -> None:
    """The next best takes the place of one that failed; without one there is no route."""
    records = (node(1, "0:4", 1), node(2, "0:4", 2))

    assert chosen(*records, excluded=(address(1),)) == [address(2)]
    with pytest.raises(NoRoute):
        plan(*records, excluded=(address(1), address(2)))


@pytest.mark.parametrize(
    ("spans", "gaps"),
    [((), [0, 1, 2, 3]), (("0:2",), [2, 3]), (("0:1", "3:4"), [1, 2]), (("1:4",), [0]), (("0:3", "3:6"), [3])],
)
def test_gaps_are_named(spans: tuple[str, ...], gaps: list[int]) -> None:
    """Whoever wants to help sees which blocks to serve; a node that overruns the model serves none of them."""
    with pytest.raises(NoRoute) as caught:
        plan(*[node(number, span) for number, span in enumerate(spans, 1)])

    assert caught.value.uncovered == gaps
    assert caught.value.num_blocks == 4


def test_spans_that_overlap_are_a_route() -> None:
    """Every block is computed once: one of the two does less than it could."""
    stages = plan(node(1, "0:3"), node(2, "2:4"))

    assert [stage.node for stage in stages] == [address(1), address(2)]
    assert (stages[0].start, stages[0].end, stages[1].end) == (0, stages[1].start, 4)


def test_amounts_past_64_bits_are_compared_exactly() -> None:
    """One unit among the largest asks decides what is within a ceiling."""
    top = 2**96 - 1
    below = with_pool(6 * top) - 1

    def within(max_price: int, *records: NodeRecord) -> list[Address]:
        return [stage.node for stage in plan(*records, max_price=max_price)]

    assert within(below, node(1, "0:4", top), node(2, "0:4", top - 1)) == [address(2)]
    assert within(below, node(3, "0:4", top), node(1, "0:2", top), node(2, "2:4", top - 1)) == [
        address(1),
        address(2),
    ]
    with pytest.raises(PriceTooHigh):
        within(below, node(1, "0:4", top))


def random_nodes(chance: random.Random, blocks: int) -> list[NodeRecord]:
    """Up to twenty nodes with few different asks, so that ties are common."""
    records = []
    for number in range(chance.randint(0, 20)):
        start = chance.randrange(blocks)
        ask = chance.choice((1, 2, 2, 2, 3))
        records.append(node(number + 1, f"{start}:{chance.randint(start + 1, blocks)}", ask))
    return records


def test_routes_are_the_cheapest_of_all() -> None:
    """200 random sets of nodes against the lowest ask of every block and the fewest turns at it."""
    chance, routes = random.Random(7), 0
    for _ in range(200):
        blocks = chance.randint(1, 12)
        records = random_nodes(chance, blocks)
        best = cheapest(records, blocks)
        if best is None:
            with pytest.raises(NoRoute):
                plan(*records, blocks=blocks)
        else:
            stages = plan(*records, blocks=blocks)
            assert (price_of(stages, blocks), len(stages)) == best
            routes += 1

    assert 50 < routes < 200, "the random sets should have both outcomes"


def test_a_node_that_asks_nothing_is_not_routed_to() -> None:
    """Vouchers must rise, so work for nothing cannot be paid; it would only win every route."""
    assert chosen(node(1, "0:4", 0), node(2, "0:4", 1)) == [address(2)]
