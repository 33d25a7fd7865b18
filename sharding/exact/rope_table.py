"""The rotary table of SPEC.md section 4: the nearest integers to real cosines and sines, by exact arithmetic and no libm.

Frequencies are exact to 2^-200, cosines and sines to about 2^-150. A value nearer than that to a tie between two integers
would be met once in some 2^135 entries.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Context, Decimal

import numpy as np
from numpy.typing import NDArray

from sharding.exact.arithmetic import ROPE_BITS
from sharding.rope import Rope
from sharding.spec import ModelSpec

Progress = Callable[[int, int], None]  # positions done, positions in all
Wide = NDArray[np.object_]

DIGITS = 80
ANGLE_BITS = 200
FIXED_BITS = 160
HALVINGS = 8
FINE = 256
"""Positions are 256 coarse + fine: one product of two rotations gives any of them."""
_CONTEXT = Context(prec=DIGITS)


def rope_table(spec: ModelSpec, progress: Progress | None = None) -> NDArray[np.int16]:
    """Cosine and sine for each position and pair of dimensions, Q14. Shape: (max_positions, head_dim / 2, 2)."""
    angles = [_scaled(w, ANGLE_BITS) for w in frequencies(spec.rope, spec.head_dim)]
    table = np.empty((spec.max_positions, len(angles), 2), np.int16)
    fine = _rotations(angles, range(min(FINE, spec.max_positions)))
    for start in range(0, spec.max_positions, FINE):
        count = min(FINE, spec.max_positions - start)
        coarse = _rotations(angles, [start])
        table[start : start + count] = _product(fine, coarse, count)
        if progress is not None:
            progress(start + count, spec.max_positions)
    return table


def frequencies(rope: Rope, head_dim: int) -> list[Decimal]:
    """w_i for each pair of dimensions, to 70 digits."""
    log_theta = _CONTEXT.ln(Decimal(rope.theta))
    exponents = [_CONTEXT.divide(Decimal(-2 * i), Decimal(head_dim)) for i in range(head_dim // 2)]
    base = [_CONTEXT.exp(_CONTEXT.multiply(each, log_theta)) for each in exponents]
    parameters = {name: Decimal(value) for name, value in rope.parameters}
    if rope.kind == "linear":
        return [_CONTEXT.divide(w, parameters["factor"]) for w in base]
    return [_llama3(w, parameters) for w in base] if rope.kind == "llama3" else base


def _llama3(w: Decimal, parameters: dict[str, Decimal]) -> Decimal:
    c, factor = _CONTEXT, parameters["factor"]
    low, high = parameters["low_freq_factor"], parameters["high_freq_factor"]
    turns = c.divide(parameters["original_max_position_embeddings"], c.divide(c.multiply(Decimal(2), pi()), w))
    if turns > high:
        return w
    if turns < low:
        return c.divide(w, factor)
    smooth = c.divide(c.subtract(turns, low), c.subtract(high, low))
    return c.multiply(w, c.add(c.divide(c.subtract(Decimal(1), smooth), factor), smooth))


def pi() -> Decimal:
    """Machin, 1706: pi = 16 arctan(1/5) - 4 arctan(1/239)."""
    scale = 10 ** (DIGITS + 10)
    return _CONTEXT.divide(Decimal(16 * _arctan_inverse(5, scale) - 4 * _arctan_inverse(239, scale)), Decimal(scale))


def _arctan_inverse(x: int, scale: int) -> int:
    total, power, odd = 0, scale // x, 1
    while power:
        total += power // odd if odd % 4 == 1 else -(power // odd)
        power //= x * x
        odd += 2
    return total


def _scaled(value: Decimal, bits: int) -> int:
    return int(_CONTEXT.multiply(value, Decimal(1 << bits)))


@dataclass(frozen=True, slots=True)
class _Rotations:
    """Cosines and sines in units of 2^-160. Shapes: (positions, head_dim / 2)."""

    cosine: Wide
    sine: Wide


def _rotations(angles: Sequence[int], positions: Sequence[int]) -> _Rotations:
    full = _scaled(_CONTEXT.multiply(Decimal(2), pi()), ANGLE_BITS)
    turned = [[_turn(angle * position % full) for angle in angles] for position in positions]
    return _Rotations(
        np.array([[each[0] for each in row] for row in turned], object),
        np.array([[each[1] for each in row] for row in turned], object),
    )


def _turn(angle: int) -> tuple[int, int]:
    """(cosine, sine) of an angle in [0, 2 pi): Taylor's series on a 256th of it, then doubled back."""
    cosine, sine = _taylor(angle >> HALVINGS)
    for _ in range(HALVINGS):
        cosine, sine = (cosine * cosine - sine * sine) >> ANGLE_BITS, (sine * cosine) >> (ANGLE_BITS - 1)
    down = ANGLE_BITS - FIXED_BITS
    return cosine >> down, sine >> down


def _taylor(x: int) -> tuple[int, int]:
    term, cosine, sine, n = 1 << ANGLE_BITS, 0, 0, 0
    while term:
        sign = -1 if n % 4 in (2, 3) else 1
        if n % 2:
            sine += sign * term
        else:
            cosine += sign * term
        n += 1
        term = (term * x >> ANGLE_BITS) // n
    return cosine, sine


def _product(fine: _Rotations, coarse: _Rotations, count: int) -> NDArray[np.int16]:
    """The rotations one after the other, rounded. Shape: (count, head_dim / 2, 2)."""
    c, s = fine.cosine[:count], fine.sine[:count]
    cosine = c * coarse.cosine - s * coarse.sine
    sine = s * coarse.cosine + c * coarse.sine
    down = 2 * FIXED_BITS - ROPE_BITS
    rounded = [(each + (1 << (down - 1))) >> down for each in (cosine, sine)]
    return np.stack(rounded, axis=-1).astype(np.int16)
