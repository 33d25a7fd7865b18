"""The kinds of operation a trace is made of. Numbers and names stand in docs/TRACE.md and in contracts/src/lib/Checkers.sol."""

from dataclasses import dataclass
from enum import Enum, IntEnum

from sharding.exact.weight_pieces import PIECE as PIECE


class Operation(IntEnum):
    """One value each: the order is that of the contracts' enum."""

    COPY = 0
    LARGEST_MAGNITUDE = 1
    SUM_OF_MAGNITUDES = 2
    SUM_OF_SQUARES = 3
    SUM = 4
    MAXIMUM = 5
    DOT_WEIGHTS = 6
    DOT_HEADS = 7
    NORM_SQUARE = 8
    NORM_WIDTH = 9
    NORM_ROOT = 10
    NORM_INVERSE = 11
    NORM = 12
    HEAD_NORM = 13
    PACK_SHIFT = 14
    PACK_FRACTION = 15
    PACK = 16
    PROJECT = 17
    ROTATE_FIRST = 18
    ROTATE_SECOND = 19
    HEAD_EXPONENT = 20
    COMPRESS = 21
    SCORE = 22
    ATTENTION_WEIGHT = 23
    RECIPROCAL = 24
    LOWERED_WEIGHT = 25
    MIX = 26
    GATE = 27
    ADD = 28
    EMBED = 29
    BEST = 30
    RANK = 31
    NUCLEUS_WEIGHT = 32
    NUCLEUS_COUNT = 33
    NOISE_CELL = 34
    SAMPLE_SCORE = 35


class Abort(Enum):
    """Why the exact profile has no value for an element; what the engines raise under the same name."""

    INTEGER_OVERFLOW = 1
    SCALE_OUT_OF_RANGE = 2


Claim = int | Abort
Outcome = Claim | None
"""None: the operands are outside of the profile, so that no claim is right."""
Numbers = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Step:
    """One element's operation with its operands: single numbers, and one or two pieces of at most 128 elements."""

    operation: Operation
    scalars: Numbers
    left: Numbers = ()
    right: Numbers = ()


def pieces(width: int) -> int:
    """How many pieces a row of so many elements has."""
    return -(-width // PIECE)
