"""Who serves which blocks: read from the chain's events, anchored in the stake behind each node.

Events are read once; after that only those since the first reading, and of a few blocks before it, where a re-org may still
change what was there. A stake is asked for again when an event says that it changed.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from incentives.stakes import Announcement, Identity, StakeRecord
from node.errors import UnknownNode
from node.network import Network
from sharding.errors import SpanError
from sharding.span import Span
from verification.addresses import Address

REFRESH_SECONDS = 5.0
UNKNOWN_REFRESH_SECONDS = 0.5
REORG_BLOCKS = 64
"""How deep a re-org is noticed at once; a deeper one at the next whole reading."""
NO_CHANGE = -1
"""Of a stake, in the blocks that are read again."""
MAX_NEW_BLOCKS = 5_000
"""As many as a request for logs takes; past them everything is read again."""


@dataclass(frozen=True, slots=True)
class NodeRecord:
    """One node as the chain shows it."""

    node: Address
    signer: Address
    peer: bytes
    bonded: int
    exiting: int
    manifest: bytes
    span: Span
    ask: int
    endpoint: str

    @property
    def staked(self) -> bool:
        """Whether anything stands behind this node's work that it is not already taking out."""
        return self.bonded > 0


@dataclass(frozen=True, slots=True)
class _Events:
    """The newest of each node, and the first block of those that are read again each time."""

    first: int
    identities: dict[Address, Identity]
    announcements: dict[Address, Announcement]


@dataclass(frozen=True, slots=True)
class _Base:
    """All events up to a head."""

    head: int
    events: _Events
    doubtful_identities: frozenset[Address]
    """Nodes whose newest event lies in the blocks that are read again: where it is gone then, there was a re-org."""
    doubtful_announcements: frozenset[Address]


@dataclass(frozen=True, slots=True)
class _Settled:
    """A stake that no re-org will change, and the block of the newest change that it was read after."""

    stake: StakeRecord
    changed: int


class KnownStakes:
    """Stakes by node, asked for when they have changed, or may still be changed by a re-org."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._settled: dict[Address, _Settled] = {}

    def of(self, node: Address, changed: int, head: int) -> StakeRecord:
        """The stake of a node that last changed in block `changed`. Raises: ChainError."""
        known = self._settled.get(node)
        if known is not None and known.changed == changed:
            return known.stake
        stake = self._network.stakes.stake_of(node)
        if changed <= head - REORG_BLOCKS:
            self._settled[node] = _Settled(stake, changed)
        return stake

    def forget(self) -> None:
        """Nothing is certain any more."""
        self._settled.clear()


class View(Protocol):
    """Reads the chain's word on every node."""

    def read(self) -> dict[Address, "NodeRecord"]:
        """By owner. Synchronous. Raises: ChainError."""
        ...


class ChainView:
    """The chain's word on every node, by readings that each cost little after the first. Synchronous; one thread at a time."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._base: _Base | None = None
        self._stakes = KnownStakes(network)

    def read(self) -> dict[Address, NodeRecord]:
        """Build the directory from events and current stakes; what one node announces never hides another. Raises: ChainError."""
        head = self._network.chain.head().number
        events = self._events(head)
        changed = self._network.stakes.stakes_changed(events.first)
        return join_records(
            events.announcements.values(),
            events.identities,
            lambda node: self._stakes.of(node, changed.get(node, NO_CHANGE), head),
        )

    def _events(self, head: int) -> _Events:
        base, stakes = self._base, self._network.stakes
        if base is None or not base.head <= head < base.events.first + MAX_NEW_BLOCKS:
            return self._read_all(head)
        old = base.events
        identities = stakes.identities(old.first)
        announcements = {each.node: each for each in stakes.announcements(old.first)}
        if not (base.doubtful_identities <= identities.keys() and base.doubtful_announcements <= announcements.keys()):
            return self._read_all(head)
        return _Events(old.first, old.identities | identities, old.announcements | announcements)

    def _read_all(self, head: int) -> _Events:
        stakes, first = self._network.stakes, max(0, head + 1 - REORG_BLOCKS)
        self._stakes.forget()
        identities = stakes.identities()
        announcements = {each.node: each for each in stakes.announcements()}
        doubtful = frozenset(node for node, each in announcements.items() if each.block >= first)
        events = _Events(first, identities, announcements)
        self._base = _Base(head, events, frozenset(stakes.identities(first)) & identities.keys(), doubtful)
        return events


def _nobody_moved(_node: Address) -> str | None:
    return None


class Directory:
    """A cached view of the announced nodes; reads the chain off the event loop."""

    def __init__(self, network: Network, refresh_seconds: float = REFRESH_SECONDS, view: View | None = None) -> None:
        """view: who reads; by default one that reads everything once."""
        self._view: View = view or ChainView(network)
        self._refresh_seconds = refresh_seconds
        self._records: dict[Address, NodeRecord] = {}
        self._read_at = -float("inf")
        self._reading = asyncio.Lock()
        self.moved: Callable[[Address], str | None] = _nobody_moved
        """Where a node says by its signed record that it is; None for one without."""

    async def records(self, *, newer_than: float | None = None) -> dict[Address, NodeRecord]:
        """Return all announced nodes by owner address, read no longer ago than the refresh time, where their records say they are.

        `newer_than` (time.monotonic) asks for a reading that began after that moment, with the chain's own endpoints: for
        whoever found nobody where a record had led.
        """
        found = await self.chain_records(newer_than=newer_than)
        return found if newer_than is not None else {node: self._located(each) for node, each in found.items()}

    async def chain_records(self, *, newer_than: float | None = None) -> dict[Address, NodeRecord]:
        """The same by the chain alone."""
        async with self._reading:
            needed = newer_than if newer_than is not None else time.monotonic() - self._refresh_seconds
            if self._read_at < needed:
                began = time.monotonic()
                self._records = await asyncio.to_thread(self._view.read)
                self._read_at = began
            return self._records

    async def record(self, node: Address) -> NodeRecord:
        """Return one node; a node that is not known yet is looked for once more, now or in a moment. Raises: UnknownNode."""
        found = (await self.chain_records()).get(node)
        if found is None:
            asked = time.monotonic()
            # one reading serves all who look for a stranger meanwhile, or their names would cost a reading each
            await asyncio.sleep(max(0.0, self._read_at + UNKNOWN_REFRESH_SECONDS - asked))
            found = (await self.chain_records(newer_than=asked)).get(node)
        if found is None:
            raise UnknownNode(node)
        return self._located(found)

    def _located(self, record: NodeRecord) -> NodeRecord:
        endpoint = self.moved(record.node)
        return record if endpoint is None or endpoint == record.endpoint else replace(record, endpoint=endpoint)


def read_records(network: Network) -> dict[Address, NodeRecord]:
    """Read the whole directory once. Synchronous. Raises: ChainError."""
    return ChainView(network).read()


def join_records(
    announcements: Iterable[Announcement],
    identities: Mapping[Address, Identity],
    stake: Callable[[Address], StakeRecord],
) -> dict[Address, NodeRecord]:
    """Announced nodes with an identity; what one of them announces never hides another."""
    records = {}
    for said in announcements:
        identity, span = identities.get(said.node), _span(said)
        if identity is not None and span is not None:
            records[said.node] = _record(said, identity, span, stake(said.node))
    return records


def _span(announcement: Announcement) -> Span | None:
    try:
        return Span(announcement.start, announcement.end)
    except SpanError:  # the contract takes any 32-bit numbers
        return None


def _record(announcement: Announcement, identity: Identity, span: Span, stake: StakeRecord) -> NodeRecord:
    return NodeRecord(
        node=announcement.node,
        signer=identity.signer,
        peer=identity.peer,
        bonded=stake.bonded,
        exiting=stake.exiting,
        manifest=announcement.manifest,
        span=span,
        ask=announcement.ask,
        endpoint=announcement.endpoint,
    )
