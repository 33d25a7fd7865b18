"""Passes over one engine: what is ready goes together, each gets its own answer, and nobody waits for ever."""

import asyncio
import math
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

import pytest
import torch

from node import batcher as batcher_module
from node.batcher import MOMENT_SECONDS, Batcher, Load, PassTimes
from node.worker import Worker
from sharding.batch_runner import BatchRunner, Done, Failed, Outcome, Waiting
from sharding.engine import Chunk
from sharding.errors import PoolFull, TokenOutOfRange
from tests.faults.virtual_time import run_virtual


def chunk(name: bytes, rows: int = 1, position: int = 0) -> Chunk:
    return Chunk(name, position, torch.arange(rows))


def answer(made: Chunk) -> Outcome:
    """What the fake engine says: the sum of the rows."""
    return Done(made.inputs.sum())


class FakeRunner:
    """Answers as it is told, notes each pass, and can be held in the middle of one."""

    def __init__(self) -> None:
        self.passes: list[list[bytes]] = []
        self.answers: dict[bytes, Callable[[Chunk], Outcome]] = {}
        self.threads: set[int] = set()
        self.entered, self.may_go_on = threading.Event(), threading.Event()
        self.may_go_on.set()

    def run(self, batch: Sequence[Chunk]) -> list[Outcome]:
        self.passes.append([each.session for each in batch])
        self.threads.add(threading.get_ident())
        self.entered.set()
        self.may_go_on.wait(10)
        return [self.answers.get(each.session, answer)(each) for each in batch]


@pytest.fixture
def runner() -> FakeRunner:
    return FakeRunner()


@pytest.fixture
def worker() -> Iterator[Worker]:
    made = Worker()
    yield made
    made.close()


@pytest.fixture
def batcher(runner: FakeRunner, worker: Worker) -> Batcher:
    return Batcher(cast("BatchRunner", runner), worker)


def ask(batcher: Batcher, *chunks: Chunk, priority: int = 0) -> list[asyncio.Task[int]]:
    return [asyncio.create_task(batcher.compute(each, lambda made: int(made), priority)) for each in chunks]


async def held(runner: FakeRunner, batcher: Batcher) -> asyncio.Task[int]:
    """A first chunk whose pass does not end before `may_go_on` is set."""
    runner.may_go_on.clear()
    [first] = ask(batcher, chunk(b"first"))
    await asyncio.to_thread(runner.entered.wait, 10)
    return first


async def test_a_chunk_gets_its_own_output_off_the_loop(runner: FakeRunner, batcher: Batcher) -> None:
    """Made into what the session wants in the compute thread, where the engine ran."""
    threads = list[int]()

    def finish(made: torch.Tensor) -> str:
        threads.append(threading.get_ident())
        return f"sum {int(made)}"

    assert await batcher.compute(chunk(b"a", 4), finish) == "sum 6"
    assert set(threads) == runner.threads != {threading.get_ident()}


async def test_what_comes_during_a_pass_goes_into_the_next_one_together(runner: FakeRunner, batcher: Batcher) -> None:
    """Three chunks that came while the first was computed are one pass."""
    first = await held(runner, batcher)
    others = ask(batcher, chunk(b"a", 2), chunk(b"b", 3), chunk(b"c"))
    await asyncio.sleep(0)
    assert batcher.waiting_rows == 1 + 2 + 3 + 1
    runner.may_go_on.set()
    assert await asyncio.gather(first, *others) == [0, 1, 3, 0]
    assert [sorted(each) for each in runner.passes] == [[b"first"], [b"a", b"b", b"c"]]
    assert batcher.waiting_rows == 0


async def test_a_pass_is_filled_by_priority_and_to_the_budget(runner: FakeRunner, batcher: Batcher) -> None:
    """Two rows at a time: the urgent session goes before those that came earlier."""
    batcher.budget = 2
    first = await held(runner, batcher)
    others = ask(batcher, chunk(b"a"), chunk(b"b"), chunk(b"c"))
    urgent = ask(batcher, chunk(b"u"), priority=1)
    await asyncio.sleep(0)
    runner.may_go_on.set()
    await asyncio.gather(first, *others, *urgent)
    assert runner.passes == [[b"first"], [b"u", b"a"], [b"b", b"c"]]


async def test_a_failure_is_told_to_its_session_only(runner: FakeRunner, batcher: Batcher) -> None:
    """One chunk has a bad token, another's output cannot be made into anything, the third is well."""
    runner.answers[b"bad"] = lambda made: Failed(TokenOutOfRange(made.session, 99, 10))
    runner.answers[b"odd"] = lambda made: Done(torch.tensor([1, 2]))
    bad, odd, well = ask(batcher, chunk(b"bad"), chunk(b"odd"), chunk(b"well", 3))
    results = await asyncio.gather(bad, odd, well, return_exceptions=True)
    assert [type(each) for each in results] == [TokenOutOfRange, ValueError, int]
    assert await batcher.compute(chunk(b"bad2", 2), int) == 1


async def test_an_engine_that_breaks_leaves_nobody_waiting(runner: FakeRunner, batcher: Batcher) -> None:
    """All of the pass are told, and the next pass is tried."""

    def breaks(made: Chunk) -> Outcome:
        raise ZeroDivisionError

    runner.answers[b"a"] = breaks
    results = await asyncio.gather(*ask(batcher, chunk(b"a"), chunk(b"b")), return_exceptions=True)
    assert [type(each) for each in results] == [ZeroDivisionError] * 2
    assert await batcher.compute(chunk(b"b", 2), int) == 1


async def test_a_chunk_without_pages_is_tried_again(
    runner: FakeRunner, batcher: Batcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until there are some; others go on in the meantime."""
    monkeypatch.setattr(batcher_module, "RETRY_SECONDS", 0.0)
    tries = iter([Waiting(), Waiting(), Waiting()])
    runner.answers[b"a"] = lambda made: next(tries, answer(made))
    waits, well = ask(batcher, chunk(b"a", 3), chunk(b"b", 2))
    assert await well == 1
    assert await waits == 3
    assert sum(b"a" in each for each in runner.passes) == 4


def test_a_chunk_waits_ten_seconds_for_pages() -> None:
    """A page that comes free just before is taken; after that the session is told that the node is full."""

    async def main(frees_at: float) -> int | PoolFull:
        runner, loop = FakeRunner(), asyncio.get_running_loop()
        runner.answers[b"a"] = lambda made: Waiting() if loop.time() < frees_at else answer(made)
        batcher = Batcher(cast("BatchRunner", runner), Worker())
        try:
            return await batcher.compute(chunk(b"a", 3), int)
        except PoolFull as error:
            return error

    assert run_virtual(main(9.9)) == 3
    error = run_virtual(main(10.1))
    assert isinstance(error, PoolFull)
    assert error.session == b"a"


async def test_who_has_left_is_not_computed_any_more(runner: FakeRunner, batcher: Batcher) -> None:
    """Before its pass it is dropped; during its pass the result is thrown away and the others get theirs."""
    first = await held(runner, batcher)
    gone, stays = ask(batcher, chunk(b"gone"), chunk(b"stays", 2))
    await asyncio.sleep(0)
    gone.cancel()
    first.cancel()
    await asyncio.gather(gone, first, return_exceptions=True)
    runner.may_go_on.set()
    assert await stays == 1
    assert runner.passes == [[b"first"], [b"stays"]]


async def test_two_chunks_of_one_place_are_two_chunks(runner: FakeRunner, batcher: Batcher) -> None:
    """A session that is superseded and the one after it may stand in the queue at once: neither stops the batcher."""
    one, other = ask(batcher, chunk(b"a", 3)), ask(batcher, chunk(b"a", 4), priority=1)
    assert await asyncio.wait_for(asyncio.gather(*one, *other), 10) == [3, 6]


async def test_calls_run_between_passes(runner: FakeRunner, batcher: Batcher) -> None:
    """Never while the engine computes, and in the same thread."""
    first = await held(runner, batcher)
    call = asyncio.create_task(batcher.call(lambda *args, **named: (threading.get_ident(), args, named), 1, two=2))
    await asyncio.sleep(0.01)
    assert not call.done()
    runner.may_go_on.set()
    thread, args, named = await call
    assert ({thread}, args, named) == (runner.threads, (1,), {"two": 2})
    await first


async def test_a_batcher_that_rests_begins_again(runner: FakeRunner, batcher: Batcher) -> None:
    """Its loop ends when nothing is to be done."""
    for _ in range(3):
        assert await batcher.compute(chunk(b"a", 2), int) == 1
    assert runner.passes == [[b"a"]] * 3


async def test_closing_cancels_who_waits(runner: FakeRunner, batcher: Batcher) -> None:
    """Nobody hangs on a node that stops."""
    first = await held(runner, batcher)
    [second] = ask(batcher, chunk(b"b"))
    await asyncio.sleep(0)
    await batcher.close()
    runner.may_go_on.set()
    results = await asyncio.gather(first, second, return_exceptions=True)
    assert [type(each) for each in results] == [asyncio.CancelledError] * 2


async def test_a_batcher_that_never_ran_can_be_closed(batcher: Batcher) -> None:
    """A node that stops before its first session."""
    await batcher.close()


async def test_what_was_done_is_counted(runner: FakeRunner, batcher: Batcher) -> None:
    """Rows and chunks that were computed, not those that failed or wait; passes in which something was."""
    tries = iter([Waiting()])
    runner.answers[b"waits"] = lambda made: next(tries, answer(made))
    runner.answers[b"bad"] = lambda made: Failed(TokenOutOfRange(made.session, 99, 10))
    await asyncio.gather(*ask(batcher, chunk(b"a", 5), chunk(b"b"), chunk(b"waits")))
    await asyncio.gather(*ask(batcher, chunk(b"bad", 7)), return_exceptions=True)
    load = batcher.load
    assert runner.passes[:2] == [[b"b", b"waits", b"a"], [b"waits"]]
    assert (load.passes, load.rows, load.largest) == (2, 7, 2)
    assert load.rows_per_second > 0


def test_the_speed_is_a_running_average() -> None:
    """The first pass says all, each later one a tenth."""
    load = Load()
    seen: list[Any] = []
    for rows, seconds in ((10, 1.0), (20, 1.0), (0, 1.0)):
        load.count(1, rows, seconds)
        seen.append(load.rows_per_second)
    assert seen == pytest.approx([10.0, 11.0, 9.9])
    assert (load.passes, load.rows, load.seconds) == (3, 30, 3.0)


async def known(batcher: Batcher, name: bytes, seconds: float = 0.0) -> None:
    """Two passes of single rows, which are taken to have lasted so long."""
    for _ in range(2):
        await batcher.compute(chunk(name), lambda made: None)
        batcher._times.saw(1, seconds)
    batcher._times.saw(1, seconds)


@pytest.mark.parametrize(("seconds", "here"), [(MOMENT_SECONDS * 0.999, True), (MOMENT_SECONDS, False)])
async def test_a_pass_that_is_over_in_a_moment_needs_no_other_thread(
    runner: FakeRunner, batcher: Batcher, seconds: float, here: bool
) -> None:
    """Once two of its size are known to be that short; before, and past the limit, the loop is kept free."""
    assert await batcher.compute(chunk(b"a"), lambda made: int(made)) == 0
    assert threading.get_ident() not in runner.threads
    await known(batcher, b"a", seconds)
    runner.threads.clear()
    assert await batcher.compute(chunk(b"a", position=2), lambda made: int(made)) == 0
    assert (runner.threads == {threading.get_ident()}) is here


async def test_one_quick_pass_proves_nothing(runner: FakeRunner, batcher: Batcher) -> None:
    """The longer of the last two counts, and passes of other sizes say nothing."""
    times = PassTimes()
    assert times.expected(1) == math.inf
    times.saw(1, 0.001)
    assert times.expected(1) == math.inf
    times.saw(1, 0.5)
    assert times.expected(1) == 0.5
    times.saw(1, 0.001)
    assert times.expected(1) == 0.5
    times.saw(1, 0.002)
    assert (times.expected(1), times.expected(2)) == (0.002, math.inf)


async def test_the_loop_keeps_off_an_engine_that_the_thread_is_using(runner: FakeRunner, batcher: Batcher) -> None:
    """However short the pass would be: it waits its turn behind what runs there."""
    await known(batcher, b"a")
    runner.threads.clear()
    release = threading.Event()
    call = asyncio.create_task(batcher.call(release.wait, 10))
    await asyncio.sleep(0)
    [second] = ask(batcher, chunk(b"a", position=2))
    await asyncio.sleep(0.01)
    assert runner.passes == [[b"a"]] * 2
    release.set()
    assert (await call, await second) == (True, 0)
    assert threading.get_ident() not in runner.threads


async def test_a_session_that_sends_ahead_does_not_keep_the_loop(runner: FakeRunner, batcher: Batcher) -> None:
    """Between two of its passes everybody else has a turn, and what they bring goes into the next one."""
    await known(batcher, b"a")
    [other] = ask(batcher, chunk(b"b"))
    for position in range(2, 5):
        await batcher.compute(chunk(b"a", position=position), lambda made: int(made))
    await other
    assert runner.passes[2] in ([b"b", b"a"], [b"a", b"b"], [b"b"])


async def test_an_error_of_a_moment_is_the_sessions_own(runner: FakeRunner, batcher: Batcher) -> None:
    """As in the thread: told to whoever asked, and the next pass is tried."""
    await known(batcher, b"a")
    runner.answers[b"a"] = lambda made: Failed(TokenOutOfRange(made.session, 99, 10))
    with pytest.raises(TokenOutOfRange):
        await batcher.compute(chunk(b"a", position=2), lambda made: int(made))
    del runner.answers[b"a"]
    assert await batcher.compute(chunk(b"a", position=2), lambda made: int(made)) == 0


async def test_a_moment_without_pages_waits_like_any_other(runner: FakeRunner, batcher: Batcher) -> None:
    """It goes into the queue and is tried again."""
    await known(batcher, b"a")
    tries = iter([Waiting()])
    runner.answers[b"a"] = lambda made: next(tries, answer(made))
    assert await batcher.compute(chunk(b"a", position=2), lambda made: int(made)) == 0
    assert runner.passes == [[b"a"]] * 4
