"""Whether a route has become so slow that a new one is worth what it costs. Pure."""

import statistics
from collections import deque

WINDOW = 8
TIMES_SLOWER = 4.0
SLOW_SECONDS = 0.1
"""Per token; below this nobody minds."""
WORTH = 2.0
"""A move must save so many times what the replay takes."""
REST_TOKENS = 32
"""After a look that led to nothing."""


class Pace:
    """Durations of one route's tokens, the newest against the best that there were."""

    def __init__(self) -> None:
        self._recent: deque[float] = deque(maxlen=WINDOW)
        self._best: float | None = None
        self._resting = 0

    def took(self, seconds: float) -> None:
        """A token came."""
        self._recent.append(seconds)
        self._resting = max(0, self._resting - 1)
        if len(self._recent) == WINDOW:
            self._best = min(self.median, self._best if self._best is not None else self.median)

    @property
    def median(self) -> float:
        """Of the newest tokens."""
        return statistics.median(self._recent)

    def is_worth_moving(self, tokens_left: int, replay_seconds: float) -> bool:
        """Whether the rest at the best pace, and the replay, would take much less than the rest at today's."""
        if self._resting or self._best is None or len(self._recent) < WINDOW:
            return False
        if self.median < max(SLOW_SECONDS, TIMES_SLOWER * self._best):
            return False
        return tokens_left * (self.median - self._best) > WORTH * replay_seconds

    def rest(self) -> None:
        """Do not ask again for a while."""
        self._resting = REST_TOKENS

    def begin_anew(self) -> None:
        """Another route."""
        self._recent.clear()
