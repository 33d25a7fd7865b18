"""SPEC.md's operations on rows in torch int64, on any device: everything but products and attention."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from sharding.errors import IntegerOverflow
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


@dataclass(frozen=True, slots=True)
class Activations:
    """x (n, K) int64 within an activation's bounds, fractions (n,)."""

    x: Tensor
    fractions: Tensor


@dataclass(frozen=True, slots=True)
class Heads:
    """numbers (..., d) in [-4095, 4095], exponents (...)."""

    numbers: Tensor
    exponents: Tensor


def rsh(a: Tensor, s: Tensor | int) -> Tensor:
    """Shifts may differ by element; one of 0 is none."""
    half = torch.as_tensor(1, dtype=torch.int64, device=a.device) << s
    return (a + (half >> 1)) >> s


def bits(a: Tensor) -> Tensor:
    """Lengths in binary of int64 values in [0, 2^62]; a double near a power of two may round up to it, hence the look back."""
    length = torch.frexp(a.double()).exponent.to(torch.int64)
    return torch.where((length > 0) & ((a >> (length - 1).clamp(min=0)) == 0), length - 1, length)


def isqrt(a: Tensor) -> Tensor:
    """For values in [0, 2^62): the double's root errs by less than one after this."""
    root = a.double().sqrt().to(torch.int64)
    root = root - (root * root > a).to(torch.int64)
    return root + ((root + 1) * (root + 1) <= a).to(torch.int64)


def check(y: Tensor, where: str, limit: int = MAX_INT32) -> Tensor:
    """The values themselves, rows first. Raises IntegerOverflow with the first row that passes the limit."""
    if int(torch.stack(torch.aminmax(y)).abs().max()) > limit:
        beyond = (y.abs() > limit).reshape(len(y), -1).any(dim=1)
        raise IntegerOverflow(where, limit, row=int(beyond.nonzero()[0]))
    return y


def pack(t: Tensor, fractions: Tensor | int) -> Activations:
    """Rows (n, K). Both bounds on the shift come from lengths in binary, which err by at most one downwards."""
    magnitudes, room = t.abs(), MAX_ACTIVATION_SUM - t.shape[1]
    largest, total = magnitudes.amax(dim=1), magnitudes.sum(dim=1)
    by_largest = (bits(largest) - MAX_ACTIVATION.bit_length()).clamp(min=0)
    by_largest = by_largest + (rsh(largest, by_largest) > MAX_ACTIVATION)
    by_total = (bits(total) - room.bit_length()).clamp(min=0)
    by_total = by_total + ((total >> by_total) > room)
    s = torch.maximum(by_largest, by_total)
    return Activations(rsh(t, s[:, None]), fractions - s)


def exp2_mantissa(y: Tensor) -> Tensor:
    c0, c1, c2, c3, c4 = EXP2_COEFFICIENTS
    a = y & 0xFFFF
    made = c3 - ((a * c4) >> 16)
    for c in (c2, c1, c0):
        made = c - ((a * made) >> 16)
    return made


def norm_values(r: Tensor, epsilon: int) -> Tensor:
    """NORM's n over the last dimension."""
    width = r.shape[-1]
    e = (bits(r.abs().amax(dim=-1)) - NORM_BITS).clamp(min=0)
    u = rsh(r, e[..., None])
    w = ((u * u).sum(dim=-1) + (epsilon >> (2 * e))).clamp(min=1)
    z = (62 - bits(w)) >> 1
    root = isqrt(w << (2 * z))
    scale = math.isqrt(width << 44) << 30
    inverse = torch.div(torch.full_like(root, scale), root, rounding_mode="floor")
    return rsh(u * inverse[..., None], (32 - z)[..., None])


def rotate(y: Tensor, table: Tensor) -> Tensor:
    """Shapes: y (n, heads, d), table (n, d / 2, 2) -> (n, heads, d)."""
    a, b = y.chunk(2, dim=-1)
    cosine, sine = table[:, None, :, 0], table[:, None, :, 1]
    return torch.cat((rsh(a * cosine - b * sine, ROPE_BITS), rsh(b * cosine + a * sine, ROPE_BITS)), dim=-1)


def compress(y: Tensor, where: str) -> Heads:
    """Shapes: (n, heads, d). Raises IntegerOverflow."""
    check(y, where, ROTATED_LIMIT - 1)
    e = (bits(y.abs().amax(dim=-1)) - HEAD_BITS).clamp(min=0)
    return Heads(rsh(y, e[..., None]).clamp(-HEAD_LIMIT, HEAD_LIMIT), e)


def gate(g: Tensor, u: Tensor) -> Tensor:
    a = g.abs().clamp(max=1 << 20)
    y = (((a + 2) >> 2) * 11819) >> 11
    e = rsh(exp2_mantissa(y), y >> 16)
    s = torch.div(torch.full_like(e, 1 << 32), 65536 + e, rounding_mode="floor")
    s = torch.where(g < 0, 65536 - s, s)
    return check(rsh(rsh(g * s, 16) * u, 16), "a gated value")
