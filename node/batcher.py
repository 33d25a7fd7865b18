"""Continuous batching: whatever chunks are ready when a pass ends go into the next one, all sessions together.

Passes run in the compute thread, but for those that are known to be over in a moment: they run on the event loop itself, where
nothing has to be handed over. A token of one session on a small span is mostly such hand-overs otherwise.
"""

import asyncio
import itertools
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

from torch import Tensor

from node.worker import Worker
from sharding.batch_runner import BatchRunner, Done, Failed, Outcome, Waiting
from sharding.engine import Chunk
from sharding.errors import PoolFull
from sharding.scheduler import DEFAULT_BUDGET, Ready, choose

T = TypeVar("T")

PAGE_WAIT_SECONDS = 10.0
"""How long a chunk may wait for pages before its session is told that the node is full."""
RETRY_SECONDS = 0.02
MOMENT_SECONDS = 0.01
"""How long a pass may keep the event loop from everything else. Two hand-overs between threads cost some 0.3 ms."""
BREATH_SECONDS = 0.001
"""After this long without a pass the event loop has seen to everybody else."""
SPEED_SHARE = 0.1
"""Of the newest pass in the running average of the speed."""


@dataclass(slots=True, eq=False)  # tensors cannot be compared by ==
class _Job:
    chunk: Chunk
    ready: Ready
    finish: Callable[[Tensor], Any]
    result: asyncio.Future[Any]
    gives_up: float


@dataclass(frozen=True, slots=True)
class _Finished:
    value: Any


@dataclass(slots=True)
class Load:
    """What the batcher has done and has to do."""

    passes: int = 0
    rows: int = 0
    seconds: float = 0.0
    """In the engine."""
    largest: int = 0
    """Chunks that the largest pass computed."""
    rows_per_second: float = 0.0
    """A running average."""

    def count(self, chunks: int, rows: int, seconds: float) -> None:
        self.passes += 1
        self.rows += rows
        self.seconds += seconds
        self.largest = max(self.largest, chunks)
        speed = rows / max(seconds, 1e-6)
        self.rows_per_second += (speed - self.rows_per_second) * (SPEED_SHARE if self.passes > 1 else 1.0)


class PassTimes:
    """How long passes of about so many rows take: the longer of the last two, so that a single quick one proves nothing."""

    def __init__(self) -> None:
        self._last: dict[int, tuple[float, float]] = {}

    def saw(self, rows: int, seconds: float) -> None:
        size = rows.bit_length()
        _, newest = self._last.get(size, (math.inf, math.inf))
        self._last[size] = (newest, seconds)

    def expected(self, rows: int) -> float:
        """Seconds; infinite where too few are known."""
        return max(self._last.get(rows.bit_length(), (math.inf, math.inf)))


@dataclass(slots=True)
class Batcher:
    """Runs chunks on one engine in passes. Everything that touches the engine goes through `call` or `compute`."""

    runner: BatchRunner
    worker: Worker
    budget: int = DEFAULT_BUDGET
    load: Load = field(default_factory=Load)
    _alone: bytes = b""
    """The session that had the last pass to itself."""
    _ended: float = 0.0
    """When the last pass was over."""
    _times: PassTimes = field(default_factory=PassTimes)
    _jobs: list[_Job] = field(default_factory=list)
    _arrivals: "itertools.count[int]" = field(default_factory=itertools.count)
    _loop: asyncio.Task[None] | None = None

    @property
    def waiting_rows(self) -> int:
        """Rows of chunks that have not been computed yet."""
        return sum(job.ready.rows for job in self._jobs)

    async def call(self, function: Callable[..., T], *args: Any, **named: Any) -> T:
        """Run something between two passes."""
        return await self.worker.run(lambda: function(*args, **named))

    async def compute(self, chunk: Chunk, finish: Callable[[Tensor], T], priority: int = 0) -> T:
        """Compute a chunk in the next pass that has room; `finish` makes the result of its output where the pass ran.

        Raises: what the engine says of the chunk; PoolFull where no pages came free in time.
        """
        loop = asyncio.get_running_loop()
        ready = Ready(len(chunk.inputs), priority, next(self._arrivals))
        job = _Job(chunk, ready, finish, loop.create_future(), loop.time() + PAGE_WAIT_SECONDS)
        if self._alone == chunk.session and (at_once := await self._at_once(job)) is not None:
            return cast("T", at_once.value)
        self._jobs.append(job)
        if self._loop is None or self._loop.done():
            self._loop = asyncio.create_task(self._run())
        result: T = await job.result
        return result

    async def _at_once(self, job: _Job) -> "_Finished | None":
        """The job's result without a task of its own, where nobody else has work here and it takes a moment. Raises: as compute."""
        if time.perf_counter() - self._ended < BREATH_SECONDS:
            await asyncio.sleep(0)  # a session that sends ahead must not keep the loop from the others
        if self._jobs or not self._is_over_in_a_moment(job.ready.rows):
            return None
        [result] = self._compute([job])
        if isinstance(result, Waiting):
            return None
        return _surely(result)

    def _is_over_in_a_moment(self, rows: int) -> bool:
        return self.worker.is_idle and self._times.expected(rows) < MOMENT_SECONDS

    async def close(self) -> None:
        """Take no more passes; whoever waits is cancelled."""
        if self._loop is not None:
            self._loop.cancel()
            await asyncio.gather(self._loop, return_exceptions=True)
        for job in self._jobs:
            job.result.cancel()

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(0)  # what has arrived meanwhile goes into the same pass
            self._jobs = [job for job in self._jobs if not job.result.done()]  # whoever asked may be gone
            if not self._jobs:
                return
            await self._pass(self._next())

    def _next(self) -> list[_Job]:
        by_ready = {job.ready: job for job in self._jobs}
        return [by_ready[ready] for ready in choose(list(by_ready), self.budget)]

    async def _pass(self, jobs: Sequence[_Job]) -> None:
        results = await self._computed(jobs)
        still = asyncio.get_running_loop().time()
        waiting = 0
        for job, result in zip(jobs, results, strict=True):
            if isinstance(result, Waiting) and still < job.gives_up:
                waiting += 1
                continue
            self._jobs.remove(job)
            if not job.result.done():
                _deliver(job, PoolFull(job.chunk.session, 1, 0) if isinstance(result, Waiting) else result)
        if waiting == len(jobs):
            await asyncio.sleep(RETRY_SECONDS)

    async def _computed(self, jobs: Sequence[_Job]) -> Sequence[Any]:
        """An error that is nobody's is everybody's: no job may wait for ever."""
        rows = sum(job.ready.rows for job in jobs)
        try:
            if self._is_over_in_a_moment(rows):
                return self._compute(jobs)
            return await self.worker.run(self._compute, jobs)
        except Exception as error:
            return [error for _ in jobs]

    def _compute(self, jobs: Sequence[_Job]) -> list[Any]:
        """In the compute thread, or in a moment."""
        began = time.perf_counter()
        outcomes = self.runner.run([job.chunk for job in jobs])
        seconds = time.perf_counter() - began
        done = [job.ready.rows for job, outcome in zip(jobs, outcomes, strict=True) if isinstance(outcome, Done)]
        self._ended = began + seconds
        self._alone = jobs[0].chunk.session if len(jobs) == 1 else b""
        if done:
            self.load.count(len(done), sum(done), seconds)
            self._times.saw(sum(job.ready.rows for job in jobs), seconds)
        return [_finished(job, outcome) for job, outcome in zip(jobs, outcomes, strict=True)]


def _finished(job: _Job, outcome: Outcome) -> Any:
    if not isinstance(outcome, Done):
        return outcome
    try:
        return _Finished(job.finish(outcome.output))
    except Exception as error:  # of one session
        return error


def _deliver(job: _Job, result: Any) -> None:
    try:
        job.result.set_result(_surely(result).value)
    except Exception as error:
        job.result.set_exception(error)


def _surely(result: Any) -> _Finished:
    """Raises: what came in place of a result."""
    match result:
        case _Finished():
            return result
        case Failed(error=error):
            raise error
        case error:
            raise error
