"""Attention over cached keys: against the formula written out, with and without a window."""

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from sharding.float_attention import FloatCache, plan_parts, session_attention
from sharding.session_table import Session
from sharding.span import Span

HEADS, GROUPS, HEAD_DIM, CAPACITY = 4, 2, 8, 32
ALL = Span(0, 2)
NOTHING = FloatCache(torch.empty(0), torch.empty(0))


@dataclass
class Module:
    """What the layer tells of itself."""

    layer_idx: int = 1
    scaling: float = HEAD_DIM**-0.5


def by_the_formula(query: Tensor, keys: Tensor, values: Tensor, start: int, window: int | None) -> Tensor:
    """(rows, heads, head_dim), one query and head at a time."""
    output = torch.empty(query.shape[1], HEADS, HEAD_DIM)
    for row in range(query.shape[1]):
        place = start + row
        oldest = 0 if window is None else max(0, place + 1 - window)
        for head in range(HEADS):
            group = head // (HEADS // GROUPS)
            scores = keys[group, oldest : place + 1] @ query[head, row] * HEAD_DIM**-0.5
            output[row, head] = torch.softmax(scores, 0) @ values[group, oldest : place + 1]
    return output


@pytest.mark.parametrize("window", [None, 1, 3, 7, 100])
@pytest.mark.parametrize("chunks", [(1,), (6,), (5, 1, 1), (3, 4), (1, 6, 2), (8, 1, 5)], ids=str)
def test_attention_is_the_formula(chunks: tuple[int, ...], window: int | None) -> None:
    """For every way to cut the sequence and every window, shorter and longer than the chunk."""
    generator, total = torch.Generator().manual_seed(1), sum(chunks)
    query = torch.randn((HEADS, total, HEAD_DIM), generator=generator)
    keys, values = torch.randn((2, GROUPS, total, HEAD_DIM), generator=generator)
    cache = FloatCache(
        torch.full((2, GROUPS, CAPACITY, HEAD_DIM), torch.nan), torch.full((2, GROUPS, CAPACITY, HEAD_DIM), torch.nan)
    )
    session = Session(ALL, CAPACITY, pages=[0])
    outputs = []
    for count in chunks:
        rows = slice(session.length, session.length + count)
        parts = plan_parts(cache, [session], [count], window)
        pieces = (query[None, :, rows], keys[None, :, rows], values[None, :, rows])
        outputs.append(session_attention(Module(), *pieces, None, parts=parts)[0][0])
        session.length += count

    assert torch.allclose(torch.cat(outputs), by_the_formula(query, keys, values, 0, window), atol=1e-5)
    assert cache.keys[0].isnan().all(), "the other block's cache was written to"
    assert cache.keys[1, :, total:].isnan().all(), "written past the chunk"


def test_decode_builds_no_mask() -> None:
    """One query sees all that is kept; neither does a first chunk without a window need one."""
    session, fresh = Session(ALL, CAPACITY, pages=[0], length=9), Session(ALL, CAPACITY, pages=[1])

    assert [part.mask for part in plan_parts(NOTHING, [session, fresh], [1, 6], None)] == [None, None]
    assert [part.mask for part in plan_parts(NOTHING, [session, fresh], [1, 6], 6)] == [None, None]
    assert plan_parts(NOTHING, [session], [2], None)[0].mask is not None
    assert plan_parts(NOTHING, [fresh], [7], 6)[0].mask is not None


def test_rows_stand_one_after_the_other() -> None:
    """Each part begins where the one before ends, and keeps its session's own positions."""
    sessions = [Session(ALL, CAPACITY, pages=[n], length=n) for n in (0, 4, 20)]
    parts = plan_parts(NOTHING, sessions, [3, 1, 2], 8)

    assert [(p.first, p.last, p.start, p.end, p.oldest) for p in parts] == [
        (0, 3, 0, 3, 0),
        (3, 4, 4, 5, 0),
        (4, 6, 20, 22, 13),
    ]


@pytest.mark.parametrize("pages", [[0, 1, 2], [3, 0, 2], [1, 2, 0]], ids=str)
@pytest.mark.parametrize("window", [None, 70])
def test_pages_may_lie_anywhere(pages: list[int], window: int | None) -> None:
    """A session of three pages, in order or not, attends as the formula says, and writes into no other page."""
    generator, total = torch.Generator().manual_seed(1), 150
    query = torch.randn((HEADS, total, HEAD_DIM), generator=generator)
    keys, values = torch.randn((2, GROUPS, total, HEAD_DIM), generator=generator)
    cache = FloatCache(*(torch.full((2, GROUPS, 4 * 64, HEAD_DIM), torch.nan) for _ in range(2)))
    session, outputs = Session(ALL, total, pages=pages), []
    for count in (63, 1, 1, 70, 1, 14):
        rows = slice(session.length, session.length + count)
        parts = plan_parts(cache, [session], [count], window)
        pieces = (query[None, :, rows], keys[None, :, rows], values[None, :, rows])
        outputs.append(session_attention(Module(), *pieces, None, parts=parts)[0][0])
        session.length += count

    assert torch.allclose(torch.cat(outputs), by_the_formula(query, keys, values, 0, window), atol=1e-5)
    untouched = next(page for page in range(4) if page not in pages)
    assert cache.keys[1, :, untouched * 64 : (untouched + 1) * 64].isnan().all()
