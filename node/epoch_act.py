"""What the parts of a node's duty about scores have in common."""

from collections.abc import Callable
from dataclasses import dataclass

from incentives.chain_types import Sent
from incentives.epochs import Clocks

LOOKS_PER_CLOCK = 3
"""In the shortest of the epoch's times."""
LEAST_SECONDS, MOST_SECONDS = 0.25, 60.0


@dataclass(frozen=True, slots=True)
class Act:
    """One transaction that is due. `send` gives None where it turned out not to be needed."""

    name: str
    send: Callable[[], Sent | None]


def seconds_between_looks(clocks: Clocks) -> float:
    """Often enough for the shortest of the epoch's times."""
    shortest = min(clocks.exclusive, clocks.posting - clocks.exclusive, clocks.activation, clocks.response)
    return min(MOST_SECONDS, max(LEAST_SECONDS, shortest / LOOKS_PER_CLOCK))
