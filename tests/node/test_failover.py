"""A stage is lost in the middle of an answer: another takes over, and the text is the one that nothing had happened to."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import pytest_asyncio

from node.client import Client
from node.client_session import ClientSession, Recovery, Request
from node.network import Network
from sharding.sampling import SamplingParams
from sharding.span import Span
from tests.node.swarm import (
    GREEDY,
    Stage,
    Swarm,
    deploy_network,
    generate,
    request,
    running_client,
    running_stage,
    write_tiny_exact_model,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")

SAMPLED = SamplingParams(1.5, 40, 0.95, 7)
SPANS = ("0:2", "2:4", "4:6")
PROMPT = tuple(range(20, 45))


@dataclass
class Replicas:
    """Three stages, each with a spare of the same span, and what is needed to start a stage again."""

    network: Network
    model: Path
    home: Path
    swarm: Swarm
    stages: dict[str, list[Stage]]
    stacks: dict[str, AsyncExitStack] = field(default_factory=dict)

    async def start(self, name: str, account: int, span: str) -> Stage:
        """Run a stage, or run it again with its keys and its book."""
        stack = AsyncExitStack()
        stage = await stack.enter_async_context(
            running_stage(self.network, self.model, self.home / name, account, Span.parse(span))
        )
        self.stacks[stage.owner.address] = stack
        return stage

    async def stop(self, stage: Stage) -> None:
        """It ends as a process ends that is told to: streams close at once."""
        await self.stacks.pop(stage.owner.address).aclose()

    def node_of(self, session: ClientSession, place: int) -> Stage:
        """The stage that computes the place-th part of a session."""
        owner = session.run.opened.route.stages[place].node
        return next(stage for pair in self.stages.values() for stage in pair if stage.owner.address == owner)

    async def revive(self, stage: Stage) -> None:
        """Start a stopped stage again and have everybody look at the chain."""
        for span, pair in self.stages.items():
            if stage in pair:
                index = pair.index(stage)
                account = 1 + SPANS.index(span) + 3 * index
                pair[index] = await self.start(f"node{account}", account, span)
        self.swarm.stages = [each for pair in self.stages.values() for each in pair]
        self.swarm.forget_directories()


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def net(embedded_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Replicas]:
    """Six nodes and a client with money in reserve; each test leaves all of them running."""
    home = tmp_path_factory.mktemp("failover")
    network = await asyncio.to_thread(deploy_network, embedded_url)
    model = write_tiny_exact_model(home / "model")
    made = Replicas(network, model, home, None, {span: [] for span in SPANS})  # type: ignore[arg-type]
    try:
        for account in range(1, 7):
            span = SPANS[(account - 1) % 3]
            made.stages[span].append(await made.start(f"node{account}", account, span))
        stages = [stage for pair in made.stages.values() for stage in pair]
        async with running_client(network, model, home / "client", stages) as swarm:
            made.swarm = swarm
            yield made
    finally:
        for stack in list(made.stacks.values()):
            await stack.aclose()


def client_of(net: Replicas) -> Client:
    """One that has seen no failure yet."""
    return Client(replace(net.swarm.context, keeps_reserve=True))


async def expected(net: Replicas, wanted: Request) -> tuple[int, ...]:
    return (await generate(net.swarm.client, wanted))[0]


Fault = Callable[[Replicas, Stage], Awaitable[None]]


async def stopped(net: Replicas, stage: Stage) -> None:
    await net.stop(stage)


@pytest.mark.parametrize("params", [GREEDY, SAMPLED], ids=["greedy", "sampled"])
@pytest.mark.parametrize("after", [0, 1, 9, 18])
@pytest.mark.parametrize("place", [0, 1, 2])
async def test_a_stage_that_ends_costs_no_token(net: Replicas, place: int, after: int, params: SamplingParams) -> None:
    """Before the first token, in the middle, near the end; the first, a middle, the last stage."""
    wanted = request(PROMPT, 20, params)
    right = await expected(net, wanted)
    heard: list[Recovery] = []
    client = client_of(net)
    session = await client.open(wanted, heard.append)
    lost, tokens = net.node_of(session, place), []
    if after == 0:
        await net.stop(lost)
    async for token in session.tokens():
        tokens.append(token)
        if len(tokens) == after:
            await net.stop(lost)
    report = await session.finish()
    await net.revive(lost)

    assert tuple(tokens) == right
    assert [each.node for each in heard] == [lost.owner.address] == [each.node for each in report.recoveries]
    assert heard[0].stage == place
    assert lost.owner.address not in {stage.node for stage in report.route.stages}
    assert len(report.channels) == 2
    await client.close()
