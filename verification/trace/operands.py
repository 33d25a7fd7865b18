"""Which operands each operation of a trace has: one rule for each, after docs/TRACE.md."""

from sharding.exact.constants import epsilon_term, score_constant
from verification.trace.choice_operands import CHOICE_RULES
from verification.trace.fields import NORM_FRACTION
from verification.trace.layout import Number, Ref, Rule, Source, Spot, Template, TraceLayout, weights
from verification.trace.operations import PIECE, Operation, pieces


def template_of(layout: TraceLayout, spot: Spot) -> Template:
    """The operation of one element, and where its operands lie."""
    return _RULES[spot.field.operation](layout, spot)


def tensor_name(layout: TraceLayout, matrix: str, part: str) -> str:
    """The manifest's name of a tensor that a field's source stands for."""
    if matrix == "head" and layout.spec.tied_embeddings and part in ("weight", "scale"):
        return f"embed.{part}"
    return f"blocks.{matrix}.{part}" if matrix[0].isdecimal() else f"{matrix}.{part}"


def _before(layout: TraceLayout, spot: Spot) -> Number:
    """The preceding prefix value, 0 where there is none."""
    return layout.one(spot.field.name, spot.row, spot.column - 1) if spot.column else 0


def _reduction(layout: TraceLayout, spot: Spot) -> Template:
    source = layout.holding(spot.field.sources, spot.row)
    return Template(spot.field.operation, (_before(layout, spot),), layout.piece(source, spot.row, spot.column))


def _maximum(layout: TraceLayout, spot: Spot) -> Template:
    """The first prefix begins with the first element: there is no least number."""
    source = spot.field.sources[0]
    before = _before(layout, spot) if spot.column else layout.one(source, spot.row, 0)
    return Template(spot.field.operation, (before,), layout.piece(source, spot.row, spot.column))


def _squares(layout: TraceLayout, spot: Spot) -> Template:
    source, largest = spot.field.sources
    scalars = _before(layout, spot), layout.last(largest, spot.row)
    return Template(spot.field.operation, scalars, layout.piece(source, spot.row, spot.column))


def _norm_root(layout: TraceLayout, spot: Spot) -> Template:
    """Four numbers, each certified by those before it: W, isqrt(H 2^44), D, I."""
    squares, largest = spot.field.sources
    name, row = spot.field.name, spot.row
    width = layout.field(layout.field(squares).sources[0]).width
    if spot.column == 0:
        epsilon = epsilon_term(layout.spec.norm_epsilon, width)
        scalars = layout.last(squares, row), epsilon, layout.last(largest, row)
        return Template(Operation.NORM_SQUARE, scalars)
    if spot.column == 1:
        return Template(Operation.NORM_WIDTH, (width,))
    if spot.column == 2:
        return Template(Operation.NORM_ROOT, (layout.one(name, row, 0),))
    return Template(Operation.NORM_INVERSE, (layout.one(name, row, 1), layout.one(name, row, 2)))


def _normed(layout: TraceLayout, spot: Spot) -> tuple[Number, ...]:
    """What both norms begin with: the element, m, W and I."""
    source, largest, root, *_ = spot.field.sources
    row = spot.row
    m, w, i = layout.last(largest, row), layout.one(root, row, 0), layout.one(root, row, 3)
    return layout.one(source, row, spot.column), m, w, i


def _norm(layout: TraceLayout, spot: Spot) -> Template:
    gain = weights(tensor_name(layout, spot.field.sources[3], "gain"), 0, spot.column)
    return Template(Operation.NORM, (*_normed(layout, spot), gain))


def _head_norm(layout: TraceLayout, spot: Spot) -> Template:
    block = spot.field.name.split(".")[0]
    gains = f"blocks.{block}." + ("q_norm" if spot.row < layout.spec.num_heads else "k_norm")
    scalars = *_normed(layout, spot), weights(f"{gains}.gain", 0, spot.column), weights(f"{gains}.shift", 0, 0)
    return Template(Operation.HEAD_NORM, scalars)


def _pack_shift(layout: TraceLayout, spot: Spot) -> Template:
    """Two numbers: the shift s, and the fraction f of the activation."""
    source, top, total, gain_shift = spot.field.sources
    if spot.column == 0:
        scalars = layout.last(top, 0), layout.last(total, 0), layout.field(source).width
        return Template(Operation.PACK_SHIFT, scalars)
    shift: Number = 0
    if gain_shift:
        shift = weights(tensor_name(layout, gain_shift.removesuffix(".shift"), "shift"), 0, 0)
    base = NORM_FRACTION if gain_shift else 16
    return Template(Operation.PACK_FRACTION, (base, shift, layout.one(spot.field.name, 0, 0)))


def _pack(layout: TraceLayout, spot: Spot) -> Template:
    source, shift = spot.field.sources
    return Template(Operation.PACK, (layout.one(source, 0, spot.column), layout.one(shift, 0, 0)))


def _dot_weights(layout: TraceLayout, spot: Spot) -> Template:
    x, matrix = spot.field.sources
    right = layout.piece(x, 0, spot.column)
    left = weights(tensor_name(layout, matrix, "weight"), spot.row, spot.column * PIECE, right.count)
    return Template(Operation.DOT_WEIGHTS, (_before(layout, spot),), left, right)


def _project(layout: TraceLayout, spot: Spot) -> Template:
    sums, shift, matrix, *bias = spot.field.sources
    n = spot.row * spot.field.width + spot.column
    scale = weights(tensor_name(layout, matrix, "scale"), 0, n)
    own_shift = weights(tensor_name(layout, matrix, "shift"), 0, 0)
    added: Number = weights(tensor_name(layout, matrix, "bias"), 0, n) if bias else 0
    return Template(Operation.PROJECT, (layout.last(sums, n), scale, own_shift, layout.one(shift, 0, 1), added))


def _rotate(layout: TraceLayout, spot: Spot) -> Template:
    source, half = spot.field.sources[0], spot.field.width // 2
    i, is_first = spot.column % half, spot.column < half
    a, b = layout.one(source, spot.row, i), layout.one(source, spot.row, i + half)
    turn = [weights("rope.table", layout.place.position, 2 * i + k) for k in (0, 1)]
    return Template(Operation.ROTATE_FIRST if is_first else Operation.ROTATE_SECOND, (a, b, *turn))


def _head_exponent(layout: TraceLayout, spot: Spot) -> Template:
    return Template(Operation.HEAD_EXPONENT, (layout.last(spot.field.sources[0], spot.row),))


def _compress(layout: TraceLayout, spot: Spot) -> Template:
    *rows, exponent = spot.field.sources
    source = layout.holding(tuple(rows), spot.row)
    return Template(Operation.COMPRESS, (layout.one(source, spot.row, spot.column), layout.one(exponent, spot.row, 0)))


def _copy(layout: TraceLayout, spot: Spot) -> Template:
    name = spot.field.name
    if name in ("token", "row"):
        return Template(Operation.COPY, (Ref(Source.INPUT, name, 0, spot.column),))
    if name == "order":
        return Template(Operation.COPY, (spot.column,))
    if name == "chosen":
        index = layout.last("best", 0)
        return Template(Operation.COPY, (layout.one("order", 0, index) if layout.has("order") else index,))
    return Template(Operation.COPY, (_kept(layout, spot),))


def _kept(layout: TraceLayout, spot: Spot) -> Ref:
    """A key or value that the query sees: signed before, or at the query's own position computed above in this trace."""
    _, what, *exponent = spot.field.name.split(".")
    spec, seen = layout.spec, layout.seen
    if exponent:
        head, place, column = spot.row, spot.column, 0
    elif what == "keys":
        head, place, column = *divmod(spot.row, len(seen)), spot.column
    else:
        (head, column), place = divmod(spot.row, spec.head_dim), spot.column
    head += spec.num_kv_heads * (what == "values")
    source = spot.field.sources[0]
    if seen[place] == layout.place.position:
        return layout.one(source, spec.num_heads + head, column)
    return Ref(Source.KEPT, source, seen[place] * 2 * spec.num_kv_heads + head, column)


def _group(layout: TraceLayout, head: int) -> int:
    """The key/value head that a query head reads."""
    return head // (layout.spec.num_heads // layout.spec.num_kv_heads)


def _dot_heads(layout: TraceLayout, spot: Spot) -> Template:
    name, (left, right), seen = spot.field.name, spot.field.sources, len(layout.seen)
    if name.endswith(".dots"):  # rows: the pieces of each head; columns: positions
        head, index = divmod(spot.row, pieces(layout.spec.head_dim))
        before = layout.one(name, spot.row - 1, spot.column) if index else 0
        key = layout.piece(right, _group(layout, head) * seen + spot.column, index)
        return Template(Operation.DOT_HEADS, (before,), layout.piece(left, head, index), key)
    head, column = divmod(spot.row, layout.spec.head_dim)  # columns: pieces of the positions
    value = layout.piece(right, _group(layout, head) * layout.spec.head_dim + column, spot.column)
    return Template(Operation.DOT_HEADS, (_before(layout, spot),), layout.piece(left, head, spot.column), value)


def _score(layout: TraceLayout, spot: Spot) -> Template:
    dots, exponents, key_exponents = spot.field.sources
    row = (spot.row + 1) * pieces(layout.spec.head_dim) - 1
    key = layout.one(key_exponents, _group(layout, spot.row), spot.column)
    constant = score_constant(layout.spec.head_dim)
    return Template(
        Operation.SCORE, (layout.one(dots, row, spot.column), constant, layout.one(exponents, spot.row, 0), key)
    )


def _attention_weight(layout: TraceLayout, spot: Spot) -> Template:
    scores, highest = spot.field.sources
    scalars = layout.last(highest, spot.row), layout.one(scores, spot.row, spot.column)
    return Template(Operation.ATTENTION_WEIGHT, scalars)


def _reciprocal(layout: TraceLayout, spot: Spot) -> Template:
    return Template(Operation.RECIPROCAL, (layout.last(spot.field.sources[0], spot.row),))


def _lowered_weight(layout: TraceLayout, spot: Spot) -> Template:
    attention, highest, exponents = spot.field.sources
    group = _group(layout, spot.row)
    scalars = (
        layout.one(attention, spot.row, spot.column),
        layout.last(highest, group),
        layout.one(exponents, group, spot.column),
    )
    return Template(Operation.LOWERED_WEIGHT, scalars)


def _mix(layout: TraceLayout, spot: Spot) -> Template:
    sums, totals, reciprocals, highest = spot.field.sources
    head = spot.column // layout.spec.head_dim
    total, reciprocal = layout.last(totals, head), layout.one(reciprocals, head, 0)
    scalars = layout.last(sums, spot.column), total, reciprocal, layout.last(highest, _group(layout, head))
    return Template(Operation.MIX, scalars)


def _gate(layout: TraceLayout, spot: Spot) -> Template:
    source = spot.field.sources[0]
    return Template(Operation.GATE, (layout.one(source, 0, spot.column), layout.one(source, 1, spot.column)))


def _add(layout: TraceLayout, spot: Spot) -> Template:
    r, y = spot.field.sources
    return Template(Operation.ADD, (layout.one(r, 0, spot.column), layout.one(y, 0, spot.column)))


def _embed(layout: TraceLayout, spot: Spot) -> Template:
    token, column = layout.one("token", 0, 0), spot.column
    weight, scale = weights("embed.weight", token, column), weights("embed.scale", 0, token)
    return Template(Operation.EMBED, (weight, weights("embed.column", 0, column), scale, weights("embed.shift", 0, 0)))


_RULES: dict[Operation, Rule] = {
    Operation.COPY: _copy,
    Operation.LARGEST_MAGNITUDE: _reduction,
    Operation.SUM_OF_MAGNITUDES: _reduction,
    Operation.SUM: _reduction,
    Operation.MAXIMUM: _maximum,
    Operation.SUM_OF_SQUARES: _squares,
    Operation.NORM_SQUARE: _norm_root,
    Operation.NORM: _norm,
    Operation.HEAD_NORM: _head_norm,
    Operation.PACK_SHIFT: _pack_shift,
    Operation.PACK: _pack,
    Operation.DOT_WEIGHTS: _dot_weights,
    Operation.PROJECT: _project,
    Operation.ROTATE_FIRST: _rotate,
    Operation.HEAD_EXPONENT: _head_exponent,
    Operation.COMPRESS: _compress,
    Operation.DOT_HEADS: _dot_heads,
    Operation.SCORE: _score,
    Operation.ATTENTION_WEIGHT: _attention_weight,
    Operation.RECIPROCAL: _reciprocal,
    Operation.LOWERED_WEIGHT: _lowered_weight,
    Operation.MIX: _mix,
    Operation.GATE: _gate,
    Operation.ADD: _add,
    Operation.EMBED: _embed,
    **CHOICE_RULES,
}
