"""Who serves which blocks: read from the chain's events, anchored in the stake behind each node."""

import asyncio
import time
from dataclasses import dataclass

from incentives.stakes import Announcement, Identity
from node.errors import UnknownNode
from node.network import Network
from sharding.errors import SpanError
from sharding.span import Span
from verification.addresses import Address

REFRESH_SECONDS = 5.0
UNKNOWN_REFRESH_SECONDS = 1.0


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


class Directory:
    """A cached view of the announced nodes; reads the chain off the event loop."""

    def __init__(self, network: Network, refresh_seconds: float = REFRESH_SECONDS) -> None:
        self._network = network
        self._refresh_seconds = refresh_seconds
        self._records: dict[Address, NodeRecord] = {}
        self._read_at = -float("inf")
        self._reading = asyncio.Lock()

    async def records(self, *, newer_than: float | None = None) -> dict[Address, NodeRecord]:
        """Return all announced nodes by owner address, read no longer ago than the refresh time.

        `newer_than` (time.monotonic) asks for a reading that began after that moment.
        """
        async with self._reading:
            needed = newer_than if newer_than is not None else time.monotonic() - self._refresh_seconds
            if self._read_at < needed:
                began = time.monotonic()
                self._records = await asyncio.to_thread(read_records, self._network)
                self._read_at = began
            return self._records

    async def record(self, node: Address) -> NodeRecord:
        """Return one node; a node that is not known yet is looked for once more. Raises: UnknownNode."""
        asked = time.monotonic() - UNKNOWN_REFRESH_SECONDS  # or strangers' names would cost a reading each
        found = (await self.records()).get(node) or (await self.records(newer_than=asked)).get(node)
        if found is None:
            raise UnknownNode(node)
        return found


def read_records(network: Network) -> dict[Address, NodeRecord]:
    """Build the directory from events and current stakes; what one node announces never hides another. Synchronous."""
    identities = network.stakes.identities()
    records = {}
    for announcement in network.stakes.announcements():
        identity, span = identities.get(announcement.node), _span(announcement)
        if identity is not None and span is not None:
            records[announcement.node] = _record(network, announcement, identity, span)
    return records


def _span(announcement: Announcement) -> Span | None:
    try:
        return Span(announcement.start, announcement.end)
    except SpanError:  # the contract takes any 32-bit numbers
        return None


def _record(network: Network, announcement: Announcement, identity: Identity, span: Span) -> NodeRecord:
    stake = network.stakes.stake_of(announcement.node)
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
