"""The attention that transformers' decoder layers call: cached keys and values, several sessions in one pass.

The rows of all chunks of a batch stand one after the other in one sequence, so that every matrix is read once for all
of them; only attention must keep the sessions apart, and it does that here. It is registered with transformers under
ATTENTION, the way transformers provides for attention of one's own.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

from sharding.session_table import Session

ATTENTION = "tallystick_sessions"


@dataclass(frozen=True, slots=True)
class FloatCache:
    """Keys (rotated) and values of all sessions. Shapes: (blocks, key/value heads, positions, head_dim) float32."""

    keys: Tensor
    values: Tensor

    @property
    def tensors(self) -> tuple[Tensor, Tensor]:
        return self.keys, self.values


@dataclass(frozen=True, slots=True)
class Part:
    """The rows of one chunk: rows first to last - 1 of the batch are positions start to end - 1 of the session.

    They look at keys from position oldest on, which lie in the cache at `seen`, their own at `written`; mask (rows, end - oldest)
    is added to the scores, None where there is nothing to hide or causal order alone hides it.
    """

    cache: FloatCache
    first: int
    last: int
    start: int
    end: int
    oldest: int
    mask: Tensor | None
    seen: slice | Tensor
    written: slice | Tensor


def plan_parts(cache: FloatCache, sessions: Sequence[Session], counts: Sequence[int], window: int | None) -> list[Part]:
    """Lay the chunks out in a row; masks are built here once for all blocks."""
    parts, first = [], 0
    for session, count in zip(sessions, counts, strict=True):
        start, end = session.length, session.length + count
        oldest = 0 if window is None else max(0, start + 1 - window)
        mask = _mask(start, end, oldest, window)
        seen, written = session.places(oldest, end), session.places(start, end)
        parts.append(Part(cache, first, first + count, start, end, oldest, mask, seen, written))
        first += count
    return parts


def _mask(start: int, end: int, oldest: int, window: int | None) -> Tensor | None:
    """(end - start, end - oldest): 0 where a query sees a key, minus infinity where the key is later or too old."""
    windowed = window is not None and end - oldest > window
    if end - start == 1 or (start == oldest and not windowed):
        return None
    queries, keys = torch.arange(start, end)[:, None], torch.arange(oldest, end)[None, :]
    hidden = keys > queries
    if window is not None:
        hidden |= keys <= queries - window
    return torch.zeros(hidden.shape).masked_fill_(hidden, float("-inf"))


def session_attention(
    module: Any, query: Tensor, key: Tensor, value: Tensor, _mask: Tensor | None, *, parts: list[Part], **_rest: Any
) -> tuple[Tensor, None]:
    """Store the new keys and values, then attend part by part.

    Shapes: query (1, heads, rows, head_dim), key and value (1, key/value heads, rows, head_dim); returns
    (1, rows, heads, head_dim). module is transformers' attention; its layer_idx counts within the span.
    """
    block, scale = module.layer_idx, module.scaling
    outputs = []
    for part in parts:
        keys, values = part.cache.keys[block], part.cache.values[block]
        keys[:, part.written] = key[0, :, part.first : part.last]
        values[:, part.written] = value[0, :, part.first : part.last]
        rows = query[:, :, part.first : part.last]
        outputs.append(_attend(rows, keys[:, part.seen][None], values[:, part.seen][None], part.mask, scale))
    return (outputs[0] if len(outputs) == 1 else torch.cat(outputs, dim=1)), None


def _attend(query: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None, scale: float) -> Tensor:
    _, heads, rows, head_dim = query.shape
    groups = keys.shape[1]
    if rows == 1:  # the queries that share a key/value head become its rows: no key is read twice
        folded = query.reshape(1, groups, heads // groups, head_dim)
        output = scaled_dot_product_attention(folded, keys, values, scale=scale)
        return output.reshape(1, 1, heads, head_dim)
    output = scaled_dot_product_attention(
        query, keys, values, attn_mask=mask, is_causal=mask is None, scale=scale, enable_gqa=heads != groups
    )
    return output.transpose(1, 2)


AttentionInterface.register(ATTENTION, session_attention)
