"""Nodes that said they are full and when to come back: new sessions ask others meanwhile, or nobody. Pure.

Being refused costs both sides a handshake and signatures, so a client that goes on asking a full node takes from those it serves.
"""

import time
from collections.abc import Callable

from node.attempts import MAX_BUSY_SECONDS
from node.client_errors import SessionFailed
from verification.addresses import Address


class BusyNodes:
    """What full nodes said last, until they may be asked again."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._said: dict[Address, tuple[float, SessionFailed]] = {}

    def note(self, node: Address, refusal: SessionFailed) -> None:
        """A node was busy. One that names no time is free for the next session: only this one was not wanted."""
        if refusal.retry_after_ms:
            seconds = min(refusal.retry_after_ms / 1000, MAX_BUSY_SECONDS)
            self._said[node] = (self._clock() + seconds, refusal)

    def nodes(self) -> frozenset[Address]:
        """Those not to be asked now."""
        now = self._clock()
        for node in [node for node, (until, _) in self._said.items() if until <= now]:
            del self._said[node]
        return frozenset(self._said)

    def first_refusal(self) -> SessionFailed | None:
        """The refusal that ends first, with the time that is left of it; None where nobody is busy."""
        if not self.nodes():
            return None
        until, said = min(self._said.values(), key=lambda each: each[0])
        left_ms = max(1, round(1000 * (until - self._clock())))
        return SessionFailed(said.code, said.message, said.stage, said.node, retry_after_ms=left_ms)
