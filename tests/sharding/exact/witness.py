"""SPEC.md a second time, in plain Python whole numbers and with every value on the way: a witness against the reference.

Formulas are written another way than there wherever two ways exist. Values that have to be refused raise Refused.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from math import isqrt
from pathlib import Path

from sharding.exact import gumbel
from sharding.hashing import keccak256

MAX_INT32 = 2**31 - 1
Vector = Sequence[int]


class Refused(Exception):
    """What the specification names an error for; value is the first number past its limit."""

    def __init__(self, error: str, value: int, limit: int = 0) -> None:
        super().__init__(f"{error} {value} {limit}")
        self.error, self.value, self.limit = error, value, limit


def bounded(values: Vector, limit: int = MAX_INT32) -> list[int]:
    for value in values:
        if abs(value) > limit:
            raise Refused("IntegerOverflow", value, limit)
    return list(values)


def rsh(a: int, s: int) -> int:
    """floor(a / 2^s + 1/2)."""
    return (2 * a + (1 << s)) // (1 << s + 1)


def bits(a: int) -> int:
    return len(bin(a)) - 2 if a else 0


def mantissa(y: int) -> int:
    """EXP2's P, by Horner's rule with the signs that its nesting gives."""
    a, p = y % 65536, 454
    for coefficient in (3494, 15687, 45414, 65534):
        p = coefficient - a * p // 65536
    return p


@dataclass(frozen=True, slots=True)
class Packed:
    largest: int
    total: int
    shift: int
    x: list[int]
    fraction: int


def pack(t: Vector, g: int) -> Packed:
    largest, total = max(map(abs, t)), sum(map(abs, t))
    shift = next(s for s in range(99) if rsh(largest, s) <= 32639 and total // 2**s + len(t) <= 2**24)
    return Packed(largest, total, shift, [rsh(each, shift) for each in t], g - shift)


@dataclass(frozen=True, slots=True)
class Normed:
    largest: int
    e: int
    u: list[int]
    squares: int
    w: int
    z: int
    root: int
    width_root: int
    inverse: int
    n: list[int]


def norm(r: Vector, epsilon: int) -> Normed:
    largest = max(map(abs, r))
    e = max(0, bits(largest) - 22)
    u = [rsh(each, e) for each in r]
    squares = sum(each**2 for each in u)
    w = max(1, squares + epsilon // 4**e)
    z = next(z for z in range(31) if 2**60 <= w * 4**z < 2**62)
    root, width_root = isqrt(w * 4**z), isqrt(len(r) * 2**44)
    inverse = width_root * 2**30 // root
    return Normed(largest, e, u, squares, w, z, root, width_root, inverse, [rsh(each * inverse, 32 - z) for each in u])


def norm_packed(r: Vector, epsilon: int, gain: Vector, shift: int) -> Packed:
    return pack([n * g for n, g in zip(norm(r, epsilon).n, gain, strict=True)], 20 + shift)


def head_norm(head: Vector, epsilon: int, gain: Vector, shift: int) -> list[int]:
    return bounded([rsh(n * g, 4 + shift) for n, g in zip(norm(head, epsilon).n, gain, strict=True)])


def dot(a: Vector, b: Vector) -> int:
    return sum(each * other for each, other in zip(a, b, strict=True))


def project(
    x: Vector, f: int, weight: Sequence[Vector], scale: Vector, shift: int, bias: Vector | None = None
) -> list[int]:
    p = shift + f - 16
    if p < 0:
        raise Refused("ScaleOutOfRange", p)
    terms = [rsh(dot(row, x) * m, p) if p < 63 else 0 for row, m in zip(weight, scale, strict=True)]
    return bounded([y + b for y, b in zip(terms, bias or [0] * len(terms), strict=True)])


def rotate(y: Vector, table: Sequence[Vector]) -> list[int]:
    """One head, as complex numbers (a + ib)(c + is)."""
    half = len(y) // 2
    pairs = [(y[i], y[i + half], *table[i]) for i in range(half)]
    return [rsh(a * c - b * s, 14) for a, b, c, s in pairs] + [rsh(a * s + b * c, 14) for a, b, c, s in pairs]


@dataclass(frozen=True, slots=True)
class Head:
    exponent: int
    h: list[int]


def compress(y: Vector) -> Head:
    bounded(y, 2**28 - 1)
    e = next(e for e in range(17) if max(map(abs, y)) < 2 ** (12 + e))
    return Head(e, [min(4095, max(-4095, rsh(each, e))) for each in y])


@dataclass(frozen=True, slots=True)
class Attended:
    dots: list[int]
    z: list[int]
    p: list[int]
    total: int
    highest: int
    numerators: list[int]
    reciprocal: int
    o: list[int]


def attend(query: Head, keys: Sequence[Head], values: Sequence[Head], constant: int) -> Attended:
    dots = [dot(query.h, key.h) for key in keys]
    z = [rsh(each * constant, 36 - query.exponent - key.exponent) for each, key in zip(dots, keys, strict=True)]
    p = [weight(max(z) - each) for each in z]
    total, highest = sum(p), max(value.exponent for value in values)
    lowered = [rsh(each, highest - value.exponent) for each, value in zip(p, values, strict=True)]
    numerators = [dot(lowered, column) for column in zip(*(value.h for value in values), strict=True)]
    reciprocal = 2 ** (16 + bits(total)) // total
    o = [rsh(each * reciprocal, 16 + bits(total) - highest) for each in numerators]
    return Attended(dots, z, p, total, highest, numerators, reciprocal, o)


def weight(distance: int) -> int:
    """ATTEND's p: P 2^-(i+1), halves upwards."""
    y = min(distance, 2**20)
    return rsh(mantissa(y), y // 65536 + 1)


def gate(g: int, u: int) -> int:
    y = (min(abs(g), 2**20) + 2) // 4 * 11819 // 2048
    s = 2**32 // (65536 + rsh(mantissa(y), y // 65536))
    return bounded([rsh(rsh(g * (s if g >= 0 else 65536 - s), 16) * u, 16)])[0]


def embed(weights: Vector, column: Vector, scale: int, shift: int) -> list[int]:
    return bounded([rsh(w * c * scale, shift) if shift < 63 else 0 for w, c in zip(weights, column, strict=True)])


def noise_index(key: int, token: int) -> int:
    z = (key + (token + 1) * 0x9E3779B97F4A7C15) % 2**64
    z = ((z ^ z >> 30) * 0xBF58476D1CE4E5B9) % 2**64
    z = ((z ^ z >> 27) * 0x94D049BB133111EB) % 2**64
    u = z ^ z >> 31
    b = u // 2**63
    v = 2**64 - 1 - u if b else u
    c = min(31, 63 - bits(v))
    return 8192 * b + 256 * c + (0 if c == 31 else v // 2 ** (54 - c) % 256)


@cache
def gumbel_table() -> tuple[int, ...]:
    return struct.unpack("<16384i", Path(gumbel.__file__).with_name("gumbel.bin").read_bytes())


def noise_key(seed: int, position: int) -> int:
    message = b"tallystick gumbel 1" + struct.pack(">QQ", seed, position)
    return int.from_bytes(keccak256(message)[:8], "big")


def noise(seed: int, position: int, token: int) -> int:
    return gumbel_table()[noise_index(noise_key(seed, position), token)]


@dataclass(frozen=True, slots=True)
class Choice:
    """The candidates in the specification's order, and for top-p every one's weight before the cut."""

    ids: list[int]
    weights: list[int]
    quota: int


def choose(logits: Vector, tau: int, pi: int, top_k: int) -> Choice:
    """Section 6's candidates, for a temperature above 0."""
    ids = sorted(range(len(logits)), key=lambda i: (-logits[i], i))[: top_k or None]
    weights = [nucleus_weight(max(logits) - logits[i], tau) for i in ids]
    quota = -(-pi * sum(weights) // 65536)
    if pi >= 65536:
        return Choice(ids, weights, quota)
    enough = next(n for n in range(1, len(ids) + 1) if sum(weights[:n]) >= quota)
    return Choice(ids[:enough], weights, quota)


def nucleus_weight(distance: int, tau: int) -> int:
    y = min(min(distance, 2**28) * (94548 * 2**16 // tau) // 2**16, 40 * 2**16)
    return mantissa(y) * 2**14 // (1 << y // 65536)
