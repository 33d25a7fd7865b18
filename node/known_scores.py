"""What the chain's scores say of nodes, for whoever plans routes: read beside the work, and never waited for long."""

import asyncio
import logging
import time
from collections.abc import Callable

from incentives.errors import IncentivesError
from incentives.score_history import ScoreHistory
from node.network import Network
from node.score_view import ScoreView, reliability_of, view_scores
from verification.addresses import Address

log = logging.getLogger(__name__)

FRESH_SECONDS = 60.0
FIRST_WAIT_SECONDS = 0.5
"""How long the first route waits for the first scores: without them it goes by what the client has seen itself."""


class KnownScores:
    """The newest scores of one network that could be read."""

    def __init__(self, network: Network, clock: Callable[[], float] = time.monotonic) -> None:
        self._network, self._clock = network, clock
        self._history = ScoreHistory(network.chain, network.deployment)
        self._view: ScoreView | None = None
        self._asked: float | None = None
        self._reading: asyncio.Task[None] | None = None

    async def freshen(self) -> None:
        """Read them again where they are old, in the background but for the first time. Raises nothing that the chain can cause."""
        if self._reading is None and (self._asked is None or self._clock() - self._asked >= FRESH_SECONDS):
            is_first, self._asked = self._asked is None, self._clock()
            self._reading = asyncio.create_task(self._read())
            if is_first:
                await asyncio.wait({self._reading}, timeout=FIRST_WAIT_SECONDS)

    def reliability(self, node: Address) -> float:
        """Between 0 and 1, 0 excluded; 1 while nothing is known against the node."""
        return reliability_of(self._view.of(node) if self._view is not None else None)

    async def close(self) -> None:
        """Wait for what is being read."""
        if self._reading is not None:
            await asyncio.gather(self._reading, return_exceptions=True)

    async def _read(self) -> None:
        try:
            self._view = await asyncio.to_thread(view_scores, self._network, self._history)
        except IncentivesError as error:
            log.info("no scores: %s", error)
        finally:
            self._reading = None
