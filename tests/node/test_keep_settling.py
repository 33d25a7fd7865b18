"""Settling beside serving: round after round, whatever happened to the one before."""

import asyncio
import logging
from collections.abc import Callable
from typing import cast

import pytest

from incentives.errors import ChainUnavailable, TransactionRefused
from node.settlement import Settled, Settlement, keep_settling

CHANNEL = b"\x0c" * 32
DOWN = ChainUnavailable("http://chain.test", "down")


class ScriptedSettlement:
    """Rounds that do what a test says; sets an event when the script is over."""

    def __init__(self, *script: Callable[[], list[Settled]]) -> None:
        self._script = iter(script)
        self._loop = asyncio.get_running_loop()
        self.over = asyncio.Event()

    def round(self) -> list[Settled]:
        """As Settlement's."""
        step = next(self._script, None)
        if step is None:
            self._loop.call_soon_threadsafe(self.over.set)
            return []
        return step()


def raising(error: Exception) -> Callable[[], list[Settled]]:
    """A round that fails."""

    def step() -> list[Settled]:
        raise error

    return step


@pytest.mark.parametrize("error", [DOWN, TransactionRefused(-32000, "insufficient funds"), ValueError("a fault")])
async def test_keep_settling_survives_a_failed_round(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    """The node earns on and tries again; the operator's log has the reason."""
    caplog.set_level(logging.INFO)
    script = ScriptedSettlement(raising(error), lambda: [Settled("settle", CHANNEL, 400, 60_000, bytes(32))])
    task = asyncio.create_task(keep_settling(cast(Settlement, script), 0.001))

    await asyncio.wait_for(script.over.wait(), 5)

    assert not task.done()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert str(error) in caplog.text
    assert "settle 400" in caplog.text


async def test_keep_settling_ends_when_it_is_cancelled() -> None:
    """It does not take its own end for a failed round."""
    script = ScriptedSettlement()
    task = asyncio.create_task(keep_settling(cast(Settlement, script), 0.001))
    await asyncio.wait_for(script.over.wait(), 5)

    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
