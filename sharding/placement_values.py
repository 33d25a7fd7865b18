"""What placement speaks of: what a node offers, what a block needs, what each node holds and is about to change.

A node holds a set of blocks, written as spans that neither overlap nor touch. Of B blocks that it holds each gets 1/B of its
block rate: the blocks x tokens per second that it can compute.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from sharding.errors import PlacementError
from sharding.span import MAX_BLOCKS, Span
from sharding.span import without as cut_out

MAX_BYTES = 1 << 50
MAX_BLOCK_RATE = 1e9
MAX_POSITIONS = 1 << 40
MAX_SPANS = 16
MAX_SECONDS = 86400.0


class Phase(StrEnum):
    """Where a node stands. Only CLAIMING, DRAINING and LOADING go with a move."""

    SERVING = "serving"
    CLAIMING = "claiming"
    """Has announced a move and waits until everybody must have heard of it."""
    DRAINING = "draining"
    """Takes no new session over the blocks that it gives up."""
    LOADING = "loading"
    LEAVING = "leaving"
    """Serves until others hold all that it holds."""


@dataclass(frozen=True, slots=True)
class Offer:
    """A node's name (its address), its bytes for weights and caches, and its blocks x tokens per second."""

    node: str
    capacity_bytes: int
    block_rate: float

    def __post_init__(self) -> None:
        _whole("capacity_bytes", self.capacity_bytes, 0, MAX_BYTES)
        _real("block_rate", self.block_rate, 1 / MAX_BLOCK_RATE, MAX_BLOCK_RATE)


@dataclass(frozen=True, slots=True)
class ModelNeeds:
    """A model as memory: each block takes its weights and, for every position that a node keeps room for, kv_bytes.

    first_bytes (the embedding) and last_bytes (final norm and head) come on top for whoever holds the first or last block.
    """

    num_blocks: int
    weight_bytes: int
    kv_bytes: int
    positions: int
    first_bytes: int = 0
    last_bytes: int = 0

    def __post_init__(self) -> None:
        _whole("num_blocks", self.num_blocks, 1, MAX_BLOCKS)
        _whole("weight_bytes", self.weight_bytes, 1, MAX_BYTES)
        _whole("kv_bytes", self.kv_bytes, 0, MAX_BYTES)
        _whole("positions", self.positions, 0, MAX_POSITIONS)
        _whole("first_bytes", self.first_bytes, 0, MAX_BYTES)
        _whole("last_bytes", self.last_bytes, 0, MAX_BYTES)

    @property
    def block_bytes(self) -> int:
        return self.weight_bytes + self.kv_bytes * self.positions

    def bytes_of(self, spans: Iterable[Span]) -> int:
        """Bytes that a node needs in order to hold these spans."""
        return sum(
            len(span) * self.block_bytes
            + (self.first_bytes if span.start == 0 else 0)
            + (self.last_bytes if span.end == self.num_blocks else 0)
            for span in spans
        )

    def room(self, offer: Offer, spans: Iterable[Span] = ()) -> int:
        """How many inner blocks fit beside these spans."""
        return max(0, offer.capacity_bytes - self.bytes_of(spans)) // self.block_bytes


@dataclass(frozen=True, slots=True)
class Move:
    """Blocks to give up and blocks to load; closes: how many uncovered blocks it covers, as its owner announced it."""

    give: tuple[Span, ...]
    take: tuple[Span, ...]
    closes: int = 0

    def __post_init__(self) -> None:
        if not self.give and not self.take:
            raise PlacementError("move", self, "one that gives or takes a block")
        if count(self.give) + count(self.take) != count(merged((*self.give, *self.take))):
            raise PlacementError("move", self, "one whose spans do not overlap")


@dataclass(frozen=True, slots=True)
class Holding:
    """One node as its record shows it: the spans in its memory, its phase since when (seconds, shared clock), its move."""

    offer: Offer
    spans: tuple[Span, ...]
    phase: Phase
    since: float
    move: Move | None = None

    def __post_init__(self) -> None:
        if (self.move is not None) != (self.phase in (Phase.CLAIMING, Phase.DRAINING, Phase.LOADING)):
            raise PlacementError(
                "move", self.move, f"there in a phase that moves and absent otherwise, not {self.phase}"
            )
        if len(self.spans) > MAX_SPANS or merged(self.spans) != self.spans:
            raise PlacementError("spans", self.spans, f"at most {MAX_SPANS} in order, apart from each other")

    @property
    def serving(self) -> tuple[Span, ...]:
        """Where new sessions may go now."""
        gone = self.phase in (Phase.DRAINING, Phase.LOADING)
        return without(self.spans, self.move.give) if self.move and gone else self.spans

    @property
    def relied_on(self) -> tuple[Span, ...]:
        """What others may count on when they give up blocks: nothing that this node has announced to give up."""
        if self.phase is Phase.LEAVING:
            return ()
        return without(self.spans, self.move.give) if self.move else self.spans

    @property
    def planned(self) -> tuple[Span, ...]:
        """What it will hold once its move is done."""
        return merged((*self.relied_on, *self.move.take)) if self.move else self.relied_on


def merged(spans: Iterable[Span]) -> tuple[Span, ...]:
    """The same blocks as spans in order that neither overlap nor touch."""
    made: list[Span] = []
    for span in sorted(spans):
        if made and span.start <= made[-1].end:
            made[-1] = Span(made[-1].start, max(made[-1].end, span.end))
        else:
            made.append(span)
    return tuple(made)


def without(spans: Iterable[Span], gone: Iterable[Span]) -> tuple[Span, ...]:
    """The blocks of spans that are not in gone, in order and merged."""
    return merged(cut_out(spans, gone))


def count(spans: Iterable[Span]) -> int:
    """Blocks in spans that do not overlap."""
    return sum(span.end - span.start for span in spans)


def _whole(name: str, value: object, low: int, high: int) -> None:
    if type(value) is not int or not low <= value <= high:
        raise PlacementError(name, value, f"a whole number from {low} to {high}")


def _real(name: str, value: object, low: float, high: float) -> None:
    if type(value) not in (int, float) or not math.isfinite(value) or not low <= value <= high:  # type: ignore[arg-type,operator]
        raise PlacementError(name, value, f"a number from {low} to {high}")


@dataclass(frozen=True, slots=True)
class Policy:
    """When nodes move; all times in seconds.

    threshold: what a move must gain, as a fraction. nudge: what suffices while the weakest block has less than the fraction
    `good` of what the nodes could give it: from there a better placement is often several small moves away.
    settle: from announcing a move to beginning it, at least twice the time in which a record reaches everybody.
    rest: between two moves of one node. slot: for how long one draw of who may move holds.
    bidders: nodes that may answer an uncovered block at a time.
    drain, gap_drain: how long sessions may take to finish. A session needs every block: while one is uncovered there is little
    to wait for. patience: after which nobody waits for somebody's move to end.
    """

    threshold: float = 0.15
    nudge: float = 0.01
    good: float = 0.85
    settle: float = 1.0
    rest: float = 30.0
    slot: float = 1.0
    bidders: int = 4
    drain: float = 30.0
    gap_drain: float = 1.0
    patience: float = 300.0
    max_spans: int = 4

    def __post_init__(self) -> None:
        for name in ("threshold", "nudge", "good"):
            _real(name, getattr(self, name), 0.0, 10.0)
        for name in ("settle", "rest", "drain", "gap_drain", "patience"):
            _real(name, getattr(self, name), 0.0, MAX_SECONDS)
        _real("slot", self.slot, 0.01, MAX_SECONDS)
        _whole("bidders", self.bidders, 1, 1 << 16)
        _whole("max_spans", self.max_spans, 1, MAX_SPANS)
