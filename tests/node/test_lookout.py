"""Who is asked whether it is there, when, and what follows from its silence."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection

import pytest

from node.lookout import MOST_WATCHED, MOST_WITNESSES, Lookout
from node.placing_parts import PlacingParts
from sharding.placement import World
from sharding.placement_values import ModelNeeds, Offer, Policy
from sharding.span import Span
from tests.faults.virtual_time import run_virtual
from tests.node.board import Board, PaperHost
from tests.node.records import address
from tests.node.test_placement_view import served
from verification.addresses import Address
from verification.node_records import ServiceRecord


class Crowd:
    """Others with records, of whom some answer."""

    def __init__(self, records: Collection[ServiceRecord], deaf: Collection[int] = ()) -> None:
        self.records, self.deaf = list(records), {address(number) for number in deaf}
        self.asked: list[tuple[Address, ...]] = []
        world = World(ModelNeeds(64, 100, 0, 0), Policy(), b"seed")
        parts = PlacingParts(
            node=address(1), offer=Offer(address(1), 400, 1.0), world=world, host=PaperHost(Board(4)),
            records=lambda: self.records, alive=lambda nodes: self.answers(nodes), publish=_nothing, served=_ignored,
            round_seconds=3.0, clock=lambda: time.time(),
        )  # fmt: skip
        self.lookout = Lookout(parts)
        self.answers: Callable[[Collection[Address]], Awaitable[frozenset[Address]]] = self.alive

    async def alive(self, nodes: Collection[Address]) -> frozenset[Address]:
        """Who answers of these."""
        self.asked.append(tuple(nodes))
        return frozenset(nodes) - self.deaf


async def _nothing() -> None:
    pass


async def _ignored(spans: tuple[Span, ...]) -> None:
    pass


@pytest.mark.parametrize("deaf", [(), (2,), (3,), (2, 3)])
def test_silence_before_a_block_is_given_up(deaf: tuple[int, ...]) -> None:
    """All witnesses are asked, those that said nothing once more; who says nothing twice is not relied on."""

    async def main() -> None:
        crowd = Crowd([served(2, "0:4"), served(3, "0:2"), served(4, "4:8")], deaf)
        assert await crowd.lookout.silent((Span(0, 2),)) == {address(number) for number in deaf}
        assert crowd.asked[0] == (address(2), address(3))
        assert crowd.asked[1:] == ([tuple(address(number) for number in deaf)] if deaf else [])

    run_virtual(main())


def test_where_no_witness_answers_nobody_else_is_relied_on_either() -> None:
    """There are more holders than may be asked; whoever was not asked could be dead as well."""

    async def main() -> None:
        numbers = range(2, 2 + MOST_WITNESSES + 3)
        crowd = Crowd([served(number, "0:4") for number in numbers], range(2, 2 + MOST_WITNESSES))
        assert await crowd.lookout.silent((Span(0, 2),)) == {address(number) for number in numbers}
        crowd.deaf.remove(address(2))
        assert len(await crowd.lookout.silent((Span(0, 2),))) == MOST_WITNESSES - 1

    run_virtual(main())


def test_those_that_would_leave_a_gap_are_asked_in_turn() -> None:
    """A few at a time, those longest unasked first; nobody else is troubled."""

    async def main() -> None:
        lonely = [served(number, f"{number}:{number + 1}") for number in range(2, 2 + MOST_WATCHED + 4)]
        crowd = Crowd([*lonely, served(30, "40:44"), served(31, "40:44")])
        for _ in range(3):
            await crowd.lookout.watch()
            await asyncio.sleep(1)
        assert [len(each) for each in crowd.asked] == [MOST_WATCHED] * 3
        assert set(crowd.asked[0]) | set(crowd.asked[1]) == {each.node for each in lonely}
        assert set(crowd.asked[2]) >= set(crowd.asked[0]) - set(crowd.asked[1])

    run_virtual(main())


def test_who_is_lost_is_asked_until_it_answers() -> None:
    """It does not count meanwhile."""

    async def main() -> None:
        crowd = Crowd([served(2, "0:4"), served(3, "4:8")], [2])
        await crowd.lookout.watch()
        assert crowd.lookout.others().keys() == {address(3)}
        crowd.deaf.clear()
        await crowd.lookout.watch()
        assert crowd.lookout.others().keys() == {address(2), address(3)}

    run_virtual(main())


def test_a_node_that_misses_one_question_is_not_lost() -> None:
    """It is asked again in a moment."""

    async def main() -> None:
        crowd = Crowd([served(2, "0:4")], [2])
        watching = asyncio.create_task(crowd.lookout.watch())
        await asyncio.sleep(0.1)
        crowd.deaf.clear()
        await watching
        assert crowd.lookout.others().keys() == {address(2)}
        assert len(crowd.asked) == 2

    run_virtual(main())


def test_one_that_is_slow_to_be_silent_holds_up_nobody_else() -> None:
    """While a stopped node is waited for, the next is asked in its turn; nobody is asked twice at a time."""

    async def main() -> None:
        crowd = Crowd([served(2, "0:4")], [2])

        async def slowly(nodes: Collection[Address]) -> frozenset[Address]:
            crowd.asked.append(tuple(nodes))
            await asyncio.sleep(2.0 if address(2) in nodes else 0.1)
            return frozenset(nodes) - crowd.deaf

        crowd.answers = slowly
        watching = asyncio.create_task(crowd.lookout.keep_watching())
        await asyncio.sleep(0.5)
        crowd.records.append(served(3, "4:8"))
        crowd.deaf.add(address(3))
        await asyncio.sleep(3.5)
        assert crowd.asked.count((address(3),)) == 2
        assert crowd.lookout.others().keys() == {address(2)}, "the first is being asked once more"
        await asyncio.sleep(2)
        assert crowd.asked.count((address(2),)) == 2
        assert not crowd.lookout.others()
        watching.cancel()

    run_virtual(main())
