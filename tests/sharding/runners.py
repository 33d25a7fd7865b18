"""Batch runners over a small exact model, and what a session gives that nobody disturbs."""

from collections.abc import Callable
from pathlib import Path

import torch

from sharding.batch_runner import BatchRunner, Done, Outcome
from sharding.engine import Chunk
from sharding.exact.engine import ExactEngine
from sharding.exact.quantise import quantise
from sharding.paging import PAGE_POSITIONS
from sharding.span import Span
from tests.sharding.conftest import Models
from tests.sharding.tiny import BLOCKS

FULL = 4 * PAGE_POSITIONS
PLENTY = 40
WHOLE = Span(0, BLOCKS)

Runner = Callable[..., BatchRunner]
"""runner(pages, swap): an engine with so many pages, and `swap` bytes for what is set aside."""


def exact_folder(models: Models, folder: Path) -> Path:
    """The exact form of a small Llama whose context is four pages."""
    quantise(models(max_position_embeddings=FULL), folder)
    return folder


def page_bytes_of(folder: Path) -> int:
    return ExactEngine.from_folder(folder, WHOLE, cache_bytes=1).page_bytes


def runners_over(folder: Path) -> Runner:
    size = page_bytes_of(folder)

    def make(pages: int = 4, swap: int = 1 << 30) -> BatchRunner:
        return BatchRunner(ExactEngine.from_folder(folder, WHOLE, cache_bytes=pages * size), swap)

    return make


def tokens_of(session: bytes) -> torch.Tensor:
    """Other tokens for every session, always the same."""
    return torch.randint(0, 256, (FULL,), generator=torch.Generator().manual_seed(session[0]))


def run(runner: BatchRunner, **rows: int) -> dict[bytes, Outcome]:
    """One pass with the next so many rows of each session."""
    batch = []
    for name, count in rows.items():
        session, at = name.encode(), runner.length(name.encode())
        batch.append(Chunk(session, at, tokens_of(session)[at : at + count]))
    return dict(zip([each.session for each in batch], runner.run(batch), strict=True))


def kinds(outcomes: dict[bytes, Outcome]) -> dict[bytes, type]:
    return {session: type(outcome) for session, outcome in outcomes.items()}


def fill(runner: BatchRunner, session: bytes, rows: int, priority: int = 0) -> None:
    """Open a session and compute its first rows."""
    runner.open(session, FULL, priority=priority)
    assert kinds(run(runner, **{session.decode(): rows})) == {session: Done}


def output_of(outcome: Outcome) -> torch.Tensor:
    assert isinstance(outcome, Done), outcome
    return outcome.output


def alone(make: Runner, session: bytes, rows: int) -> torch.Tensor:
    """The logits after so many rows of a session that nobody disturbs."""
    plenty = make(PLENTY)
    plenty.open(session, FULL)
    return output_of(run(plenty, **{session.decode(): rows})[session])
