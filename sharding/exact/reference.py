"""The specification in numpy int64, one function for each of its operations: slow, and read side by side with SPEC.md.

Every other implementation must give the bytes of this one. Arrays here are int64 and nothing in them can wrap: SPEC.md
states each bound.
"""

from dataclasses import dataclass
from math import isqrt

import numpy as np
from numpy.typing import NDArray

from sharding.errors import IntegerOverflow, ScaleOutOfRange
from sharding.exact.arithmetic import (
    EXP2_COEFFICIENTS,
    HEAD_BITS,
    HEAD_LIMIT,
    MAX_ACTIVATION,
    MAX_ACTIVATION_SUM,
    MAX_INT32,
    NORM_BITS,
    Q16,
    ROPE_BITS,
    ROTATED_LIMIT,
)

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Activation:
    """x (K,) with |x| <= 32639 and a sum of magnitudes <= 2^24; it stands for x 2^-fraction."""

    x: Ints
    fraction: int


@dataclass(frozen=True, slots=True)
class Compressed:
    """heads (n, d) in [-4095, 4095] and one exponent for each head: heads 2^exponent in Q16."""

    heads: Ints
    exponents: Ints


def rsh(a: Ints, s: int) -> Ints:
    """a / 2^s to the nearest integer, halves upwards."""
    return a if s == 0 else (a + (1 << (s - 1))) >> s


def bits(a: int) -> int:
    return int(a).bit_length()


def top(a: Ints) -> int:
    """The largest magnitude."""
    return int(np.abs(a).max())


def int32(a: Ints, where: str) -> Ints:
    """The values themselves. Raises IntegerOverflow."""
    if top(a) > MAX_INT32:
        raise IntegerOverflow(where, MAX_INT32)
    return a


def pack(t: Ints, fraction: int) -> Activation:
    """PACK: integers t 2^-fraction -> the activation with the most bits that its two bounds allow."""
    largest, total, s = top(t), int(np.abs(t).sum()), 0
    while int(rsh(np.int64(largest), s)) > MAX_ACTIVATION or (total >> s) + len(t) > MAX_ACTIVATION_SUM:  # type: ignore[arg-type]
        s += 1
    return Activation(rsh(t, s), fraction - s)


def exp2_mantissa(y: Ints) -> Ints:
    """P of EXP2: 2^-(y mod 2^16) in 1 / 65535, for y >= 0 in Q16."""
    a = y & 0xFFFF
    c0, c1, c2, c3, c4 = EXP2_COEFFICIENTS
    return c0 - ((a * (c1 - ((a * (c2 - ((a * (c3 - ((a * c4) >> 16))) >> 16))) >> 16))) >> 16)


def norm_values(r: Ints, epsilon: int) -> Ints:
    """NORM's n: r over its root mean square, in Q20. epsilon is E0."""
    e = max(0, bits(top(r)) - NORM_BITS)
    u = rsh(r, e)
    w = max(1, int((u * u).sum()) + (epsilon >> (2 * e)))
    z = (62 - bits(w)) >> 1
    root = isqrt(w << (2 * z))
    inverse = (isqrt(len(r) << 44) << 30) // root
    return rsh(u * inverse, 32 - z)


def norm(r: Ints, epsilon: int, gain: Ints, shift: int) -> Activation:
    """NORM."""
    return pack(norm_values(r, epsilon) * gain, 20 + shift)


def head_norm(y: Ints, epsilon: int, gain: Ints, shift: int) -> Ints:
    """HEADNORM. Shapes: (heads, d) in and out."""
    normed = np.stack([rsh(norm_values(head, epsilon) * gain, 4 + shift) for head in y])
    return int32(normed, "a normalised query or key")


def project(a: Activation, weight: Ints, scale: Ints, shift: int, bias: Ints | None, where: str) -> Ints:
    """PROJECT. Shapes: weight (N, K), scale and bias (N,) -> (N,) Q16."""
    p = shift + a.fraction - Q16
    if p < 0:
        raise ScaleOutOfRange(where, p, "at least 0")
    accumulated = weight @ a.x
    y = rsh(accumulated * scale, p) if p < 63 else np.zeros_like(accumulated)
    return int32(y if bias is None else y + bias, where)


def rotate(y: Ints, table: Ints) -> Ints:
    """ROTATE. Shapes: y (heads, d), table (d / 2, 2) -> (heads, d)."""
    half = y.shape[1] // 2
    a, b, cosine, sine = y[:, :half], y[:, half:], table[:, 0], table[:, 1]
    return np.concatenate((rsh(a * cosine - b * sine, ROPE_BITS), rsh(b * cosine + a * sine, ROPE_BITS)), axis=1)


def compress(y: Ints, where: str) -> Compressed:
    """COMPRESS each head. Shapes: (heads, d). Raises IntegerOverflow."""
    if top(y) >= ROTATED_LIMIT:
        raise IntegerOverflow(where, ROTATED_LIMIT - 1)
    exponents = [max(0, bits(top(head)) - HEAD_BITS) for head in y]
    heads = [np.clip(rsh(head, e), -HEAD_LIMIT, HEAD_LIMIT) for head, e in zip(y, exponents, strict=True)]
    return Compressed(np.stack(heads), np.array(exponents, np.int64))


def scores(query: Ints, exponent: int, keys: Compressed, constant: int) -> Ints:
    """ATTEND's z: one query head (d,) against the visible keys (t, d), in powers of two, Q16."""
    products = (keys.heads @ query) * constant
    shifts = 36 - exponent - keys.exponents
    scaled: Ints = (products + (np.int64(1) << (shifts - 1))) >> shifts
    return scaled


def attention_weights(z: Ints) -> Ints:
    """ATTEND's p: 2^(z - max z), at most 32767."""
    y = np.minimum(z.max() - z, 1 << 20)
    i = y >> 16
    p: Ints = (exp2_mantissa(y) + (np.int64(1) << i)) >> (i + 1)
    return p


def mix(p: Ints, values: Compressed) -> Ints:
    """ATTEND's o: the visible values (t, d) weighted by p (t,), in Q16."""
    highest = int(values.exponents.max())
    lowered = np.array([rsh(w, highest - int(e)) for w, e in zip(p, values.exponents, strict=True)], np.int64)
    total = int(p.sum())
    length = bits(total)
    reciprocal = (1 << (16 + length)) // total
    return rsh((lowered @ values.heads) * reciprocal, 16 + length - highest)


def gate(g: Ints, u: Ints) -> Ints:
    """GATE: SiLU of g times u."""
    a = np.minimum(np.abs(g), 1 << 20)
    y = (((a + 2) >> 2) * 11819) >> 11
    i = y >> 16
    e = (exp2_mantissa(y) + ((np.int64(1) << i) >> 1)) >> i
    s = (1 << 32) // (65536 + e)
    s = np.where(g < 0, 65536 - s, s)
    return int32(rsh(rsh(g * s, 16) * u, 16), "a gated value")


def add(r: Ints, y: Ints) -> Ints:
    """The residual sum."""
    return int32(r + y, "a hidden state")


def embed(weight: Ints, column: Ints, scale: int, shift: int) -> Ints:
    """One token's row. Shapes: weight, column (H,)."""
    return int32(rsh(weight * column * scale, shift), "an embedding") if shift < 63 else np.zeros_like(weight)
