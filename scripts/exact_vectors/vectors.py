"""Cases of the operations that reduce a vector: sums, maxima, norms, products, attention."""

from exact_vectors.numbers import MAX_INT32, Case, Numbers, alternating, ints, outcome, spike
from sharding.exact import reference as ops
from sharding.exact.arithmetic import MAX_ACTIVATION, MAX_ACTIVATION_SUM
from sharding.exact.constants import epsilon_term, score_constant
from sharding.exact.reference import Compressed

MAX_GAIN = (1 << 20) - 1


def pack_cases() -> list[Case]:
    """Both bounds of an activation, each at its limit and one past; ties; everything that a norm or a gate can give."""
    numbers, most = Numbers("pack"), MAX_ACTIVATION
    vectors = [[0], [0] * 5, [most], [most + 1], [-most - 1], [2 * most + 1], [-2 * most - 1, 1, -1], [2 * most]]
    vectors += [alternating(16, most), alternating(16, MAX_INT32), alternating(7, 1 << 48), spike(9, -(1 << 48))]
    vectors += [[1 << 47, 1 << 46, -(1 << 46), 3 << 31, -(3 << 31), 5]]
    vectors += [numbers.several(12, 1 << size) for size in (3, 14, 15, 16, 17, 24, 31, 40, 48) for _ in range(2)]
    level, rest = divmod(MAX_ACTIVATION_SUM - 520, 520)
    full = [sign * (level + (k < rest)) for k, sign in enumerate(alternating(520, 1))]
    past = [full[0], full[1] - 1, *full[2:]]
    return [_packed(t, 16) for t in (*vectors, full, past)] + [_packed(vectors[0], 60), _packed(vectors[-1], 35)]


def _packed(t: list[int], g: int) -> Case:
    activation = ops.pack(ints(t), g)
    return {"t": t, "g": g, "x": activation.x.tolist(), "f": activation.fraction}


def dot_weight_cases() -> list[Case]:
    """128 int8 weights against 128 int16 activations; last the ends of the two types, which no model holds."""
    numbers, most = Numbers("dot weights"), MAX_ACTIVATION
    pairs = [([0] * 128, [0] * 128), ([127] * 128, [most] * 128), ([-127] * 128, [most] * 128)]
    pairs += [([127] * 128, [-most] * 128), (alternating(128, 127), alternating(128, most))]
    pairs += [(alternating(128, -127), alternating(128, most)), ([127] * 128, alternating(128, most))]
    pairs += [(spike(128, w), [most] * 128) for w in (1, -1, 127)] + [([1] * 128, spike(128, -most))]
    pairs += [([-1] * 128, [1] * 128), ([0] * 127 + [-1], [0] * 127 + [1]), ([-1] + [0] * 127, [1] + [0] * 127)]
    pairs += [(numbers.several(128, 127), numbers.several(128, 1 << numbers.within(1, 14))) for _ in range(10)]
    pairs += [([-128] * 128, [-(1 << 15)] * 128), ([-128] * 128, [(1 << 15) - 1] * 128)]
    return [{"w": w, "x": x, "dot": int(ints(w) @ ints(x))} for w, x in pairs]


def dot_head_cases() -> list[Case]:
    """128 pairs of int16: compressed heads, weights of attention, and the ends of the type."""
    numbers, low = Numbers("dot heads"), -(1 << 15)
    pairs = [([low] * 128, [low] * 128), ([low] * 128, [~low] * 128), ([~low] * 128, [~low] * 128)]
    pairs += [
        ([0] * 128, [low] * 128),
        (alternating(128, 4095), alternating(128, -4095)),
        ([4095] * 128, [-4095] * 128),
    ]
    pairs += [(spike(128, -1), [1] * 128), ([1] * 128, spike(128, -1)), ([-1] * 128, [1] * 128)]
    for a, b in ((1, 1), (4095, 4095), (~low, 4095), (~low, ~low)):
        pairs.append((numbers.several(128, a), numbers.several(128, b)))
    return [{"a": a, "b": b, "dot": int(ints(a) @ ints(b))} for a, b in pairs]


def norm_cases() -> list[Case]:
    """Rows of every size, rows that are all zero with and without an epsilon, gains and shifts at their ends."""
    numbers, cases = Numbers("norm"), []
    for width in (2, 5, 16):
        rows = [[0] * width, [1] * width, [-MAX_INT32] * width, alternating(width, MAX_INT32), spike(width, MAX_INT32)]
        rows += [spike(width, -1), alternating(width, (1 << 22) - 1), spike(width, 1 << 22)]
        rows += [numbers.several(width, 1 << size) for size in (4, 12, 21, 22, 23, 30)]
        for epsilon, chosen in ((1e-12, rows), (1e-5, rows[:3]), (0.1, rows[5:9])):
            cases += [_normed(row, epsilon, numbers.several(width, MAX_GAIN), numbers.within(0, 40)) for row in chosen]
    extremes = [[MAX_GAIN] * 16, [-MAX_GAIN] * 16, [0] * 16, [1] * 16]
    cases += [_normed(numbers.several(16, 1 << 18), 1e-6, gain, c) for gain in extremes for c in (0, 40)]
    return cases


def _normed(row: list[int], epsilon: float, gain: list[int], shift: int) -> Case:
    term = epsilon_term(epsilon, len(row))
    activation = ops.norm(ints(row), term, ints(gain), shift)
    n = ops.norm_values(ints(row), term).tolist()
    return {
        "r": row,
        "epsilon": epsilon,
        "E0": term,
        "G": gain,
        "c": shift,
        "n": n,
        "x": activation.x.tolist(),
        "f": activation.fraction,
    }


def head_norm_cases() -> list[Case]:
    """Heads of every size, and gains so large that the result leaves int32."""
    numbers, cases = Numbers("head norm"), []
    for d, size, c in (
        (2, 31, 18),
        (8, 10, 18),
        (8, 16, 15),
        (8, 22, 12),
        (16, 30, 17),
        (16, 3, 40),
        (8, 20, 3),
        (8, 16, 0),
    ):
        heads = numbers.rows(2, d, (1 << size) - 1)
        cases += [
            _head_normed(heads, numbers.several(d, MAX_GAIN), c),
            _head_normed([[0] * d, spike(d, -7)], [MAX_GAIN] * d, c),
        ]
    return cases


def _head_normed(y: list[list[int]], gain: list[int], shift: int) -> Case:
    term = epsilon_term(1e-6, len(gain))
    case: Case = {"y": y, "epsilon": 1e-6, "E0": term, "G": gain, "c": shift}
    return outcome(case, lambda: {"result": ops.head_norm(ints(y), term, ints(gain), shift).tolist()})


def project_cases() -> list[Case]:
    """Products at the bounds of int32, every kind of shift, biases at the limits; one past each is an error."""
    numbers, most = Numbers("project"), MAX_ACTIVATION
    w = [[127] * 3, [-127] * 3, [1, 0, 0], [-1, 0, 0], [0, 0, 0]]
    cases = [_projected([x, 0, 0], f, w, [1, 1, 1, 1, MAX_INT32], 16, None) for x in (1, 8, most) for f in (0, 1, 4, 5)]
    cases += [_projected([most] * 3, f, w, [MAX_INT32] * 5, 31, None) for f in (9, 10, 20, 47, 48, 60)]
    cases += [
        _projected([1, 0, 0], f, w, [1] * 5, s, None) for f, s in ((16, 0), (15, 0), (-20, 35), (-20, 36), (60, 80))
    ]
    for bias in (MAX_INT32, -MAX_INT32):
        cases += [_projected([1, 0, 0], 16, [[b, 0, 0]], [1], 0, [bias]) for b in (0, 1, -1)]
        cases += [_projected([most, 0, 0], 60, [[127, 0, 0]], [MAX_INT32], 80, [bias])]
    for _ in range(20):
        width, s, f = numbers.within(1, 24), numbers.within(31, 40), numbers.within(4, 12)
        scale, biases = [numbers.within(1 << 20, MAX_INT32) for _ in range(4)], numbers.several(4, 1 << 20)
        cases.append(_projected(numbers.several(width, most), f, numbers.rows(4, width, 127), scale, s, biases))
    # the smallest products that the last shift with a result still rounds to one, and the next shift to nothing
    return cases + [
        _projected([most] * 260, f, [[127] * 260, [-127] * 260], [MAX_INT32] * 2, 36, None) for f in (42, 43)
    ]


def _projected(x: list[int], f: int, w: list[list[int]], scale: list[int], s: int, bias: list[int] | None) -> Case:
    case: Case = {"x": x, "f": f, "w": w, "M": scale, "S": s, "b": bias}
    added = None if bias is None else ints(bias)
    activation = ops.Activation(ints(x), f)
    return outcome(case, lambda: {"y": ops.project(activation, ints(w), ints(scale), s, added, "a value").tolist()})


def attend_cases() -> list[Case]:
    """One query head against few positions: equal and far scores, exponents at both ends, heads at their limits."""
    numbers, cases = Numbers("attend"), []
    ends = ([0], [16], [0, 16], [16, 0, 3])
    for d, count in ((2, 1), (8, 5), (16, 12), (128, 3)):
        for exponents in ends:
            cycle = [exponents[k % len(exponents)] for k in range(count)]
            keys, values = numbers.rows(count, d, 4095), numbers.rows(count, d, 4095)
            cases.append(_attended(numbers.several(d, 4095), exponents[0], keys, cycle, values, cycle[::-1]))
        same = [[4095] * d] * count
        cases.append(_attended([4095] * d, 16, same, [16] * count, same, [16] * count))
        opposed = [alternating(d, 4095 - k) for k in range(count)]
        cases.append(_attended(alternating(d, -4095), 7, opposed, [9] * count, opposed, [5] * count))
        cases.append(_attended([0] * d, 0, [[0] * d] * count, [0] * count, [[0] * d] * count, [0] * count))
    for _ in range(10):  # scores within a few powers of two of each other, as in a model
        keys, values = numbers.rows(6, 8, 4095), numbers.rows(6, 8, 4095)
        exponents = [numbers.within(2, 6) for _ in range(6)]
        cases.append(_attended(numbers.several(8, 4095), numbers.within(2, 6), keys, exponents, values, exponents))
    return cases


def _attended(
    query: list[int], exponent: int, keys: list[list[int]], ke: list[int], values: list[list[int]], ve: list[int]
) -> Case:
    constant = score_constant(len(query))
    z = ops.scores(ints(query), exponent, Compressed(ints(keys), ints(ke)), constant)
    p = ops.attention_weights(z)
    o = ops.mix(p, Compressed(ints(values), ints(ve)))
    inputs: Case = {"qh": query, "qe": exponent, "kh": keys, "ke": ke, "vh": values, "ve": ve, "c": constant}
    return inputs | {"z": z.tolist(), "p": p.tolist(), "o": o.tolist()}
