"""A chain's endpoints as an operator sees them: which are used, how old their newest block is, and why another one is not."""

import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from incentives.endpoint_health import EndpointHealth


@dataclass(frozen=True, slots=True)
class EndpointView:
    """One endpoint at this moment. Ages and latencies in seconds; None for what it did not tell."""

    url: str
    """Without secrets."""
    block: int | None
    age: float | None
    latency: float | None
    failures: int
    """In a row."""
    reason: str
    """Why it is not used; empty for one that can be."""

    def as_json(self) -> dict[str, object]:
        """For programs."""
        return asdict(self) | {"usable": not self.reason}

    def row(self) -> tuple[str, ...]:
        """For people: url, newest block, its age, latency, what is wrong."""
        block = "-" if self.block is None else str(self.block)
        age = "-" if self.age is None else f"{self.age:.0f} s"
        latency = "-" if self.latency is None else f"{1000 * self.latency:.0f} ms"
        return self.url, block, age, latency, self.reason or "usable"


def endpoint_views(healths: "Iterable[EndpointHealth]", now: float | None = None) -> tuple[EndpointView, ...]:
    """The same for operators, in the same order; `now` in seconds since 1970."""
    moment = time.time() if now is None else now
    return tuple(_view(each, moment) for each in healths)


def _view(health: "EndpointHealth", now: float) -> EndpointView:
    head = health.head
    block, age = (None, None) if head is None else (head.number, max(0.0, now - head.timestamp))
    reason = "" if health.refused is None else str(health.refused)
    return EndpointView(health.shown, block, age, health.latency_s, health.failures, reason)
