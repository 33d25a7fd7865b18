"""Seeded whole numbers that no version of a library can change, and the form of a case."""

import random
from collections.abc import Callable, Sequence

import numpy as np

from sharding.errors import IntegerOverflow, ScaleOutOfRange
from sharding.exact.reference import Ints

Json = int | float | str | None | Sequence["Json"] | dict[str, "Json"]
Case = dict[str, Json]
"""What goes in and what comes out, under the names that SPEC.md gives them; or, instead of results, "error"."""

MAX_INT32 = (1 << 31) - 1


class Numbers:
    """Only getrandbits is asked, whose bits for a seed are the same in every Python since 3.2."""

    def __init__(self, seed: str) -> None:
        self._random = random.Random(seed)  # noqa: S311 - reproducible is what these have to be

    def within(self, low: int, high: int) -> int:
        return low + self._random.getrandbits(64) % (high - low + 1)

    def signed(self, limit: int) -> int:
        return self.within(-limit, limit)

    def several(self, count: int, limit: int) -> list[int]:
        return [self.signed(limit) for _ in range(count)]

    def rows(self, count: int, width: int, limit: int) -> list[list[int]]:
        return [self.several(width, limit) for _ in range(count)]


def ints(values: Sequence[int] | Sequence[Sequence[int]]) -> Ints:
    return np.array(values, np.int64)


def alternating(count: int, value: int) -> list[int]:
    return [value if k % 2 == 0 else -value for k in range(count)]


def spike(count: int, value: int) -> list[int]:
    """Zeros with one value in the middle."""
    return [value if k == count // 2 else 0 for k in range(count)]


def outcome(case: Case, compute: Callable[[], Case]) -> Case:
    """The case with its results, or with the name of the error that the reference raises."""
    try:
        return case | compute()
    except (IntegerOverflow, ScaleOutOfRange) as error:
        return case | {"error": type(error).__name__}
