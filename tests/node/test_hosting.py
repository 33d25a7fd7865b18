"""What a node hosts, and how it changes: sessions stay where they began, memory is divided and given back, nothing half done."""

import asyncio
import gc
import threading
import weakref
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import pytest_asyncio
import torch

from node.hosted import Hosted, Means, by_blocks
from node.hosting import MAX_OLD, Hosting
from node.refusals import FailureCode, Refused
from node.worker import Worker
from sharding.engine import Chunk, Engine
from sharding.errors import EngineError, SessionExists, ShardingError, SpanError, TensorMissing
from sharding.exact.engine import ExactEngine
from sharding.paging import PAGE_POSITIONS
from sharding.span import MAX_APART, Span
from tests.node.swarm import write_tiny_exact_model

CACHE_BYTES = 1 << 20


def spans(*texts: str) -> tuple[Span, ...]:
    return tuple(map(Span.parse, texts))


@dataclass
class House:
    """A hosting over a small model, and what was loaded for it."""

    model: Path
    worker: Worker = field(default_factory=Worker)
    loaded: list[str] = field(default_factory=list)
    threads: set[str] = field(default_factory=set)
    missing: set[str] = field(default_factory=set)
    problems: list[Exception] = field(default_factory=list)
    may_load: threading.Event = field(default_factory=threading.Event)

    def load(self, span: Span, cache_bytes: int, have: Sequence[Engine]) -> Engine:
        """As Loader; waits until it may, and finds no files for what is missing."""
        self.may_load.wait(10)
        self.threads.add(threading.current_thread().name)
        if self.problems:
            raise self.problems.pop()
        if str(span) in self.missing:
            raise TensorMissing("pull the span's files", tensor="blocks", file="model.safetensors")
        engine = ExactEngine.from_folder(self.model, span, cache_bytes=cache_bytes, reuse=have)
        self.loaded.append(str(span))
        return engine

    def hosting(self, *texts: str) -> Hosting:
        """With these spans at first."""
        self.may_load.set()
        shares = by_blocks(CACHE_BYTES, spans(*texts))
        made = Hosting([self.load(span, share, ()) for span, share in shares.items()], self.means)
        self.loaded.clear()
        self.threads.clear()
        return made

    @property
    def means(self) -> Means:
        return Means(self.worker, self.load, CACHE_BYTES, 1 << 20)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_exact_model(tmp_path_factory.mktemp("hosting"))


@pytest_asyncio.fixture
async def house(model: Path) -> AsyncIterator[House]:
    made = House(model)
    yield made
    made.may_load.set()
    made.worker.close()


async def begin(hosting: Hosting, name: bytes, span: str, rows: int = 4) -> Hosted:
    """A session with some rows, over blocks from the first on."""
    hosted = hosting.enter(name, Span.parse(span))
    await hosted.batcher.call(hosted.batcher.runner.open, name, 64, Span.parse(span))
    await advance(hosted, name, 0, rows)
    return hosted


async def advance(hosted: Hosted, name: bytes, position: int, rows: int = 1) -> torch.Tensor:
    chunk = Chunk(name, position, torch.arange(rows) + position)
    return await hosted.batcher.compute(chunk, torch.clone)


async def until_gone(engine: "weakref.ref[object]") -> None:
    """A thread that has just handed over its result may hold on to what it worked on for a moment. Fails after a while."""
    async with asyncio.timeout(5.0):
        while gc.collect() is not None and engine() is not None:
            await asyncio.sleep(0.01)


async def test_a_new_session_goes_to_the_span_that_has_its_blocks(house: House) -> None:
    """All of them or some; blocks of two spans, or of none, are not to be had."""
    hosting = house.hosting("0:2", "4:6")
    assert hosting.spans == hosting.all_spans == spans("0:2", "4:6")
    assert str(hosting.enter(b"a", Span(4, 6)).span) == "4:6"
    assert str(hosting.enter(b"b", Span(1, 2)).span) == "0:2"
    assert hosting.home(b"b") is hosting.current[0]
    for text in ("0:3", "2:4", "0:6", "3:5"):
        with pytest.raises(Refused) as caught:
            hosting.enter(b"c", Span.parse(text))
        assert caught.value.code is FailureCode.DRAINING
    with pytest.raises(SessionExists):
        hosting.enter(b"a", Span(4, 6))
    for name in (b"a", b"b", b"never"):
        await hosting.leave(name)
    hosting.enter(b"a", Span(4, 6))


@pytest.mark.parametrize("texts", [(), ("4:6", "0:2"), ("0:2", "2:4"), ("0:3", "2:4"), ("0:2", "0:2"), ("0:7",)])
async def test_spans_that_cannot_be_hosted_change_nothing(house: House, texts: tuple[str, ...]) -> None:
    """None at all, out of order, touching, overlapping, twice, past the model."""
    hosting = house.hosting("0:2")
    before = hosting.current
    with pytest.raises(SpanError):
        await hosting.change(spans(*texts))
    assert (hosting.spans, hosting.current, house.loaded) == (spans("0:2"), before, [])


def test_sixteen_spans_are_the_most() -> None:
    """Each with its part of the memory; of a seventeenth nothing is loaded."""
    many = tuple(Span(2 * place, 2 * place + 1) for place in range(MAX_APART + 1))
    assert sum(by_blocks(1000, many[:MAX_APART]).values()) <= 1000
    with pytest.raises(SpanError, match="1 to 16"):
        Hosting([_Spanned(span) for span in many], Means(None, None))  # type: ignore[arg-type,list-item]
    assert len(Hosting([_Spanned(each) for each in many[:MAX_APART]], Means(None, None)).spans) == MAX_APART  # type: ignore[arg-type,list-item]


@dataclass
class _Spanned:
    span: Span


async def test_memory_is_divided_by_blocks_and_never_exceeds_the_setting(house: House) -> None:
    """0:4 alone has all of it; with 5:6 beside it four fifths and one, the same number of pages."""
    hosting = house.hosting("0:4")
    alone = hosting.current[0]
    assert alone.cache_bytes == CACHE_BYTES
    await hosting.change(spans("0:4", "5:6"))
    first, second = hosting.current
    assert first is not alone
    assert (first.cache_bytes, second.cache_bytes) == (CACHE_BYTES * 4 // 5, CACHE_BYTES // 5)
    assert first.engine.pages.total == second.engine.pages.total
    assert sum(each.engine.pages.total * each.engine.page_bytes for each in hosting.current) <= CACHE_BYTES
    assert sum(each.batcher.runner._swap_bytes for each in hosting.current) <= 1 << 20


async def test_going_wider_takes_new_sessions_over_and_leaves_the_old_where_they_are(house: House) -> None:
    """From 0:4 to 0:6: the session computes on as before, by its own engine, which goes with it."""
    hosting, alone = house.hosting("0:4"), house.hosting("0:4")
    old, twin = await begin(hosting, b"old", "0:4"), await begin(alone, b"old", "0:4")
    await hosting.change(spans("0:6"))
    assert (hosting.spans, hosting.all_spans, house.loaded) == (spans("0:6"), spans("0:6", "0:4"), ["0:6"])
    assert hosting.home(b"old") is old
    new = await begin(hosting, b"new", "0:4")
    assert new is not old
    assert torch.equal(await advance(old, b"old", 4), await advance(twin, b"old", 4))
    assert hosting.retiring_sessions == 0, "its blocks are still to be had: nobody has to wait for it"

    name, shared = next(iter(old.engine.tensors.items()))
    assert new.engine.tensors[name] is shared
    gone = weakref.ref(old.engine)
    del old
    await hosting.leave(b"old")
    await until_gone(gone)
    assert (gone(), hosting.all_spans) == (None, spans("0:6"))


async def test_an_engine_without_sessions_goes_at_once(house: House) -> None:
    """Its caches and the blocks that nobody else has."""
    hosting = house.hosting("0:6")
    old = hosting.current[0].engine
    gone, blocks = weakref.ref(old), {name: weakref.ref(tensor) for name, tensor in old.tensors.items()}
    del old
    await hosting.change(spans("0:4"))
    await until_gone(gone)
    assert {name for name, tensor in blocks.items() if tensor() is not None} == set(hosting.current[0].engine.tensors)


async def test_what_is_as_it_was_is_not_loaded_again(house: House) -> None:
    """Nor a span that comes back while its sessions are still there."""
    hosting = house.hosting("0:2", "4:6")
    before = hosting.current
    await begin(hosting, b"s", "0:2")
    await hosting.change(hosting.spans)
    assert (hosting.current, house.loaded) == (before, [])
    await hosting.change(spans("1:3", "4:6"))
    assert hosting.current[1] is before[1]
    await hosting.change(spans("0:2", "4:6"))
    assert hosting.current == before
    assert house.loaded == ["1:3"]


async def test_blocks_that_cannot_be_loaded_change_nothing(house: House) -> None:
    """The second of two is missing: the first one is not kept either, and sessions begin and go on as before."""
    hosting = house.hosting("0:4")
    before = await begin(hosting, b"s", "0:4")
    house.missing.add("5:6")
    with pytest.raises(ShardingError, match="pull"):
        await hosting.change(spans("0:3", "5:6"))
    assert (hosting.spans, hosting.all_spans, hosting.current) == (spans("0:4"), spans("0:4"), (before,))
    await advance(before, b"s", 4)
    await begin(hosting, b"t", "0:4")


async def test_sessions_are_served_while_blocks_are_loaded(house: House) -> None:
    """Loading has a thread of its own; one that begins meanwhile begins on what there is."""
    hosting = house.hosting("0:2")
    house.may_load.clear()
    changing = asyncio.create_task(hosting.change(spans("0:3")))
    await asyncio.sleep(0.05)
    old = await begin(hosting, b"meanwhile", "0:2")
    assert not changing.done()
    house.may_load.set()
    await changing
    assert hosting.home(b"meanwhile") is old is not hosting.current[0]
    assert not any(name.startswith("compute") for name in house.threads)


async def test_few_engines_wait_for_their_sessions(house: House) -> None:
    """Four do; a fifth change is refused until one of their sessions has ended."""
    hosting = house.hosting("0:2")
    for number, text in enumerate(("0:3", "0:4", "0:5", "0:6")):
        await begin(hosting, bytes([number]), "0:2")
        await hosting.change(spans(text))
    assert len(hosting.all_spans) == 1 + MAX_OLD
    await begin(hosting, b"s", "0:2")
    with pytest.raises(EngineError, match="4 engines"):
        await hosting.change(spans("0:2"))
    assert (hosting.spans, house.loaded) == (spans("0:6"), ["0:3", "0:4", "0:5", "0:6"])
    await hosting.leave(bytes([2]))
    await hosting.change(spans("0:1"))
    assert hosting.spans == spans("0:1")


async def test_what_is_in_memory_is_taken_up_again_however_many_engines_wait(house: House) -> None:
    """Blocks that were closed for a move that cannot be loaded now: nothing is lacking to open them again."""
    hosting = house.hosting("0:2")
    for number, text in enumerate(("0:3", "0:4", "0:5", "0:6")):
        await begin(hosting, bytes([number]), "0:2")
        await hosting.change(spans(text))
    hosting.retire(spans("4:6"))
    await hosting.change(spans("0:6"))
    assert (hosting.spans, len(hosting.all_spans)) == (spans("0:6"), 1 + MAX_OLD)
    await begin(hosting, b"s", "0:6")


@pytest.mark.parametrize("problem", [MemoryError(), RuntimeError("can't allocate memory"), OSError("gone")], ids=repr)
async def test_a_machine_that_cannot_load_is_an_error_of_the_load(house: House, problem: Exception) -> None:
    """Whoever asked for the change knows what to do with that; the next one works."""
    hosting = house.hosting("0:2")
    house.problems.append(problem)
    with pytest.raises(EngineError, match="memory"):
        await hosting.change(spans("0:3"))
    assert hosting.spans == hosting.all_spans == spans("0:2")
    await hosting.change(spans("0:3"))
    assert hosting.spans == spans("0:3")


async def test_changes_come_one_after_the_other(house: House) -> None:
    """The last one asked for is what there is in the end."""
    hosting = house.hosting("0:2")
    await asyncio.gather(hosting.change(spans("0:3")), hosting.change(spans("1:4")))
    assert (hosting.spans, hosting.all_spans) == (spans("1:4"), spans("1:4"))


async def test_a_change_that_is_broken_off_changes_nothing(house: House) -> None:
    """Cancelled in the middle of loading; the next one works."""
    hosting = house.hosting("0:2")
    house.may_load.clear()
    changing = asyncio.create_task(hosting.change(spans("0:3")))
    await asyncio.sleep(0.05)
    changing.cancel()
    await asyncio.gather(changing, return_exceptions=True)
    assert hosting.spans == hosting.all_spans == spans("0:2")
    house.may_load.set()
    await hosting.change(spans("0:3"))
    assert hosting.spans == spans("0:3")


async def test_blocks_are_closed_before_they_are_given_up(house: House) -> None:
    """4:6 of 0:6 take nobody new, 0:4 do; who needs 4:6 is counted, told to move, and waited for."""
    hosting, told = house.hosting("0:6"), list[bytes]()
    for name, span in ((b"whole", "0:6"), (b"parked", "0:5"), (b"front", "0:3")):
        await begin(hosting, name, span)
    for name in (b"whole", b"front"):
        hosting.runs(name, lambda name=name: told.append(name))
    hosting.retire(spans("4:6"))
    assert (hosting.spans, hosting.all_spans) == (spans("0:4"), spans("0:6"))
    with pytest.raises(Refused):
        hosting.enter(b"late", Span(0, 6))
    await begin(hosting, b"new", "0:4")
    assert hosting.retiring_sessions == 2
    hosting.move()
    assert told == [b"whole"]
    assert not await hosting.quiet(0.01)
    waiting = asyncio.create_task(hosting.quiet(10))
    await hosting.leave(b"whole")
    await asyncio.sleep(0)
    assert not waiting.done()
    await hosting.leave(b"parked")
    assert await waiting
    await hosting.change(spans("0:4"))
    assert hosting.all_spans == spans("0:4", "0:6"), "two sessions began on the old engine and need no others' blocks"
    assert hosting.retiring_sessions == 0
    for name in (b"front", b"new"):
        await hosting.leave(name)
    assert hosting.all_spans == spans("0:4")


async def test_a_session_that_rests_is_not_told(house: House) -> None:
    """Its route is over; what it was told then would be nobody's."""
    hosting, told = house.hosting("0:2"), list[bytes]()
    await begin(hosting, b"s", "0:2")
    hosting.runs(b"s", lambda: told.append(b"s"))
    hosting.rests(b"s")
    hosting.retire(spans("0:2"))
    hosting.move()
    assert (told, hosting.retiring_sessions, hosting.spans) == ([], 1, ())


async def test_closed_blocks_can_be_opened_again(house: House) -> None:
    """Whoever began to move and stays: nothing is loaded, and the sessions have never noticed."""
    hosting = house.hosting("0:2", "4:6")
    before = hosting.current
    hosting.retire(spans("4:6"))
    assert hosting.spans == spans("0:2")
    await hosting.change(spans("0:2", "4:6"))
    assert (hosting.spans, hosting.current, house.loaded) == (spans("0:2", "4:6"), before, [])


async def test_a_retired_engine_remembers_no_prompts(house: House) -> None:
    """The pages are its sessions' to use."""
    hosting = house.hosting("0:2")
    old = await begin(hosting, b"ends", "0:2", PAGE_POSITIONS)
    await begin(hosting, b"stays", "0:2")
    await old.batcher.call(old.batcher.runner.publish, b"ends", [b"key"])
    await hosting.leave(b"ends")
    assert old.engine.pages.known([b"key"]) == 1
    await hosting.change(spans("0:3"))
    assert old.engine.pages.known([b"key"]) == 0
    assert old.engine.pages.free == old.engine.pages.total - 1


async def test_what_waits_is_counted_over_all_engines(house: House) -> None:
    """They take turns in one thread."""
    hosting = house.hosting("0:2", "4:6")
    first, second = await begin(hosting, b"a", "0:2"), hosting.current[1]
    hosting.enter(b"b", Span(4, 6))
    await second.batcher.call(second.batcher.runner.open, b"b", 32)
    hold = threading.Event()
    blocker = asyncio.create_task(house.worker.run(hold.wait, 10))
    await asyncio.sleep(0)
    wide = torch.zeros(5, second.engine.spec.hidden_size, dtype=torch.int32)
    jobs = [
        asyncio.create_task(advance(first, b"a", 4, 3)),
        asyncio.create_task(second.batcher.compute(Chunk(b"b", 0, wide), torch.clone)),
    ]
    await asyncio.sleep(0.01)
    waiting, seconds = hosting.waiting_rows, hosting.waiting_seconds
    hold.set()
    await asyncio.gather(blocker, *jobs)
    assert (waiting, seconds > 0, hosting.waiting_rows) == (8, True, 0)
