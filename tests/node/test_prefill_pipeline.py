"""A prompt in chunks: the stages work on neighbouring chunks at the same time, and nobody's tokens wait for a whole prompt."""

import asyncio
import itertools
import threading
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
import pytest_asyncio
import torch

from sharding.engine import Chunk
from tests.node.swarm import Stage, Swarm, deploy_network, generate, request, running_swarm, write_tiny_exact_model

pytestmark = pytest.mark.asyncio(loop_scope="module")

PROMPT = tuple(range(16, 64))
CHUNK = 16


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def swarm(embedded_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Swarm]:
    """Three exact stages and a client."""
    home = tmp_path_factory.mktemp("pipeline")
    network = await asyncio.to_thread(deploy_network, embedded_url)
    async with running_swarm(network, write_tiny_exact_model(home / "model"), home) as running:
        yield running


@dataclass(frozen=True)
class Pass:
    """One pass of a stage: the rows of each chunk, and the turn in which it began and ended."""

    rows: tuple[int, ...]
    positions: tuple[int, ...]
    began: int
    ended: int


@contextmanager
def watched(stage: Stage, turns: "Turns", seconds: float = 0.0) -> Iterator[list[Pass]]:
    """The passes of a stage's engine, each slowed down by so many seconds."""
    engine, passes = stage.engine, list[Pass]()
    honest = engine.forward

    def forward(batch: Sequence[Chunk]) -> list[torch.Tensor]:
        began = turns.next()
        time.sleep(seconds)
        made = honest(batch)
        rows, positions = tuple(len(c.inputs) for c in batch), tuple(c.position for c in batch)
        passes.append(Pass(rows, positions, began, turns.next()))
        return made

    engine.forward = forward  # type: ignore[method-assign]
    try:
        yield passes
    finally:
        engine.forward = honest  # type: ignore[method-assign]


class Turns:
    """A count that rises over all stages."""

    def __init__(self) -> None:
        self._count, self._lock = 0, threading.Lock()

    def next(self) -> int:
        with self._lock:
            self._count += 1
            return self._count


async def test_a_stage_begins_the_next_chunk_before_the_one_behind_has_done_this_one(
    swarm: Swarm, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Chunk k + 1 is begun on stage i before chunk k is done on stage i + 1."""
    monkeypatch.setattr("node.route_run.PREFILL_CHUNK_TOKENS", CHUNK)
    turns = Turns()
    with watched(swarm.stages[0], turns, 0.05) as first, watched(swarm.stages[1], turns, 0.1) as second:
        await generate(swarm.client, request(PROMPT, 1))

    assert [each.positions for each in first] == [(0,), (CHUNK,), (2 * CHUNK,)] == [each.positions for each in second]
    for k in range(2):
        assert first[k + 1].began < second[k].ended


async def test_tokens_of_others_do_not_wait_for_a_whole_prompt(swarm: Swarm, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a prompt of three chunks goes in, a session that decodes gets a token between any two of them."""
    monkeypatch.setattr("node.route_run.PREFILL_CHUNK_TOKENS", CHUNK)
    steady = await swarm.client.open(request(max_tokens=40))
    tokens = steady.tokens()
    for _ in range(3):
        await anext(tokens)
    with watched(swarm.stages[0], Turns(), 0.03) as passes:
        prompt = asyncio.create_task(generate(swarm.client, request(PROMPT, 1)))
        rest = [token async for token in tokens]
        await prompt
    await steady.finish()
    chunks = [place for place, each in enumerate(passes) if CHUNK in each.rows]

    assert len(rest) == 37
    assert len(chunks) == 3
    for one, other in itertools.pairwise(chunks):
        assert any(1 in each.rows for each in passes[one : other + 1]), "a decode step goes with or between the chunks"


async def test_sessions_that_are_ready_share_a_pass(swarm: Swarm) -> None:
    """Four sessions at once: passes of several chunks, and each session's text is its own."""
    wanted = [request((n, n + 1, n + 2), 12) for n in (1, 11, 21, 31)]
    alone = [(await generate(swarm.client, each))[0] for each in wanted]
    with watched(swarm.stages[1], Turns(), 0.02) as passes:
        together = await asyncio.gather(*(generate(swarm.client, each) for each in wanted))

    assert [tokens for tokens, _ in together] == alone
    assert max(len(each.rows) for each in passes) > 1
