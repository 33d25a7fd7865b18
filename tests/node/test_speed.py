"""What a node claims of its engines' speed: what a trial and its work have shown."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from node.batcher import Batcher, Load
from node.model_folder import engine_loader
from node.offers import UNCLAIMED_TOKENS_PER_SECOND
from node.speed import TRIAL_ROWS, Speed, first_speed
from node.worker import Worker
from sharding.batch_runner import BatchRunner
from sharding.engine import Engine
from sharding.errors import NotFinite
from sharding.span import Span
from tests.node.swarm import write_tiny_exact_model, write_tiny_model


def test_an_engine_that_was_not_tried_claims_next_to_nothing() -> None:
    """Until it has computed."""
    speed = Speed()
    assert speed.tokens_per_second == UNCLAIMED_TOKENS_PER_SECOND
    speed.update(Load(passes=10, rows=10, seconds=0.5))
    assert speed.tokens_per_second == pytest.approx(20.0)


def test_a_claim_lies_between_the_passes_and_the_rows_of_a_second() -> None:
    """Eight sessions together are not one that is eight times as fast, and a prefill is not a slow token."""
    speed = Speed(trial=100.0)
    assert speed.tokens_per_second == 100.0
    speed.update(Load(passes=50, rows=400, seconds=1.0))
    assert speed.tokens_per_second == 100.0, "50 passes, 400 rows"
    speed.update(Load(passes=90, rows=440, seconds=2.0))
    assert speed.tokens_per_second == pytest.approx(40.0), "single rows: the machine has become slower"
    speed.update(Load(passes=290, rows=640, seconds=3.0))
    assert speed.tokens_per_second == pytest.approx(200.0), "or faster"
    speed.update(Load(passes=290, rows=640, seconds=3.0))
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
