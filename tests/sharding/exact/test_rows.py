"""Rows in eight bits, gains and biases in integers: SPEC.md section 5 steps 4 and 5 number by number, at their limits and past."""

import math
import re

import numpy as np
import pytest
from numpy.typing import NDArray

from sharding.errors import ScaleOutOfRange
from sharding.exact import equalise
from sharding.exact.equalise import Doubles, Scaled
from sharding.exact.rows import quantise_bias, quantise_gain, quantise_rows

MAX_INT32 = (1 << 31) - 1
STEP = 127.0
"""A row whose largest weight is 127 has steps of one."""


def noise(rows: int, columns: int, seed: int = 5) -> NDArray[np.float32]:
    random = np.random.Generator(np.random.PCG64(seed))
    values = random.normal(size=(rows, columns)) * np.exp2(random.integers(-34, 1, rows))[:, None]
    return values.astype(np.float32)


def rows_of(*tops: float) -> Scaled:
    """One row for each of the numbers, which is its largest weight."""
    return Scaled(np.array([[top, -top / 3] for top in tops], np.float32))


def rounded(value: float) -> int:
    """To the nearest, halves to even, as Python does it."""
    return round(value)


@pytest.mark.parametrize("scale", [1.0, 2.0**-25, 1e-7, 1e5])
def test_rows_are_the_specifications(scale: float) -> None:
    """Shift, every scale and every weight, from Python's own numbers one at a time."""
    weight = noise(29, 17) * np.float32(scale)
    made = quantise_rows((Scaled(weight),), "w")
    tops = [max(abs(float(each)) for each in row) / 127 for row in weight]
    k = next(k for k in range(-200, 200) if max(tops) * 2.0**-k < 1)

    assert made.shift == 31 - k
    for row, top, scale_n, quantised in zip(weight, tops, made.scale.tolist(), made.weight.tolist(), strict=True):
        assert scale_n == min(MAX_INT32, max(1, rounded(top * 2.0**made.shift)))
        steps = [rounded(float(each) * 2.0**made.shift / scale_n) for each in row]
        assert quantised == [min(127, max(-127, step)) for step in steps]


def test_a_weight_is_within_half_a_step() -> None:
    """And the largest of a row uses all of its bits."""
    weight = noise(29, 17)
    weight = weight[np.abs(weight).max(axis=1) > 2.0**-20]  # a row 2^30 times smaller than another has few bits left
    made = quantise_rows((Scaled(weight),), "w")
    steps = made.scale.astype(np.float64)[:, None] * 2.0**-made.shift

    assert (np.abs(made.weight * steps - weight) <= 0.5001 * steps).all()
    assert (np.abs(made.weight).max(axis=1) == 127).all()


def test_matrices_stand_one_under_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """They share a shift, each row has its own scale, and how many rows are worked on at a time does not show."""
    upper, lower = noise(5, 8, seed=1), noise(9, 8, seed=2)
    made = quantise_rows((Scaled(upper), Scaled(lower)), "w")
    monkeypatch.setattr(equalise, "PIECE_ELEMENTS", 16)
    again = quantise_rows((Scaled(np.concatenate((upper, lower))),), "w")

    assert np.array_equal(made.weight, again.weight)
    assert np.array_equal(made.scale, again.scale)
    assert made.shift == again.shift


def test_a_row_far_below_the_largest_is_clamped_and_not_wrapped() -> None:
    """Its scale cannot go below one, nor its weights past 127."""
    made = quantise_rows((rows_of(STEP, STEP * 1.4 * 2.0**-30, STEP * 2.0**-40, 0.0),), "w")

    assert made.shift == 30
    assert made.scale.tolist() == [1 << 30, 1, 1, 1]
    assert made.weight[1:, 0].tolist() == [127, 0, 0]


def test_the_largest_scale_stays_within_int32() -> None:
    """A step just below a power of two would round up to 2^31."""
    weight = np.array([[STEP * (1 - 2.0**-40), 1.0]])
    made = quantise_rows((Scaled(np.ones((1, 2), np.float32), times=weight[0]),), "w")

    assert (made.shift, made.scale.tolist()) == (31, [MAX_INT32])
    assert made.weight.tolist() == [[127, 1]]


def test_a_power_of_two_begins_its_binade() -> None:
    """The largest step, times 2^-k, lies in [1/2, 1): a half belongs to it."""
    assert quantise_rows((rows_of(STEP),), "w").shift == 30
    assert quantise_rows((rows_of(np.nextafter(np.float32(STEP), np.float32(0))),), "w").shift == 31


def test_an_all_zero_matrix_is_zeros() -> None:
    """With the scale and shift that the specification gives it."""
    made = quantise_rows((rows_of(0.0, 0.0),), "w")

    assert (made.weight.tolist(), made.scale.tolist(), made.shift) == ([[0, 0], [0, 0]], [1, 1], 40)


@pytest.mark.parametrize(("step", "shift"), [(2.0**14, 16), (2.0**15 - 2.0**-8, 16), (2.0**-32, 62), (2.0**-31.5, 62)])
def test_steps_at_the_limits_are_written(step: float, shift: int) -> None:
    """Shifts of 16 and of 62."""
    assert quantise_rows((rows_of(STEP * step),), "w").shift == shift


@pytest.mark.parametrize("step", [2.0**15, 2.0**-33, 2.0**-32.5])
def test_steps_past_the_limits_are_refused(step: float) -> None:
    """By name: weights that large or small are broken, or in units of their own."""
    with pytest.raises(ScaleOutOfRange, match=re.escape("'blocks.0.o.weight'")):
        quantise_rows((rows_of(STEP * step),), "blocks.0.o.weight")


def test_biases_are_nearest_q16() -> None:
    """Halves to even, and both ends of int32 but its odd one."""
    bias = np.array([1.0, -0.25, 2.0**-17, 3 * 2.0**-17, MAX_INT32 * 2.0**-16, -MAX_INT32 * 2.0**-16])

    assert quantise_bias(bias, "b").tolist() == [65536, -16384, 0, 2, MAX_INT32, -MAX_INT32]
    assert quantise_bias(bias, "b").dtype == np.int32


@pytest.mark.parametrize("bias", [2.0**15, -(2.0**15), 1e30])
def test_a_bias_past_int32_is_refused(bias: float) -> None:
    """Whichever way it goes past."""
    with pytest.raises(ScaleOutOfRange, match="'b'"):
        quantise_bias(np.array([0.0, bias]), "b")


def gain_of(*values: float) -> Doubles:
    return np.array(values)


def test_a_gain_has_the_most_bits_that_fit() -> None:
    """One more would reach 2^20; the shift itself ends at 40."""
    assert quantise_gain(gain_of(1.0, -0.5), "g").gain.tolist() == [1 << 19, -(1 << 18)]
    assert quantise_gain(gain_of(1.0, -0.5), "g").shift == 19
    assert quantise_gain(gain_of(2.0**-30), "g").shift == 40
    assert (quantise_gain(gain_of(0.0), "g").gain.tolist(), quantise_gain(gain_of(0.0), "g").shift) == ([0], 40)


def test_rounding_up_to_the_bound_takes_a_bit_less() -> None:
    """A gain just below one would round to 2^20 with a shift of 20."""
    made = quantise_gain(gain_of(math.nextafter(1.0, 0.0)), "g")

    assert (made.gain.tolist(), made.shift) == ([1 << 19], 19)


@pytest.mark.parametrize("gain", [2.0**20 - 1, -(2.0**20 - 1), 2.0**20 - 0.5001])
def test_the_largest_gain_is_written(gain: float) -> None:
    """As itself, with no shift."""
    made = quantise_gain(gain_of(gain, 0.0), "g")

    assert (abs(made.gain[0]), made.shift) == ((1 << 20) - 1, 0)


@pytest.mark.parametrize("gain", [2.0**20, -(2.0**20), 2.0**20 - 0.5])
def test_a_gain_past_the_largest_is_refused(gain: float) -> None:
    """Also where it would only be rounded there."""
    with pytest.raises(ScaleOutOfRange, match="'g'"):
        quantise_gain(gain_of(gain), "g")
