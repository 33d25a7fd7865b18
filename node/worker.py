"""The one thread that computes. torch never runs on the event loop, and never on two threads of one engine."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


class Worker:
    """Runs functions one after the other off the event loop."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="compute")

    async def run(self, function: Callable[..., T], *args: object) -> T:
        """Await a function's result. A cancelled caller does not stop a function that has begun."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, function, *args)

    def close(self) -> None:
        """Let the running function finish and start no other."""
        self._pool.shutdown(wait=True, cancel_futures=True)
