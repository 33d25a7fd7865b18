"""A whole network in one process and in virtual time: stages with replicas, a client, a chain on paper, a FaultNetwork between.

Stage servers, sessions, clients, engines, ledgers and handshakes are the real ones.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import cast

from incentives.signing import LocalSigner
from incentives.stakes import Identity
from incentives.units import ONE
from node.admission import StageTerms
from node.channel_book import ChannelBook
from node.client import Client
from node.client_context import ClientContext, ModelTerms
from node.directory import Directory
from node.handshake import HandshakeTerms
from node.ledger import Ledger
from node.network import Network
from node.server import StageServer
from node.stage_context import StageContext, StageLimits
from sharding.engine import Engine
from sharding.hashing import keccak256
from sharding.span import Span
from tests.faults.network import FaultNetwork
from tests.faults.paper_chain import PaperClock, PaperStakes, paper_network
from tests.faults.parts import Parts, WatchedEngine
from tests.faults.plan import FaultPlan
from verification.addresses import to_address

CLIENT = "client"
ASK = 10**12
WINDOW = 4
SPANS = ("0:2", "2:4", "4:6")


@dataclass(frozen=True, slots=True)
class Shape:
    """Which nodes there are: `replicas` of each span, the first of each the cheapest."""

    spans: tuple[str, ...] = SPANS
    replicas: int = 2

    @property
    def ring(self) -> tuple[tuple[str, ...], ...]:
        """The client, then for each stage its nodes; while nothing is wrong the first of each serves."""
        stages = (tuple(f"s{stage}r{index}" for index in range(self.replicas)) for stage in range(len(self.spans)))
        return ((CLIENT,), *stages)

    def plan(self, seed: int) -> FaultPlan:
        """The seed's plan for these nodes."""
        return FaultPlan.from_seed(seed, self.ring)


DEFAULT_SHAPE = Shape()


@dataclass(frozen=True, slots=True)
class WorldNode:
    """One stage with its parts at hand."""

    name: str
    owner: LocalSigner
    signer: LocalSigner
    server: StageServer
    ledger: Ledger
    engine: WatchedEngine


@dataclass(frozen=True, slots=True)
class World:
    """Everything of one run."""

    faults: FaultNetwork
    chain: Network
    clock: PaperClock
    nodes: dict[str, WorldNode]
    client: Client
    book: ChannelBook

    def holding(self) -> list[str]:
        """The nodes that have a session or a cache left."""
        return [node.name for node in self.nodes.values() if node.server.active_sessions or node.engine.held]

    def overpaid(self) -> list[str]:
        """Where more could be settled than the client has promised, or was promised than is locked; nowhere, if all is well."""
        promised = {each.channel: each.cumulative for each in self.book.all()}
        past = [
            f"{node.name} holds a voucher for {held.cumulative}, promised are {promised.get(held.channel, 0)}"
            for node in self.nodes.values()
            for held in node.ledger.all_held()
            if held.cumulative > promised.get(held.channel, 0)
        ]
        states = {channel: self.chain.channels.state(channel) for channel in promised}
        return past + [
            f"{promised[channel]} are promised, {state.locked} locked"
            for channel, state in states.items()
            if promised[channel] > state.locked
        ]


@asynccontextmanager
async def running_world(plan: FaultPlan, parts: Parts, shape: Shape = DEFAULT_SHAPE) -> AsyncIterator[World]:
    """Start all nodes and a client."""
    faults, chain = FaultNetwork(plan), paper_network()
    nodes: dict[str, WorldNode] = {}
    try:
        for names, span in zip(shape.ring[1:], shape.spans, strict=True):
            for replica, name in enumerate(names):
                nodes[name] = await _start_stage(faults, chain, parts, name, Span.parse(span), ASK * (replica + 1))
        book = ChannelBook(parts.store(), chain.money_domain)
        client = _client(faults, chain, book, nodes[shape.ring[1][0]].engine)
        yield World(faults, chain, cast(PaperClock, chain.chain), nodes, client, book)
    finally:
        for node in nodes.values():
            await node.server.close()
        await faults.close()
        parts.close()


def hot_key(name: str) -> LocalSigner:
    """The key that a node's process signs with."""
    return LocalSigner(keccak256(f"hot {name}".encode()))


async def _start_stage(
    faults: FaultNetwork, chain: Network, parts: Parts, name: str, span: Span, ask: int
) -> WorldNode:  # fmt: skip
    owner, signer, peer = LocalSigner(keccak256(f"cold {name}".encode())), hot_key(name), keccak256(name.encode())
    engine, ledger = parts.engine(name, span), Ledger(parts.store())
    node = to_address(owner.address)
    terms = StageTerms(
        node, engine.spec.num_blocks, engine.manifest.root, engine.profile, ask, 64, engine.spec.max_positions
    )
    transport = faults.transport(name, signer, HandshakeTerms(chain.hello_domain), peer)
    server = StageServer(
        StageContext(
            terms,
            chain,
            Directory(chain, 600.0),
            (cast(Engine, engine),),
            parts.worker(),
            ledger,
            signer,
            transport,
            StageLimits(sessions=8, idle_seconds=60.0),
        )
    )
    listener = await server.start(name, 1)
    cast(PaperStakes, chain.stakes).join(Identity(node, to_address(signer.address), peer), 1_000 * ONE)
    chain.stakes.announce(signer, node, engine.manifest.root, span.start, span.end, ask, listener.endpoint)
    return WorldNode(name, owner, signer, server, ledger, engine)


def _client(faults: FaultNetwork, chain: Network, book: ChannelBook, engine: WatchedEngine) -> Client:
    signer, spec = hot_key(CLIENT), engine.spec
    terms = ModelTerms(engine.manifest.root, engine.profile, spec.num_blocks, spec.vocab_size, spec.max_positions)
    transport = faults.transport(CLIENT, signer, HandshakeTerms(chain.hello_domain))
    return Client(ClientContext(chain, Directory(chain, 600.0), transport, signer, book, terms, WINDOW))
