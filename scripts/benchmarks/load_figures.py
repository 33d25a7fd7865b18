"""What came of the requests of `load`, in figures; load.py says what each means."""

import itertools
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

FIRST_SECONDS, EACH_SECONDS = 2.0, 0.2
WARM_UP_SHARE = 0.2

End = Literal["completed", "busy", "lost"]


@dataclass(slots=True)
class Outcome:
    """What came of one request. Moments by time.perf_counter()."""

    wanted: int
    arrived: float
    opened: float | None = None
    tokens: list[float] = field(default_factory=list)
    end: End = "lost"
    reason: str = "unanswered"

    @property
    def first_seconds(self) -> float:
        return self.tokens[0] - self.arrived

    @property
    def each_seconds(self) -> float:
        """Of a token after the first, on average."""
        return (self.tokens[-1] - self.tokens[0]) / max(1, len(self.tokens) - 1)

    @property
    def is_good(self) -> bool:
        """Whether it was answered in time."""
        return self.end == "completed" and self.first_seconds < FIRST_SECONDS and self.each_seconds < EACH_SECONDS


@dataclass(frozen=True, slots=True)
class Phase:
    """A trace's outcomes. samples: moments and resident bytes."""

    began: float
    ended: float
    """When the last request was to arrive."""
    outcomes: tuple[Outcome, ...]
    samples: tuple[tuple[float, int], ...]

    @property
    def warm(self) -> float:
        """From when on it is measured."""
        return self.began + WARM_UP_SHARE * (self.ended - self.began)


def load_figures(phases: dict[float, Phase]) -> dict[str, object]:
    """Of all traces, by their loads."""
    figures = {load: phase_figures(phase) for load, phase in phases.items()}
    peak = max(_goodput(phase) for phase in phases.values())
    last = phases[max(phases)]
    return {
        "lost": sum(each.end == "lost" for phase in phases.values() for each in phase.outcomes),
        f"goodput_{max(phases):g}x": round(_goodput(last) / peak, 3) if peak else 0.0,
        "rss_slope_mb_per_min": round(_slope(last), 2),
        "loads": {f"{load:g}x": each for load, each in figures.items()},
    }


def phase_figures(phase: Phase) -> dict[str, object]:
    """Of one trace."""
    outcomes = phase.outcomes
    ends = Counter(each.end for each in outcomes)
    answered = [each for each in outcomes if each.tokens]
    gaps = [b - a for each in answered for a, b in itertools.pairwise(each.tokens)]
    return {
        "requests": len(outcomes),
        "accepted": round(sum(each.opened is not None for each in outcomes) / len(outcomes), 3),
        "completed": ends["completed"],
        "busy": ends["busy"],
        "lost": ends["lost"],
        "good": sum(each.is_good for each in outcomes),
        "goodput_tokens_per_s": round(_goodput(phase), 1),
        "open_ms": _percentiles([each.opened - each.arrived for each in outcomes if each.opened is not None]),
        "first_token_ms": _percentiles([each.first_seconds for each in answered]),
        "between_tokens_ms": _percentiles(gaps),
        "reasons": Counter(each.reason[:80] for each in outcomes if each.reason).most_common(5),
        "rss_mb": [round(bytes_ / 1e6) for _, bytes_ in (phase.samples[0], phase.samples[-1])],
        "rss_slope_mb_per_min": round(_slope(phase), 2),
    }


def _goodput(phase: Phase) -> float:
    """Tokens per second."""
    good = (at for each in phase.outcomes if each.is_good for at in each.tokens)
    return sum(phase.warm <= at <= phase.ended for at in good) / (phase.ended - phase.warm)


def _percentiles(seconds: Sequence[float]) -> dict[str, float]:
    """Milliseconds."""
    if len(seconds) < 2:
        return {}
    cuts = statistics.quantiles(seconds, n=100, method="inclusive")
    return {"p50": round(1000 * cuts[49], 1), "p99": round(1000 * cuts[98], 1)}


def _slope(phase: Phase) -> float:
    """Megabytes a minute."""
    samples = [(at, size) for at, size in phase.samples if phase.warm <= at <= phase.ended]
    if len(samples) < 2:
        return 0.0
    times, sizes = zip(*samples, strict=True)
    return statistics.linear_regression(times, sizes).slope * 60 / 1e6
