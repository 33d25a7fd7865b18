"""The one thread that computes, so that no engine is ever used from two. Passes that are over in a moment go without it."""

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")


class _OneThread(ThreadPoolExecutor):
    """Knows whether it is at work, also for callers that have gone."""

    def __init__(self) -> None:
        super().__init__(max_workers=1, thread_name_prefix="compute")
        self._handed_in: deque[Future[Any]] = deque()

    def submit(self, *args: Any, **named: Any) -> Future[Any]:
        future = super().submit(*args, **named)
        self._handed_in.append(future)
        return future

    @property
    def is_idle(self) -> bool:
        while self._handed_in and self._handed_in[0].done():  # in their order; one that was given up may wait behind
            self._handed_in.popleft()
        return not self._handed_in


class Worker:
    """Runs functions one after the other off the event loop."""

    def __init__(self) -> None:
        self._pool = _OneThread()

    async def run(self, function: Callable[..., T], *args: object) -> T:
        """Await a function's result. A cancelled caller does not stop a function that has begun."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, function, *args)

    @property
    def is_idle(self) -> bool:
        """Whether nothing runs or waits here: only then may the event loop use an engine, and only until it next awaits."""
        return self._pool.is_idle

    def close(self) -> None:
        """Let the running function finish and start no other."""
        self._pool.shutdown(wait=True, cancel_futures=True)
