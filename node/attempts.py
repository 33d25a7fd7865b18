"""Which nodes to do without in the next attempt at a route, in the order in which it is tried. One recovery or one opening long."""

import asyncio
import time
from collections.abc import Callable, Collection, Iterable, Sequence

from verification.addresses import Address

MAX_BUSY_SECONDS = 5.0
"""A node that says to come back later than this is asked sooner: its word must not eat up the time for a recovery."""


class Attempts:
    """Sets of nodes to leave out; the first one is the next to be tried."""

    def __init__(self, to_try: Sequence[frozenset[Address]], clock: Callable[[], float] = time.monotonic) -> None:
        self._to_try = list(to_try)
        self._clock = clock
        self._busy_until: dict[Address, float] = {}

    def __bool__(self) -> bool:
        return bool(self._to_try)

    @property
    def excluded(self) -> frozenset[Address]:
        """Whom to leave out now. Raises: IndexError where nothing is left to try."""
        return self._to_try[0]

    def drop(self) -> None:
        """There is no route without these."""
        self._to_try.pop(0)

    def divide(self, suspects: Iterable[Address]) -> None:
        """Leave out one of the suspects besides, each in turn."""
        excluded = self._to_try.pop(0)
        more = dict.fromkeys(excluded | {suspect} for suspect in suspects)
        self._to_try[:0] = [each for each in more if each not in self._to_try]

    def come_back(self, excluded: frozenset[Address], busy: Address, milliseconds: int) -> None:
        """Try this again when all else has been tried; a node that is busy says when it wants to be asked again."""
        self._to_try.append(excluded)
        self._busy_until[busy] = self._clock() + min(milliseconds / 1000, MAX_BUSY_SECONDS)

    def seconds_for(self, nodes: Collection[Address]) -> float:
        """Until all of these may be asked."""
        now = self._clock()
        return max(0.0, max((self._busy_until.get(node, now) - now for node in nodes), default=0.0))

    async def due(self, nodes: Collection[Address]) -> None:
        """Wait until all of these may be asked."""
        if seconds := self.seconds_for(nodes):
            await asyncio.sleep(seconds)
