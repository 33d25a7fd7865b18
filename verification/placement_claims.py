"""What a node's record says of its place: memory and speed on offer, and the move between blocks that it is about to make.

Claims of a staked node, like the rest of its record. Whoever reads them believes them as far as node/placement_view.py says.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sharding.errors import PlacementError
from sharding.placement_values import (
    MAX_BLOCK_RATE,
    MAX_BYTES,
    MAX_SPANS,
    Holding,
    Move,
    Offer,
    Phase,
    count,
    merged,
)
from sharding.span import Span
from verification.errors import MalformedRecord
from verification.typed_data import array_word, struct_hash, uint_word

PHASES = tuple(Phase)
"""A phase is signed and sent as its place in this row."""
MOVING = (Phase.CLAIMING, Phase.DRAINING, Phase.LOADING)
RATES_PER_BLOCK_TOKEN = 1000
MAX_RATE = int(MAX_BLOCK_RATE) * RATES_PER_BLOCK_TOKEN

SPAN_TYPE = "BlockSpan(uint32 start,uint32 end)"
CLAIM_TYPE = "Placement(uint64 capacity,uint64 blockRate,uint8 phase,uint64 since,BlockSpan[] give,BlockSpan[] take,uint32 closes)"


@dataclass(frozen=True, slots=True)
class PlacementClaim:
    """One node's place in the making."""

    capacity: int = 0
    """Bytes for weights; 0: this node does not place itself."""
    block_rate: int = 1
    """Thousandths of a block x token per second."""
    phase: Phase = Phase.SERVING
    since: int = 0
    """When the phase began, in milliseconds since 1970."""
    give: tuple[Span, ...] = ()
    """Of a move, as `take`: in order, apart from each other."""
    take: tuple[Span, ...] = ()
    closes: int = 0
    """Blocks that nobody holds and the move covers."""

    @property
    def moves(self) -> bool:
        """Whether the node is about to change what it serves."""
        return self.phase in MOVING

    def struct_hash(self) -> bytes:
        """The EIP-712 hash. Raises: MalformedRecord."""
        self._check_phase()
        self._check_move()
        words = (
            _bounded("capacity", self.capacity, 0, MAX_BYTES),
            _bounded("block_rate", self.block_rate, 1, MAX_RATE),
            uint_word("phase", PHASES.index(self.phase), 8),
            uint_word("since", self.since, 64),
            _spans_word("give", self.give),
            _spans_word("take", self.take),
            _bounded("closes", self.closes, 0, count(self.take)),
        )
        return struct_hash(CLAIM_TYPE + SPAN_TYPE, words)

    def _check_phase(self) -> None:
        if not isinstance(self.phase, Phase):
            raise MalformedRecord("phase", f"{self.phase!r} is none of {', '.join(PHASES)}")
        if self.moves != bool(self.give or self.take):
            raise MalformedRecord("phase", f"{self.phase} with a move of {_text(self.give)} and {_text(self.take)}")
        if self.moves and self.capacity == 0:
            raise MalformedRecord("capacity", f"a node that is {self.phase} offers memory")

    def _check_move(self) -> None:
        _check_spans("give", self.give)
        _check_spans("take", self.take)
        if count(self.give) + count(self.take) != count(merged((*self.give, *self.take))):
            raise MalformedRecord("take", f"{_text(self.take)} has blocks of what is given up, {_text(self.give)}")
        if (self.phase is Phase.DRAINING and not self.give) or (self.phase is Phase.LOADING and not self.take):
            raise MalformedRecord("phase", f"{self.phase} without blocks to give up or to load")


FIXED = PlacementClaim()
"""Of a node whose operator chose its blocks: it offers no memory and never moves."""


def claim_of(holding: Holding) -> PlacementClaim:
    """What a node that places itself says of its own holding."""
    move = holding.move
    return PlacementClaim(
        capacity=max(1, holding.offer.capacity_bytes),
        block_rate=claimed_rate(holding.offer.block_rate),
        phase=holding.phase,
        since=int(holding.since * 1000),
        give=merged(move.give) if move else (),
        take=merged(move.take) if move else (),
        closes=move.closes if move else 0,
    )


def claimed_rate(blocks_per_second: float) -> int:
    """Blocks x tokens per second as a claim states them."""
    return min(max(round(blocks_per_second * RATES_PER_BLOCK_TOKEN), 1), MAX_RATE)


def holding_of(node: str, served: Iterable[Span], claim: PlacementClaim, *, leaves: bool) -> Holding | None:
    """A node as placement sees it, from a signed record's spans and claim; None where these make no holding.

    A node that gives up blocks still has those in memory that it drains. leaves: whatever the claim says, it is going.
    """
    try:
        offer = Offer(node, claim.capacity, claim.block_rate / RATES_PER_BLOCK_TOKEN)
        move = Move(claim.give, claim.take, claim.closes) if claim.moves and not leaves else None
        spans = merged((*served, *(claim.give if claim.phase is Phase.DRAINING and move else ())))
        return Holding(offer, spans, Phase.LEAVING if leaves else claim.phase, claim.since / 1000, move)
    except PlacementError:
        return None


def _bounded(field: str, value: int, least: int, most: int) -> bytes:
    word = uint_word(field, value, 64)
    if not least <= value <= most:
        raise MalformedRecord(field, f"{value} lies outside {least} to {most}")
    return word


def _spans_word(field: str, spans: Sequence[Span]) -> bytes:
    return array_word(
        [struct_hash(SPAN_TYPE, (uint_word(field, each.start, 32), uint_word(field, each.end, 32))) for each in spans]
    )


def _check_spans(field: str, spans: tuple[Span, ...]) -> None:
    if len(spans) > MAX_SPANS or merged(spans) != spans:
        raise MalformedRecord(
            field, f"{_text(spans)} are not at most {MAX_SPANS} spans in order, apart from each other"
        )


def _text(spans: Sequence[Span]) -> str:
    return ",".join(map(str, spans)) or "no blocks"
