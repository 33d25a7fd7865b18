"""One hosted span: its engine, what batches its sessions' work, and what it remembers of their prompts.

All spans of a node share one compute thread: a pass of one waits for a pass of another, and never for more of each.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from node.batcher import Batcher
from node.prefixes import Prefixes
from node.speed import Speed, first_speed
from node.worker import Worker
from sharding.batch_runner import DEFAULT_SWAP_BYTES, BatchRunner
from sharding.engine import Engine
from sharding.paged_sessions import DEFAULT_CACHE_BYTES
from sharding.scheduler import DEFAULT_BUDGET
from sharding.span import Span

Loader = Callable[[Span, int, Sequence[Engine]], Engine]
"""Loads a span with so many bytes for keys and values, sharing what the given engines have of it. Raises: ShardingError."""


@dataclass(frozen=True, slots=True)
class Means:
    """What engines are made of and run in. Bytes are for all spans together."""

    worker: Worker
    load: Loader
    cache_bytes: int = DEFAULT_CACHE_BYTES
    swap_bytes: int = DEFAULT_SWAP_BYTES
    batch_rows: int = DEFAULT_BUDGET


@dataclass(slots=True, eq=False)
class Hosted:
    """An engine that serves. cache_bytes: what it was given of the node's."""

    engine: Engine
    batcher: Batcher
    prefixes: Prefixes
    cache_bytes: int
    speed: Speed = field(default_factory=Speed)

    @classmethod
    def of(cls, engine: Engine, means: Means, cache_bytes: int, swap_bytes: int) -> "Hosted":
        """An engine that was loaded, ready to serve."""
        batcher = Batcher(BatchRunner(engine, swap_bytes), means.worker, means.batch_rows)
        return cls(engine, batcher, Prefixes(batcher), cache_bytes)

    @property
    def span(self) -> Span:
        return self.engine.span

    async def try_speed(self) -> None:
        """Find out what to claim of it."""
        self.speed = await first_speed(self.batcher, self.engine)


def by_blocks(total: int, spans: Sequence[Span]) -> dict[Span, int]:
    """Divide so many bytes between spans, so that each has room for as many positions; never more in all."""
    blocks = sum(len(span) for span in spans)
    return {span: total * len(span) // blocks for span in spans}
