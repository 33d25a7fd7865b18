"""What SPEC.md gives for one element of a block, from numbers that may be anything: None where they are outside of it."""

from math import isqrt

from sharding.exact.arithmetic import (
    EXP2_COEFFICIENTS,
    HEAD_BITS,
    HEAD_LIMIT,
    MAX_ACTIVATION,
    MAX_ACTIVATION_SUM,
    MAX_INT32,
    NORM_BITS,
    ROPE_BITS,
    ROTATED_LIMIT,
)
from verification.trace.operations import Abort, Claim, Outcome, Step

MAX_SQUARE = 1 << 62
MAX_PACK_SHIFT = 64
MAX_HEAD_EXPONENT = 16
MAX_GAIN_SHIFT = 40
MAX_SHIFT = 80
MAX_TOTAL = 1 << 32


def rsh(a: int, s: int) -> int:
    """a / 2^s to the nearest integer, halves upwards, of any size."""
    return a if s == 0 else (a + (1 << (s - 1))) >> s


def int32(value: int) -> Claim:
    return value if abs(value) <= MAX_INT32 else Abort.INTEGER_OVERFLOW


def norm_exponent(largest: int) -> int:
    return max(0, largest.bit_length() - NORM_BITS)


def norm_shift(square: int) -> int:
    return (62 - square.bit_length()) >> 1


def copy(step: Step) -> Outcome:
    return step.scalars[0]


def norm_square(step: Step) -> Outcome:
    total, epsilon, largest = step.scalars
    if largest < 0 or total < 0:
        return None
    return max(1, total + (epsilon >> (2 * norm_exponent(largest))))


def norm_width(step: Step, claimed: int) -> bool:
    return claimed == isqrt(step.scalars[0] << 44)


def norm_root(step: Step, claimed: int) -> bool:
    square = step.scalars[0]
    return 0 < square < MAX_SQUARE and claimed == isqrt(square << (2 * norm_shift(square)))


def norm_inverse(step: Step, claimed: int) -> bool:
    width_root, root = step.scalars
    return width_root >= 0 and root > 0 and claimed == (width_root << 30) // root


def normalised(r: int, largest: int, square: int, inverse: int) -> int | None:
    if largest < 0 or not 0 < square < MAX_SQUARE:
        return None
    return rsh(rsh(r, norm_exponent(largest)) * inverse, 32 - norm_shift(square))


def norm(step: Step) -> Outcome:
    r, largest, square, inverse, gain = step.scalars
    n = normalised(r, largest, square, inverse)
    return None if n is None else n * gain


def head_norm(step: Step) -> Outcome:
    y, largest, square, inverse, gain, shift = step.scalars
    n = normalised(y, largest, square, inverse)
    if n is None or not 0 <= shift <= MAX_GAIN_SHIFT:
        return None
    return int32(rsh(n * gain, 4 + shift))


def packs(largest: int, total: int, length: int, s: int) -> bool:
    return rsh(largest, s) <= MAX_ACTIVATION and (total >> s) + length <= MAX_ACTIVATION_SUM


def pack_shift(step: Step, claimed: int) -> bool:
    largest, total, length = step.scalars
    if largest < 0 or total < 0 or not 0 <= claimed <= MAX_PACK_SHIFT:
        return False
    return packs(largest, total, length, claimed) and not (claimed and packs(largest, total, length, claimed - 1))


def pack_fraction(step: Step) -> Outcome:
    base, gain_shift, s = step.scalars
    return base + gain_shift - s


def pack(step: Step) -> Outcome:
    t, s = step.scalars
    return rsh(t, s) if 0 <= s <= MAX_PACK_SHIFT else None


def project(step: Step) -> Outcome:
    acc, scale, shift, fraction, bias = step.scalars
    p = shift + fraction - 16
    if p < 0:
        return Abort.SCALE_OUT_OF_RANGE
    return int32((rsh(acc * scale, p) if p < 63 else 0) + bias)


def rotate_first(step: Step) -> Outcome:
    a, b, cosine, sine = step.scalars
    return rsh(a * cosine - b * sine, ROPE_BITS)


def rotate_second(step: Step) -> Outcome:
    a, b, cosine, sine = step.scalars
    return rsh(b * cosine + a * sine, ROPE_BITS)


def head_exponent(step: Step) -> Outcome:
    largest = step.scalars[0]
    if largest < 0:
        return None
    return Abort.INTEGER_OVERFLOW if largest >= ROTATED_LIMIT else max(0, largest.bit_length() - HEAD_BITS)


def compress(step: Step) -> Outcome:
    y, e = step.scalars
    return max(-HEAD_LIMIT, min(rsh(y, e), HEAD_LIMIT)) if is_exponent(e) else None


def is_exponent(e: int) -> bool:
    return 0 <= e <= MAX_HEAD_EXPONENT


def score(step: Step) -> Outcome:
    dot, constant, query, key = step.scalars
    return rsh(dot * constant, 36 - query - key) if is_exponent(query) and is_exponent(key) else None


def exp2(y: int) -> int:
    a = y & 0xFFFF
    c0, c1, c2, c3, c4 = EXP2_COEFFICIENTS
    return c0 - ((a * (c1 - ((a * (c2 - ((a * (c3 - ((a * c4) >> 16))) >> 16))) >> 16))) >> 16)


def attention_weight(step: Step) -> Outcome:
    highest, z = step.scalars
    if highest < z:
        return None
    y = min(highest - z, 1 << 20)
    i = y >> 16
    return (exp2(y) + (1 << i)) >> (i + 1)


def is_total(total: int) -> bool:
    return 0 < total < MAX_TOTAL


def reciprocal(step: Step, claimed: int) -> bool:
    total = step.scalars[0]
    return is_total(total) and claimed == (1 << (16 + total.bit_length())) // total


def lowered_weight(step: Step) -> Outcome:
    p, highest, exponent = step.scalars
    return rsh(p, highest - exponent) if is_exponent(highest - exponent) else None


def mix(step: Step) -> Outcome:
    numerator, total, reciprocal, highest = step.scalars
    if not (is_total(total) and is_exponent(highest)):
        return None
    return rsh(numerator * reciprocal, 16 + total.bit_length() - highest)


def gate(step: Step) -> Outcome:
    g, u = step.scalars
    y = (((min(abs(g), 1 << 20) + 2) >> 2) * 11819) >> 11
    s = (1 << 32) // (65536 + rsh(exp2(y), y >> 16))
    return int32(rsh(rsh(g * (65536 - s if g < 0 else s), 16) * u, 16))


def add(step: Step) -> Outcome:
    return int32(step.scalars[0] + step.scalars[1])


def embed(step: Step) -> Outcome:
    weight, column, scale, s = step.scalars
    if not 0 <= s <= MAX_SHIFT:
        return None
    return int32(rsh(weight * column * scale, s)) if s < 63 else 0
