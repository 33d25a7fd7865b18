"""The constants: the nearest integers to the real numbers, whatever the machine's libm."""

import math
from fractions import Fraction

import pytest

from sharding.exact.constants import epsilon_term, score_constant


@pytest.mark.parametrize("head_dim", [2, 4, 32, 64, 80, 96, 128, 256, 1024])
def test_the_score_constant_is_the_nearest_integer(head_dim: int) -> None:
    """Doubles are good to a part in 10^15, far better than the half that decides."""
    real = (1 << 20) * math.log2(math.e) / math.sqrt(head_dim)

    assert abs(score_constant(head_dim) - real) <= 0.5 + 1e-8


def test_the_score_constants_are_fixed() -> None:
    """Golden values at the usual sizes and at both ends: another implementation must have these."""
    assert [score_constant(d) for d in (2, 32, 64, 128, 1024)] == [1069694, 267423, 189097, 133712, 47274]


@pytest.mark.parametrize("epsilon", [1e-12, 1e-6, 1e-5, 0.1])
@pytest.mark.parametrize("width", [2, 192, 4096, 1 << 16])
def test_the_epsilon_term_is_the_nearest_integer(epsilon: float, width: int) -> None:
    """The double of config.json as the fraction that it is."""
    real = Fraction(epsilon) * width * 2**32

    assert abs(epsilon_term(epsilon, width) - real) <= Fraction(1, 2)


def test_a_half_is_rounded_up() -> None:
    """An epsilon of 2^-33 gives half for each unit of the width; next below it, no longer."""
    assert [epsilon_term(2.0**-33, width) for width in (1, 2, 3)] == [1, 1, 2]
    assert epsilon_term(math.nextafter(2.0**-33, 0), 1) == 0


def test_the_largest_epsilon_of_the_widest_row_leaves_room() -> None:
    """NORM's sum stays below 2^61 with it."""
    assert (1 << 60) + epsilon_term(0.1, 1 << 16) < 1 << 61
