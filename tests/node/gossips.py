"""Nodes that exchange records over streams in memory and in virtual time, for the tests of it."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import cast

from node.directory import Directory, NodeRecord
from node.errors import NodeError
from node.gossip import Gossip, GossipParts
from node.gossip_author import Author, Service, SpanRate, StageLoad
from node.gossip_exchange import GOSSIP_SESSION
from node.handshake import HandshakeTerms
from node.memory import MemoryListener, MemoryNetwork, MemoryTransport
from node.messages import Failure, message_frame
from node.network import Network
from node.refusals import refusal_of
from node.transport import Stream
from sharding.span import Span
from tests.node.records import DOMAIN, MINIMUM, address, key, on_chain
from verification.addresses import Address

IDLE = StageLoad(queue=0, free_pages=9, spans=(SpanRate(Span(0, 4), 1.0),))
PROFILE, MANIFEST = b"p" * 32, b"m" * 32


def paper_network() -> Network:
    """As much of a chain as gossip asks for."""
    params = SimpleNamespace(min_stake=MINIMUM)
    return cast(Network, SimpleNamespace(hello_domain=DOMAIN, deployment=SimpleNamespace(params=params)))


class PaperDirectory(Directory):
    """A directory over a chain that the test holds; `problem` is what asking it raises."""

    def __init__(self, chain: dict[Address, NodeRecord]) -> None:
        super().__init__(paper_network())
        self.chain = chain
        self.problem: Exception | None = None

    async def chain_records(self, *, newer_than: float | None = None) -> dict[Address, NodeRecord]:
        """As Directory."""
        if self.problem is not None:
            raise self.problem
        return self.chain


class Wishes(random.Random):
    """Chance that picks whom the test wants to be asked, and the first of everything else."""

    wanted: Sequence[int] = ()

    def sample(self, population, k, *, counts=None):  # type: ignore[no-untyped-def]
        """Those of the wanted that may be asked."""
        return [each for each in population if each.node in {address(number) for number in self.wanted}]

    def choice(self, seq):  # type: ignore[no-untyped-def]
        """The first."""
        return seq[0]


@dataclass
class Peer:
    """One node, or a reader without a door and without a record."""

    number: int
    gossip: Gossip
    directory: PaperDirectory
    transport: MemoryTransport
    load: list[StageLoad]
    """The last one is the present one."""
    listener: MemoryListener | None = None
    refused: list[NodeError] = field(default_factory=list)
    """What this node's side of an exchange raised."""

    async def serve(self, stream: Stream) -> None:
        """As a stage server does with a stream of gossip."""
        try:
            await self.gossip.answer(stream, await stream.recv())
        except NodeError as error:
            self.refused.append(error)
            said = refusal_of(error)
            failure = Failure(said.code.value, said.message, 0, said.retry_after_ms)
            await stream.send(message_frame(failure, GOSSIP_SESSION))

    def holds(self) -> list[Address]:
        """Whose records count here."""
        return [each.node for each in self.gossip.live()]


@dataclass
class Town:
    """Everybody, and the chain that they see."""

    numbers: Sequence[int]
    chance: random.Random = field(default_factory=lambda: random.Random(3))
    memory: MemoryNetwork = field(default_factory=MemoryNetwork)
    chain: dict[Address, NodeRecord] = field(default_factory=dict)
    peers: dict[int, Peer] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for number in self.numbers:
            self.chain[address(number)] = replace(on_chain(number), endpoint=f"memory://node{number}:1")

    async def node(self, number: int, port: int = 1) -> Peer:
        """A node that serves at a port, whatever the chain says of it."""
        peer = self.reader(number)
        peer.listener = await peer.transport.listen(f"node{number}", port, peer.serve)

        async def load() -> StageLoad:
            return peer.load[-1]

        service = Service(address(number), number.to_bytes(32, "big"), peer.listener.endpoint, MANIFEST, PROFILE, 1)
        peer.gossip.author = Author(service, key(number), DOMAIN, load)
        self.peers[number] = peer
        return peer

    async def all(self) -> list[Peer]:
        """A node for each number."""
        return [await self.node(number) for number in self.numbers]

    def reader(self, number: int) -> Peer:
        """Somebody with a key and no record."""
        transport = MemoryTransport(self.memory, key(number), HandshakeTerms(DOMAIN), number.to_bytes(32, "big"))
        directory = PaperDirectory(self.chain)
        parts = GossipParts(paper_network(), directory, transport, chance=self.chance)
        return Peer(number, Gossip(parts), directory, transport, [IDLE])
