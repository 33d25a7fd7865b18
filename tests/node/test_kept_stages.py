"""A plan that keeps what survives of a route: the lost blocks go to others, the stages with the caches stay."""

from dataclasses import replace

import pytest

from incentives.prices import with_pool
from node.errors import NoRoute
from node.offers import Offer
from node.router import KEPT_FACTOR, RouteWish, plan_route
from tests.node.records import address
from tests.node.test_router_wishes import offer
from verification.routes import RouteStage

KEPT = (RouteStage(address(1), 0, 2, 1), RouteStage(address(2), 2, 4, 1), RouteStage(address(3), 4, 6, 1))
FIRST, LAST = offer(1, "0:2", computing=0.2), offer(3, "4:6", computing=0.2)
LOST = RouteWish(6, excluded={address(2)}, kept=KEPT)


def places(*offers: Offer, wish: RouteWish = LOST) -> list[tuple[int, int, int]]:
    """Number, start and end of each stage of the plan."""
    return [(int(stage.node, 16), stage.start, stage.end) for stage in plan_route(offers, wish)]


@pytest.mark.parametrize("span", ["2:4", "1:4", "2:6", "1:5", "0:6"])
def test_who_replaces_a_lost_stage_takes_its_blocks_and_no_others(span: str) -> None:
    """Though it does each block for half of what the survivors need."""
    blocks = len(range(*map(int, span.split(":"))))
    spare = offer(4, span, computing=0.06 * blocks)

    assert places(FIRST, LAST, spare) == [(1, 0, 2), (4, 2, 4), (3, 4, 6)]
    for wish in (replace(LOST, distinct_owners=True), replace(LOST, max_price=with_pool(8))):
        assert places(FIRST, LAST, spare, wish=wish) == [(1, 0, 2), (4, 2, 4), (3, 4, 6)]


@pytest.mark.parametrize(("lost", "number"), [(0, 1), (1, 2), (2, 3)])
def test_any_stage_may_be_the_lost_one(lost: int, number: int) -> None:
    """The other two stay as they are; two nodes may share what it did."""
    hosts = [offer(1, "0:2"), offer(2, "2:4"), offer(3, "4:6"), offer(4, "0:6", computing=0.02)]
    wish = replace(LOST, excluded={address(number)})
    stages = plan_route(hosts, wish)

    assert [stage for stage in stages if stage in KEPT] == [stage for stage in KEPT if stage.node != address(number)]
    shared = [*hosts[:3], offer(5, f"0:{2 * lost + 1}"), offer(6, f"{2 * lost + 1}:6")]
    assert [stage.node for stage in plan_route(shared, wish) if stage not in KEPT] == [address(5), address(6)]


def test_a_survivor_may_offer_more_by_now_and_stays_with_its_part() -> None:
    """Its cache is of use for these blocks only; also where that is a part of what it hosts, in two records."""
    spare = offer(4, "2:4", computing=0.3)

    assert places(offer(1, "0:3", computing=0.3), LAST, spare) == [(1, 0, 2), (4, 2, 4), (3, 4, 6)]
    assert places(offer(1, "0:1", computing=0.1), offer(1, "1:4", computing=0.3), LAST, spare) == [
        (1, 0, 2),
        (4, 2, 4),
        (3, 4, 6),
    ]


def test_a_survivor_that_is_full_stays_for_it_has_its_pages() -> None:
    """Somebody else with free pages is no reason to move; a full replacement is one to look further."""
    full, other = replace(FIRST, full=True), offer(5, "0:2")
    spare = offer(4, "2:4", computing=0.2)

    assert places(full, other, LAST, spare) == [(1, 0, 2), (4, 2, 4), (3, 4, 6)]
    whole = offer(6, "0:6", computing=3.0)
    assert places(full, LAST, replace(spare, full=True), whole) == [(1, 0, 2), (6, 2, 4), (3, 4, 6)]
    assert places(full, LAST, replace(spare, full=True)) == [(1, 0, 2), (4, 2, 4), (3, 4, 6)]


def test_what_is_not_on_offer_any_more_or_excluded_is_not_kept() -> None:
    """Gone, moved, or suspected: the rest of the survivors stay."""
    wide = offer(4, "0:4", computing=0.2)

    assert places(LAST, wide) == [(4, 0, 4), (3, 4, 6)]
    assert places(offer(1, "1:2", computing=0.2), LAST, wide) == [(4, 0, 4), (3, 4, 6)]
    assert places(FIRST, LAST, wide, wish=replace(LOST, excluded={address(1), address(2)})) == [(4, 0, 4), (3, 4, 6)]


def test_where_only_a_survivor_has_the_lost_blocks_all_is_planned_anew() -> None:
    """Better another cache than no route, and a ceiling counts for all of it."""
    wider = offer(1, "0:4", computing=0.4)

    assert places(wider, LAST) == [(1, 0, 4), (3, 4, 6)]
    dear = (replace(FIRST, stage=replace(FIRST.stage, ask=5)), replace(LAST, stage=replace(LAST.stage, ask=5)))
    whole = offer(5, "0:6", 2, computing=0.9)
    assert places(*dear, whole, wish=replace(LOST, max_price=with_pool(34))) == [(1, 0, 2), (5, 2, 4), (3, 4, 6)]
    assert places(*dear, whole, wish=replace(LOST, max_price=with_pool(16))) == [(5, 0, 6)]
    with pytest.raises(NoRoute) as caught:
        places(FIRST, LAST)
    assert caught.value.uncovered == [2, 3]


@pytest.mark.parametrize(("seconds", "stay"), [(0.244, True), (0.246, False)])
def test_keeping_may_cost_so_many_times_as_much_and_not_more(seconds: float, stay: bool) -> None:
    """Replaying everything takes a while once; slow stages take it at every token."""
    hosts = (offer(1, "0:2", computing=seconds), offer(3, "4:6", computing=seconds), offer(5, "0:6", computing=0.3))
    kept, anew = 3 * 0.01 + 2 * seconds + 0.1, 0.01 + 0.3

    assert (kept < KEPT_FACTOR * anew) == stay
    assert places(*hosts) == ([(1, 0, 2), (5, 2, 4), (3, 4, 6)] if stay else [(5, 0, 6)])
