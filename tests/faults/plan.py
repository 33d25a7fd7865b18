"""What goes wrong in one run, drawn from a seed. Printing a plan gives everything that is needed to run it again.

A wire between nodes is TLS over TCP: it never loses, doubles, swaps or alters a message, it only breaks. So drop, duplicate,
reorder and corrupt act on whole messages and stand for a faulty process at the sending end. Partition, stall and slow hold
messages back, as a network or a stopped process does: in order, and nothing is lost if it ends in time. Kill breaks connections.

A fault is set off by the number of a message, not by a time: the n-th that `source` sends to `target` in the whole run, over all
their connections (to anybody, where there is no target). So it hits a handshake, an opening, a voucher or a token whatever
the latencies are, and a plan can be read.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What a fault does."""

    DROP = "drop"
    DUPLICATE = "duplicate"
    REORDER = "reorder"
    """Swaps the message with the next on its connection; without a next one within `seconds` it goes on by itself."""
    DELAY = "delay"
    """Holds the message, and those behind it on its connection, for `seconds`."""
    FLIP = "flip"
    """Flips one bit: of the header, or of a message's payload. Tensors' payloads get GARBAGE instead: see corrupted()."""
    GARBAGE = "garbage"
    """Puts values where no good peer can have them: random bytes, -2^31 among a tensor's values, a cut message."""
    PARTITION = "partition"
    """Nothing passes from `source` to `target` for `seconds`; nor back, if `both_ways`."""
    STALL = "stall"
    """`source` is as if stopped for `seconds`: nothing goes in or out, its connections stay."""
    SLOW = "slow"
    """For the rest of the run everything that `source` sends takes `seconds` longer."""
    KILL = "kill"
    """`source` ends as a killed process does; with `seconds` it serves again after these, with empty hands."""

    @property
    def is_of_a_process(self) -> bool:
        """Whether only a faulty process at the sending end does such a thing, no network."""
        return self not in (Kind.DELAY, Kind.PARTITION)

    def __repr__(self) -> str:
        return f"Kind.{self.name}"  # a printed plan is Python


ON_NODES = frozenset({Kind.STALL, Kind.SLOW, Kind.KILL})
"""Faults that concern all messages of their source, and no one target."""
MANY, FEW = 20, 3
"""Messages of a short request on a link round the ring, and against it, where only handshakes and openings are answered."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong, once."""

    kind: Kind
    source: str
    nth: int
    """Set off by this message, counted from 0."""
    target: str = ""
    """Whom the message goes to; empty for anybody."""
    seconds: float = 0.0
    chance: int = 0
    """Which bit, which bytes: the seed of what the kind leaves open."""
    both_ways: bool = False

    def matches(self, source: str, target: str, nth_on_link: int, nth_of_source: int) -> bool:
        """Whether this message sets it off."""
        if self.source != source or (self.target and self.target != target):
            return False
        return self.nth == (nth_on_link if self.target else nth_of_source)


@dataclass(frozen=True, slots=True)
class FaultPlan:
    """Latencies and faults of one run."""

    seed: int
    latency_seconds: float = 0.005
    """One way, between any two nodes."""
    jitter_seconds: float = 0.0
    """At most so much is added to each message's latency."""
    faults: tuple[Fault, ...] = ()

    @classmethod
    def from_seed(cls, seed: int, ring: Sequence[Sequence[str]]) -> "FaultPlan":
        """Draw one to three faults; most are on nodes that serve while nothing is wrong, and there in the direction of work.

        ring: the client, then for each stage the nodes that can be it, the one that serves at first in front.
        """
        chance = random.Random(f"plan {seed}")
        number = chance.choices((1, 2, 3), (6, 3, 1))[0]
        faults = tuple(_draw(chance, ring) for _ in range(number))
        return cls(seed, chance.choice((0.001, 0.005, 0.025)), chance.choice((0.0, 0.002)), faults)

    def latency(self, source: str, target: str, nth: int) -> float:
        """Of one message, in seconds; the same whatever else happened before it."""
        chance = random.Random(f"latency {self.seed} {source} {target} {nth}") if self.jitter_seconds else None
        return self.latency_seconds + (chance.uniform(0.0, self.jitter_seconds) if chance else 0.0)


def _draw(chance: random.Random, ring: Sequence[Sequence[str]]) -> Fault:
    kind = chance.choice(list(Kind))
    at = chance.randrange(len(ring))
    if kind in ON_NODES:
        nth = chance.choice((chance.randrange(FEW), chance.randrange(MANY)))
        return Fault(kind, _node(chance, ring[at or 1]), nth, seconds=_seconds(chance, kind))
    links = [
        *zip(ring, [*ring[1:], ring[0]], strict=True),
        (ring[-1], ring[1]),
    ]  # the last stage tells the first its tokens
    link = [_node(chance, each) for each in chance.choice(links)]
    if back := chance.random() < 0.25:
        link.reverse()
    nth = chance.choice((chance.randrange(FEW), chance.randrange(FEW if back else MANY)))
    both_ways = kind is Kind.PARTITION and chance.random() < 0.5
    return Fault(kind, link[0], nth, link[1], _seconds(chance, kind), chance.randrange(2**32), both_ways)


def _node(chance: random.Random, nodes: Sequence[str]) -> str:
    """Mostly the first: the others serve only after something has gone wrong already."""
    return nodes[0] if chance.random() < 0.8 else chance.choice(nodes)


def _seconds(chance: random.Random, kind: Kind) -> float:
    match kind:
        case Kind.SLOW:
            return chance.choice((0.05, 0.5, 5.0))
        case Kind.KILL:
            return chance.choice((0.0, 0.0, 2.0))
        case Kind.REORDER:
            return 0.5
        case Kind.DROP | Kind.DUPLICATE | Kind.FLIP | Kind.GARBAGE:
            return 0.0
        case _:
            return chance.choice((0.1, 1.0, 10.0, 120.0))
