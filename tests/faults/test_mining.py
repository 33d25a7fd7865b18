"""A route that takes another's place begins before its channel is on the chain, and waits for it with the credit of one window."""

import asyncio
from dataclasses import dataclass
from typing import cast

import pytest

from node.channel_book import OpenedChannel
from node.client_errors import SessionFailed
from node.refusals import FailureCode
from node.session_money import MINED_SECONDS
from tests.faults.paper_chain import PaperChannels
from tests.faults.parts import Parts
from tests.faults.plan import FaultPlan
from tests.faults.schedule import run_schedule
from tests.faults.virtual_time import run_virtual
from tests.faults.world import WINDOW, running_world
from tests.node.swarm import request

PROMPT = (5, 17, 3, 80, 9, 33)
WANTED = request(PROMPT, 30)
BEFORE = 10
"""Tokens of the first route."""


@dataclass
class Run:
    """What a client saw of a route that was lost and one that took its place."""

    tokens: list[int]
    times: list[float]
    lost_at: float
    end: SessionFailed | None
    routes: int

    def until(self, seconds: float) -> int:
        """Tokens that came up to so long after the loss, since it."""
        return sum(at <= self.lost_at + seconds for at in self.times) - BEFORE


async def play(parts: Parts, mining_seconds: float, away_seconds: float = 0.0) -> Run:
    """Lose the middle stage while a transaction takes so long, and the chain answers nothing for a while."""
    loop = asyncio.get_running_loop()
    async with running_world(FaultPlan(0), parts) as world:
        session = await world.client.open(WANTED)
        await asyncio.sleep(1.0)  # for the reserve
        money, channels = world.client.money, cast(PaperChannels, world.chain.channels)

        async def mined_late(planned: OpenedChannel, need: int) -> None:
            """Sent at once, though nobody may be told when it is mined."""
            await asyncio.sleep(mining_seconds)
            channels.free[planned.key.payer] -= need
            channels.lock(planned.channel, need)
            money._mining.pop(planned.channel)

        money._open = mined_late  # type: ignore[method-assign]
        run = Run([], [], 0.0, None, 0)
        try:
            async for token in session.tokens():
                run.tokens.append(token)
                run.times.append(loop.time())
                if len(run.tokens) == BEFORE:
                    run.lost_at = loop.time()
                    await world.nodes["s1r0"].server.close()
                if len(run.tokens) == BEFORE + 2 and away_seconds:
                    world.clock.down = True
                    loop.call_later(away_seconds, setattr, world.clock, "down", False)
            await session.finish()
        except SessionFailed as error:
            run.end = error
        finally:
            await session.abandon()
        world.clock.down = False
        await world.client.close()
        run.routes = session.epoch
        assert world.overpaid() == []
    return run


def right(parts: Parts) -> list[int]:
    return list(run_schedule(FaultPlan(0), parts, (WANTED,)).answers[0].tokens)


@pytest.mark.parametrize("mining_seconds", [3.0, MINED_SECONDS - 2.0])
def test_a_window_of_tokens_comes_before_the_channel_is_mined_and_the_rest_after(
    parts: Parts, mining_seconds: float
) -> None:
    """The token after what is known, W more on credit, and then nothing until there is money; nobody is left for that."""
    run = run_virtual(play(parts, mining_seconds))
    assert run.end is None
    assert run.tokens == right(parts)
    assert run.routes == 1
    ahead = run.until(mining_seconds) - (1 + WINDOW)
    assert 0 <= ahead <= 1 + WINDOW, "what the first route had sent already came too"
    assert run.until(mining_seconds) == run.until(mining_seconds / 2) < 20
    assert run.until(mining_seconds + 2.0) == 20


def test_a_chain_that_is_away_is_waited_for(parts: Parts) -> None:
    """The transaction was sent before; the stages see it when the chain is back."""
    run = run_virtual(play(parts, 1.0, away_seconds=15.0))
    assert (run.end, run.tokens, run.routes) == (None, right(parts), 1)
    assert run.until(14.0) < 20
    assert run.until(17.0) == 20


def test_a_channel_that_is_never_mined_ends_the_session_by_name(parts: Parts) -> None:
    """Not for any stage's fault, and with the tokens that came."""
    run = run_virtual(play(parts, 10_000.0))
    assert run.end is not None
    assert run.tokens == right(parts)[: len(run.tokens)]
    assert tuple(run.tokens) == run.end.generated
    assert BEFORE < len(run.tokens) < 30
    assert run.end.code in (FailureCode.CHANNEL, FailureCode.UNPAID)
