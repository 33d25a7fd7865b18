"""How far a node can be relied on, from what came of the work given to it: a Beta distribution that forgets, a rest after failures.

What one client saw is its own; it is not the score that the chain publishes.
"""

import math
from dataclasses import dataclass

from node.routing_errors import MeasurementInvalid

PRIOR_SUCCESSES = 4.0
PRIOR_FAILURES = 1.0
"""A stranger with a stake counts like a node that failed once in five times: it gets work, and soon has a name of its own."""
MAX_EVIDENCE = 100.0
"""Successes or failures that count at most, so that no past is long enough to hide the present."""
HALF_LIFE_SECONDS = 1800.0
FIRST_REST_SECONDS = 1.0
MAX_REST_SECONDS = 60.0
_QUANTILE = 1.6448536269514722
"""Of the standard normal distribution at 95 %."""


@dataclass(slots=True)
class Outcomes:
    """Decayed counts for one node; `now` is seconds of one monotonic clock."""

    successes: float = 0.0
    failures: float = 0.0
    at: float = 0.0
    failures_in_a_row: int = 0
    failed_at: float = -math.inf

    def succeeded(self, now: float, weight: float = 1.0) -> None:
        """Count work that came back as it should; any success ends a rest. Raises: MeasurementInvalid."""
        self._decay(now, weight)
        self.successes = min(self.successes + weight, MAX_EVIDENCE)
        self.failures_in_a_row = 0

    def failed(self, now: float, weight: float = 1.0) -> None:
        """Count work that did not. Raises: MeasurementInvalid."""
        self._decay(now, weight)
        self.failures = min(self.failures + weight, MAX_EVIDENCE)
        self.failures_in_a_row += 1
        self.failed_at = now

    def reliability(self, now: float) -> float:
        """The chance of success that this node reaches with 95 % confidence, above 0 and below 1."""
        kept = _kept(now - self.at)
        return lower_bound(PRIOR_SUCCESSES + kept * self.successes, PRIOR_FAILURES + kept * self.failures)

    def rests(self, now: float) -> bool:
        """Whether to leave the node alone: one second after a failure, twice as long after each further one in a row."""
        if self.failures_in_a_row == 0:
            return False
        doubled = FIRST_REST_SECONDS * 2.0 ** min(self.failures_in_a_row - 1, 16)
        return now - self.failed_at < min(doubled, MAX_REST_SECONDS)

    def _decay(self, now: float, weight: float) -> None:
        if not (math.isfinite(weight) and weight > 0):
            raise MeasurementInvalid("a weight", weight)
        kept = _kept(now - self.at)
        self.successes *= kept
        self.failures *= kept
        self.at = now


def lower_bound(successes: float, failures: float) -> float:
    """The 5 % quantile of Beta(successes, failures), both at least 1; never above the true one, at most 0.07 below it.

    Source: Abramowitz and Stegun, Handbook of Mathematical Functions, 26.5.22.
    """
    left, right = 1 / (2 * successes - 1), 1 / (2 * failures - 1)
    harmonic = 2 / (left + right)
    skew = (_QUANTILE**2 - 3) / 6
    spread = _QUANTILE * math.sqrt(harmonic + skew) / harmonic
    shift = (right - left) * (skew + 5 / 6 - 2 / (3 * harmonic))
    return successes / (successes + failures * math.exp(2 * (spread - shift)))


def _kept(age: float) -> float:
    return float(0.5 ** (max(age, 0.0) / HALF_LIFE_SECONDS))
