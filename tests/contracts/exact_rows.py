"""The golden vectors as single steps of ExactMath and ExactDot: what goes in, what has to come out.

Values on the way from a vector's inputs to its results come from the witness, which has its own tests.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from tests.sharding.exact import witness
from tests.sharding.exact.golden import Case, golden
from tests.sharding.exact.witness import Head

MAX_INT32 = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Step:
    """One call: results are two where the function gives two, error is the name of the revert and results its arguments."""

    operation: str
    arguments: tuple[int, ...]
    results: tuple[int, ...]
    error: str = ""


Steps = Iterator[Step]


def steps_of(name: str) -> list[Step]:
    """Every step of every case of one file, each once."""
    return list(dict.fromkeys(step for case in golden(name) for step in MAKERS[name](case)))


def words(values: Sequence[int], size: int) -> tuple[int, ...]:
    """128 little-endian numbers of size bytes, zeros behind what is given, as int256."""
    data = b"".join(value.to_bytes(size, "little", signed=True) for value in values).ljust(128 * size, b"\0")
    return tuple(int.from_bytes(data[k : k + 32], "big", signed=True) for k in range(0, len(data), 32))


def some(values: Sequence[int]) -> list[int]:
    """Places to look at in a long vector: the first two, the last, the largest and the smallest."""
    chosen = {*range(min(2, len(values))), len(values) - 1, values.index(max(values)), values.index(min(values))}
    return sorted(chosen)


def truth(operation: str, arguments: tuple[int, ...], place: int) -> Steps:
    """A certificate that holds, and the same one with the number at that place one more or one less."""
    yield Step(operation, arguments, (1,))
    for change in (1, -1):
        if arguments[place] + change >= 0:
            yield Step(operation, (*arguments[:place], arguments[place] + change, *arguments[place + 1 :]), (0,))


def bounded(operation: str, arguments: tuple[int, ...], value: int, limit: int = MAX_INT32) -> Step:
    """A step whose value may be past its limit."""
    if abs(value) > limit:
        return Step(operation, arguments, (value, limit), "IntegerOverflow")
    return Step(operation, arguments, (value,))


def twice(name: str, arguments: tuple[int, ...], value: int) -> Steps:
    """An element with its bound, and the value before it."""
    yield bounded(f"{name}Element", arguments, value)
    yield Step(f"{name}Value", arguments, (value,))


def _rsh(case: Case) -> Steps:
    yield Step("rsh", (case["a"], case["s"]), (case["result"],))
    yield Step("bits", (abs(case["a"]),), (abs(case["a"]).bit_length(),))


def _exp2(case: Case) -> Steps:
    yield Step("exp2", (case["y"],), (case["P"],))


def _pack(case: Case) -> Steps:
    packed = witness.pack(case["t"], case["g"])
    yield from truth("isPackShift", (packed.largest, packed.total, len(case["t"]), packed.shift), 3)
    for k in some(case["x"]):
        x = case["x"][k]
        yield Step("packElement", (case["t"][k], packed.shift), (x,))
        lo = (x + 128) % 256 - 128
        yield Step("halves", (x,), ((x - lo) // 256, lo))


def _dot_weights(case: Case) -> Steps:
    yield Step("dotWeights", words(case["w"], 1) + words(case["x"], 2), (case["dot"],))


def _dot_heads(case: Case) -> Steps:
    yield Step("dotHeads", words(case["a"], 2) + words(case["b"], 2), (case["dot"],))


def _norm(case: Case) -> Steps:
    steps, row = witness.norm(case["r"], case["E0"]), case["r"]
    yield Step("normExponent", (steps.largest,), (steps.e,))
    yield Step("normSquare", (steps.squares, case["E0"], steps.e), (steps.w,))
    yield Step("normShift", (steps.w,), (steps.z,))
    yield Step("isRoot", (len(row) * 2**44, steps.width_root), (1,))
    yield Step("isQuotient", (steps.width_root * 2**30, steps.root, steps.inverse), (1,))
    certificate = (steps.w, len(row), steps.width_root, steps.root, steps.inverse)
    yield from truth("isNorm", certificate, 3)
    yield from truth("isNorm", certificate, 4)
    for k in some(case["n"]):
        yield Step("rsh", (row[k], steps.e), (steps.u[k],))
        yield Step("normElement", (steps.u[k], steps.inverse, steps.z), (case["n"][k],))


def _head_norm(case: Case) -> Steps:
    for head in case["y"]:
        for n, gain in zip(witness.norm(head, case["E0"]).n, case["G"], strict=True):
            yield from twice("headNorm", (n, gain, case["c"]), witness.rsh(n * gain, 4 + case["c"]))


def _project(case: Case) -> Steps:
    p, bias = case["S"] + case["f"] - 16, case["b"] or [0] * len(case["w"])
    shift = case["S"], case["f"]
    yield Step("projectShift", shift, (p,)) if p >= 0 else Step("projectShift", shift, (p,), "ScaleOutOfRange")
    pieces = [slice(k, k + 128) for k in range(0, len(case["x"]), 128)]
    for piece in pieces:
        row, x = case["w"][0][piece], case["x"][piece]
        yield Step("dotWeights", words(row, 1) + words(x, 2), (witness.dot(row, x),))
    for row, scale, b in zip(case["w"], case["M"], bias, strict=True):
        if p >= 0:
            acc = witness.dot(row, case["x"])
            value = (witness.rsh(acc * scale, p) if p < 63 else 0) + b
            yield from twice("project", (acc, scale, p, b), value)


def _rotate(case: Case) -> Steps:
    half = len(case["table"])
    for head, turned in zip(case["y"], case["result"], strict=True):
        for i, (cosine, sine) in enumerate(case["table"]):
            yield Step("rotate", (head[i], head[i + half], cosine, sine), (turned[i], turned[i + half]))


def _compress(case: Case) -> Steps:
    largest = max(map(abs, case["y"]))
    e = max(0, largest.bit_length() - 12)
    if "error" in case:
        yield bounded("compressExponent", (largest,), largest, 2**28 - 1)
        return
    yield Step("compressExponent", (largest,), (e,))
    for y, h in zip(case["y"], case["h"], strict=True):
        yield Step("compressElement", (y, e), (h,))


def _attend(case: Case) -> Steps:
    keys = [Head(e, h) for e, h in zip(case["ke"], case["kh"], strict=True)]
    values = [Head(e, h) for e, h in zip(case["ve"], case["vh"], strict=True)]
    full, query, highest = (
        witness.attend(Head(case["qe"], case["qh"]), keys, values, case["c"]),
        case["qh"],
        max(case["z"]),
    )
    lowered = [witness.rsh(p, full.highest - value.exponent) for p, value in zip(case["p"], values, strict=True)]
    yield Step("dotHeads", words(query, 2) + words(keys[0].h, 2), (full.dots[0],))
    column = [value.h[-1] for value in values]
    yield Step("dotHeads", words(lowered, 2) + words(column, 2), (full.numerators[-1],))
    for t, key in enumerate(keys):
        yield Step("score", (full.dots[t], case["c"], case["qe"], key.exponent), (case["z"][t],))
        yield Step("max", (case["z"][t], case["z"][t - 1]), (max(case["z"][t], case["z"][t - 1]),))
        yield Step("attentionWeight", (highest, case["z"][t]), (case["p"][t],))
        yield Step("loweredWeight", (case["p"][t], full.highest, values[t].exponent), (lowered[t],))
    yield from truth("isReciprocal", (full.total, full.reciprocal), 1)
    for j in some(case["o"]):
        arguments = (full.numerators[j], full.total, full.reciprocal, full.highest)
        yield Step("mixElement", arguments, (case["o"][j],))


def _gate(case: Case) -> Steps:
    arguments = case["g"], case["u"]
    if "error" not in case:
        yield from twice("gate", arguments, case["h"])
        return
    try:
        witness.gate(*arguments)
    except witness.Refused as refusal:
        yield from twice("gate", arguments, refusal.value)


def _add(case: Case) -> Steps:
    total = case["r"] + case["y"]
    yield bounded("add", (case["r"], case["y"]), total)
    yield bounded("int32Of", (total,), total)


def _embed(case: Case) -> Steps:
    for w, column in zip(case["w"], case["C"], strict=True):
        value = witness.rsh(w * column * case["M"], case["s"]) if case["s"] < 63 else 0
        yield from twice("embed", (w, column, case["M"], case["s"]), value)


def _noise_key(case: Case) -> Steps:
    yield Step("noiseKey", (case["seed"], case["position"]), (case["key"],))
    for i in case["ids"]:
        yield Step("noiseIndex", (case["key"], i), (witness.noise_index(case["key"], i),))


def _noise_index(case: Case) -> Steps:
    yield Step("noiseIndex", (case["key"], case["id"]), (case["index"],))


def _choose(case: Case) -> Steps:
    logits, best = case["logits"], max(case["logits"])
    for i in some(logits):
        first = case["token"] if case["T"] == 0 else i
        other = (i + 1) % len(logits)
        before = (-logits[first], first) < (-logits[other], other)
        yield Step("precedes", (logits[first], first, logits[other], other), (int(before),))
        if case["T"] > 0:
            tau, noise = case["tau"], witness.noise(case["seed"], case["position"], i)
            yield Step("nucleusWeight", (best, logits[i], tau), (witness.nucleus_weight(best - logits[i], tau),))
            yield Step("sampleScore", (logits[i], tau, noise), (logits[i] * 65536 + tau * noise,))
    if case["T"] > 0:
        choice = witness.choose(logits, case["tau"], case["pi"], case["top_k"])
        yield Step("nucleusQuota", (case["pi"], sum(choice.weights)), (choice.quota,))


MAKERS: dict[str, Callable[[Case], Steps]] = {
    "rsh": _rsh, "exp2": _exp2, "pack": _pack, "dot_weights": _dot_weights, "dot_heads": _dot_heads, "norm": _norm,
    "head_norm": _head_norm, "project": _project, "rotate": _rotate, "compress": _compress, "attend": _attend,
    "gate": _gate, "add": _add, "embed": _embed, "noise_key": _noise_key, "noise_index": _noise_index,
    "choose": _choose,
}  # fmt: skip
