"""A node that has neither pages nor memory to set a session aside: the last one begins again, and every text is what it was."""

import asyncio
from dataclasses import replace
from pathlib import Path

from node.client_session import ClientSession
from node.model_folder import engine_loader
from node.reports import Report
from sharding.exact.quantise import quantise
from sharding.random_model import write_random_model
from sharding.span import Span
from tests.node.swarm import LIMITS, TINY, deploy_network, request, running_client, running_stage
from tests.sharding.chains import greedy

PROMPTS = ((1, 2, 3), (2, 2, 3))
LENGTH = 100
"""With the prompt two pages, the second of which is wanted in mid-answer."""


async def test_sessions_that_outgrow_a_node_take_turns_and_keep_their_texts(embedded_url: str, tmp_path: Path) -> None:
    """Two sessions over two pages: the older takes both, the other one comes back to the only node there is."""
    write_random_model(tmp_path / "float", replace(TINY, max_position_embeddings=256), seed=11)
    quantise(tmp_path / "float", model := tmp_path / "exact")
    network = await asyncio.to_thread(deploy_network, embedded_url)
    load, whole = engine_loader(model), Span(0, 6)
    limits = replace(LIMITS, cache_bytes=2 * load(model, whole, cache_bytes=1).page_bytes, swap_bytes=0)
    async with (
        running_stage(network, model, tmp_path / "node", 1, whole, limits=limits) as stage,
        running_client(network, model, tmp_path / "client", [stage]) as swarm,
    ):
        answers = [Answer(await swarm.client.open(request(prompt, LENGTH))) for prompt in PROMPTS]
        for each in answers:
            await each.begin()  # each has a page from here on
        reports = await asyncio.gather(*(each.go_on() for each in answers))
        async with asyncio.timeout(10):  # a stage may let go a moment after it has said so
            while stage.server.active_sessions:
                await asyncio.sleep(0.01)
        assert stage.engine.pages.total == stage.engine.pages.free == 2
    assert [tuple(each.text) for each in answers] == [
        tuple(greedy([load(model, whole)], prompt, LENGTH)) for prompt in PROMPTS
    ]
    older, younger = reports
    assert (len(older.recoveries), len(younger.recoveries) >= 1) == (0, True)


class Answer:
    """A session's text as far as it was read."""

    def __init__(self, session: ClientSession) -> None:
        self._session = session
        self._tokens = session.tokens()
        self.text: list[int] = []

    async def begin(self) -> None:
        """Read the first token."""
        self.text.append(await anext(self._tokens))

    async def go_on(self) -> Report:
        """Read all others."""
        async for token in self._tokens:
            self.text.append(token)
        return await self._session.finish()
