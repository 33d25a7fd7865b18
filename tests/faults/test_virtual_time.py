"""The loop in virtual time: hours in no time, the same order in every run, and a name for what would hang for ever."""

import asyncio
import random
import secrets
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.faults.virtual_time import EPOCH, Deadlock, OutOfTime, VirtualTimeError, run_virtual

clock = time.perf_counter  # the real one, whatever is patched


def test_an_hour_of_timers_passes_while_the_clock_says_an_hour() -> None:
    """Each of 3,600 sleeps ends at its own time; nothing really waits, or this would never end."""
    seen: list[float] = []

    async def main() -> None:
        for _ in range(3600):
            await asyncio.sleep(1)
            seen.append(asyncio.get_running_loop().time())

    run_virtual(main())

    assert seen == pytest.approx([float(second) for second in range(1, 3601)])


def test_timers_go_off_in_the_order_of_their_times_and_then_of_their_making() -> None:
    """As on any loop."""
    order: list[str] = []

    async def after(seconds: float, name: str) -> None:
        await asyncio.sleep(seconds)
        order.append(name)

    async def main() -> None:
        await asyncio.gather(after(2, "late"), after(1, "first"), after(1, "second"), after(0, "now"))

    run_virtual(main())

    assert order == ["now", "first", "second", "late"]


def test_every_clock_of_the_time_module_is_the_loops() -> None:
    """What a node measures is virtual too, and a sleep in a blocking call moves the clock."""

    async def main() -> tuple[float, ...]:
        await asyncio.sleep(5)
        await asyncio.to_thread(time.sleep, 2)
        return time.monotonic(), time.perf_counter(), time.time() - EPOCH, asyncio.get_running_loop().time()

    assert run_virtual(main()) == pytest.approx((7.0, 7.0, 7.0, 7.0))
    assert time.perf_counter is clock


async def deadline_of(seconds: float, wait: float) -> str:
    """Which of a wait and its deadline ends first."""
    try:
        async with asyncio.timeout(seconds):
            await asyncio.sleep(wait)
    except TimeoutError:
        return "timeout"
    return "done"


@pytest.mark.parametrize(("wait", "ends"), [(9.999, "done"), (10.001, "timeout")])
def test_a_deadline_holds_to_the_millisecond(wait: float, ends: str) -> None:
    """Just before it and just after it."""
    assert run_virtual(deadline_of(10.0, wait)) == ends


def test_executors_run_on_the_loops_own_thread() -> None:
    """The default one and a pool of one's own; exceptions come back as they do from threads."""
    pool = ThreadPoolExecutor(1)

    def fail() -> None:
        raise KeyError("no")

    async def main() -> set[int]:
        loop = asyncio.get_running_loop()
        threads = {await asyncio.to_thread(threading.get_ident), await loop.run_in_executor(pool, threading.get_ident)}
        with pytest.raises(KeyError):
            await loop.run_in_executor(pool, fail)
        return threads

    assert run_virtual(main()) == {threading.get_ident()}
    pool.shutdown()


def test_calls_in_one_pool_take_their_time_one_after_the_other() -> None:
    """Three calls of two seconds: six in a pool of one thread, two in the default pool."""
    pool = ThreadPoolExecutor(1)

    async def main(executor: ThreadPoolExecutor | None) -> float:
        loop = asyncio.get_running_loop()
        await asyncio.gather(*(loop.run_in_executor(executor, int) for _ in range(3)))
        return loop.time()

    assert run_virtual(main(pool), call_seconds=lambda: 2.0) == 6.0
    assert run_virtual(main(None), call_seconds=lambda: 2.0) == 2.0
    pool.shutdown()


def test_a_call_that_is_cancelled_before_it_began_never_runs() -> None:
    """As in a pool whose thread is busy."""
    ran: list[int] = []

    async def main() -> None:
        future = asyncio.get_running_loop().run_in_executor(None, ran.append, 1)
        future.cancel()
        await asyncio.sleep(1)

    run_virtual(main())

    assert ran == []


def test_tasks_that_wait_for_each_other_are_named_at_once() -> None:
    """With the place where each waits; a real loop would be silent for ever."""

    async def stuck() -> None:
        await asyncio.get_running_loop().create_future()

    async def main() -> None:
        await asyncio.sleep(3)
        await asyncio.create_task(stuck(), name="the stuck one")

    with pytest.raises(Deadlock, match=r"at 3 s .*the stuck one .*stuck at .*test_virtual_time.py") as caught:
        run_virtual(main())
    assert len(caught.value.waiting) == 2


async def polls(seconds: float) -> None:
    """Something that waits with a timer for what may never come."""
    while asyncio.get_running_loop().time() < seconds:
        await asyncio.sleep(1)


def test_a_run_may_take_its_limit_and_not_a_second_more() -> None:
    """Polling for ever is no deadlock: the limit of virtual time ends it."""
    run_virtual(polls(100), limit_seconds=100)
    with pytest.raises(OutOfTime, match="past its limit of 100 virtual seconds"):
        run_virtual(polls(101), limit_seconds=100)


def test_a_loop_that_turns_without_the_clock_moving_is_ended() -> None:
    """A busy wait would never reach any limit of time."""

    async def busy() -> None:
        while True:
            await asyncio.sleep(0)

    with pytest.raises(OutOfTime, match="steps"):
        run_virtual(busy())


def test_what_a_run_leaves_is_cancelled_and_its_own_error_comes_out() -> None:
    """Tasks that still wait see their cancellation, so that none is destroyed while pending."""
    ends: list[str] = []

    async def forever() -> None:
        try:
            await asyncio.sleep(10**6)
        finally:
            ends.append("cancelled")

    async def main() -> None:
        left = asyncio.create_task(forever())
        await asyncio.sleep(1)
        raise ValueError(f"with {left.get_name()} left")

    with pytest.raises(ValueError, match="left"):
        run_virtual(main())
    assert ends == ["cancelled"]


async def chances() -> tuple[bytes, int, float]:
    """A little of everything."""
    return secrets.token_bytes(4), secrets.randbelow(1000), random.random()


def test_chance_is_the_seeds_and_is_given_back() -> None:
    """The same seed draws the same secrets; outside the run nothing is seeded."""
    outside, state = secrets.token_bytes, random.getstate()

    assert run_virtual(chances(), 1) == run_virtual(chances(), 1) != run_virtual(chances(), 2)
    assert (secrets.token_bytes, random.getstate()) == (outside, state)


def test_sets_of_tasks_have_the_same_order_in_every_run() -> None:
    """Tasks hash by number: what `asyncio.wait` gives back can be gone through without chance coming in by the addresses."""

    async def main() -> list[str]:
        noise = [object() for _ in range(random.randrange(1000))]
        tasks = {asyncio.create_task(asyncio.sleep(0), name=f"t{index}") for index in range(20)}
        done, _ = await asyncio.wait(tasks)
        return [task.get_name() for task in done][: len(noise) + 20]

    assert run_virtual(main(), 1) == run_virtual(main(), 2)


def test_a_thread_that_calls_into_a_running_loop_is_refused() -> None:
    """Its time would be the machine's: the run would not be the same twice."""

    async def main() -> None:
        loop, caught = asyncio.get_running_loop(), list[BaseException]()

        def call() -> None:
            try:
                loop.call_soon_threadsafe(int)
            except VirtualTimeError as error:
                caught.append(error)

        thread = threading.Thread(target=call)
        thread.start()
        thread.join()
        raise caught[0]

    with pytest.raises(VirtualTimeError, match="use run_in_executor"):
        run_virtual(main())
