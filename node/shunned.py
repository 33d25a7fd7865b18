"""Nodes that failed a moment ago: a new route does without them where it can. Pure."""

import time
from collections.abc import Callable

from verification.addresses import Address

SHUN_SECONDS = 30.0


class Shunned:
    """A node that fails again is left out for longer, up to eight times as long."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._until: dict[Address, float] = {}
        self._times: dict[Address, int] = {}

    def add(self, node: Address) -> None:
        """A node did not answer, or held something up."""
        times = self._times[node] = min(self._times.get(node, -1) + 1, 3)
        self._until[node] = self._clock() + SHUN_SECONDS * 2**times

    def nodes(self) -> frozenset[Address]:
        """Those to be left out now."""
        now = self._clock()
        for node in [node for node, until in self._until.items() if until <= now]:
            del self._until[node]
        return frozenset(self._until)
