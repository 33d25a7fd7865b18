"""A span: the half-open range of a model's blocks that one stage computes."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from sharding.errors import SpanError

MAX_BLOCKS = 1024
_TEXT = re.compile(r"(0|[1-9][0-9]{0,3}):([1-9][0-9]{0,3})", re.ASCII)


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """Blocks start to end - 1. Raises SpanError unless 0 <= start < end <= MAX_BLOCKS."""

    start: int
    end: int

    def __post_init__(self) -> None:
        if type(self.start) is not int or type(self.end) is not int:
            raise SpanError(f"a span needs two whole numbers, got {self.start!r} and {self.end!r}")
        if not 0 <= self.start < self.end <= MAX_BLOCKS:
            message = f"span {self.start}:{self.end} must satisfy 0 <= start < end <= {MAX_BLOCKS}"
            raise SpanError(message, start=self.start, end=self.end)

    @classmethod
    def parse(cls, text: str) -> "Span":
        """Read "2:4" (no signs, spaces or leading zeros). Raises SpanError."""
        match = _TEXT.fullmatch(text)
        if match is None:
            raise SpanError(f"cannot read {text[:40]!r} as a span: write it like 2:4")
        return cls(int(match[1]), int(match[2]))

    def __str__(self) -> str:
        return f"{self.start}:{self.end}"

    def __len__(self) -> int:
        return self.end - self.start

    @property
    def blocks(self) -> range:
        return range(self.start, self.end)

    def within(self, num_blocks: int) -> "Span":
        """The span itself where the model has all its blocks. Raises SpanError otherwise."""
        if self.end > num_blocks:
            message = f"span {self} reaches past the model's {num_blocks} blocks"
            raise SpanError(message, start=self.start, end=self.end)
        return self


def is_cover(spans: Iterable[Span], num_blocks: int) -> bool:
    """Whether the spans, in their order, hold every block of the model exactly once."""
    position = 0
    for span in spans:
        if span.start != position:
            return False
        position = span.end
    return position == num_blocks > 0
