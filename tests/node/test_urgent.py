"""A request that pays twice the ask goes before those that wait already, on every stage; and they are served all the same."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import pytest
import pytest_asyncio
import torch

from node.kept import SessionKey
from node.reports import Request
from sharding.engine import Chunk
from tests.node.swarm import Stage, Swarm, deploy_network, generate, request, running_swarm, write_tiny_exact_model
from verification.addresses import to_address

pytestmark = pytest.mark.asyncio(loop_scope="module")

ROWS = 20


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def swarm(embedded_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Swarm]:
    """Two exact stages and a client."""
    home = tmp_path_factory.mktemp("urgent")
    network = await asyncio.to_thread(deploy_network, embedded_url)
    async with running_swarm(network, write_tiny_exact_model(home / "model"), home, ("0:3", "3:6")) as running:
        yield running


def wanted(number: int, *, is_urgent: bool = False) -> Request:
    """A prompt of its own."""
    return replace(request(tuple(range(number, number + ROWS)), 4), is_urgent=is_urgent)


@contextmanager
def held(stage: Stage) -> Iterator[tuple[list[bytes], Callable[[], None]]]:
    """The sessions in the order in which the stage's engine computes their prompts, the first of which waits for the release."""
    engine, order, release = stage.engine, list[bytes](), threading.Event()
    honest = engine.forward

    def forward(batch: Sequence[Chunk]) -> list[torch.Tensor]:
        order.extend(chunk.session for chunk in batch if len(chunk.inputs) == ROWS)
        assert release.wait(10.0)
        return honest(batch)

    engine.forward = forward  # type: ignore[method-assign]
    try:
        yield order, release.set
    finally:
        release.set()
        engine.forward = honest  # type: ignore[method-assign]


async def waiting(stage: Stage, rows: int) -> None:
    """So many rows are there, those in work among them."""
    async with asyncio.timeout(5):
        while stage.server.hosting.waiting_rows != rows:
            await asyncio.sleep(0.005)


@pytest.mark.parametrize("place", [0, 1])
async def test_an_urgent_request_overtakes_those_that_wait(
    swarm: Swarm, place: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One is in work and three wait when it comes: it is the next, they follow in their order, and all texts are right."""
    stage = swarm.stages[place]
    monkeypatch.setattr(stage.server.hosting.current[0].batcher, "budget", ROWS)
    alone = [(await generate(swarm.client, wanted(number)))[0] for number in range(5)]
    monkeypatch.setattr("node.batcher.MOMENT_SECONDS", 0.0)  # what is held must not hold the event loop
    sessions = [await swarm.client.open(wanted(number, is_urgent=number == 4)) for number in range(5)]
    with held(stage) as (order, release):
        tasks = list[asyncio.Task[list[int]]]()
        for number, session in enumerate(sessions):
            tasks.append(asyncio.create_task(text_of(session)))
            await waiting(stage, ROWS * (number + 1))
        assert len(order) == 1
        release()
        texts = await asyncio.gather(*tasks)
    reports = [await session.finish() for session in sessions]

    span = sessions[0].run.opened.route.stages[place].span
    client = to_address(swarm.signer.address)
    names = [SessionKey(client, session.run.opened.route.nonce, span).name for session in sessions]
    assert [names.index(name) for name in order] == [0, 4, 1, 2, 3]
    assert [tuple(text) for text in texts] == alone
    assert reports[4].paid == pytest.approx(2 * reports[0].paid, rel=1e-12)  # a price is rounded up to whole units


async def text_of(session: object) -> list[int]:
    return [token async for token in session.tokens()]  # type: ignore[attr-defined]
