"""The exchange of signed records: a node publishes its own, and asks a few random others every few seconds; a client only asks.

What is known lies in a book (record_book.py), under the chain's present view. Nothing here decides who serves what.
"""

import asyncio
import contextlib
import logging
import random
import secrets
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from incentives.errors import ChainError, IncentivesError
from node.directory import Directory, NodeRecord
from node.errors import ClosedHere, MalformedMessage, NodeError, PeerClosed, PeerError, PeerRefused
from node.gossip_author import Author
from node.gossip_door import Door
from node.gossip_exchange import EXCHANGE_SECONDS, GOSSIP_SESSION, Taken, answer, ask, gossip_of
from node.network import Network
from node.record_book import RecordBook
from node.record_messages import Summary
from node.refusals import FailureCode, Refused
from node.transport import Stream, Transport
from node.wire import Frame
from verification.addresses import Address
from verification.errors import VerificationError
from verification.node_records import ServiceRecord

log = logging.getLogger(__name__)

ROUND_SECONDS = 3.0
PEERS = 2
"""Asked in one round."""
WIDE = 16
"""Told at once what cannot wait."""
LOOK_SECONDS = 1.0
"""Between two looks at this node's own load."""
FAREWELL_SECONDS = 0.5
"""How long a node that stops may be kept by telling others."""
STALE_SECONDS = 5.0
"""A reader's book that is older is brought up to date before it is used."""
READ_SECONDS = 0.3
"""How long a request may be held up for that."""
SILENT_SECONDS = 15.0
"""How long a peer that did not answer is left alone, where there are others; and a chain."""


@dataclass(frozen=True, slots=True)
class GossipParts:
    """What an exchange needs. chance: of whom to ask; not to be foreseen by those who would like to be asked."""

    network: Network
    directory: Directory
    transport: Transport
    round_seconds: float = ROUND_SECONDS
    chance: random.Random = field(default_factory=secrets.SystemRandom)


def _unheard(_node: Address, _seconds: float) -> None:
    """Nobody wants to know."""


class Gossip:
    """A book and what keeps it up to date: `run` in a node, `freshen` in a client; `close` in any case."""

    def __init__(self, parts: GossipParts) -> None:
        self._parts = parts
        self.book = RecordBook(parts.network.hello_domain, parts.network.deployment.params.min_stake)
        self.author: Author | None = None
        """Signs this node's records; a client has none."""
        self.on_round_trip: Callable[[Address, float], object] = _unheard
        """Hears how long a peer took to answer, in seconds."""
        self._door = Door(time.monotonic)
        self._chain: dict[Address, NodeRecord] = {}
        self._signers: dict[Address, Address] = {}
        self._silent_until: dict[Address, float] = {}
        self._ask_chain_at = 0.0
        self._heard_at = -float("inf")
        self._asked_at = -float("inf")
        self._news = asyncio.Event()
        self._reading: asyncio.Task[int] | None = None
        parts.directory.moved = self.endpoint_of

    def endpoint_of(self, node: Address) -> str | None:
        """Where a node says that it is."""
        record = self.book.get(node, time.time())
        return record.endpoint if record is not None else None

    def live(self) -> tuple[ServiceRecord, ...]:
        """The records that count now."""
        return self.book.live(time.time())

    def record(self, node: Address) -> ServiceRecord | None:
        """One node's record, while it counts."""
        return self.book.get(node, time.time())

    async def run(self) -> None:
        """Publish and exchange until cancelled; nothing that a peer or the chain does ends it."""
        next_round = 0.0
        while True:
            try:
                if await self.publish() or time.monotonic() >= next_round:
                    next_round = time.monotonic() + self._parts.round_seconds
                    await self.round()
            except (NodeError, IncentivesError, VerificationError) as error:  # its own record, too
                log.info("no records were exchanged: %s", error)
            await self._pause(min(LOOK_SECONDS, self._parts.round_seconds))

    def nudge(self) -> None:
        """Look at this node's own load now: something has changed."""
        self._news.set()

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._news.wait()
        self._news.clear()

    async def publish(self) -> bool:
        """Put a new record of this node into the book; returns whether one was due.

        Raises: ChainError, RecordRefused, MalformedRecord; InvalidSignature where the chain names another key for this node.
        """
        await self._anchor()
        return await self._write()

    async def _write(self) -> bool:
        if self.author is None:
            return False
        signed = await self.author.write(self.book.get(self.author.service.node, time.time()))
        return signed is not None and self.book.add(signed, time.time())

    async def round(self, peers: int = PEERS) -> int:
        """Exchange with random peers at once; returns how many answered. Raises: ChainError."""
        await self._anchor()
        chosen = self._choose(peers)
        return sum(await asyncio.gather(*(self._exchange(each) for each in chosen)))

    async def spread(self) -> None:
        """Publish what is due, and tell many at once. Raises: as publish."""
        await self.publish()
        await self.round(WIDE)

    async def farewell(self) -> None:
        """Tell many what is due, by the chain as it was seen last: for a node that stops, and has no time to be refused."""
        try:
            async with asyncio.timeout(FAREWELL_SECONDS):
                if await self._write():
                    await asyncio.gather(*(self._exchange(each) for each in self._choose(WIDE)))
        except (NodeError, IncentivesError, VerificationError, TimeoutError) as error:
            log.info("not everybody was told that this node stops: %s", error)

    async def reach(self, nodes: Collection[Address], seconds: float) -> frozenset[Address]:
        """Exchange with each of these; returns those that answered in time, be it that they are busy. Raises: ChainError."""
        await self._anchor()
        known = [each for node in nodes if (each := self._chain.get(node)) is not None]
        there = await asyncio.gather(*(self._answers(each, seconds) for each in known))
        return frozenset(each.node for each, answers in zip(known, there, strict=True) if answers)

    async def _answers(self, peer: NodeRecord, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                self._judge(peer.signer, await self._ask(peer))
        except PeerRefused:
            return True
        except (NodeError, TimeoutError):
            return False
        return True

    async def freshen(self, seconds: float = READ_SECONDS) -> None:
        """Ask before records are used, unless some came a moment ago; goes on behind the caller's back past `seconds`."""
        if self._reading is None or self._reading.done():
            now = time.monotonic()
            if now - self._asked_at < STALE_SECONDS:
                return
            self._asked_at = now
            self._news.clear()
            self._reading = asyncio.create_task(self._read())
        elif self._heard_at >= self._asked_at:
            return
        await self._pause(seconds)

    async def _read(self) -> int:
        try:
            return await self.round()
        except (NodeError, ChainError) as error:
            log.info("no records could be read: %s", error)
            return 0
        finally:
            self._news.set()

    async def _anchor(self) -> None:
        """Hold the book to what the chain says now, or said last while it cannot be asked. Raises: ChainError at the first time."""
        try:
            if time.monotonic() >= self._ask_chain_at:
                self._see(await self._parts.directory.chain_records())
        except ChainError:
            if not self._chain:
                raise
            self._ask_chain_at = time.monotonic() + SILENT_SECONDS
        self.book.anchor(self._chain, time.time())

    def _see(self, records: dict[Address, NodeRecord]) -> None:
        if records is not self._chain:
            self._chain = records
            self._signers = {each.signer: each.node for each in records.values() if self._is_staked(each)}
            self._silent_until = {node: until for node, until in self._silent_until.items() if node in records}

    def _is_staked(self, record: NodeRecord) -> bool:
        return record.bonded >= self._parts.network.deployment.params.min_stake

    def _choose(self, peers: int) -> list[NodeRecord]:
        """Staked nodes, not this one; those that were silent a moment ago only where there is nobody else."""
        own, now = self.author.service.node if self.author is not None else None, time.monotonic()
        others = [
            each
            for each in self._chain.values()
            if each.node != own and self._is_staked(each) and not self._door.is_barred(each.signer)
        ]
        awake = [each for each in others if self._silent_until.get(each.node, 0.0) <= now] or others
        return self._parts.chance.sample(awake, min(peers, len(awake)))

    async def _exchange(self, peer: NodeRecord) -> bool:
        """Whether the peer answered; one that does not is left alone for a while."""
        try:
            async with asyncio.timeout(EXCHANGE_SECONDS):
                taken = await self._ask(peer)
        except (NodeError, TimeoutError) as error:
            log.debug("no records from %s: %s", peer.node, error)
            self._silent_until[peer.node] = time.monotonic() + SILENT_SECONDS
            return False
        self._silent_until.pop(peer.node, None)
        self._heard_at = time.monotonic()
        self._news.set()
        self.on_round_trip(peer.node, taken.round_trip)
        self._judge(peer.signer, taken)
        return True

    async def _ask(self, peer: NodeRecord) -> Taken:
        async with await self._dial(peer) as stream:
            page = self._parts.chance.choice(self.book.digest(time.time()))
            return await ask(stream, self.book, page, pushes=self.author is not None)

    async def _dial(self, peer: NodeRecord) -> Stream:
        """Where its record says, or else where the chain does: either may be the older word."""
        told = self.endpoint_of(peer.node)
        if told is not None and told != peer.endpoint:
            try:
                return await self._parts.transport.dial(told, peer.peer)
            except PeerError as error:
                log.debug("%s is not at %s: %s", peer.node, told, error)
        return await self._parts.transport.dial(peer.endpoint, peer.peer)

    def is_for(self, frame: Frame) -> bool:
        """Whether a stream that opens with this frame wants records."""
        return frame.session == GOSSIP_SESSION

    async def answer(self, stream: Stream, frame: Frame) -> None:
        """Serve a stream that opened with gossip. Raises: Refused, MalformedMessage, PeerError, ChainError, TimeoutError."""
        remote = stream.remote
        if remote is None:
            raise Refused(FailureCode.PROTOCOL, "records are asked for by those who dial")
        if not self._chain:
            await self._anchor()
        staked = remote in self._signers
        with self._door.enter(remote, staked=staked):
            page = gossip_of(frame)
            if not isinstance(page, Summary):
                raise MalformedMessage("an exchange of records begins with a summary")
            async with asyncio.timeout(EXCHANGE_SECONDS):
                with contextlib.suppress(PeerClosed, ClosedHere):  # it may have had enough
                    self._judge(remote, await answer(stream, self.book, page, takes=staked))

    def _judge(self, signer: Address, taken: Taken) -> None:
        if taken.hostile:
            log.warning("%s sent forged records; neither asked nor answered for a while", signer)
            self._door.bar(signer)

    async def close(self) -> None:
        """End a reading that goes on in the background."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)
