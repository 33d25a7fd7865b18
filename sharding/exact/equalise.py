"""Evening out the columns of weights before their rows are rounded to eight bits: SPEC.md section 5, steps 1 and 2.

A channel that is large in the activations and small in the weights (or the reverse) would lose its bits to the others.
Where the scale can be moved to the other side of the product for nothing, it is. Everything here is IEEE arithmetic on
single elements, maxima, and sums of integers, so that every machine gets the same scales.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]

PIECE_ELEMENTS = 1 << 21
ENERGY_BITS = 21
GAIN_SHIFT = 15
SMALLEST_COLUMN = 2.0**-15


@dataclass(frozen=True, slots=True)
class Scaled:
    """A matrix seen through scales: weight (N, K) float32, by column times `times`, then over `over`, by row times `rows`."""

    weight: NDArray[np.float32]
    times: Doubles | None = None
    over: Doubles | None = None
    rows: Doubles | None = None

    def pieces(self) -> Iterator[Doubles]:
        """Its rows from the first on, some at a time, in doubles."""
        step = max(1, PIECE_ELEMENTS // self.weight.shape[1])
        for start in range(0, len(self.weight), step):
            piece = self.weight[start : start + step].astype(np.float64)
            if self.times is not None:
                piece *= self.times
            if self.over is not None:
                piece /= self.over
            if self.rows is not None:
                piece *= self.rows[start : start + step, None]
            yield piece

    def row_tops(self) -> Doubles:
        """The largest magnitude of each row."""
        return np.concatenate([np.abs(piece).max(axis=1) for piece in self.pieces()])


@dataclass(frozen=True, slots=True)
class Energies:
    """eq and len of a matrix: the energy of each column once rows are of one size, and the rows' lengths."""

    columns: Ints
    lengths: Doubles


def energies(matrix: Scaled) -> Energies:
    rows, width = matrix.weight.shape
    top = float(matrix.row_tops().max())
    if top == 0:
        return Energies(np.zeros(width, np.int64), np.zeros(rows))
    k = ENERGY_BITS - int(np.frexp(top)[1])
    columns, lengths = np.zeros(width, np.int64), []
    for piece in matrix.pieces():
        a = np.floor(np.ldexp(np.abs(piece), k))
        whole = a.astype(np.int64)
        rho = np.sqrt((whole * whole).sum(axis=1).astype(np.float64))
        b = np.floor(a / np.where(rho > 0, rho, 1.0)[:, None] * 65536.0).astype(np.int64)
        columns += (b * b).sum(axis=0)
        lengths.append(np.ldexp(rho, -k))
    return Energies(columns, np.concatenate(lengths))


def column_scales(columns: Ints) -> Doubles:
    """col: the square roots of energies, the largest being 1."""
    top = columns.max()
    return np.sqrt(columns.astype(np.float64) / float(top)) if top else np.ones(len(columns))


@dataclass(frozen=True, slots=True)
class Gained:
    """What a norm multiplies by, gain 2^-15, and the matrices that read it, divided by that."""

    gain: Ints
    matrices: tuple[Scaled, ...]
    lengths: tuple[Doubles, ...]


def move_to_norm(matrices: tuple[Scaled, ...]) -> Gained:
    """Step 1; the matrices have the norm's own gain in `times`."""
    measured = [energies(each) for each in matrices]
    scales = column_scales(np.sum([each.columns for each in measured], axis=0))
    gain = whole_gain(scales)
    over = np.ldexp(gain.astype(np.float64), -GAIN_SHIFT)
    divided = tuple(replace(each, over=over) for each in matrices)
    return Gained(gain, divided, tuple(each.lengths for each in measured))


def whole_gain(scales: Doubles) -> Ints:
    """Scales up to 1 as whole numbers of 2^-15, at least one of them."""
    return np.maximum(1, np.rint(np.ldexp(scales, GAIN_SHIFT)).astype(np.int64))


def producer_scales(consumer_columns: Ints, producer_lengths: Doubles) -> Doubles:
    """Step 2's kappa: what the producing rows are multiplied by and the consuming columns divided."""
    scales = np.maximum(column_scales(consumer_columns), SMALLEST_COLUMN)
    mantissa, exponent = np.frexp((producer_lengths * scales).max())
    if mantissa == 0:
        return scales
    return np.ldexp(scales, -(int(exponent) - int(mantissa == 0.5)))
