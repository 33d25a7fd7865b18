"""What the parts of a node's duty about scores have in common."""

from collections.abc import Callable
from dataclasses import dataclass

from incentives.chain_types import Sent


@dataclass(frozen=True, slots=True)
class Act:
    """One transaction that is due. `send` gives None where it turned out not to be needed."""

    name: str
    send: Callable[[], Sent | None]
