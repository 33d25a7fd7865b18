"""The rotary table of SPEC.md section 4: the nearest integers to real cosines and sines, by exact arithmetic and no libm.

Nearly every entry is decided by one rotation after another in 64-bit integers. One that comes out too near to a tie for
that, about one in 32,768, is computed again by itself with ever more bits until it is clear of it.
"""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Context, Decimal, localcontext
from functools import cache

import numpy as np
from numpy.typing import NDArray

from sharding.exact.arithmetic import ROPE_BITS
from sharding.rope import Rope
from sharding.spec import ModelSpec

Progress = Callable[[int, int], None]  # positions done, positions in all
Wide = NDArray[np.int64]

FINE = 256
"""Positions are 256 coarse + fine: one product of two rotations gives any of them."""
WIDE_BITS = 31
"""Of the factors: their products, and the sum of two, stay within int64."""
WIDE_SLACK = 1 << 32
"""In 2^-62. Four factors, each wrong by at most 0.51 of 2^-31, move a sum of two products by less than 1.5 2^31."""
PRECISIONS = (128, 256, 512)
"""An exact tie does not occur: the cosine and sine of an algebraic angle other than 0 are transcendental (Lindemann, 1882).

For llama3's blended frequencies no such theorem is known, and the last precision is taken as it is: a wrong entry would
need a tie within 2^-450.
"""
SLACK_BITS = 40
"""An angle is wrong by less than 2^33 units at 2^24 positions and frequencies up to 1000; the series adds less than 2^20."""
HALVINGS = 8


def rope_table(spec: ModelSpec, progress: Progress | None = None) -> NDArray[np.int16]:
    """Cosine and sine for each position and pair of dimensions, Q14. Shape: (max_positions, head_dim / 2, 2)."""
    total = spec.max_positions
    table = np.empty((total, spec.head_dim // 2, 2), np.int16)
    fine = _rotations(spec, range(min(FINE, total)))
    for start in range(0, total, FINE):
        count = min(FINE, total - start)
        _fill(table[start : start + count], spec, start, _product(fine[:count], _rotations(spec, [start])))
        if progress is not None:
            progress(start + count, total)
    return table


def frequencies(rope: Rope, head_dim: int, digits: int) -> list[Decimal]:
    """w_i for each pair of dimensions, relative error below 10^(5 - digits)."""
    with _precision(digits):
        log_theta = Decimal(rope.theta).ln()
        base = [(-2 * i * log_theta / head_dim).exp() for i in range(head_dim // 2)]
        parameters = {name: Decimal(value) for name, value in rope.parameters}
        if rope.kind == "linear":
            return [w / parameters["factor"] for w in base]
        return [_llama3(w, parameters, pi(digits)) for w in base] if rope.kind == "llama3" else base


def _llama3(w: Decimal, parameters: dict[str, Decimal], half_turn: Decimal) -> Decimal:
    factor, low, high = parameters["factor"], parameters["low_freq_factor"], parameters["high_freq_factor"]
    turns = parameters["original_max_position_embeddings"] * w / (2 * half_turn)
    if turns > high:
        return w
    if turns < low:
        return w / factor
    m = (turns - low) / (high - low)
    return w * ((1 - m) / factor + m)


def pi(digits: int) -> Decimal:
    """Machin, 1706: pi = 16 arctan(1/5) - 4 arctan(1/239)."""
    scale: int = 10 ** (digits + 10)
    with _precision(digits):
        return Decimal(16 * _arctan_inverse(5, scale) - 4 * _arctan_inverse(239, scale)) / scale


def _arctan_inverse(x: int, scale: int) -> int:
    total, power, odd = 0, scale // x, 1
    while power:
        total += power // odd if odd % 4 == 1 else -(power // odd)
        power //= x * x
        odd += 2
    return total


def _precision(digits: int) -> AbstractContextManager[Context]:
    return localcontext(Context(prec=digits, rounding=ROUND_HALF_EVEN))


@dataclass(frozen=True, slots=True)
class _Angles:
    """Per position and pair of dimensions, and of a full turn, in units of 2^-bits."""

    steps: tuple[int, ...]
    full: int
    bits: int

    def turn(self, position: int, pair: int) -> tuple[int, int]:
        """(cosine, sine), in units of 2^-bits: Taylor's series on a 256th of the angle, then doubled back."""
        cosine, sine = _taylor(self.steps[pair] * position % self.full >> HALVINGS, self.bits)
        for _ in range(HALVINGS):
            cosine, sine = (cosine * cosine - sine * sine) >> self.bits, (sine * cosine) >> (self.bits - 1)
        return cosine, sine


@cache
def _angles(rope: Rope, head_dim: int, bits: int) -> _Angles:
    digits = bits // 3 + 20
    with _precision(digits):
        steps = tuple(int(w * (1 << bits)) for w in frequencies(rope, head_dim, digits))
        return _Angles(steps, int(2 * pi(digits) * (1 << bits)), bits)


def _taylor(x: int, bits: int) -> tuple[int, int]:
    term, cosine, sine, n = 1 << bits, 0, 0, 0
    while term:
        sign = -1 if n % 4 in (2, 3) else 1
        if n % 2:
            sine += sign * term
        else:
            cosine += sign * term
        n += 1
        term = (term * x >> bits) // n
    return cosine, sine


def _rotations(spec: ModelSpec, positions: Iterable[int]) -> Wide:
    """Cosines and sines in 2^-31. Shape: (positions, head_dim / 2, 2)."""
    angles = _angles(spec.rope, spec.head_dim, PRECISIONS[0])
    pairs = range(spec.head_dim // 2)
    exact = [[angles.turn(position, pair) for pair in pairs] for position in positions]
    down = angles.bits - WIDE_BITS
    return np.array(
        [[[(each + (1 << (down - 1))) >> down for each in turn] for turn in row] for row in exact], np.int64
    )


def _product(a: Wide, b: Wide) -> Wide:
    """The rotations one after the other, in 2^-62. Shape: (positions, head_dim / 2, 2)."""
    cosine = a[..., 0] * b[..., 0] - a[..., 1] * b[..., 1]
    sine = a[..., 1] * b[..., 0] + a[..., 0] * b[..., 1]
    return np.stack((cosine, sine), axis=-1)


def _fill(target: NDArray[np.int16], spec: ModelSpec, start: int, wide: Wide) -> None:
    down = 2 * WIDE_BITS - ROPE_BITS
    lifted = wide + (1 << (down - 1))
    target[:] = lifted >> down
    rest = lifted & ((1 << down) - 1)
    for row, pair, part in np.argwhere((rest < WIDE_SLACK) | (rest >= (1 << down) - WIDE_SLACK)).tolist():
        target[row, pair, part] = _entry(spec, start + row, pair, part)


def _entry(spec: ModelSpec, position: int, pair: int, part: int) -> int:
    return nearest(lambda bits: _angles(spec.rope, spec.head_dim, bits).turn(position, pair)[part])


def nearest(value: Callable[[int], int]) -> int:
    """The nearest integer to 2^14 times a real number, which value(bits) knows in 2^-bits to within 2^40 of them."""
    lifted, down = 0, 0
    for bits in PRECISIONS:
        down = bits - ROPE_BITS
        lifted = value(bits) + (1 << (down - 1))
        if 1 << SLACK_BITS <= lifted % (1 << down) < (1 << down) - (1 << SLACK_BITS):
            break
    return lifted >> down
