"""How evenly an epoch's earnings were spread over what the nodes offered: Jain's index.

    J = (sum x)^2 / (n x sum x^2),  x = earned / capacity

It is 1 when all earned alike for what they offered, and k / n when k of n nodes alike earned everything. Source: R. Jain, D. Chiu
and W. Hawe, "A Quantitative Measure of Fairness and Discrimination for Resource Allocation in Shared Computer Systems", 1984.
Everything is exact: two observers with the same records get the same number.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import lcm

from incentives.errors import FairnessError

AIM = Fraction(9, 10)
"""What a healthy network is above."""
WHOLE_BPS = 10_000


@dataclass(frozen=True, slots=True)
class NodeEpoch:
    """What one node earned in an epoch, in the token's smallest unit, for a capacity in tokens x blocks."""

    node: str
    earned: int
    capacity: int

    def __post_init__(self) -> None:
        if self.earned < 0 or self.capacity < 0:
            raise FairnessError(f"{self.node} earned {self.earned} for {self.capacity}: neither can be negative")


def jain_index(epoch: Sequence[NodeEpoch]) -> Fraction:
    """Return the index over all nodes that offered something, between 1/n and 1; 1 where nobody earned anything.

    Raises: FairnessError where nobody offered anything, or a node is there twice.
    """
    offering = [each for each in epoch if each.capacity]
    if not offering:
        raise FairnessError("no node offered anything: there is nothing to share out")
    if len({each.node for each in epoch}) != len(epoch):
        raise FairnessError("a node is listed twice: add up what it earned and offered first")
    whole = lcm(*(each.capacity for each in offering))
    rates = [each.earned * (whole // each.capacity) for each in offering]  # over one denominator, which cancels out
    squares = sum(rate * rate for rate in rates)
    return Fraction(sum(rates) ** 2, len(rates) * squares) if squares else Fraction(1)


def in_bps(index: Fraction) -> int:
    """Return the index in parts of 10,000, rounded down, as it is published."""
    return index.numerator * WHOLE_BPS // index.denominator
