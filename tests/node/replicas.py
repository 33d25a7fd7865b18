"""Three stages with a spare each, which tests stop and start again."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from node.client import Client
from node.client_session import ClientSession
from node.network import Network
from node.reports import Request
from sharding.span import Span
from tests.node.swarm import Stage, Swarm, generate, running_client, running_stage

SPANS = ("0:2", "2:4", "4:6")


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

    @classmethod
    @asynccontextmanager
    async def running(cls, network: Network, model: Path, home: Path) -> "AsyncIterator[Replicas]":
        """All six and a client, for the length of the block."""
        made = cls(network, model, home, None, {span: [] for span in SPANS})  # type: ignore[arg-type]
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
    """The text when nothing happens."""
    return (await generate(net.swarm.client, wanted))[0]
