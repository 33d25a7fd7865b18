"""What is known about one endpoint of a chain, and the limits that decide whether it may be asked."""

import threading
from dataclasses import dataclass
from typing import Any

from incentives.clock import Clock
from incentives.errors import ChainError, ChainUnavailable, UnexpectedAnswer
from incentives.json_rpc import Rpc
from incentives.rpc_values import fields, quantity

FIRST_REST_S, LAST_REST_S = 1.0, 60.0
"""How long an endpoint that failed is asked last; doubled with each failure."""
LATENCY_WEIGHT = 0.2
"""Of the newest answer in the running mean."""
MIN_FOR_ONE_LIAR = 3
"""Of so many endpoints, the one that tells the most or the least is not believed."""
MAX_FUTURE_S = 60.0
"""Clocks differ; a block further ahead than this was made up to look newest."""


@dataclass(frozen=True, slots=True)
class HeadLimits:
    """How old an endpoint's newest block may be, and how far behind the best one's. None switches a limit off."""

    max_age_s: float | None = 300.0
    max_lag_blocks: int | None = 5
    recheck_s: float = 5.0
    """How long what an endpoint said about its newest block is believed."""

    @property
    def off(self) -> bool:
        """Whether nobody has to be asked for a head."""
        return self.max_age_s is None and self.max_lag_blocks is None


NO_LIMITS = HeadLimits(max_age_s=None, max_lag_blocks=None)
"""For chains that mine on demand: their newest block may be of yesterday."""


@dataclass(frozen=True, slots=True)
class Head:
    """An endpoint's newest block; `timestamp` in seconds since 1970."""

    number: int
    timestamp: int


@dataclass(frozen=True, slots=True)
class EndpointHealth:
    """A picture of one endpoint for operators."""

    shown: str
    failures: int
    """In a row; the next answer sets it to zero."""
    head: Head | None
    latency_s: float | None
    """A running mean; None before the first answer."""
    refused: ChainError | None
    """Why it is not used at present: another chain, other code, stale."""


class Endpoint:
    """One server and its record. Threads may share it: each field is replaced whole, and a lost count does no harm."""

    def __init__(self, rpc: Rpc, clock: Clock) -> None:
        self.rpc, self._clock = rpc, clock
        self.admitting = threading.Lock()
        self.admitted = False
        """Whether chain and code were checked since the last failure."""
        self.refused: ChainError | None = None
        self.head: Head | None = None
        self.failures = 0
        self.latency_s: float | None = None
        self._rests_until = 0.0

    @property
    def resting(self) -> bool:
        """Whether it failed a short while ago."""
        return self.failures > 0 and self._clock.monotonic() < self._rests_until

    @property
    def rank(self) -> tuple[bool, int, float]:
        """Who is asked first: awake, few failures, quick."""
        return self.resting, self.failures, self.latency_s or 0.0

    def health(self) -> EndpointHealth:
        """The record at this moment."""
        return EndpointHealth(self.rpc.shown, self.failures, self.head, self.latency_s, self.refused)

    def ask(self, method: str, params: list[Any]) -> Any:
        """Ask and keep count. A refusal is an answer. Raises: as Rpc.ask."""
        started = self._clock.monotonic()
        try:
            result = self.rpc.ask(method, params)
        except (ChainUnavailable, UnexpectedAnswer):
            self.fail()
            raise
        except ChainError:
            self._answered(started)
            raise
        self._answered(started)
        return result

    def read_head(self) -> Head:
        """Ask for the newest block. Raises: ChainUnavailable, UnexpectedAnswer."""
        block = fields(self.rpc.shown, "the newest block", self.ask("eth_getBlockByNumber", ["latest", False]))
        numbers = (quantity(self.rpc.shown, name, block.get(name)) for name in ("number", "timestamp"))
        self.head = Head(*numbers)
        return self.head

    def fail(self) -> None:
        """Count a failure: another endpoint is preferred for a while."""
        self.failures += 1
        self.admitted = False  # whoever answers there next may be somebody else
        rest = min(FIRST_REST_S * 2 ** min(self.failures - 1, 16), LAST_REST_S)
        self._rests_until = self._clock.monotonic() + rest

    def _answered(self, started: float) -> None:
        took = self._clock.monotonic() - started
        before = took if self.latency_s is None else self.latency_s
        self.latency_s = before + LATENCY_WEIGHT * (took - before)
        self.failures = 0


def staleness(head: Head, best: int, now: float, limits: HeadLimits) -> str | None:
    """What is wrong with a newest block, None if nothing; `best` is the highest number that any endpoint told."""
    if limits.max_age_s is not None and now - head.timestamp > limits.max_age_s:
        return f"its block {head.number} is {now - head.timestamp:.0f} s old, the limit is {limits.max_age_s:g} s"
    if limits.max_age_s is not None and head.timestamp - now > MAX_FUTURE_S:
        return f"its block {head.number} is {head.timestamp - now:.0f} s in the future"
    if limits.max_lag_blocks is not None and best - head.number > limits.max_lag_blocks:
        return f"its block {head.number} is {best - head.number} behind, the limit is {limits.max_lag_blocks}"
    return None
