"""Asking certain nodes whether they are there, and telling many at once."""

import asyncio
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any, TypeVar

from node.gossip import WIDE
from node.gossip_door import BURST
from tests.faults.virtual_time import run_virtual
from tests.node.gossips import Town, Wishes
from tests.node.records import address, key

T = TypeVar("T")


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """In virtual time."""
    return run_virtual(coroutine)


def test_those_that_are_there_answer_and_exchange() -> None:
    """Who is gone, who is unknown and who is stopped do not; all are waited for together, and no longer than asked."""

    async def main() -> None:
        town = Town((1, 2, 3, 4))
        first, second, third, fourth = await town.all()
        await second.gossip.publish()
        assert third.listener is not None
        assert fourth.listener is not None
        await third.listener.close()
        fourth.listener._handler = _never  # type: ignore[attr-defined]
        began = asyncio.get_running_loop().time()
        there = await first.gossip.reach([address(number) for number in (2, 3, 4, 9)], 2.0)
        assert there == {address(2)}
        assert first.holds() == [address(2)]
        assert asyncio.get_running_loop().time() - began <= 2.1

    run(main())


async def _never(stream: object) -> None:
    await asyncio.sleep(3600)


def test_a_node_that_is_too_busy_for_records_is_there() -> None:
    """It said so itself."""

    async def main() -> None:
        first, second = await Town((1, 2)).all()
        for _ in range(int(BURST) + 2):
            assert await first.gossip.reach([address(2)], 2.0) == {address(2)}
        assert second.refused, "the last ones were turned away at the door"

    run(main())


def test_nobody_to_reach_is_nobody_reached() -> None:
    """Without a question."""

    async def main() -> None:
        (first,) = await Town((1,)).all()
        assert await first.gossip.reach([], 2.0) == frozenset()

    run(main())


def test_what_cannot_wait_is_told_to_many_at_once() -> None:
    """Sixteen of twenty hear in one go."""

    async def main() -> None:
        numbers = range(1, 22)
        chance = Wishes()
        chance.wanted = numbers
        town = Town(numbers, chance)
        everybody = await town.all()
        wanted: list[int] = []
        sample = chance.sample
        chance.sample = lambda population, k, **_: (wanted.append(k), sample(population, k)[:k])[1]  # type: ignore[method-assign,func-returns-value]
        await everybody[0].gossip.spread()
        await asyncio.sleep(1)
        assert wanted == [WIDE]
        assert sum(address(1) in each.holds() for each in everybody[1:]) == WIDE

    run(main())


def test_a_node_whose_own_record_is_refused_goes_on_listening() -> None:
    """The chain names another key for it, and the right one again: it hears the others all the time, and is heard again then."""

    async def main() -> None:
        town = Town((1, 2))
        first, second = await town.all()
        right = town.chain[address(1)]
        town.chain = first.directory.chain = {**town.chain, address(1): replace(right, signer=key(9).address)}
        running = asyncio.create_task(first.gossip.run())
        await asyncio.sleep(5)
        await second.gossip.publish()
        assert not running.done()
        first.directory.chain = {**town.chain, address(1): right}
        await asyncio.sleep(5)
        running.cancel()
        assert first.holds() == second.holds() == [address(1), address(2)]

    run(main())
