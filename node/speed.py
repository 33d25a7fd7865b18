"""How fast an engine is for one session when nothing waits: tried once, then kept to what was computed."""

import logging
import secrets
import statistics

import torch

from node.batcher import Batcher, Load
from node.offers import UNCLAIMED_TOKENS_PER_SECOND
from sharding.engine import Chunk, Engine
from sharding.errors import ShardingError

log = logging.getLogger(__name__)

TRIAL_ROWS = 4
ONE_Q16 = 1 << 16


class Speed:
    """Tokens per second for one session when nothing waits.

    A pass gives every session in it one token and takes longer with more rows, so the truth lies between the passes and the rows
    of a second; a trial of single rows says where, as far as the machine is still what it was.
    """

    def __init__(self, trial: float = 0.0) -> None:
        self._trial = trial
        self._passes, self._rows, self._seconds = 0, 0, 0.0
        self.tokens_per_second = trial or UNCLAIMED_TOKENS_PER_SECOND

    def update(self, load: Load) -> None:
        """Take in what was computed since the last time."""
        passes, rows, seconds = load.passes - self._passes, load.rows - self._rows, load.seconds - self._seconds
        self._passes, self._rows, self._seconds = load.passes, load.rows, load.seconds
        if passes > 0 and seconds > 0:
            self.tokens_per_second = min(max(self._trial, passes / seconds), rows / seconds)


async def first_speed(batcher: Batcher, engine: Engine) -> Speed:
    """What to claim of an engine that nobody has used yet; next to nothing where it cannot be tried."""
    try:
        return Speed(await _try_speed(batcher, engine))
    except ShardingError as error:
        log.warning("the engine's speed could not be tried: %s", error)
        return Speed()


async def _try_speed(batcher: Batcher, engine: Engine) -> float:
    """Tokens per second of single rows. Raises: ShardingError."""
    name = secrets.token_bytes(16)
    await batcher.call(batcher.runner.open, name, TRIAL_ROWS)
    try:
        took = [await _row_seconds(batcher, engine, name, position) for position in range(TRIAL_ROWS)]
    finally:
        await batcher.call(batcher.runner.close, name)
    return 1.0 / max(statistics.median(took), 1e-6)


async def _row_seconds(batcher: Batcher, engine: Engine, name: bytes, position: int) -> float:
    before = batcher.load.seconds
    await batcher.compute(Chunk(name, position, _row(engine)), lambda output: None)
    return batcher.load.seconds - before


def _row(engine: Engine) -> torch.Tensor:
    """Token 0, or hidden states of ones in the engine's numbers."""
    if engine.span.start == 0:
        return torch.zeros(1, dtype=torch.int64)
    one = 1 if engine.hidden_dtype.is_floating_point else ONE_Q16
    return torch.full((1, engine.spec.hidden_size), one, dtype=engine.hidden_dtype)
