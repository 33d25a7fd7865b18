"""Traces of small random models, and what they were computed from."""

from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import torch

from sharding.exact.arithmetic import ExactCache, Part
from sharding.exact.model import ExactSpan
from sharding.exact.reference import Ints
from sharding.exact.reference_arithmetic import ReferenceArithmetic
from sharding.span import Span
from tests.sharding.exact.random_span import random_span
from verification.trace.build import Trace
from verification.trace.build_block import build_trace
from verification.trace.fields import Draw, Place
from verification.trace.layout import Spot, TraceLayout
from verification.trace.operations import Claim
from verification.trace.resolve import Operands
from verification.trace.sources import kept_blocks, noise_rows, weight_rows

POSITIONS = 12
GREEDY = Draw()


@dataclass(frozen=True, slots=True)
class Session:
    """A whole model's session: its rows before each block and after the last, (blocks + 1, positions, H), and its cache."""

    model: ExactSpan
    tokens: Ints
    rows: Ints
    logits: Ints
    cache: ExactCache


def session(seed: int, positions: int = POSITIONS, family: str = "llama", **sizes: Any) -> Session:
    """Computed by the reference, block by block in one chunk, every row to its end."""
    model = random_span(seed, family, **sizes)
    tokens = np.random.Generator(np.random.PCG64(seed)).integers(0, model.spec.vocab_size, positions)
    return computed(model, tokens)


def computed(model: ExactSpan, tokens: Ints) -> Session:
    arithmetic = ReferenceArithmetic(model)
    cache = arithmetic.make_cache(len(tokens))
    rows = [arithmetic.embed(torch.from_numpy(tokens))]
    for place in range(model.spec.num_blocks):
        rows.append(arithmetic.block(place, rows[-1], [Part(cache, 0, len(tokens), 0)]))
    logits = arithmetic.logits(rows[-1]).numpy().astype(np.int64)
    return Session(model, tokens, torch.stack(rows).numpy().astype(np.int64), logits, cache)


def operands_at(made: Session, span: Span, position: int, draw: Draw | None = None) -> Operands:
    """The honest trace, ready to be judged."""
    weights, layout = weight_rows(made.model), TraceLayout(made.model.spec, Place(span, position, draw))
    entered = made.tokens[position : position + 1] if span.start == 0 else made.rows[span.start, position]
    kept = kept_blocks(made.cache, position)[span.start : span.end]
    rows: dict[str, Ints] = {}
    for block, each in zip(span.blocks, kept, strict=True):
        signed = each.rows()
        rows |= {f"{block}.heads": signed.heads, f"{block}.heads.exponent": signed.exponents}
    return Operands(build_trace(layout, weights, kept, entered), weights, entered, rows, noise_rows())


def spots(trace: Trace) -> list[Spot]:
    """Every element that the trace holds, in the order of its leaves."""
    fields = [each for each in trace.layout.fields if each.name in trace.values]
    return [Spot(each, row, column) for each in fields for row, column in product(range(each.rows), range(each.width))]


def claim(operands: Operands, spot: Spot) -> Claim:
    return operands.trace.claim(spot.field.name, spot.row, spot.column)
