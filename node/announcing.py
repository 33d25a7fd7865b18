"""What the chain hears of a node: where it is, and one span that it serves.

A record counts only for a node that the chain knows at all, and a client that finds no record goes by the announcement; the
node's signed record tells of all spans, and more often. Each announcement is a transaction.
"""

from collections.abc import Collection
from dataclasses import dataclass

from incentives.chain_types import Sent
from incentives.stakes import Announcement
from node.keys import NodeKeys
from node.network import Network
from node.settings import NodeSettings
from node.transactions import Wishes
from sharding.errors import SpanError
from sharding.hashing import keccak256
from sharding.span import Span, covers
from verification.addresses import to_address


@dataclass(frozen=True, slots=True)
class Announcer:
    """Of one node with one model at one endpoint. Synchronous; every method raises ChainError."""

    network: Network
    settings: NodeSettings
    keys: NodeKeys
    manifest: bytes
    endpoint: str
    wishes: Wishes | None = None
    """Names of transactions, where they are recorded."""

    def exactly(self, spans: Collection[Span]) -> Sent | None:
        """Have the chain name the widest of these spans; None where its last word says just that."""
        span, said = max(spans, key=len), self._said()
        if said is not None and self._is_here(said) and (said.start, said.end) == (span.start, span.end):
            return None
        return self._announce(span, said)

    def truly(self, spans: Collection[Span]) -> Sent | None:
        """The same for a node that moves: None as well where what the chain names is served, if not the widest any more."""
        said = self._said()
        if said is not None and self._is_here(said) and _within(said, spans):
            return None
        return self._announce(max(spans, key=len), said)

    def at_all(self, span: Span) -> Sent | None:
        """Have the chain know the node here; None where it does, whatever blocks it names."""
        said = self._said()
        return None if said is not None and self._is_here(said) else self._announce(span, said)

    def _said(self) -> Announcement | None:
        owner = to_address(self.settings.owner)
        return {each.node: each for each in self.network.stakes.announcements()}.get(owner)

    def _is_here(self, said: Announcement) -> bool:
        return (said.manifest, said.ask, said.endpoint) == (self.manifest, self.settings.ask_units, self.endpoint)

    def _announce(self, span: Span, said: Announcement | None) -> Sent:
        owner = to_address(self.settings.owner)
        words = (owner, self.manifest, span.start, span.end, self.settings.ask_units, self.endpoint)
        return self.network.stakes.announce(self.keys.signer, *words, key=self._key(said, words))

    def _key(self, said: Announcement | None, words: tuple[object, ...]) -> str | None:
        """The same words in place of the same ones before are the same wish."""
        if self.wishes is None:
            return None
        before = None if said is None else (said.block, said.log_index)
        return self.wishes.once(f"announce-{keccak256(repr((before, words)).encode()).hex()}")


def _within(said: Announcement, spans: Collection[Span]) -> bool:
    try:
        return covers(spans, Span(said.start, said.end))
    except SpanError:
        return False
