"""What a node tells of itself: at its time or when something has changed, within the record's limits, and no faster than it is."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio
from pydantic import ValidationError

from node.batcher import Batcher
from node.errors import SettingsError
from node.gossip_author import (
    MUCH_QUEUE,
    RECORD_SECONDS,
    TRIAL_ROWS,
    Author,
    Service,
    Speed,
    StageLoad,
    changed_much,
    first_speed,
    stage_load,
)
from node.model_folder import engine_loader
from node.offers import UNCLAIMED_TOKENS_PER_SECOND
from node.settings import NodeSettings, load_client_settings
from node.worker import Worker
from sharding.batch_runner import BatchRunner
from sharding.engine import Engine
from sharding.errors import NotFinite
from sharding.span import Span
from tests.faults.virtual_time import EPOCH, run_virtual
from tests.node.gossips import IDLE, MANIFEST, PROFILE
from tests.node.records import DOMAIN, address, key, record
from tests.node.swarm import write_tiny_exact_model, write_tiny_model
from verification.node_records import DEFAULT_LIFE_SECONDS, ServiceRecord

SERVICE = Service(address(1), b"t" * 32, "wss://node1.test:1", MANIFEST, PROFILE, Span(0, 4), 7)


def author_of(loads: list[StageLoad], speed: Speed | None = None) -> Author:
    """An author whose stage says the last of these."""

    async def load() -> StageLoad:
        return loads[-1]

    return Author(SERVICE, key(1), DOMAIN, load, speed)


async def written(author: Author, held: ServiceRecord | None) -> ServiceRecord:
    """A record that is due."""
    signed = await author.write(held)
    assert signed is not None
    return signed.record


def test_a_record_is_due_every_ten_seconds() -> None:
    """Not before, with a higher sequence each time, in milliseconds of the clock."""

    async def main() -> None:
        author = author_of([IDLE])
        first = await written(author, None)
        assert (first.issued, first.life, first.sequence) == (EPOCH, DEFAULT_LIFE_SECONDS, EPOCH * 1000)
        assert (first.node, first.peer, first.endpoint) == (SERVICE.node, SERVICE.peer, SERVICE.endpoint)
        assert [(each.span, each.ask) for each in first.spans] == [(Span(0, 4), 7)]
        await asyncio.sleep(RECORD_SECONDS - 0.1)
        assert await author.write(first) is None
        await asyncio.sleep(0.1)
        assert (await written(author, first)).sequence == (EPOCH + RECORD_SECONDS) * 1000

    run_virtual(main())


def test_what_the_book_does_not_hold_is_written_again() -> None:
    """It was refused, or displaced, or is from an earlier life with a clock that was ahead."""

    async def main() -> None:
        author = author_of([IDLE])
        first = await written(author, None)
        assert (await written(author, None)).sequence == first.sequence + 1
        assert (await written(author, record(1, sequence=2**50))).sequence == 2**50 + 1

    run_virtual(main())


@pytest.mark.parametrize(
    ("change", "much"),
    [({"draining": True}, True), ({"free_pages": 0}, True), ({"free_pages": -3}, True), ({"free_pages": 1}, False),
     ({"queue": MUCH_QUEUE}, True), ({"queue": MUCH_QUEUE - 1}, False)],
    ids=str,
)  # fmt: skip
def test_what_a_router_would_mind_is_told_at_once(change: dict[str, int], much: bool) -> None:
    """And what it would not, with the next record."""

    async def main() -> bool:
        loads = [IDLE]
        author = author_of(loads)
        first = await written(author, None)
        loads.append(replace(IDLE, **change))  # type: ignore[arg-type]
        return await author.write(first) is not None

    assert run_virtual(main()) is much


@pytest.mark.parametrize(
    ("before", "after", "much"), [(1000, 1999, False), (1000, 2000, True), (200, 100, True), (200, 101, False)]
)
def test_a_queue_is_news_when_it_has_doubled_or_halved(before: int, after: int, much: bool) -> None:
    """A long queue that is a little longer is still long."""
    last = replace(record(1, queue=before), free_pages=IDLE.free_pages)

    assert changed_much(last, replace(IDLE, queue=after)) is much


def test_a_record_keeps_to_its_limits() -> None:
    """Counts past 32 bits, speeds past them or below a thousandth of a token, pages owed."""

    async def main() -> None:
        huge = StageLoad(queue=2**40, free_pages=2**40, passes=1, rows=1, seconds=1e-12)
        told = await written(author_of([huge]), None)
        assert (told.queue, told.free_pages, told.spans[0].rate) == (2**32 - 1,) * 3
        slow = StageLoad(queue=0, free_pages=-5, passes=1, rows=1, seconds=1e9)
        told = await written(author_of([slow]), None)
        assert (told.free_pages, told.spans[0].rate) == (0, 1)

    run_virtual(main())


# Speed


def test_an_engine_that_was_not_tried_claims_next_to_nothing() -> None:
    """Until it has computed."""
    speed = Speed()
    assert speed.tokens_per_second == UNCLAIMED_TOKENS_PER_SECOND
    speed.update(StageLoad(0, 9, passes=10, rows=10, seconds=0.5))
    assert speed.tokens_per_second == pytest.approx(20.0)


def test_a_claim_lies_between_the_passes_and_the_rows_of_a_second() -> None:
    """Eight sessions together are not one that is eight times as fast, and a prefill is not a slow token."""
    speed = Speed(trial=100.0)
    assert speed.tokens_per_second == 100.0
    speed.update(StageLoad(0, 9, passes=50, rows=400, seconds=1.0))
    assert speed.tokens_per_second == 100.0, "50 passes, 400 rows"
    speed.update(StageLoad(0, 9, passes=90, rows=440, seconds=2.0))
    assert speed.tokens_per_second == pytest.approx(40.0), "single rows: the machine has become slower"
    speed.update(StageLoad(0, 9, passes=290, rows=640, seconds=3.0))
    assert speed.tokens_per_second == pytest.approx(200.0), "or faster"
    speed.update(StageLoad(0, 9, passes=290, rows=640, seconds=3.0))
    assert speed.tokens_per_second == pytest.approx(200.0), "nothing was computed since"


@pytest_asyncio.fixture
async def worker() -> AsyncIterator[Worker]:
    """A compute thread."""
    made = Worker()
    yield made
    made.close()


@pytest.mark.parametrize("span", [Span(0, 2), Span(2, 4), Span(4, 6)], ids=str)
@pytest.mark.parametrize("write", [write_tiny_exact_model, write_tiny_model], ids=["exact", "float"])
async def test_an_engine_is_tried_and_left_as_it_was(write: object, span: Span, tmp_path: Path, worker: Worker) -> None:
    """First, middle and last stage in both profiles."""
    model = write(tmp_path / "model")  # type: ignore[operator]
    engine: Engine = engine_loader(model)(model, span)
    batcher = Batcher(BatchRunner(engine, 0), worker)
    free = engine.pages.free

    assert (await first_speed(batcher, engine)).tokens_per_second > UNCLAIMED_TOKENS_PER_SECOND
    assert (engine.pages.free, batcher.load.rows) == (free, TRIAL_ROWS)
    load = await stage_load(batcher, draining=True)
    assert (load.queue, load.free_pages, load.rows, load.draining) == (0, free, TRIAL_ROWS, True)
    await batcher.close()


async def test_an_engine_that_cannot_be_tried_still_serves(tmp_path: Path, worker: Worker) -> None:
    """It claims what an unknown one claims, and its session is closed."""
    model = write_tiny_exact_model(tmp_path / "model")
    engine = engine_loader(model)(model, Span(0, 2))
    batcher = Batcher(BatchRunner(engine, 0), worker)

    def fail(*_: object) -> None:
        raise NotFinite("the trial")

    batcher.runner.run = fail  # type: ignore[assignment,method-assign]

    assert (await first_speed(batcher, engine)).tokens_per_second == UNCLAIMED_TOKENS_PER_SECOND
    assert batcher.runner.unpromised_pages == engine.pages.free
    await batcher.close()


# How often, and what a price is worth


@pytest.mark.parametrize("seconds", [0.1, 10.0])
def test_an_operator_chooses_how_often_records_are_exchanged(seconds: float) -> None:
    """From a tenth of a second to a third of a record's life."""
    assert settings_with(gossip_seconds=seconds).gossip_seconds == seconds


@pytest.mark.parametrize("seconds", [0.09, 10.1])
def test_an_exchange_too_often_or_too_seldom_is_refused(seconds: float) -> None:
    """Past the limits on both sides."""
    with pytest.raises(ValidationError, match="gossip_seconds"):
        settings_with(gossip_seconds=seconds)


@pytest.mark.parametrize(("seconds", "good"), [(0.0, True), (3600.0, True), (-0.1, False), (3600.1, False)])
def test_a_client_chooses_what_its_highest_price_is_like(
    seconds: float, good: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing at all, up to an hour per token."""
    monkeypatch.setenv("TALLY_PRICE_SECONDS", str(seconds))
    if good:
        assert load_client_settings().price_seconds == seconds
    else:
        with pytest.raises(SettingsError, match="price_seconds"):
            load_client_settings()


def settings_with(**changes: float) -> NodeSettings:
    """A node's settings with something else in them."""
    return NodeSettings.model_validate({"model": "model", "blocks": "0:1", "owner": address(1), **changes})
