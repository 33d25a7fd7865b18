"""Real sessions over parts of what nodes host: a wide node fills exactly the gap that a lost one leaves."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import pytest_asyncio

from node.client import Client
from tests.node.swarm import (
    Stage,
    Swarm,
    deploy_network,
    request,
    running_swarm,
    write_tiny_exact_model,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")

SPANS = ("0:2", "2:4", "4:6", "1:6", "0:5")
PROMPT = tuple(range(20, 45))


@pytest_asyncio.fixture(loop_scope="module")
async def swarm(embedded_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Swarm]:
    """Three narrow nodes and two wide ones, none of which has all blocks; a test may end some of them."""
    home = tmp_path_factory.mktemp("parts")
    network = await asyncio.to_thread(deploy_network, embedded_url)
    async with running_swarm(network, write_tiny_exact_model(home / "model"), home, SPANS) as made:
        yield made


def places(stages: object, swarm: Swarm) -> list[tuple[int, int, int]]:
    """The place of each node in the swarm, with the blocks that it computes."""
    owners = [stage.owner.address for stage in swarm.stages]
    return [(owners.index(stage.node), stage.start, stage.end) for stage in stages]  # type: ignore[attr-defined]


def client_of(swarm: Swarm, *avoided: Stage) -> Client:
    """A client with money in reserve that shuns some nodes for now."""
    client = Client(replace(swarm.context, keeps_reserve=True))
    for stage in avoided:
        client.planner.shunned.add(stage.owner.address)  # type: ignore[arg-type]
    return client


async def whole_text(swarm: Swarm) -> tuple[int, ...]:
    """The answer over the two wide nodes, which meet somewhere in between."""
    client = client_of(swarm, *swarm.stages[:3])
    session = await client.open(request(PROMPT))
    tokens = tuple([token async for token in session.tokens()])
    report = await session.finish()
    await client.close()
    stages = places(report.route.stages, swarm)
    assert [node for node, _, _ in stages] == [4, 3]
    assert stages[0][2] == stages[1][1]
    return tokens


@pytest.mark.parametrize("lost", [1, 2])
async def test_a_wide_node_takes_the_lost_blocks_and_the_others_keep_theirs(swarm: Swarm, lost: int) -> None:
    """The text is the same, and what comes before the lost stage is not computed again."""
    right = await whole_text(swarm)
    client = client_of(swarm, *swarm.stages[3:])
    session, tokens = await client.open(request(PROMPT)), list[int]()
    before = places(session.run.opened.route.stages, swarm)
    async for token in session.tokens():
        tokens.append(token)
        if len(tokens) == 8:
            await swarm.stages[lost].server.close()
            for stage in swarm.stages[3:]:
                client.planner.shunned._until.pop(stage.owner.address, None)  # type: ignore[attr-defined,arg-type]
    held = session.run.opened.held
    report = await session.finish()
    await client.close()
    after = places(report.route.stages, swarm)

    assert before == [(0, 0, 2), (1, 2, 4), (2, 4, 6)]
    assert tuple(tokens) == right
    assert [place for place in after if place[0] < 3] == [place for place in before if place[0] != lost]
    assert [place[1:] for place in after] == [place[1:] for place in before]
    assert after[lost][0] in (3, 4)
    assert min(held[:lost]) > 0 == held[lost]
