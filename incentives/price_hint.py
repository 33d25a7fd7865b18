"""What a block of a model might cost next: a price that follows how much of the offered work was bought.

Half of the capacity is the aim: enough is left for a burst and for the work of nodes that fail, and no node stands idle for
long. The rule is that of EIP-1559's base fee (https://eips.ethereum.org/EIPS/eip-1559): in each epoch

    price' = price + price x (2 x used - capacity) / (8 x capacity)

which is at most an eighth up, when all was bought, and at most an eighth down, when nothing was. It is a hint, computed
from public records and the same for everybody who has the same ones; what a node asks is its operator's business.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from incentives.errors import PriceError
from incentives.prices import MAX_ASK

LARGEST_STEP = 8
"""A hint moves by at most an eighth per epoch: 12.5 %."""
LOWEST_HINT = LARGEST_STEP
"""The least price of which an eighth is a whole unit: below it a hint could never rise again."""


@dataclass(frozen=True, slots=True)
class Utilisation:
    """What all nodes of a model offered and sold in one epoch, in tokens x blocks."""

    used: int
    capacity: int

    def __post_init__(self) -> None:
        if self.used < 0 or self.capacity < 0:
            raise PriceError(f"{self.used} of {self.capacity} tokens x blocks: neither can be negative")

    def __add__(self, other: "Utilisation") -> "Utilisation":
        return Utilisation(self.used + other.used, self.capacity + other.capacity)


def next_hint(hint: int, last: Utilisation, floor: int = 0) -> int:
    """Return the hint for the epoch after `last`, in the token's smallest unit for one token through one block.

    More used than offered counts as all of it. Steps are rounded towards the present hint, which stands still where nothing was
    offered. The result lies between `floor` (at least 8) and 2^96 - 1, whatever the step would have been.
    Raises: PriceError for a hint or a floor that is no ask.
    """
    for name, amount in (("hint", hint), ("floor", floor)):
        if not 0 <= amount <= MAX_ASK:
            raise PriceError(f"a {name} of {amount}: it lies between 0 and 2^96 - 1, as asks do")
    return min(max(hint + _step(hint, last), floor, LOWEST_HINT), MAX_ASK)


def _step(hint: int, last: Utilisation) -> int:
    if last.capacity == 0:
        return 0
    beyond = 2 * min(last.used, last.capacity) - last.capacity
    step = hint * abs(beyond) // (LARGEST_STEP * last.capacity)
    return step if beyond > 0 else -step


def hint_after(hint: int, epochs: Iterable[Utilisation], floor: int = 0) -> int:
    """Return the hint after several epochs, oldest first. Raises: PriceError."""
    for last in epochs:
        hint = next_hint(hint, last, floor)
    return hint
