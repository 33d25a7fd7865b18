"""Steps of honest traces, and the same with a liar's numbers in them, for both languages' checkers."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from math import isqrt
from random import Random
from typing import Any

from sharding.span import Span
from tests.verification.trace.traced import GREEDY, claim, operands_at, session, spots
from verification.trace.check import certified_operations, value_of
from verification.trace.fields import Draw
from verification.trace.layout import Ref, Source, Template
from verification.trace.operands import template_of
from verification.trace.operations import Abort, Claim, Numbers, Operation, Step
from verification.trace.resolve import Operands

TOP = 2**63 - 1
EXTREMES = (
    0,
    1,
    -1,
    2,
    15,
    16,
    17,
    64,
    65,
    2**16,
    2**28,
    -(2**28),
    2**31,
    -(2**31),
    2**32,
    2**61,
    2**62,
    TOP,
    -TOP - 1,
)
CUT = Draw(tau=98304, pi=58982, top_k=140, seed=12)
KINDS: dict[Abort, int] = {Abort.INTEGER_OVERFLOW: 2, Abort.SCALE_OUT_OF_RANGE: 3}


@dataclass(frozen=True, slots=True)
class Judged:
    """A step, how many bytes its left elements take, and what is claimed of it. fixed: scalars that no trace says."""

    step: Step
    size: int
    claimed: Claim
    fixed: frozenset[int] = frozenset()

    def words(self) -> tuple[Any, ...]:
        """As Checkers.Step."""
        right = {Operation.BEST: 4}.get(self.step.operation, 2)
        left = _bytes(self.step.left, self.size)
        return int(self.step.operation), self.step.scalars, left, _bytes(self.step.right, right), self.size

    def claim_words(self) -> tuple[int, int]:
        """As Claim."""
        return (1, self.claimed) if isinstance(self.claimed, int) else (KINDS[self.claimed], 0)


def _bytes(numbers: Numbers, size: int) -> bytes:
    return b"".join(number.to_bytes(size, "little", signed=True) for number in numbers)


def honest_steps(random: Random, most: int) -> list[Judged]:
    """At most so many of each field, of models that between them have every operation."""
    found: list[Judged] = []
    wide = session(5, hidden_size=150, vocab_size=300)
    for operands in (
        operands_at(wide, Span(0, 2), 9, CUT),
        operands_at(wide, Span(1, 2), 11, GREEDY),
        operands_at(session(6, family="qwen3", head_dim=132), Span(0, 2), 7),
        operands_at(session(7, 135, family="qwen2", max_positions=135), Span(0, 1), 134),
    ):
        found += _sample(operands, random, most)
    return found


def _sample(operands: Operands, random: Random, most: int) -> Iterator[Judged]:
    by_field: dict[str, list[Judged]] = {}
    everything = spots(operands.trace)
    random.shuffle(everything)
    for spot in everything:
        of_field = by_field.setdefault(spot.field.name, [])
        if len(of_field) < most:
            template = template_of(operands.trace.layout, spot)
            fixed = frozenset(k for k, each in enumerate(template.scalars) if isinstance(each, int))
            of_field.append(Judged(operands.step(template), _size(operands, template), claim(operands, spot), fixed))
    return (each for steps in by_field.values() for each in steps)


def _size(operands: Operands, template: Template) -> int:
    """Bytes of an element of the left piece; 1 where it is a weight, or there is none."""
    left = template.left
    is_trace = isinstance(left, Ref) and left.source is Source.TRACE
    return operands.trace.layout.field(left.name).size if is_trace and left is not None else 1


def lies(judged: Judged, random: Random) -> Judged:
    """Other operands, another claim, or both; half of what comes of other operands is claimed rightly."""
    step = judged.step if random.random() < 0.3 else _spoilt(judged, random)
    return replace(judged, step=step, claimed=_claimed(step, judged.claimed, random))


def _spoilt(judged: Judged, random: Random) -> Step:
    step, scalars = judged.step, list(judged.step.scalars)
    free = [k for k in range(len(scalars)) if k not in judged.fixed]
    for k in random.sample(free, random.randint(min(1, len(free)), len(free))):
        scalars[k] = random.choice(
            (random.choice(EXTREMES), scalars[k] + random.choice((1, -1)), random.randint(-TOP, TOP))
        )
    left, right = list(step.left), list(step.right)
    for piece, size in ((left, judged.size), (right, 2)):
        for k in random.sample(range(len(piece)), min(len(piece), random.choice((0, 1, 128)))):
            limit = 2 ** (8 * size - 1)
            piece[k] = random.choice((limit - 1, -limit, 0, random.randrange(-limit, limit)))
    return replace(step, scalars=tuple(scalars), left=tuple(left), right=tuple(right))


def _claimed(step: Step, honest: Claim, random: Random) -> Claim:
    right = _certified(step) if step.operation in certified_operations() else value_of(step)
    base = honest if right is None else right
    near = base + random.choice((1, -1)) if isinstance(base, int) else 0
    return random.choice((base, base, near, random.choice(EXTREMES), random.choice(list(Abort))))


def _certified(step: Step) -> int | None:
    """The number that the certificate holds for, if there is one that is easily found."""
    try:
        return _CERTIFIED[step.operation](step.scalars)
    except (ValueError, ZeroDivisionError, KeyError):
        return None


def _pack_shift(s: Numbers) -> int:
    largest, total, length = s
    return next(k for k in range(200) if (largest + (1 << k >> 1)) >> k <= 32639 and (total >> k) + length <= 1 << 24)


_CERTIFIED: dict[Operation, Callable[[Numbers], int]] = {
    Operation.NORM_WIDTH: lambda s: isqrt(s[0] << 44),
    Operation.NORM_ROOT: lambda s: isqrt(s[0] << max(0, 2 * ((62 - s[0].bit_length()) >> 1))),
    Operation.NORM_INVERSE: lambda s: (s[0] << 30) // s[1],
    Operation.PACK_SHIFT: _pack_shift,
    Operation.RECIPROCAL: lambda s: (1 << (16 + s[0].bit_length())) // s[0],
    Operation.RANK: lambda s: s[1] + 1,
}
