"""Nodes that place themselves, in virtual time, with a board of records between them that is slow to read."""

import asyncio
import random
import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace

from node.placing import Placing
from node.placing_parts import PlacingParts
from sharding.errors import EngineError
from sharding.placement import World
from sharding.placement_coverage import Coverage, Held
from sharding.placement_values import Holding, ModelNeeds, Offer, Policy, count, without
from sharding.span import Span
from tests.node.records import address, record
from verification.addresses import Address
from verification.node_records import DEFAULT_LIFE_SECONDS, ServedSpan, ServiceRecord

BLOCK = 100
SPREAD = (0.05, 0.5)
LOAD_SECONDS, LOAD_BLOCK_SECONDS = 0.3, 0.25
RECORD_SECONDS = 10.0
DEAF_SECONDS = 1.5
"""How long asking somebody takes who is not there."""


@dataclass
class PaperHost:
    """Loads by waiting; a session is the span that it needs."""

    board: "Board"
    spans: tuple[Span, ...] = ()
    sessions: list[Span] = field(default_factory=list)
    failures: int = 0
    """So many loads fail."""
    memory: tuple[Span, ...] = ()
    moves: int = 0
    cut: int = 0
    """Sessions that blocks were taken from."""

    async def change(self, spans: tuple[Span, ...]) -> None:
        """As Host; what was held already takes no time."""
        new = count(without(spans, self.memory))
        await asyncio.sleep(LOAD_SECONDS + LOAD_BLOCK_SECONDS * new if new else 0.0)
        if new and self.failures:
            self.failures -= 1
            raise EngineError("the disk is gone")
        self.spans = self.memory = spans
        self.cut += self.retiring_sessions
        self.board.recount(crashed=False)

    def retire(self, gone: tuple[Span, ...]) -> None:
        """As Host."""
        self.spans = without(self.spans, gone)
        self.board.recount(crashed=False)

    @property
    def retiring_sessions(self) -> int:
        """As Host."""
        return sum(bool(without([each], self.spans)) for each in self.sessions)

    def move(self) -> None:
        """They go in half a second."""
        self.moves += 1
        asyncio.get_running_loop().call_later(0.5, self._go)

    def _go(self) -> None:
        self.sessions = [each for each in self.sessions if not without([each], self.spans)]


@dataclass
class Member:
    """One node."""

    number: int
    board: "Board"
    offer: Offer
    host: PaperHost
    known: dict[Address, ServiceRecord] = field(default_factory=dict)
    told: list[Holding] = field(default_factory=list)
    """Every place that it has published."""
    served: list[tuple[Span, ...]] = field(default_factory=list)
    deaf: bool = False
    sequence: int = 0

    def __post_init__(self) -> None:
        parts = PlacingParts(
            node=address(self.number), offer=self.offer, world=self.board.world, host=self.host, records=self.records,
            alive=self.ask, publish=self.publish, served=self._served, round_seconds=3.0,
            clock=lambda: time.time(),
        )  # fmt: skip
        self.placing = Placing(parts)
        self.running: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Join."""
        self.known |= {node: each for other in self.board.there() for node, each in other.known.items()}
        self.running = asyncio.create_task(self._run())

    async def _run(self) -> None:
        keeping = asyncio.create_task(self._keep_publishing())
        try:
            await self.placing.run()
        finally:
            keeping.cancel()

    async def _keep_publishing(self) -> None:
        while True:
            await asyncio.sleep(RECORD_SECONDS)
            await self.publish()

    def records(self) -> Iterable[ServiceRecord]:
        """The live ones."""
        return [each for each in self.known.values() if time.time() < each.expires]

    async def ask(self, nodes: Collection[Address]) -> frozenset[Address]:
        """An exchange with each that is there."""
        there = [each for each in self.board.there() if address(each.number) in nodes and not each.deaf]
        await asyncio.sleep(0.05 if len(there) == len(nodes) else DEAF_SECONDS)
        for each in there:
            self.board.exchange(self, each)
        return frozenset(address(each.number) for each in there)

    async def publish(self) -> None:
        """Everybody hears of it a little later."""
        self.sequence += 1
        holding = self.placing.holding
        if not self.told or holding != self.told[-1]:
            self.told.append(holding)
        now, spans = int(time.time()), tuple(ServedSpan(each.start, each.end, 1, 1) for each in self.host.spans)
        made = replace(
            record(self.number, self.sequence, now, DEFAULT_LIFE_SECONDS), spans=spans, placement=self.placing.claim
        )
        made.struct_hash()
        self.known[made.node] = made
        self.board.post(self, made)

    async def _served(self, spans: tuple[Span, ...]) -> None:
        self.served.append(spans)


class Board:
    """All members; counts blocks that were served and then were not, crashes apart."""

    def __init__(self, num_blocks: int, seed: int = 0, **rules: float) -> None:
        needs = ModelNeeds(num_blocks, BLOCK, 0, 0)
        self.world = World(needs, Policy(**rules), b"seed")  # type: ignore[arg-type]
        self.members: dict[int, Member] = {}
        self.uncovered = 0
        self._random = random.Random(seed)
        self._covered = [False] * num_blocks

    def add(self, number: int, blocks: int, rate: float = 8.0) -> Member:
        """A node with memory for so many blocks joins."""
        offer = Offer(address(number), blocks * BLOCK, rate)
        member = self.members[number] = Member(number, self, offer, PaperHost(self))
        member.start()
        return member

    def kill(self, number: int) -> None:
        """It says no more."""
        member = self.members.pop(number)
        if member.running is not None:
            member.running.cancel()
        self.recount(crashed=True)

    def there(self) -> list[Member]:
        """Who runs."""
        return list(self.members.values())

    def post(self, author: Member, made: ServiceRecord) -> None:
        """Each hears of it after a time of its own."""
        for other in self.there():
            if other is not author:
                delay = self._random.uniform(*SPREAD)
                asyncio.get_running_loop().call_later(delay, _hear, other, made)

    def exchange(self, one: Member, other: Member) -> None:
        """Both know what either did."""
        for made in (*one.known.values(), *other.known.values()):
            _hear(one, made)
            _hear(other, made)

    @property
    def coverage(self) -> Coverage:
        """What is served at this moment."""
        held = (Held(each.offer.block_rate, each.host.spans) for each in self.there())
        return Coverage.of(held, self.world.needs.num_blocks)

    def recount(self, *, crashed: bool) -> None:
        """Note what is not served any more."""
        for block, holders in enumerate(self.coverage.holders.tolist()):
            self.uncovered += self._covered[block] and not holders and not crashed
            self._covered[block] = holders > 0

    async def until_covered(self, seconds: float) -> float:
        """Wait until every block is served; returns how long that took. Raises: TimeoutError."""
        began = time.time()
        async with asyncio.timeout(seconds):
            while self.coverage.uncovered:
                await asyncio.sleep(0.05)
        return time.time() - began


def _hear(member: Member, made: ServiceRecord) -> None:
    known = member.known.get(made.node)
    if known is None or known.sequence < made.sequence:
        member.known[made.node] = made
