"""A client's routes over parts of what nodes serve: what inertia, claims and a lost stage mean for a part."""

import pytest

from node.router import RouteWish
from tests.faults.virtual_time import run_virtual
from tests.node.records import address
from tests.node.test_gossip_routes import bench, route
from verification.routes import RouteStage


def test_an_open_stage_keeps_its_part_of_a_span_and_no_more() -> None:
    """The node is cheaper for the blocks that it has open, and takes others at what they cost."""

    async def main() -> None:
        two = bench(1, 2)
        await two.tell(1, speed=1.0)
        await two.tell(2, speed=1.0 / 0.9)
        assert await two.nodes() == [address(2)]
        halves = (RouteStage(address(1), 0, 2, 1), RouteStage(address(2), 2, 4, 1))
        two.planner.opened(halves)
        assert await two.planner.plan(RouteWish(4)) == halves
        await two.tell(1, speed=1.0, ask=2, sequence=5)  # another price is another channel
        assert await two.nodes() == [address(2)]

    run_virtual(main())


@pytest.mark.parametrize("is_recorded", [True, False])
def test_a_ring_through_a_part_of_a_span_is_held_against_its_share_of_the_claim(is_recorded: bool) -> None:
    """A token that takes as long as was claimed teaches nothing new, whether a record or the chain is all there is."""

    async def main() -> None:
        two = bench(1, 2)
        claimed = 1.0
        if is_recorded:
            claimed = 8.0
            await two.tell(1, speed=claimed)
            await two.tell(2, speed=claimed)
        await two.nodes()
        parts = (RouteStage(address(1), 0, 3, 1), RouteStage(address(2), 3, 4, 1))
        links = sum(two.planner.times.one_way(each.node) for each in parts)
        for _ in range(3):
            two.planner.took(route(*parts), 1 / claimed + links)
        for stage in parts:
            measured = two.planner.times.seconds_per_token(stage.node, len(stage.span), 1000.0)
            assert measured == pytest.approx(len(stage.span) / 4 / claimed)

    run_virtual(main())


def test_stages_that_hold_a_session_stay_when_one_between_them_is_lost() -> None:
    """Another node takes exactly the lost blocks, although it could take more of them for less."""

    async def main() -> None:
        four = bench(1, 2, 3, 4)
        for number, span in ((1, "0:1"), (2, "1:3"), (3, "3:4")):
            await four.tell(number, span)
        before = await four.planner.plan(RouteWish(4, excluded={address(4)}))
        assert [each.node for each in before] == [address(number) for number in (1, 2, 3)]
        four.planner.opened(before)
        await four.tell(4, speed=6.0)
        four.planner.failed([address(2)], shun=True)
        assert await four.planner.plan(RouteWish(4)) == (RouteStage(address(4), 0, 4, 1),)
        after = await four.planner.plan(RouteWish(4, kept=before))
        assert after == (before[0], RouteStage(address(4), 1, 3, 1), before[2])
        doubled = await four.planner.plan(RouteWish(4, kept=before), 2)
        assert [(each.node, each.start, each.ask) for each in doubled] == [(each.node, each.start, 2) for each in after]

    run_virtual(main())
