"""The best change of one node's blocks against what all others hold: every span it could take, for each span it could give up.

Prefix and suffix sums give what lies outside a candidate, sums over sliding windows what lies inside; differences of prefix sums
would lose the healthy blocks beside one that is very slow.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from sharding.hashing import sha256
from sharding.placement_coverage import Counts, Coverage, Rates, hardships, strength_of
from sharding.placement_values import ModelNeeds, Offer, count, without
from sharding.span import Span

NEAR = 0.01
"""Strengths that differ by less than this fraction count as equal; then the node's name decides, and names differ."""

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Score:
    """Blocks that nobody holds, and the strength of all others in tokens per second (see Coverage)."""

    uncovered: int
    strength: float

    def beats(self, other: "Score", by: float) -> bool:
        """Whether it covers more; where nothing is uncovered or as much, whether its strength is greater by this fraction."""
        if self.uncovered != other.uncovered:
            return self.uncovered < other.uncovered
        return self.strength > other.strength * (1 + by)


@dataclass(frozen=True, slots=True)
class Change:
    """Spans to give and to take (None: neither more nor less) and the score of all blocks afterwards."""

    give: Span | None
    take: Span | None
    score: Score


@dataclass(frozen=True, slots=True)
class Candidates:
    """Changes side by side: index of the span given up, start and length of the one taken (0: none), pieces afterwards."""

    uncovered: Counts
    strength: Rates
    give: Counts
    start: Counts
    length: Counts
    pieces: Counts

    @classmethod
    def joined(cls, parts: Iterable["Candidates"]) -> "Candidates":
        every = list(parts)
        return cls(*(np.concatenate([getattr(each, name) for each in every]) for name in cls.__slots__))


@dataclass(frozen=True, slots=True)
class Situation:
    """A node among the others: what these hold (without the node), the node's offer and blocks, the model, pieces it may hold."""

    others: Coverage
    offer: Offer
    spans: tuple[Span, ...]
    needs: ModelNeeds
    max_spans: int

    @property
    def now(self) -> Score:
        """The score if the node changes nothing."""
        found = _keep(self, self.spans, 0)
        return Score(int(found.uncovered[0]), float(found.strength[0]))


def best_change(situation: Situation, gives: Iterable[Span | None]) -> Change | None:
    """The change with the best score, giving up one of the given spans; of near equals, one that the node's name picks.

    Among near equals a change that gives up nothing goes first, then one that leaves fewer pieces. None: nothing is possible.
    """
    spans = list(gives)
    parts = [part for index, give in enumerate(spans) for part in _candidates(situation, give, index)]
    if not any(len(part.start) for part in parts):
        return None
    found = Candidates.joined(parts)
    chosen = _choose(found, spans, situation.offer.node)
    start, length = int(found.start[chosen]), int(found.length[chosen])
    take = Span(start, start + length) if length else None
    score = Score(int(found.uncovered[chosen]), float(found.strength[chosen]))
    return Change(spans[int(found.give[chosen])], take, score)


def cheapest_gives(situation: Situation, droppable: Iterable[Span]) -> list[Span]:
    """What the node might give up: of 1, 2, 4, 8 ... blocks that lie together, and of each span whole, those missed least."""
    best: dict[int, tuple[tuple[int, float], Span]] = {}
    for span in droppable:
        for length in _lengths(len(span)):
            for start in range(span.start, span.end - length + 1):
                give = Span(start, start + length)
                found = _keep(situation, without(situation.spans, [give]), 0)
                rank = (int(found.uncovered[0]), -float(found.strength[0]))
                if length not in best or rank < best[length][0]:
                    best[length] = (rank, give)
    return [give for _, give in best.values()]


def _lengths(whole: int) -> list[int]:
    return [*(1 << power for power in range((whole - 1).bit_length())), whole]


def _choose(found: Candidates, gives: list[Span | None], node: str) -> int:
    best = found.uncovered == found.uncovered.min()
    near = best & (found.strength >= found.strength[best].max() * (1 - NEAR))
    gives_up = np.array([give is not None for give in gives])[found.give]
    cost = gives_up * (1 << 20) + found.pieces
    equal = np.flatnonzero(near & (cost == cost[near].min()))
    return int(equal[int.from_bytes(sha256(node.encode())[:8]) % len(equal)])


def _candidates(situation: Situation, give: Span | None, index: int) -> Iterator[Candidates]:
    kept = without(situation.spans, [give]) if give else situation.spans
    if 0 < len(kept) <= situation.max_spans:
        yield _keep(situation, kept, index)
    room = min(situation.needs.room(situation.offer, kept), situation.needs.num_blocks - count(kept))
    if room > 0:
        yield _take(situation, kept, room, index)


def _mask(spans: Iterable[Span], num_blocks: int) -> Mask:
    made = np.zeros(num_blocks, dtype=np.bool_)
    for span in spans:
        made[span.start : span.end] = True
    return made


def _keep(situation: Situation, kept: tuple[Span, ...], index: int) -> Candidates:
    """The one candidate that takes nothing."""
    own = _mask(kept, situation.needs.num_blocks)
    rates = situation.others.rates + own * (situation.offer.block_rate / max(1, count(kept)))
    covered = (situation.others.holders > 0) | own
    strength = strength_of(hardships(rates[covered]).sum(), int(covered.sum()))
    values = (int((~covered).sum()), float(strength), index, 0, 0, len(kept))
    return Candidates(*(np.array([value]) for value in values))


def _take(situation: Situation, kept: tuple[Span, ...], room: int, index: int) -> Candidates:
    """Every span of up to `room` blocks that the node does not hold, beside the kept ones."""
    blocks, own = situation.needs.num_blocks, _mask(kept, situation.needs.num_blocks)
    lengths = np.arange(1, room + 1)
    shares = situation.offer.block_rate / (count(kept) + lengths)
    covered = (situation.others.holders > 0) | own
    beside = hardships(situation.others.rates + shares[:, None] * own) * covered
    inside = hardships(situation.others.rates + shares[:, None])
    free = ~_mask(situation.spans, blocks)
    parts = []
    for row, length in enumerate(lengths.tolist()):
        starts = _starts(situation, kept, free, length)
        total = _outside(beside[row], length)[starts] + sliding_window_view(inside[row], length)[starts].sum(axis=-1)
        gained = sliding_window_view(~covered, length)[starts].sum(axis=-1)
        uncovered = int((~covered).sum()) - gained
        same = np.ones(len(starts), dtype=np.int64)
        strength = strength_of(total, blocks - uncovered)
        pieces = len(kept) + 1 - _touching(own, starts, length)
        parts.append(Candidates(uncovered, strength, index * same, starts, length * same, pieces))
    found = Candidates.joined(parts)
    fits = found.pieces <= situation.max_spans
    return Candidates(*(getattr(found, name)[fits] for name in Candidates.__slots__))


def _starts(situation: Situation, kept: tuple[Span, ...], free: Mask, length: int) -> Counts:
    """Where a span of this length may begin: on free blocks, and with room for what the model's ends need on top."""
    possible: Mask = np.array(sliding_window_view(free, length).all(axis=-1))
    needs, offer = situation.needs, situation.offer
    left = offer.capacity_bytes - needs.bytes_of(kept) - length * needs.block_bytes
    last = needs.num_blocks - length
    possible[0] &= left >= needs.first_bytes + (needs.last_bytes if last == 0 else 0)
    possible[last] &= left >= needs.last_bytes + (needs.first_bytes if last == 0 else 0)
    return np.flatnonzero(possible)


def _outside(values: Rates, length: int) -> Rates:
    """For each start: the sum of all values but the `length` ones from there on."""
    before = np.concatenate(([0.0], np.cumsum(values)))
    after = np.concatenate((np.cumsum(values[::-1])[::-1], [0.0]))
    last = len(values) - length
    return before[: last + 1] + after[length:]


def _touching(own: Mask, starts: Counts, length: int) -> Counts:
    """To how many of the node's own spans a span from each start would be joined."""
    framed = np.concatenate(([False], own, [False]))
    return framed[starts].astype(np.int64) + framed[starts + length + 1]
