"""No kernel is trusted: each must give the reference's bytes on extreme inputs, here and now, or is not used."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sharding.errors import KernelRefused
from sharding.exact.arithmetic import Arithmetic, Part
from sharding.exact.model import ExactSpan
from sharding.exact.reference_arithmetic import ReferenceArithmetic
from sharding.exact.trial import TRIAL_VOCABULARY, extreme_weights, trial_batches, trial_span
from sharding.paging import PAGE_POSITIONS

Product = Callable[[NDArray[np.int16], NDArray[np.int8]], NDArray[np.integer[Any]]]
"""(n, K) int16 and (N, K) int8 -> (n, N) int32."""

CHUNKS = ((5, 0), (0, 3), (1, 1), (9, 2), (1, 1), (48, 1), (0, 1), (1, 5))
"""Rows of two sessions in each pass of the trial: prefill, decode, and both at once; the first needs two pages."""
PAGES = ((3, 1), (0,))
"""Of the two sessions, in one cache."""


def product_fault(product: Product, columns: int) -> str:
    """What is wrong with a product over that many columns; empty where nothing is."""
    weights = extreme_weights(columns)
    for x in trial_batches(columns):
        expected = x.astype(np.int64) @ weights.astype(np.int64).T
        found = product(x, weights)
        if not np.array_equal(found, expected):
            row, column = np.argwhere(found != expected)[0]
            return f"{columns} columns, {len(x)} rows: {found[row, column]} instead of {expected[row, column]}"
    return ""


def prove_arithmetic(make: Callable[[ExactSpan], Arithmetic], head_dim: int) -> None:
    """Run a trial model through it and through the reference. Raises KernelRefused at the first difference."""
    passes = zip(_trial(make(trial_span(head_dim))), _reference_trial(head_dim), strict=True)
    for step, (found, expected) in enumerate(passes):
        for part in fields(expected):
            if not torch.equal(getattr(found, part.name), getattr(expected, part.name)):
                raise KernelRefused(f"the kernels differ from the reference in the {part.name} of trial pass {step}")


@dataclass(frozen=True, slots=True)
class _Pass:
    hidden_states: Tensor
    logits: Tensor
    cache: Tensor


@cache
def _reference_trial(head_dim: int) -> tuple[_Pass, ...]:
    return tuple(_trial(ReferenceArithmetic(trial_span(head_dim))))


def _trial(arithmetic: Arithmetic) -> Iterator[_Pass]:
    """The passes of CHUNKS over one model; the seed of their tokens is fixed."""
    cache, lengths = arithmetic.make_cache(4 * PAGE_POSITIONS), [0, 0]
    for tensor in cache.tensors:
        tensor.zero_()
    tables = [torch.tensor(pages, dtype=torch.int32) for pages in PAGES]
    tokens = torch.arange(1000) * 7 % TRIAL_VOCABULARY
    for counts in CHUNKS:
        parts, first = [], 0
        for each, count in enumerate(counts):
            if count:
                parts.append(Part(cache, first, first + count, lengths[each], tables[each], wanted=count != 2))
                lengths[each], first = lengths[each] + count, first + count
        entered = arithmetic.embed(tokens[:first])
        tokens = tokens[first:]
        hidden = arithmetic.block(0, entered, parts)
        logits = arithmetic.logits(arithmetic.final_block(1, hidden, parts))
        yield _Pass(hidden.cpu(), logits.cpu(), cache.filled(4 * PAGE_POSITIONS))
