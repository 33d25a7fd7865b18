"""ATTEND in torch: all heads of a part at once. Products go through float64, where sums of whole numbers below 2^53 are exact.

Scores: at most 1024 * 4095^2 < 2^35. Mixing: at most 2^17 positions * 32767 * 4095 < 2^44.
"""

import torch
from torch import Tensor

from sharding.exact.torch_rows import Heads, bits, exp2_mantissa, rsh

SCORES = 1 << 21
"""Computed at a time: rows * heads * positions, each eight bytes and in several copies."""
HIDDEN_SCORE = -(1 << 60)


def attend(query: Heads, keys: Heads, values: Heads, start: int, window: int | None, constant: int) -> Tensor:
    """Queries (n, heads, d) that begin at position start, keys and values (kv_heads, positions, d) -> (n, heads, d) Q16."""
    n, heads, _ = query.numbers.shape
    rows = max(1, SCORES // (heads * keys.numbers.shape[1]))
    made = []
    for at in range(0, n, rows):
        own = Heads(query.numbers[at : at + rows], query.exponents[at : at + rows])
        first = 0 if window is None else max(0, start + at + 1 - window)
        seen = slice(first, start + at + len(own.numbers))
        made.append(_attend(own, _cut(keys, seen), _cut(values, seen), start + at - first, window, constant))
    return torch.cat(made)


def _cut(kept: Heads, positions: slice) -> Heads:
    return Heads(kept.numbers[:, positions], kept.exponents[:, positions])


def _attend(query: Heads, keys: Heads, values: Heads, start: int, window: int | None, constant: int) -> Tensor:
    rows, heads, d = query.numbers.shape
    kv_heads = len(keys.numbers)
    visible = _visible(rows, keys.numbers.shape[1], start, window, query.numbers.device)
    asked = query.numbers.transpose(0, 1).reshape(kv_heads, -1, d)  # query heads of one group become its rows
    dot = (asked.double() @ keys.numbers.double().transpose(1, 2)).to(torch.int64).reshape(heads, rows, -1)
    shift = 36 - query.exponents.T[:, :, None] - _spread(keys.exponents, heads)[:, None, :]
    z = torch.where(visible, rsh(dot * constant, shift), HIDDEN_SCORE)
    y = (z.amax(dim=-1, keepdim=True) - z).clamp(max=1 << 20)
    i = y >> 16
    p = torch.where(visible, (exp2_mantissa(y) + (torch.ones_like(i) << i)) >> (i + 1), 0)
    exponents = torch.where(visible, _spread(values.exponents, heads)[:, None, :], 0)
    highest = exponents.amax(dim=-1, keepdim=True)
    lowered = rsh(p, highest - exponents).reshape(kv_heads, -1, p.shape[-1])
    mixed = (lowered.double() @ values.numbers.double()).to(torch.int64).reshape(heads, rows, d)
    total = p.sum(dim=-1, keepdim=True)
    length = bits(total)
    reciprocal = torch.div(torch.ones_like(total) << (16 + length), total, rounding_mode="floor")
    return rsh(mixed * reciprocal, 16 + length - highest).transpose(0, 1)


def _visible(rows: int, positions: int, start: int, window: int | None, device: torch.device) -> Tensor:
    """(rows, positions)"""
    own = torch.arange(start, start + rows, device=device)[:, None]
    other = torch.arange(positions, device=device)[None, :]
    seen = other <= own
    return seen if window is None else seen & (other > own - window)


def _spread(by_group: Tensor, heads: int) -> Tensor:
    """(kv_heads, positions) -> (heads, positions)"""
    return by_group.repeat_interleave(heads // len(by_group), dim=0)
