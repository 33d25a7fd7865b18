"""A node that stops, drained or not, takes its word back."""

import asyncio

from sharding.placement_values import Phase
from tests.faults.virtual_time import run_virtual
from tests.node.board import Board


def test_nobody_is_to_rely_on_a_node_that_stops() -> None:
    """In whatever phase it is: it gives its word back, and claims nothing any more."""

    async def main() -> None:
        member = Board(4).add(1, 2)
        await asyncio.sleep(0.1)
        assert member.placing.holding.phase is Phase.CLAIMING
        member.placing.stop()
        assert member.placing.holding.planned == ()
        other = Board(4).add(1, 2)
        await asyncio.wait_for(other.placing.joined.wait(), 10)
        assert other.placing.holding.relied_on
        other.placing.stop()
        assert (other.placing.holding.phase, other.placing.holding.relied_on) == (Phase.LEAVING, ())

    run_virtual(main())
