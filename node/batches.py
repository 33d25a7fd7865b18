"""Several wishes in one transaction, as many as pools of transactions take."""

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

T = TypeVar("T")

MAX_WORDS = 2_000
"""Of payees in one transaction: pools take 131,072 bytes (go-ethereum's txMaxSize), and routes may have many stages."""


def batches(items: Iterable[T], most: int, words: Callable[[T], int]) -> list[Sequence[T]]:
    """Cut items, in their order, into batches of at most `most` items and MAX_WORDS words; a larger item is one alone."""
    found, size = list[list[T]](), 0
    for item in items:
        if not found or len(found[-1]) == most or size + words(item) > MAX_WORDS:
            found.append([])
            size = 0
        found[-1].append(item)
        size += words(item)
    return list[Sequence[T]](found)
