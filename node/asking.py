"""An ask that follows how busy the node is, between a floor and a ceiling, by the rule of incentives/price_hint.py.

The share of time in which the engines compute stands for the share of the capacity that was bought: above a half the ask rises
by at most an eighth per epoch, below it falls as slowly. The chain is told the ceiling, once; the node's record has the ask of
today. A route that pays what was asked a moment ago is served: its client may have an older record.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from incentives.price_hint import Utilisation, next_hint
from verification.node_records import DEFAULT_LIFE_SECONDS

log = logging.getLogger(__name__)

MOVE_PERCENT = 5
"""The ask is told anew when it has moved by so much: each change makes clients plan again."""
GRACE_SECONDS = 2.0 * DEFAULT_LIFE_SECONDS
"""How long a lower ask is still served: its record may be believed for a life, and a client takes a while to open its route."""
_MICROSECONDS = 1_000_000


class Engines(Protocol):
    """What says how busy a node is."""

    @property
    def busy_seconds(self) -> float:
        """Time spent computing by the engines that are there; falls when one has gone."""
        ...


@dataclass(frozen=True, slots=True)
class _Past:
    ask: int
    until: float


class Asks:
    """What one node asks, in the token's smallest unit per token and block. Raises: PriceError for limits that are no asks."""

    def __init__(self, floor: int, ceiling: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._floor, self._ceiling, self._clock = floor, ceiling, clock
        self.published = self._hint = min(next_hint(floor, Utilisation(0, 0), floor), ceiling)
        self._past: tuple[_Past, ...] = ()

    @property
    def accepted(self) -> int:
        """The least that is served: what is asked, or was asked a moment ago."""
        now = self._clock()
        self._past = tuple(each for each in self._past if now < each.until)
        return min((self.published, *(each.ask for each in self._past)))

    def follow(self, last: Utilisation) -> bool:
        """Take an epoch into account; give whether the ask is another one now."""
        self._hint = min(next_hint(self._hint, last, self._floor), self._ceiling)
        moved = abs(self._hint - self.published)
        at_a_limit = self._hint in (self._floor, self._ceiling)
        if moved == 0 or not (at_a_limit or 100 * moved >= MOVE_PERCENT * self.published):
            return False
        self._past = (*self._past, _Past(self.published, self._clock() + GRACE_SECONDS))
        self.published = self._hint
        return True


class Busyness:
    """How much of the time between two looks engines computed."""

    def __init__(self, engines: Engines, clock: Callable[[], float] = time.monotonic) -> None:
        self._engines, self._clock = engines, clock
        self._busy, self._at = engines.busy_seconds, clock()

    def since_last(self) -> Utilisation:
        """Of the time since the last look; in microseconds, which stand for tokens x blocks."""
        busy, now = self._engines.busy_seconds, self._clock()
        elapsed = max(0.0, now - self._at)
        used = min(max(0.0, busy - self._busy), elapsed)  # an engine may have gone, with its time
        self._busy, self._at = busy, now
        return Utilisation(int(used * _MICROSECONDS), int(elapsed * _MICROSECONDS))


async def keep_asking(asks: Asks, engines: Engines, every_seconds: float, tell: Callable[[int], None]) -> None:
    """Look once in an epoch until cancelled; `tell` hears of each new ask."""
    busyness = Busyness(engines)
    while True:
        await asyncio.sleep(every_seconds)
        last, before = busyness.since_last(), asks.published
        if asks.follow(last):
            share = 100 * last.used // max(1, last.capacity)
            log.info("busy %d %% of the time: the ask goes from %d to %d", share, before, asks.published)
            tell(asks.published)
