"""Offers: claims corrected by what was measured, so that liars about speed lose their routes."""

from dataclasses import replace

import pytest

from node.hop_times import HopTimes
from node.offers import (
    UNCLAIMED_TOKENS_PER_SECOND,
    Claim,
    announced_offers,
    claimed,
    parts_within,
    parts_without,
    recorded_offers,
)
from node.router import RouteWish, plan_route
from sharding.span import Span
from tests.node.records import MINIMUM, address, on_chain, record
from verification.addresses import Address
from verification.node_records import ServedSpan, ServiceRecord
from verification.routes import RouteStage

MANIFEST, PROFILE = b"m" * 32, b"p" * 32


def claims(number: int, tokens_per_second: float, ask: int = 1, **changes: object) -> ServiceRecord:
    """A node's record with one span and one claim."""
    span = ServedSpan(0, 4, ask, round(tokens_per_second * 1000))
    return replace(record(number), spans=(span,), **changes)  # type: ignore[arg-type]


def test_a_liar_about_speed_loses_the_route_after_a_few_tokens() -> None:
    """It claims 1,000 tokens a second, does 10, and is passed over from the third one on; the honest node claims its 50."""
    times = HopTimes(lambda: 0.0)
    records = (claims(1, 1000.0), claims(2, 50.0))
    speeds = {address(1): 10.0, address(2): 50.0}
    taken = []
    for _ in range(10):
        stages = plan_route(recorded_offers(records, MANIFEST, PROFILE, times), RouteWish(4))
        node = stages[0].node
        taken.append(node)
        times.saw_step(node, 4, 1, 1 / speeds[node])

    assert taken[0] == address(1)
    assert taken[3:] == [address(2)] * 7


def test_a_node_that_fails_is_dearer_until_it_has_made_up_for_it() -> None:
    """Price counts by reliability."""
    times, wish = HopTimes(lambda: 0.0), RouteWish(4, seconds_per_unit=1e-3)
    records = (claims(1, 100.0, ask=10), claims(2, 100.0, ask=11))

    def planned() -> Address:
        return plan_route(recorded_offers(records, MANIFEST, PROFILE, times), wish)[0].node

    assert planned() == address(1)
    times.failed(address(1))
    assert planned() == address(2)
    for _ in range(10):
        times.succeeded(address(1))
    assert planned() == address(1)


def test_offers_carry_the_claims_of_their_record() -> None:
    """One for each span; the queue waits at the node's speed."""
    spans = (ServedSpan(0, 2, 5, 20_000), ServedSpan(2, 4, 6, 500))
    busy = replace(record(1, queue=3), spans=spans, free_pages=0)
    first, second = recorded_offers([busy], MANIFEST, PROFILE, HopTimes(lambda: 0.0))

    assert (first.stage, second.stage) == (RouteStage(address(1), 0, 2, 5), RouteStage(address(1), 2, 4, 6))
    assert (first.computing, first.waiting) == pytest.approx((0.05, 0.15))
    assert (second.computing, second.waiting) == pytest.approx((2.0, 6.0))
    assert first.full


def test_who_announces_many_blocks_does_not_look_fast_on_a_few_of_them() -> None:
    """What is not claimed counts once for each stage, until it is measured: then the blocks count."""
    times = HopTimes(lambda: 0.0)
    [announced] = announced_offers([on_chain(1)], MANIFEST, MINIMUM, times)
    recorded = recorded_offers([claims(2, 1.1)], MANIFEST, PROFILE, times)
    assert announced.computing + announced.waiting == pytest.approx(1 / UNCLAIMED_TOKENS_PER_SECOND)
    assert {each.node for each in plan_route([announced, *recorded], RouteWish(4))} == {address(2)}
    for _ in range(3):
        times.saw_step(address(1), 2, 1, 0.2)
    [measured] = announced_offers([on_chain(1)], MANIFEST, MINIMUM, times)
    assert (measured.computing, measured.waiting) == pytest.approx((0.4, 0.0))


def test_a_claim_counts_by_the_blocks_that_it_is_made_for() -> None:
    """The best claim for each block; without one for every block it is as if nothing were claimed."""
    claims = [Claim(Span(0, 4), 10.0), Claim(Span(4, 6), 1.0), Claim(Span(5, 6), 4.0)]

    assert claimed(Span(0, 4), claims) == pytest.approx(10.0)
    assert claimed(Span(1, 3), claims) == pytest.approx(20.0)
    assert claimed(Span(3, 5), claims) == pytest.approx(1 / (1 / 40 + 1 / 2))
    assert claimed(Span(5, 6), claims) == pytest.approx(4.0)
    assert claimed(Span(5, 7), claims) == claimed(Span(0, 4), []) == UNCLAIMED_TOKENS_PER_SECOND


def test_a_part_of_an_offer_takes_its_blocks_share_of_the_computing() -> None:
    """And all of the link and the queue; parts within and without a span are all of it."""
    [offer] = recorded_offers([claims(1, 10.0, ask=3, queue=2)], MANIFEST, PROFILE, HopTimes(lambda: 0.0))
    [middle] = parts_within(offer, Span(1, 3))
    outer = parts_without(offer, [Span(1, 3)])

    assert middle == replace(offer, stage=RouteStage(address(1), 1, 3, 3), computing=pytest.approx(0.05))
    assert [each.stage.span for each in outer] == [Span(0, 1), Span(3, 4)]
    assert sum(each.computing for each in (middle, *outer)) == pytest.approx(offer.computing)
    assert parts_within(offer, Span(3, 9))[0].stage.span == Span(3, 4)
    assert parts_within(offer, Span(4, 9)) == parts_without(offer, [Span(0, 2), Span(2, 4)]) == []


@pytest.mark.parametrize("change", [{"manifest": b"x" * 32}, {"profile": b"x" * 32}, {"draining": True}], ids=str)
def test_records_that_cannot_serve_make_no_offer(change: dict[str, object]) -> None:
    """Another model, another profile, or about to leave."""
    assert recorded_offers([replace(record(1), **change)], MANIFEST, PROFILE, HopTimes(lambda: 0.0)) == []  # type: ignore[arg-type]


def test_nodes_that_only_the_chain_knows_are_the_second_choice() -> None:
    """Under-staked, unpaid and other models' ones are none; a measurement makes up for the missing claim."""
    times = HopTimes(lambda: 0.0)
    poor, free, other = on_chain(3, MINIMUM - 1), replace(on_chain(4), ask=0), replace(on_chain(5), manifest=b"x" * 32)
    announced = announced_offers([on_chain(1), poor, free, other], MANIFEST, MINIMUM, times)
    assert [each.stage.node for each in announced] == [address(1)]

    recorded = recorded_offers([claims(2, 5.0)], MANIFEST, PROFILE, times)
    assert plan_route(announced + recorded, RouteWish(4))[0].node == address(2)
    for _ in range(3):
        times.saw_step(address(1), 4, 1, 0.01)
    announced = announced_offers([on_chain(1)], MANIFEST, MINIMUM, times)
    assert plan_route(announced + recorded, RouteWish(4))[0].node == address(1)
