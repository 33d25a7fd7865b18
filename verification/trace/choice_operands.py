"""Operands of the operations between logits and token."""

from verification.trace.fields import Draw
from verification.trace.layout import Number, Ref, Rule, Source, Spot, Template, TraceLayout
from verification.trace.operations import PIECE, Operation


def _draw(layout: TraceLayout) -> Draw:
    return layout.place.draw or Draw()


def _logit(layout: TraceLayout, place: int) -> Ref:
    """The logit of the candidate at that place of the order."""
    return layout.one("head.y", 0, layout.one("order", 0, place))


def _rank(layout: TraceLayout, spot: Spot) -> Template:
    """Each comes after the one before it: then all ids are there, and each once."""
    place, before = spot.column, max(0, spot.column - 1)
    own = _logit(layout, place)
    scalars = place, layout.one("order", 0, before), _logit(layout, before), own, layout.spec.vocab_size
    return Template(Operation.RANK, scalars)


def _nucleus_weight(layout: TraceLayout, spot: Spot) -> Template:
    scalars = _logit(layout, 0), _logit(layout, spot.column), _draw(layout).tau
    return Template(Operation.NUCLEUS_WEIGHT, scalars)


def _nucleus_count(layout: TraceLayout, spot: Spot) -> Template:
    total, k = layout.last("shares.total", 0), spot.column
    counted: Number = layout.one("kept", 0, k - 1) if k else 0
    before: Number = layout.one("shares.total", 0, k - 1) if k else 0
    scalars = counted, _draw(layout).pi, total, before
    return Template(Operation.NUCLEUS_COUNT, scalars, layout.piece("shares", 0, k))


def _noise_cell(layout: TraceLayout, spot: Spot) -> Template:
    seed = _draw(layout).seed
    return Template(Operation.NOISE_CELL, (seed, layout.place.position + 1, layout.one("order", 0, spot.column)))


def _sample_score(layout: TraceLayout, spot: Spot) -> Template:
    noise = Ref(Source.NOISE, "gumbel", 0, layout.one("cells", 0, spot.column))
    return Template(Operation.SAMPLE_SCORE, (_logit(layout, spot.column), _draw(layout).tau, noise))


def _best(layout: TraceLayout, spot: Spot) -> Template:
    """Of the first 128 (k + 1) places: the one with the largest value, of the lowest id among equals."""
    values = spot.field.sources[0]
    before: Number = layout.one("best", 0, spot.column - 1) if spot.column else 0
    ordered = layout.has("order")
    name: Number = layout.one("order", 0, before) if ordered else before
    left = layout.piece(values, 0, spot.column)
    kept: Number = layout.last("kept", 0) if layout.has("kept") else layout.field(values).width
    right = Ref(Source.TRACE, "order", 0, left.start, left.count) if ordered else None
    scalars = before, layout.one(values, 0, before), name, spot.column * PIECE, kept
    return Template(Operation.BEST, scalars, left, right)


CHOICE_RULES: dict[Operation, Rule] = {
    Operation.RANK: _rank,
    Operation.NUCLEUS_WEIGHT: _nucleus_weight,
    Operation.NUCLEUS_COUNT: _nucleus_count,
    Operation.NOISE_CELL: _noise_cell,
    Operation.SAMPLE_SCORE: _sample_score,
    Operation.BEST: _best,
}
