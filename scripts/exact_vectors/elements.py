"""Cases of the operations that look at one number, one pair or one token at a time."""

import itertools

from exact_vectors.numbers import MAX_INT32, Case, Numbers, ints, outcome
from sharding.exact import reference as ops
from sharding.exact.gumbel import cells, gumbel_noise, random_words, stream_key

MAX_WORD = (1 << 64) - 1


def rsh_cases() -> list[Case]:
    """Both sides of every tie, from no shift to the largest of the profile."""
    numbers = Numbers("rsh")
    cases: list[Case] = []
    for s in (0, 1, 2, 13, 14, 16, 31, 36, 60):
        half = 1 << s >> 1
        for a in (0, 1, -1, half - 1, half, -half, -half - 1, 3 * half, -3 * half, numbers.signed(1 << 61)):
            cases.append({"a": a, "s": s, "result": int(ops.rsh(ints([a]), s)[0])})
    return cases


def exp2_cases() -> list[Case]:
    """Ends and middle of the mantissa's range, whole powers among them."""
    numbers = Numbers("exp2")
    inputs = [0, 1, 2, 32767, 32768, 65534, 65535, 65536, 131071, 1 << 20, 40 << 16]
    inputs += [numbers.within(0, 1 << 21) for _ in range(45)]
    return [{"y": y, "P": int(ops.exp2_mantissa(ints([y]))[0])} for y in inputs]


def rotate_cases() -> list[Case]:
    """Quarter turns, ties, the greatest int32, and ordinary angles."""
    numbers, cases = Numbers("rotate"), []
    quarters = [(1 << 14, 0), (0, 1 << 14), (-(1 << 14), 0), (0, -(1 << 14)), (11585, 11585), (-11585, 11585)]
    for y in ([MAX_INT32, -MAX_INT32], [-MAX_INT32, -MAX_INT32], [1, 0], [0, -1], [0, 0]):
        cases += [_rotated([y], [pair]) for pair in quarters]
    ties = [(8192, 0), (-8192, 0), (0, 8192), (8192, 8192), (8191, 0), (24576, 8192)]
    cases += [_rotated([y], [pair]) for pair in ties for y in ([1, 0], [-1, 1])]
    for _ in range(12):
        table = [(numbers.signed(1 << 14), numbers.signed(1 << 14)) for _ in range(4)]
        cases.append(_rotated(numbers.rows(2, 8, 1 << numbers.within(8, 28)), table))
    return cases


def _rotated(y: list[list[int]], table: list[tuple[int, int]]) -> Case:
    return {"y": y, "table": table, "result": ops.rotate(ints(y), ints(table)).tolist()}


def compress_cases() -> list[Case]:
    """Heads whose largest number is at an end of an exponent's range, clamped ones among them; and one past the last."""
    numbers, cases = Numbers("compress"), []
    for most in (0, 1, 4095, 4096, 8190, 8191, 8192, (1 << 27) - 1, 1 << 27, (1 << 28) - 1, 1 << 28, MAX_INT32):
        smaller = numbers.several(6, max(0, most - 1))
        cases += [_compressed([most, *smaller, -(most >> 1)]), _compressed([most >> 3, *smaller, -most])]
    cases += [_compressed(numbers.several(8, 1 << numbers.within(1, 28))) for _ in range(16)]
    return cases


def _compressed(y: list[int]) -> Case:
    def compute() -> Case:
        head = ops.compress(ints([y]), "a key")
        return {"e": int(head.exponents[0]), "h": head.heads[0].tolist()}

    return outcome({"y": y}, compute)


def gate_cases() -> list[Case]:
    """Every size of gate against every size of factor: where SiLU is zero, where it is the identity, and overflow."""
    numbers = Numbers("gate")
    sizes = [0, 1, 3, 65535, 65536, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, MAX_INT32]
    gates = sorted({sign * size for size in sizes for sign in (1, -1)})
    pairs = list(itertools.product(gates, (0, 1, -1, 32768, -65536, 1 << 20, MAX_INT32, -MAX_INT32)))
    pairs += [(numbers.signed(1 << 20), numbers.signed(1 << numbers.within(10, 24))) for _ in range(60)]
    return [_gated(g, u) for g, u in pairs]


def _gated(g: int, u: int) -> Case:
    return outcome({"g": g, "u": u}, lambda: {"h": int(ops.gate(ints([g]), ints([u]))[0])})


def add_cases() -> list[Case]:
    """Residual sums at both limits and one past them."""
    pairs = [(0, 0), (MAX_INT32, 0), (MAX_INT32, 1), (MAX_INT32 - 1, 1), (-MAX_INT32, 0), (-MAX_INT32, -1)]
    pairs += [(1 - MAX_INT32, -1), (MAX_INT32, MAX_INT32), (-MAX_INT32, -MAX_INT32), (MAX_INT32, -MAX_INT32)]
    numbers = Numbers("add")
    pairs += [(numbers.signed(1 << 30), numbers.signed(1 << 30)) for _ in range(20)]
    return [_added(r, y) for r, y in pairs]


def _added(r: int, y: int) -> Case:
    return outcome({"r": r, "y": y}, lambda: {"result": int(ops.add(ints([r]), ints([y]))[0])})


def embed_cases() -> list[Case]:
    """Shifts from none to the largest; products at their extremes; a tie; an overflow."""
    numbers, weight = Numbers("embed"), [127, -127, 0, 1, -1, 64, -64, 3]
    cases = [_embedded(weight, [1] * 8, 1, s) for s in (0, 1, 2, 6, 62, 63, 80)]
    cases += [_embedded(weight, [1 << 15] * 8, MAX_INT32, s) for s in (21, 22, 23, 46, 53, 62, 63)]
    for _ in range(16):
        column = [numbers.within(1, 1 << 15) for _ in range(8)]
        shift, scale = numbers.within(34, 50), numbers.within(1, MAX_INT32)
        cases.append(_embedded(numbers.several(8, 127), column, scale, shift))
    return cases


def _embedded(weight: list[int], column: list[int], scale: int, s: int) -> Case:
    case: Case = {"w": weight, "C": column, "M": scale, "s": s}
    return outcome(case, lambda: {"result": ops.embed(ints(weight), ints(column), scale, s).tolist()})


def noise_key_cases() -> list[Case]:
    """Seeds and positions at both ends of 64 bits, and what they do to the first tokens of a vocabulary."""
    numbers = Numbers("noise key")
    pairs = [(0, 0), (0, 1), (1, 0), (MAX_WORD, 0), (0, MAX_WORD), (MAX_WORD, MAX_WORD)]
    pairs += [(numbers.within(0, MAX_WORD), numbers.within(0, 1 << 17)) for _ in range(10)]
    ids = [0, 1, 2, 255, 32000, (1 << 21) - 1]
    return [
        {"seed": seed, "position": at, "key": stream_key(seed, at), "ids": ids,
         "noise": gumbel_noise(seed, at, ints(ids)).tolist()}
        for seed, at in pairs
    ]  # fmt: skip


def noise_index_cases() -> list[Case]:
    """Keys chosen so that the mixed word is at an end of an octave of the table, in both halves; and ordinary ones."""
    words = [0, 1, (1 << 32) - 1, 1 << 32, (1 << 33) - 1, 1 << 33, (1 << 62) - 1, 1 << 62, (1 << 63) - 1]
    words += [MAX_WORD - word for word in words]
    cases = [_indexed((unmixed(word) - (i + 1) * STEP) & MAX_WORD, i) for word in words for i in (0, 151_935)]
    numbers = Numbers("noise index")
    return cases + [_indexed(numbers.within(0, MAX_WORD), numbers.within(0, 1 << 21)) for _ in range(40)]


def _indexed(key: int, token: int) -> Case:
    return {"key": key, "id": token, "index": int(cells(random_words(key, ints([token])))[0])}


STEP, FIRST, SECOND = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB


def unmixed(word: int) -> int:
    """The z that section 6 mixes into this word: each of its steps can be undone."""
    z = _unfolded(word, 31)
    z = _unfolded(z * pow(SECOND, -1, 1 << 64) & MAX_WORD, 27)
    return _unfolded(z * pow(FIRST, -1, 1 << 64) & MAX_WORD, 30)


def _unfolded(z: int, shift: int) -> int:
    """The x of z = x xor (x >> shift), of 64 bits."""
    x = z
    for _ in range(64 // shift):
        x = z ^ (x >> shift)
    return x
