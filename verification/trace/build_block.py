"""The fields of a whole trace, block by block: SPEC.md section 2, with what a dispute opens kept."""

from collections.abc import Sequence

import numpy as np

from sharding.exact import reference as ops
from sharding.exact.arithmetic import HEAD_BITS, HEAD_LIMIT, ROTATED_LIMIT
from sharding.exact.constants import score_constant
from sharding.exact.reference import Compressed, Ints
from verification.trace.build import Builder, Stopped, Trace, prefixes
from verification.trace.build_choice import build_choice
from verification.trace.layout import TraceLayout
from verification.trace.operations import Abort
from verification.trace.sources import KeptBlock, Rows


def build_trace(layout: TraceLayout, weights: Rows, kept: Sequence[KeptBlock], entered: Ints) -> Trace:
    """Compute the trace. kept: of each block of the span, the positions before; entered: the input row (H,), or the token (1,).

    An overflow is a value, Trace.aborted. Raises FileDamaged (the Gumbel table).
    """
    builder = Builder(layout, weights)
    try:
        row = _enter(builder, entered)
        for block, rows in zip(layout.place.span.blocks, kept, strict=True):
            row = _block(builder, block, row, rows)
        if layout.has("head.y"):
            _head(builder, row)
    except Stopped:
        pass
    return builder.trace


def _enter(made: Builder, entered: Ints) -> Ints:
    if not made.layout.has("token"):
        return made.put("row", entered)
    token, shift = int(made.put("token", entered)[0, 0]), made.number("embed.shift")
    w = made.weights
    product = w["embed.weight"][token] * w["embed.column"][0] * w["embed.scale"][0, token]
    return made.bounded("row", ops.rsh(product, shift) if shift < 63 else np.zeros_like(product))


def _head(made: Builder, row: Ints) -> None:
    made.normalised("head_norm", row, "head_norm")
    logits = made.projected("head", "head_norm", "embed" if made.spec.tied_embeddings else "head", "head.shift")
    build_choice(made, logits[0])


def _block(made: Builder, block: int, row: Ints, kept: KeptBlock) -> Ints:
    """The block's output row; where only keys and values are asked for, the row that came in."""
    b, tensors = f"{block}", f"blocks.{block}"
    made.normalised(f"{b}.attention_norm", row, f"{tensors}.attention_norm")
    y = made.projected(f"{b}.qkv", f"{b}.attention_norm", f"{tensors}.qkv")
    heads = _compressed(made, b, y)
    if not made.layout.has(f"{b}.mixed"):
        return row
    mixed = _attention(made, b, heads, kept)
    made.packed(f"{b}.o", mixed)
    row = made.bounded(f"{b}.middle", row + made.projected(f"{b}.o", f"{b}.o", f"{tensors}.o"))
    made.normalised(f"{b}.mlp_norm", row, f"{tensors}.mlp_norm")
    gates, ups = made.projected(f"{b}.gate_up", f"{b}.mlp_norm", f"{tensors}.gate_up")
    gated = made.bounded(f"{b}.gated", _gate(gates, ups))
    made.packed(f"{b}.down", gated)
    return made.bounded(f"{b}.output", row + made.projected(f"{b}.down", f"{b}.down", f"{tensors}.down"))


def _gate(g: Ints, u: Ints) -> Ints:
    """GATE without its bound."""
    a = np.minimum(np.abs(g), 1 << 20)
    y = (((a + 2) >> 2) * 11819) >> 11
    i = y >> 16
    e = (ops.exp2_mantissa(y) + ((np.int64(1) << i) >> 1)) >> i
    s = (1 << 32) // (65536 + e)
    return ops.rsh(ops.rsh(g * np.where(g < 0, 65536 - s, s), 16) * u, 16)


def _compressed(made: Builder, b: str, y: Ints) -> Compressed:
    """Queries, keys and values, one below the other, as the cache keeps them."""
    turned = made.spec.num_heads + made.spec.num_kv_heads
    heads = _head_normed(made, b, y[:turned]) if made.layout.has(f"{b}.head_norm.y") else y[:turned]
    table = made.weights["rope.table"][made.layout.place.position].reshape(-1, 2)
    source = np.concatenate((made.put(f"{b}.rotated", ops.rotate(heads, table)), y[turned:]))
    largest = made.put(f"{b}.heads.largest", prefixes(np.abs(source), np.maximum))[:, -1:]
    exponents = made.put(
        f"{b}.heads.exponent", np.array([max(0, ops.bits(int(m)) - HEAD_BITS) for m in largest[:, 0]], np.int64)
    )
    made.stop_at(f"{b}.heads.exponent", largest >= ROTATED_LIMIT, Abort.INTEGER_OVERFLOW)
    shifted = np.stack([ops.rsh(head, int(e)) for head, e in zip(source, exponents[:, 0], strict=True)])
    return Compressed(made.put(f"{b}.heads", np.clip(shifted, -HEAD_LIMIT, HEAD_LIMIT)), exponents[:, 0])


def _head_normed(made: Builder, b: str, y: Ints) -> Ints:
    spec, w = made.spec, made.weights
    n = made.norm_root(f"{b}.head_norm", y)
    scaled = []
    for name, part in (("q_norm", n[: spec.num_heads]), ("k_norm", n[spec.num_heads :])):
        prefix = f"blocks.{b}.{name}"
        scaled.append(ops.rsh(part * w[f"{prefix}.gain"][0], 4 + made.number(f"{prefix}.shift")))
    return made.bounded(f"{b}.head_norm.y", np.concatenate(scaled))


def _attention(made: Builder, b: str, heads: Compressed, kept: KeptBlock) -> Ints:
    """ATTEND of every query head; keys and values of earlier positions are kept's, the last ones the trace's own."""
    spec, seen = made.spec, made.layout.seen
    kv, first = spec.num_kv_heads, spec.num_heads
    keys, key_exponents = _with_own(kept.keys, kept.key_exponents, heads, first, kv, seen.start)
    values, value_exponents = _with_own(kept.values, kept.value_exponents, heads, first + kv, kv, seen.start)
    made.put(f"{b}.keys", keys)
    made.put(f"{b}.keys.exponent", key_exponents)
    made.put(f"{b}.values", values.transpose(0, 2, 1))
    made.put(f"{b}.values.exponent", value_exponents)
    group = np.arange(spec.num_heads) // (spec.num_heads // kv)
    products = heads.heads[: spec.num_heads, None] * keys[group]  # heads, positions, d
    dots = prefixes(products.reshape(-1, spec.head_dim), np.add).reshape(spec.num_heads, len(seen), -1)
    made.put(f"{b}.dots", dots.transpose(0, 2, 1))
    shifts = 36 - heads.exponents[: spec.num_heads, None] - key_exponents[group]
    z = (dots[:, :, -1] * score_constant(spec.head_dim) + (np.int64(1) << (shifts - 1))) >> shifts
    made.put(f"{b}.scores", z)
    made.put(f"{b}.scores.highest", prefixes(z, np.maximum))
    p = made.put(f"{b}.weights", np.stack([ops.attention_weights(row) for row in z]))
    return _mixed(made, b, p, values[group], value_exponents, group)


def _with_own(kept: Ints, exponents: Ints, own: Compressed, first: int, count: int, start: int) -> tuple[Ints, Ints]:
    """(kv heads, visible positions, d) and their exponents."""
    heads = np.concatenate((kept[:, start:], own.heads[first : first + count, None]), axis=1)
    return heads, np.concatenate((exponents[:, start:], own.exponents[first : first + count, None]), axis=1)


def _mixed(made: Builder, b: str, p: Ints, values: Ints, exponents: Ints, group: Ints) -> Ints:
    totals = made.put(f"{b}.weights.total", prefixes(p, np.add))[:, -1]
    highest = made.put(f"{b}.values.highest", prefixes(exponents, np.maximum))[:, -1]
    lengths = np.array([ops.bits(int(total)) for total in totals], np.int64)
    reciprocals = made.put(f"{b}.reciprocal", (np.int64(1) << (16 + lengths)) // totals)[:, 0]
    by = (highest[:, None] - exponents)[group]
    lowered = made.put(f"{b}.lowered", (p + ((np.int64(1) << by) >> 1)) >> by)
    products = (lowered[:, :, None] * values).transpose(0, 2, 1)  # heads, d, positions
    sums = made.put(f"{b}.sums", prefixes(products.reshape(-1, products.shape[2]), np.add))[:, -1]
    shifts = np.repeat(16 + lengths - highest[group], made.spec.head_dim)
    o = (sums * np.repeat(reciprocals, made.spec.head_dim) + ((np.int64(1) << shifts) >> 1)) >> shifts
    return made.put(f"{b}.mixed", o.astype(np.int64))
