"""What a node says of itself: its load is read, and a record is signed when one is due or when the load has changed much."""

import logging
import secrets
import statistics
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import torch

from incentives.signing import Signer
from node.batcher import Batcher
from node.offers import UNCLAIMED_TOKENS_PER_SECOND
from node.record_book import sign_record
from sharding.engine import Chunk, Engine
from sharding.errors import ShardingError
from sharding.span import Span
from verification.addresses import Address
from verification.node_records import (
    DEFAULT_LIFE_SECONDS,
    RATES_PER_TOKEN,
    ServedSpan,
    ServiceRecord,
    SignedServiceRecord,
    next_sequence,
)
from verification.typed_data import Domain

log = logging.getLogger(__name__)

RECORD_SECONDS = 10.0
"""Three records in the life of one: two may be lost on their way."""
MUCH_QUEUE = 64
"""Rows; a queue that has grown or shrunk by this much and by half is news."""
TRIAL_ROWS = 4
MAX_U32 = 2**32 - 1
ONE_Q16 = 1 << 16


@dataclass(frozen=True, slots=True)
class StageLoad:
    """A stage at one moment. passes, rows, seconds: of computing since the process began."""

    queue: int
    free_pages: int
    passes: int
    rows: int
    seconds: float
    draining: bool = False


@dataclass(frozen=True, slots=True)
class Service:
    """What stays the same for the life of a process."""

    node: Address
    peer: bytes
    endpoint: str
    manifest: bytes
    profile: bytes
    span: Span
    ask: int


class Speed:
    """Tokens per second for one session when nothing waits.

    A pass gives every session in it one token and takes longer with more rows, so the truth lies between the passes and the rows
    of a second; a trial of single rows says where, as far as the machine is still what it was.
    """

    def __init__(self, trial: float = 0.0) -> None:
        self._trial = trial
        self._before = StageLoad(0, 0, 0, 0, 0.0)
        self.tokens_per_second = trial or UNCLAIMED_TOKENS_PER_SECOND

    def update(self, load: StageLoad) -> None:
        """Take in what was computed since the last time."""
        before, self._before = self._before, load
        passes, seconds = load.passes - before.passes, load.seconds - before.seconds
        if passes > 0 and seconds > 0:
            slowest, fastest = passes / seconds, (load.rows - before.rows) / seconds
            self.tokens_per_second = min(max(self._trial, slowest), fastest)


class Author:
    """Signs the records of one node; `load` reads the stage."""

    def __init__(
        self, service: Service, signer: Signer, domain: Domain, load: Callable[[], Awaitable[StageLoad]],
        speed: Speed | None = None,
    ) -> None:  # fmt: skip
        self.service = service
        self._signer = signer
        self._domain = domain
        self._load = load
        self._speed = speed or Speed()
        self._last: ServiceRecord | None = None

    async def write(self, held: ServiceRecord | None) -> SignedServiceRecord | None:
        """A new record, or None where the last one still says it all.

        held: what this node's book has of it. It may be from an earlier life, by a clock that was set back since; its sequence
        is gone past, or nobody would listen.
        """
        load = await self._load()
        self._speed.update(load)
        now, last = time.time(), self._last
        if (
            last is not None
            and held == last
            and 0 <= now - last.issued < RECORD_SECONDS
            and not changed_much(last, load)
        ):
            return None
        sequence = next_sequence(max(each.sequence if each is not None else 0 for each in (held, last)), now)
        self._last = self._record(load, sequence, int(now))
        return sign_record(self._last, self._signer, self._domain)

    def _record(self, load: StageLoad, sequence: int, now: int) -> ServiceRecord:
        service = self.service
        rate = round(self._speed.tokens_per_second * RATES_PER_TOKEN)
        span = ServedSpan(service.span.start, service.span.end, service.ask, min(max(rate, 1), MAX_U32))
        return ServiceRecord(
            node=service.node, sequence=sequence, issued=now, expires=now + DEFAULT_LIFE_SECONDS, peer=service.peer,
            endpoint=service.endpoint, manifest=service.manifest, profile=service.profile, spans=(span,),
            queue=min(load.queue, MAX_U32), free_pages=_bounded(load.free_pages), draining=load.draining,
        )  # fmt: skip


def changed_much(last: ServiceRecord, load: StageLoad) -> bool:
    """Whether a router would decide otherwise: draining, full or no longer, a queue of another size."""
    if (last.draining, last.free_pages == 0) != (load.draining, load.free_pages <= 0):
        return True
    difference = abs(load.queue - last.queue)
    return difference >= MUCH_QUEUE and 2 * difference >= max(load.queue, last.queue)


async def stage_load(batcher: Batcher, *, draining: bool) -> StageLoad:
    """Read a stage; between two passes, so it takes as long as one."""
    free, done = await batcher.call(lambda: batcher.runner.unpromised_pages), batcher.load
    return StageLoad(batcher.waiting_rows, free, done.passes, done.rows, done.seconds, draining)


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


def _bounded(count: int) -> int:
    return min(max(count, 0), MAX_U32)
