"""The fields of a trace in their order: arrays of integers, each row cut into leaves of at most 128 elements."""

from dataclasses import dataclass, field

from sharding.exact.arithmetic import Q16
from sharding.exact.sampler import fixed_temperature, fixed_top_p
from sharding.families import FAMILIES
from sharding.sampling import SamplingParams
from sharding.span import Span
from sharding.spec import ModelSpec
from verification.trace.operations import Operation, pieces

SMALL, MIDDLE, LARGE = 2, 4, 8
"""Bytes of an element."""
NORM_FRACTION = 20


@dataclass(frozen=True, slots=True)
class Draw:
    """How the token at a position is chosen, in SPEC.md's integers: tau 0 is greedy, pi 65536 and top_k 0 cut nothing."""

    tau: int = 0
    pi: int = 1 << Q16
    top_k: int = 0
    seed: int = 0

    @property
    def orders(self) -> bool:
        """Whether candidates are ranked, for a vocabulary larger than top_k."""
        return self.tau > 0 and (self.pi < 1 << Q16 or self.top_k > 0)

    def candidates(self, vocabulary: int) -> int:
        return min(self.top_k, vocabulary) if self.top_k else vocabulary


def draw_of(params: SamplingParams) -> Draw:
    """What the exact profile makes of a client's wish."""
    tau = fixed_temperature(params) if params.temperature > 0 else 0
    return Draw(tau, fixed_top_p(params), params.top_k, params.seed)


@dataclass(frozen=True, slots=True)
class Place:
    """Which trace: one position of a session, through one span. draw: of the token that follows, None where none is asked for."""

    span: Span
    position: int
    draw: Draw | None = None


@dataclass(frozen=True, slots=True)
class Field:
    """rows x width elements of size bytes. first: the index of its first leaf. Elements of one field share their rule."""

    name: str
    operation: Operation
    rows: int
    width: int
    size: int
    first: int = 0
    sources: tuple[str, ...] = ()

    @property
    def leaves(self) -> int:
        return self.rows * pieces(self.width)


@dataclass(slots=True)
class _Writer:
    """Appends fields, one behind the other."""

    fields: dict[str, Field] = field(default_factory=dict)
    leaves: int = 0

    def add(self, name: str, operation: Operation, rows: int, width: int, size: int, *sources: str) -> str:
        made = Field(name, operation, rows, width, size, self.leaves, sources)
        self.fields[name] = made
        self.leaves += made.leaves
        return name

    def norm_root(self, name: str, source: str, rows: int, width: int) -> str:
        """The reductions and certificates of NORM over each row; returns the largest magnitudes' field."""
        largest = self.add(f"{name}.largest", Operation.LARGEST_MAGNITUDE, rows, pieces(width), LARGE, source)
        squares = self.add(f"{name}.squares", Operation.SUM_OF_SQUARES, rows, pieces(width), LARGE, source, largest)
        return self.add(f"{name}.root", Operation.NORM_SQUARE, rows, 4, LARGE, squares, largest)

    def normalised(self, name: str, source: str, width: int) -> str:
        """NORM of one row: the activation's name."""
        root = self.norm_root(name, source, 1, width)
        scaled = self.add(f"{name}.scaled", Operation.NORM, 1, width, LARGE, source, f"{name}.largest", root, name)
        return self.packed(name, scaled, width, f"{name}.shift")

    def packed(self, name: str, source: str, width: int, gain_shift: str = "") -> str:
        """PACK of one row; gain_shift: the tensor whose number is added to NORM's 20, else the row is Q16."""
        top = self.add(f"{name}.top", Operation.LARGEST_MAGNITUDE, 1, pieces(width), LARGE, source)
        total = self.add(f"{name}.total", Operation.SUM_OF_MAGNITUDES, 1, pieces(width), LARGE, source)
        shift = self.add(f"{name}.shift", Operation.PACK_SHIFT, 1, 2, LARGE, source, top, total, gain_shift)
        return self.add(f"{name}.x", Operation.PACK, 1, width, SMALL, source, shift)

    def projected(self, name: str, x: str, matrix: str, rows: int, width: int, bias: bool) -> str:
        """PROJECT the activation x; rows x width outputs."""
        columns = self.fields[x].width
        sums = self.add(f"{name}.sums", Operation.DOT_WEIGHTS, rows * width, pieces(columns), MIDDLE, x, matrix)
        shift = x.removesuffix(".x") + ".shift"
        biased = (f"{matrix}.bias",) if bias else ()
        return self.add(f"{name}.y", Operation.PROJECT, rows, width, MIDDLE, sums, shift, matrix, *biased)


def fields_of(spec: ModelSpec, place: Place) -> tuple[Field, ...]:
    """All fields of the trace at that place, in the order of their leaves. Raises SpanError."""
    place.span.within(spec.num_blocks)
    writer, hidden = _Writer(), spec.hidden_size
    if place.span.start == 0:
        writer.add("token", Operation.COPY, 1, 1, MIDDLE)
        row = writer.add("row", Operation.EMBED, 1, hidden, MIDDLE, "token")
    else:
        row = writer.add("row", Operation.COPY, 1, hidden, MIDDLE)
    is_last = place.span.end == spec.num_blocks
    for block in place.span.blocks:
        kept_only = is_last and block == spec.num_blocks - 1 and place.draw is None
        row = _block(writer, spec, f"{block}", row, place.position, kept_only)
    if is_last and place.draw is not None:
        _choice(writer, spec, row, place.draw)
    return tuple(writer.fields.values())


def visible(spec: ModelSpec, position: int) -> range:
    """The positions that a query at that position sees."""
    window = spec.sliding_window
    return range(0 if window is None else max(0, position + 1 - window), position + 1)


def _block(w: _Writer, spec: ModelSpec, b: str, row: str, position: int, kept_only: bool) -> str:
    """One block; returns the name of its output row."""
    heads, size = spec.num_heads + 2 * spec.num_kv_heads, spec.head_dim
    x = w.normalised(f"{b}.attention_norm", row, spec.hidden_size)
    y = w.projected(f"{b}.qkv", x, f"{b}.qkv", heads, size, "q" in spec.attention_biases)
    turned = heads - spec.num_kv_heads
    before = y
    if FAMILIES[spec.family].qk_norm:
        root = w.norm_root(f"{b}.head_norm", y, turned, size)
        before = w.add(f"{b}.head_norm.y", Operation.HEAD_NORM, turned, size, MIDDLE, y, f"{b}.head_norm.largest", root)
    rotated = w.add(f"{b}.rotated", Operation.ROTATE_FIRST, turned, size, LARGE, before)
    largest = w.add(f"{b}.heads.largest", Operation.LARGEST_MAGNITUDE, heads, pieces(size), LARGE, rotated, y)
    exponents = w.add(f"{b}.heads.exponent", Operation.HEAD_EXPONENT, heads, 1, SMALL, largest)
    w.add(f"{b}.heads", Operation.COMPRESS, heads, size, SMALL, rotated, y, exponents)
    if kept_only:
        return row
    mixed = _attention(w, spec, b, len(visible(spec, position)))
    x = w.packed(f"{b}.o", mixed, spec.num_heads * size)
    y = w.projected(f"{b}.o", x, f"{b}.o", 1, spec.hidden_size, "o" in spec.attention_biases)
    row = w.add(f"{b}.middle", Operation.ADD, 1, spec.hidden_size, MIDDLE, row, y)
    x = w.normalised(f"{b}.mlp_norm", row, spec.hidden_size)
    y = w.projected(f"{b}.gate_up", x, f"{b}.gate_up", 2, spec.intermediate_size, spec.mlp_bias)
    gated = w.add(f"{b}.gated", Operation.GATE, 1, spec.intermediate_size, MIDDLE, y)
    x = w.packed(f"{b}.down", gated, spec.intermediate_size)
    y = w.projected(f"{b}.down", x, f"{b}.down", 1, spec.hidden_size, spec.mlp_bias)
    return w.add(f"{b}.output", Operation.ADD, 1, spec.hidden_size, MIDDLE, row, y)


def _attention(w: _Writer, spec: ModelSpec, b: str, seen: int) -> str:
    """ATTEND of every query head against so many visible positions; returns the mixed values' name."""
    queries, kv, size = spec.num_heads, spec.num_kv_heads, spec.head_dim
    heads, exponents = f"{b}.heads", f"{b}.heads.exponent"
    w.add(f"{b}.keys", Operation.COPY, kv * seen, size, SMALL, heads)
    w.add(f"{b}.keys.exponent", Operation.COPY, kv, seen, SMALL, exponents)
    w.add(f"{b}.values", Operation.COPY, kv * size, seen, SMALL, heads)
    w.add(f"{b}.values.exponent", Operation.COPY, kv, seen, SMALL, exponents)
    w.add(f"{b}.dots", Operation.DOT_HEADS, queries * pieces(size), seen, LARGE, heads, f"{b}.keys")
    w.add(f"{b}.scores", Operation.SCORE, queries, seen, LARGE, f"{b}.dots", exponents, f"{b}.keys.exponent")
    w.add(f"{b}.scores.highest", Operation.MAXIMUM, queries, pieces(seen), LARGE, f"{b}.scores")
    w.add(f"{b}.weights", Operation.ATTENTION_WEIGHT, queries, seen, SMALL, f"{b}.scores", f"{b}.scores.highest")
    w.add(f"{b}.weights.total", Operation.SUM, queries, pieces(seen), LARGE, f"{b}.weights")
    w.add(f"{b}.values.highest", Operation.MAXIMUM, kv, pieces(seen), SMALL, f"{b}.values.exponent")
    w.add(f"{b}.reciprocal", Operation.RECIPROCAL, queries, 1, LARGE, f"{b}.weights.total")
    lowered = f"{b}.weights", f"{b}.values.highest", f"{b}.values.exponent"
    w.add(f"{b}.lowered", Operation.LOWERED_WEIGHT, queries, seen, SMALL, *lowered)
    w.add(f"{b}.sums", Operation.DOT_HEADS, queries * size, pieces(seen), LARGE, f"{b}.lowered", f"{b}.values")
    mixed = f"{b}.sums", f"{b}.weights.total", f"{b}.reciprocal", f"{b}.values.highest"
    return w.add(f"{b}.mixed", Operation.MIX, 1, queries * size, MIDDLE, *mixed)


def _choice(w: _Writer, spec: ModelSpec, row: str, draw: Draw) -> None:
    """From the last block's row to the token."""
    vocabulary, kept = spec.vocab_size, draw.candidates(spec.vocab_size)
    x = w.normalised("head_norm", row, spec.hidden_size)
    logits = w.projected("head", x, "head", 1, vocabulary, bias=False)
    values, order = logits, "order"
    if draw.tau > 0:
        w.add("order", Operation.RANK if draw.orders else Operation.COPY, 1, vocabulary, MIDDLE, logits)
        if draw.pi < 1 << Q16:
            w.add("shares", Operation.NUCLEUS_WEIGHT, 1, kept, MIDDLE, logits, order)
            w.add("shares.total", Operation.SUM, 1, pieces(kept), LARGE, "shares")
            w.add("kept", Operation.NUCLEUS_COUNT, 1, pieces(kept), MIDDLE, "shares", "shares.total")
        w.add("cells", Operation.NOISE_CELL, 1, kept, SMALL, order)
        values = w.add("perturbed", Operation.SAMPLE_SCORE, 1, kept, LARGE, logits, order, "cells")
    w.add("best", Operation.BEST, 1, pieces(w.fields[values].width), MIDDLE, values)
    w.add("chosen", Operation.COPY, 1, 1, MIDDLE, "best")
