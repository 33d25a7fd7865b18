"""How far a node can be relied upon, in integers: the twin of contracts/src/lib/Scores.sol.

Two masses of evidence in Q16.16, for and against, with the prior (1, 1) make a Beta distribution. They halve in a half-life.
"""

from dataclasses import dataclass
from math import isqrt

ONE = 1 << 16
"""One unit of evidence: one audited and settled fee unit."""
MAX_MASS = 2**32 - 1
FAULT = 50 * ONE
"""What a fault weighs at least."""
MAX_FAULTS = 32
WHOLE = 10_000

_UNIT = 1 << 120
_LN2 = 921350637599661305226344307672478454
"""The natural logarithm of two in Q120, rounded down."""
_TERMS = 22


@dataclass(frozen=True, slots=True)
class Masses:
    """Evidence for (a) and against (b) a node, beyond the prior. Raises: ValueError outside 32 bits."""

    a: int = 0
    b: int = 0

    def __post_init__(self) -> None:
        if not (0 <= self.a <= MAX_MASS and 0 <= self.b <= MAX_MASS):
            raise ValueError(f"masses {self.a} and {self.b} do not fit into 32 bits")

    def decayed(self, factor: int) -> "Masses":
        """What is left; factor as kept() gives it. Rounded down."""
        return Masses(self.a * factor >> 120, self.b * factor >> 120)

    def updated(self, credit: int, faults: int) -> "Masses":
        """First the credit, then the faults: each adds to b the greater of FAULT and a, and halves a."""
        a, b = min(self.a + credit, MAX_MASS), self.b
        for _ in range(min(faults, MAX_FAULTS)):
            a, b = a // 2, min(b + max(a, FAULT), MAX_MASS)
        return Masses(a, b)

    @property
    def published(self) -> int:
        """The score in ten-thousandths: mean - 1 / sqrt(n + 1) with n = a + b + 2, a bound two deviations below at least.

        Zero where that is negative, as it is without evidence.
        """
        n = self.a + self.b + 2 * ONE
        root = isqrt((n + ONE) << 144)
        gain, loss = (self.a + ONE) * root, n << 80
        return WHOLE * (gain - loss) // (n * root) if gain > loss else 0


def kept(elapsed_s: int, half_life_s: int) -> int:
    """2^(-elapsed / half-life) in Q120, off by less than 2^-85. Source: the series of e^-x, 22 terms, in Horner's form.

    Raises: ValueError for a negative time or no half-life.
    """
    if elapsed_s < 0 or half_life_s <= 0:
        raise ValueError(f"{elapsed_s} s with a half-life of {half_life_s} s")
    halvings, rest = divmod(elapsed_s, half_life_s)
    if halvings >= 120:
        return 0
    x = rest * _UNIT // half_life_s * _LN2 >> 120
    factor = _UNIT
    for k in range(_TERMS, 0, -1):
        factor = _UNIT - (x * factor >> 120) // k
    return factor >> halvings


def credit_of(fee: int, fee_unit: int, cap: int) -> int:
    """The credit for all that one payer settled to one node in one epoch: a unit for each `fee_unit`, rounded down, capped.

    The cap is what keeps anybody from buying himself a score. Raises: ValueError for amounts that make no sense.
    """
    if fee < 0 or fee_unit <= 0 or not 0 <= cap <= MAX_MASS:
        raise ValueError(f"credit for {fee} by {fee_unit}, at most {cap}")
    return min(fee * ONE // fee_unit, cap)
