"""What this node measured of others: round trips, computing time, failures. Measured times take the place of claimed ones.

A claim counts until three measurements weigh against it, and again as they grow old: a liar about speed is found out at the
price of a few tokens, a node that has become faster is tried again. Bounded: whom it measured longest ago it forgets.
"""

import math
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from node.outcomes import Outcomes
from node.routing_errors import MeasurementInvalid
from verification.addresses import Address

MAX_NODES = 4096
TAIL_SAMPLES = 64
TAIL = 0.95
TRUSTED_WEIGHT = 3.0
"""Measurements that take a claim's place altogether."""
MAX_WEIGHT = 20.0
SMOOTHING = 0.2
HALF_LIFE_SECONDS = 300.0
UNKNOWN_ROUND_TRIP = 0.05
"""Seconds that a node is taken to be away until somebody measures."""
MIN_DEADLINE = 2.0
MAX_DEADLINE = 60.0
"""No node can talk its neighbours into waiting longer by slowing down step by step."""
UNKNOWN_DEADLINE = 8.0
DEADLINE_FACTOR = 8.0
MAX_SECONDS = 3600.0
MAX_SIZE = 2**20


@dataclass(slots=True)
class _Mean:
    """An exponentially weighted mean whose weight decays with time."""

    mean: float = 0.0
    weight: float = 0.0
    at: float = 0.0

    def weight_at(self, now: float) -> float:
        return float(self.weight * 0.5 ** (max(now - self.at, 0.0) / HALF_LIFE_SECONDS))

    def add(self, sample: float, now: float) -> None:
        weight = self.weight_at(now)
        self.mean += (sample - self.mean) * max(1 / (weight + 1), SMOOTHING)
        self.weight = min(weight + 1, MAX_WEIGHT)
        self.at = now

    def instead_of(self, prior: float, now: float) -> float:
        """The mean, mixed with what was believed before as far as measurements are few or old."""
        trust = min(self.weight_at(now) / TRUSTED_WEIGHT, 1.0)
        return trust * self.mean + (1 - trust) * prior


def _tail() -> deque[float]:
    return deque(maxlen=TAIL_SAMPLES)


@dataclass(slots=True)
class _Seen:
    """One node. Seconds: of a round trip; of computing per row and block; of a whole hop with one row; per row of a chunk's hop."""

    round_trip: _Mean = field(default_factory=_Mean)
    computing: _Mean = field(default_factory=_Mean)
    steps: deque[float] = field(default_factory=_tail)
    chunk_rows: deque[float] = field(default_factory=_tail)
    outcomes: Outcomes = field(default_factory=Outcomes)


@dataclass(frozen=True, slots=True)
class RingHop:
    """One stage of a ring whose tokens were timed as a whole."""

    node: Address
    blocks: int
    claimed: float
    """Tokens per second."""


class HopTimes:
    """Measurements by node; `clock` is monotonic, in seconds."""

    def __init__(self, clock: Callable[[], float], max_nodes: int = MAX_NODES) -> None:
        self._clock = clock
        self._max_nodes = max_nodes
        self._seen: OrderedDict[Address, _Seen] = OrderedDict()

    def __len__(self) -> int:
        return len(self._seen)

    def saw_round_trip(self, node: Address, seconds: float) -> None:
        """Count an answer that took the node no work. Raises: MeasurementInvalid."""
        _check("a round trip", seconds)
        self._of(node).round_trip.add(seconds, self._clock())

    def saw_step(self, node: Address, blocks: int, rows: int, seconds: float) -> None:
        """Count one hop, from sent to answered, of `rows` rows through `blocks` blocks. Raises: MeasurementInvalid."""
        _check("a step", seconds)
        _check_size("blocks", blocks)
        _check_size("rows", rows)
        seen, now = self._of(node), self._clock()
        if rows > 1:  # rows of a chunk share one reading of the weights, so they say little of a single one
            seen.chunk_rows.append(seconds / rows)
            return
        seen.steps.append(seconds)
        away = seen.round_trip.instead_of(0.0, now)
        seen.computing.add(max(seconds - away, 0.0) / blocks, now)

    def saw_ring(self, hops: Sequence[RingHop], seconds: float) -> None:
        """Count one token's way through all hops and back, of which only the sum is known. Raises: MeasurementInvalid.

        What the sum differs from the expected one falls most on the nodes that were measured least; over routes that share nodes
        each comes by its own (Kaczmarz's method, one equation a token).
        """
        _check("a ring", seconds)
        now = self._clock()
        expected = [self.seconds_per_token(each.node, each.blocks, each.claimed) for each in hops]
        left = seconds - sum(expected) - sum(self.one_way(each.node) for each in hops)
        doubts = [(1 + self._of(each.node).computing.weight_at(now)) ** -2 for each in hops]
        for hop, before, doubt in zip(hops, expected, doubts, strict=True):
            sample = max(before + left * doubt / sum(doubts), 0.0)
            seen = self._of(hop.node)
            seen.steps.append(sample + 2 * self.one_way(hop.node))
            seen.computing.add(sample / hop.blocks, now)

    def succeeded(self, node: Address, weight: float = 1.0) -> None:
        """Count work that came back as it should."""
        self._of(node).outcomes.succeeded(self._clock(), weight)

    def failed(self, node: Address, weight: float = 1.0) -> None:
        """Count work that did not: refused, late, malformed, cut off."""
        self._of(node).outcomes.failed(self._clock(), weight)

    def one_way(self, node: Address) -> float:
        """Seconds to the node: half a round trip, measured or assumed."""
        seen = self._seen.get(node)
        return (seen.round_trip.instead_of(UNKNOWN_ROUND_TRIP, self._clock()) if seen else UNKNOWN_ROUND_TRIP) / 2

    def seconds_per_token(self, node: Address, blocks: int, claimed: float) -> float:
        """Seconds that one row takes through `blocks` blocks of a node that claims to do `claimed` tokens per second there."""
        _check_size("blocks", blocks)
        if not (math.isfinite(claimed) and claimed > 0):
            raise MeasurementInvalid("a claimed speed", claimed)
        seen = self._seen.get(node)
        prior = 1 / claimed
        return seen.computing.instead_of(prior / blocks, self._clock()) * blocks if seen else prior

    def deadline(self, node: Address, rows: int = 1) -> float:
        """Seconds to wait for an answer to `rows` rows: eight times what 95 % took, from 2 to 60; 8 where nothing is known."""
        _check_size("rows", rows)
        seen = self._seen.get(node)
        samples = (seen.chunk_rows or seen.steps if rows > 1 else seen.steps) if seen else None
        if not samples:
            return UNKNOWN_DEADLINE
        return min(max(DEADLINE_FACTOR * _quantile(samples) * rows, MIN_DEADLINE), MAX_DEADLINE)

    def reliability(self, node: Address) -> float:
        """The chance of success that the node reaches with 95 % confidence, between 0 and 1; 0.41 for a stranger."""
        seen = self._seen.get(node)
        return (seen.outcomes if seen else Outcomes()).reliability(self._clock())

    def resting(self) -> frozenset[Address]:
        """Nodes that failed a moment ago: exclude them where there are others."""
        now = self._clock()
        return frozenset(node for node, seen in self._seen.items() if seen.outcomes.rests(now))

    def _of(self, node: Address) -> _Seen:
        if node in self._seen:
            self._seen.move_to_end(node)
        elif len(self._seen) >= self._max_nodes:
            self._seen.popitem(last=False)
        return self._seen.setdefault(node, _Seen())


def _quantile(samples: Sequence[float] | deque[float]) -> float:
    """The nearest rank: the largest of fewer than twenty."""
    ordered = sorted(samples)
    return ordered[math.ceil(TAIL * len(ordered)) - 1]


def _check(what: str, seconds: float) -> None:
    if not 0 <= seconds <= MAX_SECONDS:  # refuses NaN as well
        raise MeasurementInvalid(f"{what} in seconds", seconds)


def _check_size(what: str, value: int) -> None:
    if not 1 <= value <= MAX_SIZE:
        raise MeasurementInvalid(f"a number of {what}", value)
