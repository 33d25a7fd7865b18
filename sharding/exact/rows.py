"""Rounding weights to eight bits row by row, gains and biases to integers: SPEC.md section 5, steps 4 and 5."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sharding.errors import ScaleOutOfRange
from sharding.exact.equalise import Doubles, Scaled

MAX_INT32 = (1 << 31) - 1
LOWEST_SHIFT, HIGHEST_SHIFT, ZERO_SHIFT = 16, 62, 40
GAIN_BITS = 20
MAX_GAIN_SHIFT = 40


@dataclass(frozen=True, slots=True)
class Rows:
    """weight (N, K) int8, scale (N,) int32, and the shift they share."""

    weight: NDArray[np.int8]
    scale: NDArray[np.int32]
    shift: int


@dataclass(frozen=True, slots=True)
class Gain:
    """gain 2^-shift."""

    gain: NDArray[np.int32]
    shift: int


def quantise_rows(matrices: Sequence[Scaled], name: str) -> Rows:
    """Matrices of one width, one under the other. Raises ScaleOutOfRange."""
    tops = np.concatenate([each.row_tops() for each in matrices]) / 127.0
    largest = float(tops.max())
    if largest == 0:
        width = matrices[0].weight.shape[1]
        return Rows(np.zeros((len(tops), width), np.int8), np.ones(len(tops), np.int32), ZERO_SHIFT)
    shift = 31 - int(np.frexp(largest)[1])
    if not LOWEST_SHIFT <= shift <= HIGHEST_SHIFT:
        raise ScaleOutOfRange(
            f"tensor {name!r}", f"{largest:g} a step", f"2^-32 to 2^15, a shift of {LOWEST_SHIFT} to {HIGHEST_SHIFT}"
        )
    scale = np.clip(np.rint(np.ldexp(tops, shift)), 1, MAX_INT32)
    weight, first = np.empty((len(tops), matrices[0].weight.shape[1]), np.int8), 0
    for matrix in matrices:
        for piece in matrix.pieces():
            last = first + len(piece)
            steps = np.rint(np.ldexp(piece, shift) / scale[first:last, None])
            weight[first:last] = np.clip(steps, -127, 127)
            first = last
    return Rows(weight, scale.astype(np.int32), shift)


def quantise_bias(bias: Doubles, name: str) -> NDArray[np.int32]:
    """Q16. Raises ScaleOutOfRange."""
    whole = np.rint(np.ldexp(bias, 16))
    if np.abs(whole).max() > MAX_INT32:
        raise ScaleOutOfRange(f"tensor {name!r}", f"{np.abs(bias).max():g}", "below 32768")
    return whole.astype(np.int32)


def quantise_gain(gain: Doubles, name: str) -> Gain:
    """With the most bits that stay below 2^20. Raises ScaleOutOfRange."""
    for shift in range(MAX_GAIN_SHIFT, -1, -1):
        whole = np.rint(np.ldexp(gain, shift))
        if np.abs(whole).max() < 1 << GAIN_BITS:
            return Gain(whole.astype(np.int32), shift)
    raise ScaleOutOfRange(f"tensor {name!r}", f"{np.abs(gain).max():g}", f"below 2^{GAIN_BITS}")
