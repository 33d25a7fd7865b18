"""What a node that places itself works with, and how long it waits for others to hear of it."""

import time
from collections.abc import Awaitable, Callable, Collection, Iterable
from dataclasses import dataclass, replace
from typing import Protocol

from node.gossip import WIDE
from sharding.placement import World
from sharding.placement_values import Offer
from sharding.span import Span
from verification.addresses import Address
from verification.node_records import ServiceRecord

TELL_SECONDS = 1.0
"""Until those have heard that the node tells itself."""
GROWTH = 3
"""By this the number of those who know grows in a round of exchanges: each asks two others, and is asked by as many."""


class Host(Protocol):
    """What serves: node.hosting.Hosting."""

    @property
    def spans(self) -> tuple[Span, ...]:
        """Open to new sessions, ascending."""

    async def change(self, spans: tuple[Span, ...]) -> None:
        """Raises: ShardingError where blocks cannot be loaded; nothing has changed then."""

    def retire(self, gone: tuple[Span, ...]) -> None:
        """Take no new session for these blocks."""

    @property
    def retiring_sessions(self) -> int:
        """Sessions that need blocks which take no new ones."""

    def move(self) -> None:
        """Have those sessions go on elsewhere."""


@dataclass(frozen=True, slots=True)
class PlacingParts:
    """One node's place is worked out from these."""

    node: Address
    offer: Offer
    world: World
    """settle is the driver's to say: it grows with the network."""
    host: Host
    records: Callable[[], Iterable[ServiceRecord]]
    """The live ones of this model in this profile."""
    alive: Callable[[Collection[Address]], Awaitable[frozenset[Address]]]
    """Which of these nodes answer; asks each once and brings the records up to date on the way. Raises: NodeError, ChainError."""
    publish: Callable[[], Awaitable[object]]
    """Tells others now. Raises: NodeError, ChainError."""
    served: Callable[[tuple[Span, ...]], Awaitable[object]]
    """Hears of the spans after each change. Raises: NodeError, IncentivesError."""
    round_seconds: float
    """Between two exchanges of records."""
    clock: Callable[[], float] = time.time

    def world_of(self, nodes: int) -> World:
        """The world with as many nodes in it."""
        settle = 2 * spread_seconds(nodes, self.round_seconds)
        return replace(self.world, policy=replace(self.world.policy, settle=settle))


def spread_seconds(nodes: int, round_seconds: float) -> float:
    """Until a new record has reached so many nodes, by TELL_SECONDS and GROWTH; one round more where not all were told at once."""
    told, seconds = 1 + WIDE, TELL_SECONDS
    if nodes > told:
        seconds += round_seconds
    while told < nodes:
        told, seconds = GROWTH * told, seconds + round_seconds
    return seconds
