"""After a loss each stage holds another part of what is known: whatever the parts, no honest stage breaks the rules of frames."""

import itertools
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch

from node.frame_rules import MAX_CHUNK_TOKENS, check_work_frame
from node.output_log import LogBudget, OutputLog
from node.stage_work import StageWork
from node.wire import Frame, tokens_frame
from sharding.engine import Chunk
from tests.node.admitted import make_admitted, make_kept

WIDTH, VOCABULARY = 2, 96


class Batcher:
    """Computes nothing; row p of every stage is filled with p."""

    async def compute(self, chunk: Chunk, finish: Callable[[torch.Tensor], Any], priority: int) -> Any:
        return finish(rows(chunk.position, chunk.position + len(chunk.inputs)))


def rows(start: int, end: int) -> torch.Tensor:
    return torch.arange(start, end, dtype=torch.int32)[:, None].expand(-1, WIDTH).contiguous()


def stage(place: int, known: int, own: int, next_has: int | None) -> Callable[[list[Frame]], Awaitable[list[Frame]]]:
    """One that holds `own` positions: checks what comes, as a session does, and returns what it sends on."""
    terms = make_admitted(prompt_tokens=known, capacity=known + 50, stage=place)
    log = OutputLog(LogBudget(10**9))
    log.append(0, rows(0, own))
    spec = SimpleNamespace(hidden_size=WIDTH, vocab_size=VOCABULARY)
    engine = cast("Any", SimpleNamespace(spec=spec, hidden_dtype=torch.int32))
    work = StageWork(terms, make_kept(terms, log), engine, cast("Any", Batcher()), next_has)

    async def pass_on(frames: list[Frame]) -> list[Frame]:
        positions, sent = own, work.replay(own) if next_has is not None else []
        for step, frame in enumerate(frames):
            check_work_frame(frame, terms, step, positions, own)
            assert place == 0 or frame.payload == rows(positions, positions + frame.shape[0]).numpy().tobytes()
            positions += frame.shape[0]
            sent += await work.advance(frame) if next_has is not None else []
        assert positions == known
        return sent

    return pass_on


def from_client(known: int, held: int, size: int) -> list[Frame]:
    """What is known and the first stage does not hold."""
    session = make_admitted().session
    places = range(held, known, size)
    return [tokens_frame(session, 0, step, at, [1] * min(size, known - at)) for step, at in enumerate(places)]


async def fed(known: int, held: tuple[int, int, int], size: int = 128) -> None:
    """Feed what is known through three stages. Raises: Refused."""
    frames = from_client(known, held[0], size)
    for place, next_has in enumerate((*held[1:], None)):
        frames = await stage(place, known, held[place], next_has)(frames)


@pytest.mark.parametrize("known", [2, 12, 17, 18, 29, 40])
async def test_any_three_parts_of_a_short_text(known: int) -> None:
    """From nothing to all but the last token, which is always computed anew."""
    parts = sorted({0, 1, 5, known // 2, known - 16, known - 4, known - 3, known - 2, known - 1} & set(range(known)))
    for held in itertools.product(parts, repeat=3):
        await fed(known, held)


@pytest.mark.parametrize("size", [128, MAX_CHUNK_TOKENS])
@pytest.mark.parametrize(
    "held",
    [
        (27, 25, 0),
        (27, 25, 20),
        (0, 1198, 1195),
        (1198, 0, 1195),
        (1198, 1195, 0),
        (1199, 1195, 1191),
        (5, 3, 1),
        (3, 0, 0),
    ],
)
async def test_parts_of_a_long_one(held: tuple[int, int, int], size: int) -> None:
    """Frames are as large as they came or smaller, never past the limit with what waited before them."""
    await fed(1200, held, size)
