"""Whether one element of a trace is what its operands say: the one-step checkers, in Python.

Numbers come from a stranger's leaves: any signed 64-bit value may stand anywhere. What lies outside SPEC.md's ranges
is wrong, and nothing here raises: whoever lies must not be saved by an error. contracts/src/lib/Checkers.sol says the same.
"""

from collections.abc import Callable

from verification.trace import choosing, formulas, reductions
from verification.trace.operations import Claim, Operation, Outcome, Step


def is_right(step: Step, claimed: Claim) -> bool:
    """Whether the element that the trace claims is the one that SPEC.md gives for these operands."""
    certificate = _CERTIFICATES.get(step.operation)
    if certificate is not None:
        return isinstance(claimed, int) and certificate(step, claimed)
    outcome = value_of(step)
    return outcome is not None and outcome == claimed


def value_of(step: Step) -> Outcome:
    """What the element has to be. Raises KeyError for an operation that is checked by a certificate."""
    return _FORMULAS[step.operation](step)


def certified_operations() -> frozenset[Operation]:
    """Those whose result is checked without being computed."""
    return frozenset(_CERTIFICATES)


def checked_operations() -> frozenset[Operation]:
    """Those that have a checker."""
    return frozenset(_FORMULAS) | frozenset(_CERTIFICATES)


_FORMULAS: dict[Operation, Callable[[Step], Outcome]] = {
    Operation.COPY: formulas.copy,
    Operation.LARGEST_MAGNITUDE: reductions.largest_magnitude,
    Operation.SUM_OF_MAGNITUDES: reductions.sum_of_magnitudes,
    Operation.SUM_OF_SQUARES: reductions.sum_of_squares,
    Operation.SUM: reductions.plain_sum,
    Operation.MAXIMUM: reductions.maximum,
    Operation.DOT_WEIGHTS: reductions.dot,
    Operation.DOT_HEADS: reductions.dot,
    Operation.NORM_SQUARE: formulas.norm_square,
    Operation.NORM: formulas.norm,
    Operation.HEAD_NORM: formulas.head_norm,
    Operation.PACK_FRACTION: formulas.pack_fraction,
    Operation.PACK: formulas.pack,
    Operation.PROJECT: formulas.project,
    Operation.ROTATE_FIRST: formulas.rotate_first,
    Operation.ROTATE_SECOND: formulas.rotate_second,
    Operation.HEAD_EXPONENT: formulas.head_exponent,
    Operation.COMPRESS: formulas.compress,
    Operation.SCORE: formulas.score,
    Operation.ATTENTION_WEIGHT: formulas.attention_weight,
    Operation.LOWERED_WEIGHT: formulas.lowered_weight,
    Operation.MIX: formulas.mix,
    Operation.GATE: formulas.gate,
    Operation.ADD: formulas.add,
    Operation.EMBED: formulas.embed,
    Operation.BEST: choosing.best,
    Operation.NUCLEUS_WEIGHT: choosing.nucleus_weight,
    Operation.NUCLEUS_COUNT: choosing.nucleus_count,
    Operation.NOISE_CELL: choosing.noise_cell,
    Operation.SAMPLE_SCORE: choosing.sample_score,
}
_CERTIFICATES: dict[Operation, Callable[[Step, int], bool]] = {
    Operation.NORM_WIDTH: formulas.norm_width,
    Operation.NORM_ROOT: formulas.norm_root,
    Operation.NORM_INVERSE: formulas.norm_inverse,
    Operation.PACK_SHIFT: formulas.pack_shift,
    Operation.RECIPROCAL: formulas.reciprocal,
    Operation.RANK: choosing.rank,
}
