"""The ServiceRecord: what a node says of itself between two announcements on the chain, signed and soon over.

Stake, signer, peer and endpoint are the chain's to say; the record repeats the last two so that it dies with them. Spans,
prices and load are the node's own claims: routers believe them until they have measured.
"""

from dataclasses import dataclass

from sharding.errors import SpanError
from sharding.hashing import keccak256
from sharding.placement_values import Holding
from sharding.span import Span
from verification.addresses import Address
from verification.errors import MalformedRecord
from verification.placement_claims import CLAIM_TYPE, FIXED, SPAN_TYPE, PlacementClaim, holding_of
from verification.typed_data import (
    Domain,
    address_word,
    array_word,
    bytes32_word,
    struct_hash,
    typed_digest,
    uint_word,
)

MAX_SERVED_SPANS = 16
MAX_LIFE_SECONDS = 120
DEFAULT_LIFE_SECONDS = 30
MAX_ENDPOINT_BYTES = 256
RATES_PER_TOKEN = 1000
"""`rate` counts thousandths of a token per second, because large models on small machines take seconds for one."""

_SPAN_TYPE = "ServedSpan(uint32 start,uint32 end,uint96 ask,uint32 rate)"
_RECORD_TYPE = (
    "ServiceRecord(address node,uint64 sequence,uint40 issued,uint40 expires,bytes32 peer,string endpoint,bytes32 manifest,"
    "bytes32 profile,ServedSpan[] spans,uint32 queue,uint32 freePages,bool draining,Placement placement)"
    + SPAN_TYPE
    + CLAIM_TYPE
    + _SPAN_TYPE
)


@dataclass(frozen=True, slots=True)
class ServedSpan:
    """Blocks [start, end) at `ask` units per token and block."""

    start: int
    end: int
    ask: int
    rate: int
    """Thousandths of a token per second through these blocks for one session when nothing waits."""

    @property
    def span(self) -> Span:
        """The blocks. Raises: sharding.errors.SpanError when they are not a span."""
        return Span(self.start, self.end)

    @property
    def tokens_per_second(self) -> float:
        """The claimed speed."""
        return self.rate / RATES_PER_TOKEN

    def struct_hash(self) -> bytes:
        """The EIP-712 hash. Raises: MalformedRecord."""
        try:
            self.span  # noqa: B018 - read for its check
        except SpanError as error:
            raise MalformedRecord("spans", str(error)) from error
        if self.ask == 0 or self.rate == 0:
            raise MalformedRecord(
                "spans", f"{self.span} has an ask of {self.ask} and a rate of {self.rate}; both start at 1"
            )
        words = (
            uint_word("start", self.start, 32),
            uint_word("end", self.end, 32),
            uint_word("ask", self.ask, 96),
            uint_word("rate", self.rate, 32),
        )
        return struct_hash(_SPAN_TYPE, words)


@dataclass(frozen=True, slots=True)
class ServiceRecord:
    """What one node serves at this moment, of one model in one profile."""

    node: Address
    """The owner's address, by which the chain knows the node; the record is signed by the node's hot signer."""
    sequence: int
    issued: int
    """Seconds since 1970, as `expires`."""
    expires: int
    peer: bytes
    endpoint: str
    manifest: bytes
    profile: bytes
    spans: tuple[ServedSpan, ...]
    """Open to new sessions; in ascending order of (start, end), no two alike; they may overlap. None before the first."""
    queue: int
    """Tokens that wait for their turn."""
    free_pages: int
    draining: bool
    """Takes no new session in any span, and is leaving whatever its phase; before that it may be LEAVING and take some still."""
    placement: PlacementClaim = FIXED

    @property
    def holding(self) -> Holding | None:
        """The node as placement sees it; None where its claims make no sense together."""
        return holding_of(self.node, [each.span for each in self.spans], self.placement, leaves=self.draining)

    @property
    def life(self) -> int:
        """Seconds from issue to expiry."""
        return self.expires - self.issued

    def struct_hash(self) -> bytes:
        """The EIP-712 hash. Raises: MalformedRecord, MalformedAddress."""
        words = self._words()
        self._check_life()
        self._check_spans()
        self._check_placement()
        return struct_hash(_RECORD_TYPE, words)

    def digest(self, domain: Domain) -> bytes:
        """What the node's hot signer signs."""
        return typed_digest(domain, self.struct_hash())

    def _words(self) -> tuple[bytes, ...]:
        least = 0 if self.placement.take else 1
        if not least <= len(self.spans) <= MAX_SERVED_SPANS:
            raise MalformedRecord("spans", f"a record has {least} to {MAX_SERVED_SPANS} spans, not {len(self.spans)}")
        return (
            address_word(self.node),
            uint_word("sequence", self.sequence, 64),
            uint_word("issued", self.issued, 40),
            uint_word("expires", self.expires, 40),
            bytes32_word("peer", self.peer),
            _endpoint_word(self.endpoint),
            bytes32_word("manifest", self.manifest),
            bytes32_word("profile", self.profile),
            array_word([each.struct_hash() for each in self.spans]),
            uint_word("queue", self.queue, 32),
            uint_word("free_pages", self.free_pages, 32),
            _flag_word("draining", self.draining),
            self.placement.struct_hash(),
        )

    def _check_life(self) -> None:
        if not 1 <= self.life <= MAX_LIFE_SECONDS:
            raise MalformedRecord(
                "expires", f"a record lives 1 to {MAX_LIFE_SECONDS} s, not {self.life}; issue a new one instead"
            )

    def _check_spans(self) -> None:
        places = [(each.start, each.end) for each in self.spans]
        if places != sorted(set(places)):
            raise MalformedRecord("spans", f"{places} are not in ascending order, each once; sort them by (start, end)")

    def _check_placement(self) -> None:
        if self.placement.since >= 1000 * (self.issued + 1):
            raise MalformedRecord("since", f"{self.placement.since} ms is later than the record, {self.issued} s")


@dataclass(frozen=True, slots=True)
class SignedServiceRecord:
    """A record and the 64 bytes (EIP-2098) under it; nothing is checked yet."""

    record: ServiceRecord
    signature: bytes


def next_sequence(previous: int, now: float) -> int:
    """A sequence above `previous`; milliseconds since 1970 where possible, so that it also rises over a lost disk."""
    return max(previous + 1, int(now * 1000))


def _endpoint_word(endpoint: str) -> bytes:
    """The word of a dynamic string. Endpoints are visible ASCII, so that two that look alike are alike."""
    if not isinstance(endpoint, str) or not 1 <= len(endpoint) <= MAX_ENDPOINT_BYTES:
        raise MalformedRecord("endpoint", f"expected 1 to {MAX_ENDPOINT_BYTES} characters")
    if not all("!" <= character <= "~" for character in endpoint):
        raise MalformedRecord("endpoint", f"{endpoint!r} holds something other than visible ASCII")
    return keccak256(endpoint.encode("ascii"))


def _flag_word(field: str, value: bool) -> bytes:
    if not isinstance(value, bool):
        raise MalformedRecord(field, f"{value!r} is neither true nor false")
    return uint_word(field, int(value), 8)
