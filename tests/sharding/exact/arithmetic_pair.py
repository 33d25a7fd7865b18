"""Running torch's arithmetic and the reference over the same rows, and what the two must agree on."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from sharding.errors import IntegerOverflow, ScaleOutOfRange
from sharding.exact.arithmetic import Arithmetic, Part
from sharding.exact.model import ExactSpan
from sharding.exact.reference_arithmetic import ReferenceArithmetic
from sharding.exact.torch_arithmetic import TorchArithmetic

KINDS = (TorchArithmetic, ReferenceArithmetic)
CAPACITY = 40
SCHEDULE = ((7, 0), (1, 3), (1, 1), (0, 9), (4, 1), (1, 0))
"""Rows of two sessions in each pass: prefill, decode, both at once, one without the other."""


def passes(arithmetic: Arithmetic, span: ExactSpan, schedule: Sequence[Sequence[int]] = SCHEDULE) -> list[Tensor]:
    """Hidden states of each pass between the blocks, the logits, and at last everything that the caches hold."""
    caches, lengths, seen = [arithmetic.make_cache(CAPACITY) for _ in schedule[0]], [0 for _ in schedule[0]], []
    tokens = torch.arange(200, device="cpu") * 7 % span.spec.vocab_size
    for counts in schedule:
        parts = []
        for i, count in enumerate(counts):
            first = parts[-1].last if parts else 0
            parts += [Part(caches[i], first, first + count, lengths[i])] if count else []
            lengths[i] += count
        rows, tokens = arithmetic.embed(tokens[: parts[-1].last]), tokens[parts[-1].last :]
        seen.append(rows)
        for place in range(len(span.blocks) - 1):
            rows = arithmetic.block(place, rows, parts)
            seen.append(rows)
        seen.append(arithmetic.logits(arithmetic.final_block(len(span.blocks) - 1, rows, parts)))
    return seen + [cache.filled(length) for cache, length in zip(caches, lengths, strict=True)]


@dataclass(frozen=True)
class Refusal:
    """What two arithmetics must agree on."""

    kind: type
    where: str
    row: int


def outcome(compute: Callable[[], Tensor]) -> Tensor | Refusal:
    try:
        return compute()
    except (IntegerOverflow, ScaleOutOfRange) as error:
        return Refusal(type(error), error.where, getattr(error, "row", 0))


def both(span: ExactSpan, rows: Tensor, last: bool = False) -> list[Tensor | Refusal]:
    """The first block over rows of one new session, in torch and in the reference."""
    results = []
    for arithmetic in (kind(span) for kind in KINDS):
        compute = arithmetic.final_block if last else arithmetic.block
        part = Part(arithmetic.make_cache(CAPACITY), 0, len(rows), 0)
        results.append(outcome(partial(compute, 0, rows, [part])))
    return results


def agreed(results: list[Any]) -> Any:
    made, expected = results
    if isinstance(expected, Tensor):
        assert isinstance(made, Tensor), made
        assert torch.equal(made, expected)
    else:
        assert made == expected
    return made


def first_block(span: ExactSpan, **changes: Any) -> ExactSpan:
    """The span with another first block."""
    return replace(span, blocks=(replace(span.blocks[0], **changes), *span.blocks[1:]))


def noise(rows: int, width: int = 52, most: int = 1 << 17, seed: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(-most, most + 1, (rows, width), generator=generator).to(torch.int32)
