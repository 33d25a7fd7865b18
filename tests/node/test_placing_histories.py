"""Seeded histories of nodes that place themselves while others join, die and leave: nothing is uncovered that need not be."""

import asyncio
import random

import pytest

from sharding.placement_values import Phase
from tests.faults.virtual_time import run_virtual
from tests.node.board import Board

BURSTS, QUIET, SPARE = 4, 60.0, 2


class History:
    """A board whose nodes keep twice the memory that the model takes."""

    def __init__(self, seed: int) -> None:
        self.draw = random.Random(seed)
        self.board = Board(self.draw.choice([4, 8]), seed)
        self.gaps: list[float] = []
        self._number = 0

    async def play(self) -> None:
        """Bursts of changes, and quiet between them."""
        await self._fill(0)
        for _ in range(BURSTS):
            await asyncio.sleep(QUIET)
            for member in self.board.there():
                member.host.sessions += [self.draw.choice(member.host.spans)] if member.host.spans else []
            for change in self.draw.choices((self._join, self._die, self._leave), k=self.draw.randint(1, 3)):
                await change()
                await asyncio.sleep(self.draw.uniform(0, 10))
        await asyncio.sleep(QUIET)

    async def _join(self) -> None:
        self._number += 1
        self.board.add(self._number, self.draw.randint(1, 6), self.draw.lognormvariate(1.0, 0.7))

    async def _fill(self, without: int) -> None:
        needs = self.board.world.needs
        while SPARE * needs.num_blocks > sum(
            min(needs.num_blocks, needs.room(each.offer)) for each in self.board.there() if each.number != without
        ):
            await self._join()
            await asyncio.sleep(self.draw.expovariate(0.5))

    async def _victim(self) -> int:
        number = self.draw.choice(sorted(self.board.members))
        await self._fill(number)
        return number

    async def _die(self) -> None:
        self.board.kill(await self._victim())
        self.gaps.append(await self.board.until_covered(30))

    async def _leave(self) -> None:
        number = await self._victim()
        await self.board.members[number].placing.leave(60)
        member = self.board.members.pop(number)
        assert member.running is not None
        member.running.cancel()
        self.board.recount(crashed=False)


@pytest.mark.parametrize("seed", range(5))
def test_no_move_and_no_departure_uncovers_a_block(seed: int) -> None:
    """Gaps come of deaths alone and last some seconds; sessions are not cut."""

    async def main() -> History:
        history = History(seed)
        await history.play()
        for member in history.board.there():
            assert member.running is not None
            assert not member.running.done()
        return history

    history = run_virtual(main(), seed)
    board = history.board

    assert (board.uncovered, board.coverage.uncovered) == (0, 0)
    assert max(history.gaps, default=0.0) < 15
    assert sum(each.host.cut for each in board.there()) == 0
    assert any(Phase.LOADING in [told.phase for told in each.told] for each in board.there())
