"""The newest signed ServiceRecord of every staked node, and which of them another book lacks. Pure: clock and messages come in.

Hiding another's record must cost more than it brings: a record counts only under a stake, it displaces only its own node's
older one or, in a full book, nodes with less at stake; and each record of a message stands or falls alone.

A record may name another endpoint than the chain does: a restarted node is found before its announcement is mined. The TLS key
must be the chain's, so nobody is led to another node; and whoever steals a hot key may announce on the chain too.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from incentives.errors import InvalidSignature
from incentives.signing import Signer, recover
from node.directory import NodeRecord
from node.errors import MalformedMessage
from node.record_messages import (
    MAX_SUMMARY_NODES,
    Held,
    Records,
    Summary,
    batches,
    decode_record,
    encode_record,
)
from node.routing_errors import (
    RecordBookFull,
    RecordConflict,
    RecordOutOfTime,
    RecordRefused,
    RecordUnanchored,
)
from verification.addresses import ADDRESS_BYTES, Address, address_bytes
from verification.errors import VerificationError
from verification.node_records import MAX_LIFE_SECONDS, ServiceRecord, SignedServiceRecord
from verification.typed_data import Domain

MAX_FORGERIES = 8
"""Records of one message that no honest peer sends, after which the rest is not read: each costs a signature's check."""
_LOWEST, _HIGHEST = bytes(ADDRESS_BYTES), b"\xff" * ADDRESS_BYTES


@dataclass(frozen=True, slots=True)
class BookLimits:
    """What a book holds at most, and how far clocks may differ."""

    nodes: int = 10_000
    bytes: int = 10_000 * 1024
    tolerance: float = 30.0
    """Seconds between two honest clocks."""


@dataclass(frozen=True, slots=True)
class Merged:
    """What became of a message's records."""

    accepted: tuple[Address, ...]
    refused: int
    """Records that this book does not keep; an honest peer with another view of chain or time may send some."""
    forged: int
    """Records that no honest peer passes on: unreadable, or not signed by the node's signer."""

    @property
    def hostile(self) -> bool:
        """Whether to end the exchange with this peer."""
        return self.forged >= MAX_FORGERIES


@dataclass(frozen=True, slots=True)
class _Entry:
    record: ServiceRecord
    signer: Address
    address: bytes
    data: bytes
    live_until: float
    forget_at: float
    """Until then its sequence bars older records that have not expired yet."""


class RecordBook:
    """Signed records by node; `now` is seconds since 1970 wherever it is asked for."""

    def __init__(self, domain: Domain, minimum_stake: int, limits: BookLimits | None = None) -> None:
        self._domain = domain
        self._minimum_stake = minimum_stake
        self._limits = limits or BookLimits()
        self._chain: Mapping[Address, NodeRecord] = {}
        self._entries: dict[Address, _Entry] = {}
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def bytes_held(self) -> int:
        """The size of all records, those that wait to be forgotten included."""
        return self._bytes

    def anchor(self, chain: Mapping[Address, NodeRecord], now: float) -> None:
        """Take the chain's present view; records that it no longer bears out, and forgotten ones, go."""
        self._chain = chain
        for node, entry in list(self._entries.items()):
            gone = self._objection(entry.record) is not None or entry.signer != chain[node].signer
            if gone or now >= entry.forget_at:
                self._drop(node)

    def add(self, signed: SignedServiceRecord, now: float) -> bool:
        """Keep a record that is newer than what is held of its node; False for one that is held already or older.

        Raises: RecordRefused's leaves, MalformedRecord, InvalidSignature, MalformedMessage. Nothing has changed then.
        """
        record = signed.record
        if (objection := self._objection(record)) is not None:
            raise RecordUnanchored(record.node, objection)
        self._check_time(record, now)
        held = self._held(record.node, now)
        if held is not None and (held.record.sequence > record.sequence or held.record == record):
            return False
        self._check_signature(signed)
        if held is not None and held.record.sequence == record.sequence:
            raise RecordConflict(
                record.node, f"sequence {record.sequence} came with other content before; raise the sequence"
            )
        self._keep(self._entry(signed, now), now)
        return True

    def live(self, now: float) -> tuple[ServiceRecord, ...]:
        """The records that count, by ascending address."""
        return tuple(entry.record for entry in self._sorted_live(now))

    def get(self, node: Address, now: float) -> ServiceRecord | None:
        """The record of one node, while it counts."""
        entry = self._entries.get(node)
        return entry.record if entry is not None and now < entry.live_until else None

    def digest(self, now: float) -> tuple[Summary, ...]:
        """What this book holds, in messages that divide all addresses between them: one up to 1,500 nodes."""
        held = [Held(each.address, each.record.sequence) for each in self._sorted_live(now)]
        pages = [tuple(held[at : at + MAX_SUMMARY_NODES]) for at in range(0, len(held), MAX_SUMMARY_NODES)] or [()]
        lasts = [page[-1].node for page in pages[:-1]] + [_HIGHEST]
        firsts = [_LOWEST] + [_successor(last) for last in lasts[:-1]]
        return tuple(Summary(*page) for page in zip(firsts, lasts, pages, strict=True))

    def missing(self, summary: Summary, now: float) -> tuple[Records, ...]:
        """The records that the author of a summary lacks or has an older one of; what it lies about, it goes without."""
        known = {each.node: each.sequence for each in summary.held}
        wanted = []
        for entry in self._sorted_live(now):
            inside = summary.first <= entry.address <= summary.last
            if inside and known.get(entry.address, -1) < entry.record.sequence:
                wanted.append(entry.data)
        return tuple(batches(wanted))

    def merge(self, records: Records, now: float) -> Merged:
        """Add each record of a message by itself, in the message's order; never raises for one of them."""
        accepted: list[Address] = []
        refused = forged = 0
        for data in records.records:
            try:
                signed = decode_record(data)
                if self.add(signed, now):
                    accepted.append(signed.record.node)
            except RecordRefused:
                refused += 1
            except (MalformedMessage, VerificationError, InvalidSignature):
                forged += 1
            if forged >= MAX_FORGERIES:
                break
        return Merged(tuple(accepted), refused, forged)

    def _objection(self, record: ServiceRecord) -> str | None:
        """What the chain has against a record; cheap, so it comes before the signature."""
        chain = self._chain.get(record.node)
        if chain is None:
            return "the chain does not know this owner; join first"
        if chain.bonded < self._minimum_stake:
            return f"{chain.bonded} is at stake, {self._minimum_stake} is needed; add to the stake"
        if record.peer != chain.peer:
            return "the chain names another TLS key; rotate to the new one first"
        return None

    def _check_time(self, record: ServiceRecord, now: float) -> None:
        tolerance = self._limits.tolerance
        if now >= record.expires + tolerance:
            raise RecordOutOfTime(
                record.node, f"it expired {now - record.expires:.0f} s ago; ask for a newer one, check both clocks"
            )
        if record.issued > now + tolerance:
            raise RecordOutOfTime(
                record.node, f"it is from {record.issued - now:.0f} s in the future; check both clocks"
            )

    def _check_signature(self, signed: SignedServiceRecord) -> None:
        signer = self._chain[signed.record.node].signer
        found = recover(signed.record.digest(self._domain), signed.signature)
        if found != signer:
            raise InvalidSignature(f"the record of {signed.record.node} is signed by {found}, the chain names {signer}")

    def _entry(self, signed: SignedServiceRecord, now: float) -> _Entry:
        """An entry that lives no longer than its record does by either clock."""
        record = signed.record
        live_until = min(record.expires + self._limits.tolerance, now + record.life)
        forget_at = now + MAX_LIFE_SECONDS + 2 * self._limits.tolerance
        return _Entry(
            record,
            self._chain[record.node].signer,
            address_bytes(record.node),
            encode_record(signed),
            live_until,
            forget_at,
        )

    def _held(self, node: Address, now: float) -> _Entry | None:
        entry = self._entries.get(node)
        return entry if entry is not None and now < entry.forget_at else None

    def _keep(self, entry: _Entry, now: float) -> None:
        node = entry.record.node
        for other in self._displaced_by(entry, now):
            self._drop(other)
        self._drop(node)
        self._entries[node] = entry
        self._bytes += len(entry.data)

    def _displaced_by(self, entry: _Entry, now: float) -> list[Address]:
        """Whom to drop for an entry, the expired first, then the least stake. Raises: RecordBookFull."""
        own = self._entries.get(entry.record.node)
        nodes = len(self._entries) + (own is None) - self._limits.nodes
        size = self._bytes + len(entry.data) - (len(own.data) if own is not None else 0) - self._limits.bytes
        displaced: list[Address] = []
        weaker = self._weaker(entry, now) if nodes > 0 or size > 0 else []
        while nodes > 0 or size > 0:
            if not weaker:
                raise RecordBookFull(
                    entry.record.node, "the book is full of nodes with as much at stake; add to the stake"
                )
            dropped = weaker.pop()
            displaced.append(dropped.record.node)
            nodes, size = nodes - 1, size - len(dropped.data)
        return displaced

    def _weaker(self, entry: _Entry, now: float) -> list[_Entry]:
        """Other nodes' entries that are over or have less at stake than this one's node; the next to go is the last."""
        stakes = {node: self._chain[node].bonded for node in self._entries if node in self._chain}
        own = self._chain[entry.record.node].bonded

        def rank(other: _Entry) -> tuple[bool, int, bytes]:
            return now < other.live_until, stakes.get(other.record.node, 0), other.address

        others = [each for each in self._entries.values() if each.address != entry.address]
        return sorted((each for each in others if rank(each)[:2] < (True, own)), key=rank, reverse=True)

    def _drop(self, node: Address) -> None:
        entry = self._entries.pop(node, None)
        self._bytes -= len(entry.data) if entry is not None else 0

    def _sorted_live(self, now: float) -> list[_Entry]:
        live = (entry for entry in self._entries.values() if now < entry.live_until)
        return sorted(live, key=lambda entry: entry.address)


def sign_record(record: ServiceRecord, signer: Signer, domain: Domain) -> SignedServiceRecord:
    """Sign a record with the node's hot key. Raises: MalformedRecord."""
    return SignedServiceRecord(record, signer.sign_digest(record.digest(domain)))


def _successor(address: bytes) -> bytes:
    return (int.from_bytes(address, "big") + 1).to_bytes(ADDRESS_BYTES, "big")
