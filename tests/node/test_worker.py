"""The compute thread: one function at a time, in order, off the event loop."""

import asyncio
import threading
from collections.abc import Iterator

import pytest

from node.worker import Worker


@pytest.fixture
def worker() -> Iterator[Worker]:
    """A worker that is closed after the test."""
    made = Worker()
    yield made
    made.close()


async def test_result_comes_back(worker: Worker) -> None:
    """With the arguments as they were given."""
    assert await worker.run(divmod, 17, 5) == (3, 2)


async def test_error_comes_back_and_the_worker_goes_on(worker: Worker) -> None:
    """One session's fault is that session's."""
    with pytest.raises(ZeroDivisionError):
        await worker.run(divmod, 1, 0)

    assert await worker.run(divmod, 1, 1) == (1, 0)


async def test_functions_run_on_one_thread_that_is_not_the_loops(worker: Worker) -> None:
    """torch never blocks the loop, and never meets itself."""
    threads = await asyncio.gather(*(worker.run(threading.get_ident) for _ in range(8)))

    assert len(set(threads)) == 1
    assert threads[0] != threading.get_ident()


async def test_functions_run_in_order_and_never_together(worker: Worker) -> None:
    """A cache that two functions changed at once would be nobody's."""
    log: list[str] = []

    def work(name: int) -> None:
        log.append(f"begin {name}")
        threading.Event().wait(0.002)
        log.append(f"end {name}")

    await asyncio.gather(*(worker.run(work, name) for name in range(5)))

    assert log == [f"{moment} {name}" for name in range(5) for moment in ("begin", "end")]


async def test_loop_goes_on_while_a_function_runs(worker: Worker) -> None:
    """The function waits here for something that only the loop can do."""
    release = threading.Event()
    running = asyncio.create_task(worker.run(release.wait, 5.0))
    await asyncio.sleep(0)

    release.set()

    assert await running is True


async def test_cancelled_caller_leaves_the_running_function_alone(worker: Worker) -> None:
    """It runs to its end before the next one begins."""
    begun, release, log = threading.Event(), threading.Event(), list[str]()

    def slow() -> None:
        begun.set()
        release.wait(5)
        log.append("slow")

    caller = asyncio.create_task(worker.run(slow))
    await asyncio.to_thread(begun.wait, 5)
    caller.cancel()
    await asyncio.gather(caller, return_exceptions=True)
    after = asyncio.create_task(worker.run(log.append, "next"))
    await asyncio.sleep(0.01)
    assert log == []

    release.set()
    await after

    assert log == ["slow", "next"]


async def test_closing_finishes_the_running_function_and_starts_no_other() -> None:
    """Who waits for one that never began is told so."""
    worker = Worker()
    begun, release, log = threading.Event(), threading.Event(), list[str]()

    def slow() -> None:
        begun.set()
        release.wait(5)
        log.append("finished")

    first = asyncio.create_task(worker.run(slow))
    second = asyncio.create_task(worker.run(log.append, "begun"))
    await asyncio.to_thread(begun.wait, 5)
    closing = asyncio.create_task(asyncio.to_thread(worker.close))
    await asyncio.sleep(0.02)
    assert not closing.done()

    release.set()
    await closing
    await first

    with pytest.raises(asyncio.CancelledError):
        await second
    assert log == ["finished"]


async def test_closed_worker_takes_no_work() -> None:
    """And closing it twice is no error."""
    worker = Worker()
    worker.close()
    worker.close()

    with pytest.raises(RuntimeError):
        await worker.run(len, "")


async def test_worker_is_idle_when_its_thread_is(worker: Worker) -> None:
    """Also when whoever asked has gone: the function runs on, and whatever it uses is in use."""
    assert worker.is_idle
    begun, release = threading.Event(), threading.Event()

    def slow() -> None:
        begun.set()
        release.wait(5)

    running, waiting = asyncio.create_task(worker.run(slow)), asyncio.create_task(worker.run(len, ""))
    await asyncio.to_thread(begun.wait, 5)
    for caller in (waiting, running):  # the second is given up before it has begun
        caller.cancel()
    await asyncio.gather(running, waiting, return_exceptions=True)
    assert not worker.is_idle

    release.set()
    await worker.run(len, "")
    assert worker.is_idle
