"""Constants of SPEC.md that are real numbers rounded once, by exact arithmetic and not by libm."""

from decimal import ROUND_FLOOR, Context, Decimal
from fractions import Fraction
from functools import cache

DIGITS = 60


@cache
def score_constant(head_dim: int) -> int:
    """c_d of ATTEND: 2^20 log2(e) / sqrt(d), rounded half up. No d gives a tie: log2(e) is not algebraic."""
    context = Context(prec=DIGITS)
    real = context.divide(Decimal(1 << 20), context.multiply(context.ln(Decimal(2)), context.sqrt(Decimal(head_dim))))
    return int(context.add(real, Decimal("0.5")).to_integral_value(ROUND_FLOOR, context))


def epsilon_term(epsilon: float, width: int) -> int:
    """E0 of NORM: epsilon, the double taken exactly, times width and 2^32, rounded half up."""
    real = Fraction(epsilon) * width * (1 << 32) + Fraction(1, 2)
    return real.numerator // real.denominator
