"""How long to wait for a token before looking into it: by what the last ones took. Pure."""

from collections import deque

SHORTEST_SECONDS = 2.0
TIMES_P95 = 8
REMEMBERED = 64


class Patience:
    """Durations of one session's tokens."""

    def __init__(self) -> None:
        self._seconds: deque[float] = deque(maxlen=REMEMBERED)

    def took(self, seconds: float) -> None:
        """A token came."""
        self._seconds.append(seconds)

    @property
    def seconds(self) -> float:
        """max(2 s, 8 times the 95th percentile)."""
        if not self._seconds:
            return SHORTEST_SECONDS
        order = sorted(self._seconds)
        return max(SHORTEST_SECONDS, TIMES_P95 * order[(95 * len(order)) // 100 if len(order) > 1 else 0])
