"""An event loop whose clock is a number: when nothing is ready, it jumps to the next timer.

An hour of waiting takes milliseconds, and the same coroutine with the same seed does the same things in the same order,
whatever else the machine does. What ends up off the loop in a node (compute, disk, chain) runs on the loop's own thread here,
one call at a time. There are no sockets.
"""

import asyncio
import itertools
import random
import secrets
import threading
import time
from asyncio import base_events
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from contextvars import Context
from typing import Any, TypeVar
from unittest import mock

T = TypeVar("T")

EPOCH = 1_700_000_000.0
"""What time.time() says when a virtual run begins, in seconds since 1970."""
MAIN_TASK = "main task of a virtual run"
LIMIT_SECONDS = 24 * 3600.0
LIMIT_STEPS = 2_000_000
_IDLE_STEPS = 100_000


class VirtualTimeError(Exception):
    """A virtual run that can never end, or did not in time."""


class Deadlock(VirtualTimeError):
    """Nothing is ready, nothing waits for a time, and the main task is not done."""

    def __init__(self, now: float, waiting: list[str]) -> None:
        super().__init__(
            f"at {now:g} s all tasks wait for each other; look at: {'; '.join(waiting) or 'no task at all'}"
        )
        self.now = now
        self.waiting = waiting


class OutOfTime(VirtualTimeError):
    """The run went past its limit of virtual seconds, or did too much without the clock moving."""

    def __init__(self, now: float, limit: str, waiting: list[str]) -> None:
        super().__init__(f"at {now:g} s the run is past its limit of {limit}; look at: {'; '.join(waiting)}")
        self.now = now
        self.waiting = waiting


class _SerialTask(asyncio.Task[T]):
    """A task that hashes by its number, not by its address: sets of tasks have the same order in every run."""

    _numbers = itertools.count()

    def __init__(self, *args: Any, **options: Any) -> None:
        self._number = next(self._numbers)
        super().__init__(*args, **options)

    def __hash__(self) -> int:
        return self._number


class _Jump:
    """Stands where a loop has its selector: waiting for input means moving the clock."""

    def __init__(self, loop: "VirtualLoop") -> None:
        self._loop = loop

    def select(self, timeout: float | None) -> list[object]:
        if timeout is None:
            raise Deadlock(self._loop.time(), pending_tasks(self._loop))
        self._loop.advance(timeout)
        return []


class VirtualLoop(base_events.BaseEventLoop):
    """A loop in virtual time; begins at 0 s. Raises out of its run: Deadlock, OutOfTime."""

    def __init__(self, limit_seconds: float = LIMIT_SECONDS, limit_steps: int = LIMIT_STEPS) -> None:
        super().__init__()
        self._now = 0.0
        self._limit_seconds, self._limit_steps, self._steps, self._idle_steps = limit_seconds, limit_steps, 0, 0
        self._selector = _Jump(self)
        self._clock_resolution = 1e-9
        self._free_at: dict[int, float] = {}
        self.call_seconds: Callable[[], float] = lambda: 0.0
        """How long the next call in an executor takes, in virtual seconds."""
        self.set_task_factory(_make_task)

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._now

    def wall_time(self) -> float:
        """The same as seconds since 1970."""
        return EPOCH + self._now

    def advance(self, seconds: float) -> None:
        """Move the clock. Raises: OutOfTime."""
        self._steps += 1
        self._idle_steps = 0 if seconds > 0 else self._idle_steps + 1
        self._now += seconds
        if self._now > self._limit_seconds:
            raise OutOfTime(self._now, f"{self._limit_seconds:g} virtual seconds", pending_tasks(self))
        if self._steps > self._limit_steps or self._idle_steps > _IDLE_STEPS:
            raise OutOfTime(self._now, f"{min(self._limit_steps, _IDLE_STEPS)} steps", pending_tasks(self))

    def run_in_executor(  # type: ignore[override]
        self, executor: Executor | None, func: Callable[..., T], *args: Any
    ) -> "asyncio.Future[T]":
        """Run the function on this thread in the loop's next pass; its result is there after `call_seconds`.

        As in a pool: what is cancelled before it began never runs, what has begun runs to its end. An executor given by
        name works through its calls one after the other; the default one has a thread for each.
        """
        future: asyncio.Future[T] = self.create_future()
        self.call_soon(self._call, future, 0 if executor is None else id(executor), func, args)
        return future

    def _call(self, future: "asyncio.Future[T]", executor: int, func: Callable[..., T], args: tuple[Any, ...]) -> None:
        if future.cancelled():
            return
        outcome = _outcome(func, args)
        began = max(self._now, self._free_at.get(executor, 0.0)) if executor else self._now
        self._free_at[executor] = done = began + self.call_seconds()
        if done > self._now:
            self.call_at(done, _settle, future, *outcome)
        else:
            _settle(future, *outcome)

    def call_soon_threadsafe(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        """As call_soon: there is only one thread. Raises: VirtualTimeError from another one."""
        if threading.current_thread() is not threading.main_thread() and self.is_running():
            raise VirtualTimeError(
                "a thread called into virtual time; use run_in_executor, it stays on the loop's thread"
            )
        return self.call_soon(callback, *args, context=context)

    def _process_events(self, events: list[object]) -> None:
        """There are none: nothing comes from outside."""

    def _write_to_self(self) -> None:
        """Nobody to wake: there is one thread."""


def _make_task(loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> "asyncio.Task[Any]":
    return _SerialTask(coroutine, loop=loop, **options)


def _outcome(func: Callable[..., T], args: tuple[Any, ...]) -> tuple[T | None, BaseException | None]:
    try:
        return func(*args), None
    except Exception as error:
        return None, error


def _settle(future: "asyncio.Future[Any]", result: object, error: BaseException | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)


def pending_tasks(loop: asyncio.AbstractEventLoop, apart_from: tuple[str, ...] = ()) -> list[str]:
    """Each task that is not done and whose name does not begin so, with the line where it waits."""
    left = [task for task in asyncio.all_tasks(loop) if not task.get_name().startswith(apart_from)]
    return sorted(f"{task.get_name()} {_where(task)}" for task in left)


def _where(task: "asyncio.Task[Any]") -> str:
    frames = task.get_stack(limit=1)
    name = getattr(task.get_coro(), "__qualname__", "?")
    return f"{name} at {frames[-1].f_code.co_filename}:{frames[-1].f_lineno}" if frames else f"{name}, not begun"


@contextmanager
def virtual_clock(loop: VirtualLoop) -> Iterator[None]:
    """Have the time module tell the loop's time; a sleep in a blocking call moves the clock."""
    with (
        mock.patch.object(time, "monotonic", loop.time),
        mock.patch.object(time, "perf_counter", loop.time),
        mock.patch.object(time, "time", loop.wall_time),
        mock.patch.object(time, "sleep", loop.advance),
    ):
        yield


@contextmanager
def seeded_chance(seed: int) -> Iterator[random.Random]:
    """Have everything that asks for chance, secrets included, get the same in every run."""
    chance, before = random.Random(f"secrets {seed}"), random.getstate()
    random.seed(f"random {seed}")
    try:
        with (
            mock.patch.object(secrets, "token_bytes", lambda size=32: chance.randbytes(size)),
            mock.patch.object(secrets, "randbits", chance.getrandbits),
            mock.patch.object(secrets, "randbelow", chance.randrange),
        ):
            yield chance
    finally:
        random.setstate(before)


def run_virtual(
    coroutine: Coroutine[Any, Any, T], seed: int = 0, limit_seconds: float = LIMIT_SECONDS,
    call_seconds: Callable[[], float] | None = None,
) -> T:  # fmt: skip
    """Run a coroutine to its end in virtual time and cancel what it left. Raises: Deadlock, OutOfTime; what it raises."""
    loop = VirtualLoop(limit_seconds)
    loop.call_seconds = call_seconds or loop.call_seconds
    _SerialTask._numbers = itertools.count()
    try:
        with virtual_clock(loop), seeded_chance(seed):
            try:
                return loop.run_until_complete(loop.create_task(coroutine, name=MAIN_TASK))
            finally:
                _wind_up(loop)
    finally:
        loop.close()


def _wind_up(loop: VirtualLoop) -> None:
    """End every task, so that none complains when it is collected; one that will not end is left."""
    tasks = sorted(asyncio.all_tasks(loop), key=hash)
    for task in tasks:
        task.cancel()
    try:
        loop._limit_seconds, loop._idle_steps = float("inf"), 0
        loop.run_until_complete(asyncio.wait_for(_all_of(tasks), 600.0))
        loop.run_until_complete(loop.shutdown_asyncgens())
    except (VirtualTimeError, TimeoutError):
        pass


async def _all_of(tasks: "list[asyncio.Task[Any]]") -> None:
    await asyncio.gather(*tasks, return_exceptions=True)
