"""A span: the half-open range of a model's blocks that one stage computes."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from sharding.errors import SpanError

MAX_BLOCKS = 1024
MAX_APART = 16
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


def apart(spans: Sequence[Span]) -> tuple[Span, ...]:
    """1 to MAX_APART spans, ascending, with blocks between them: spans that touch are one. Raises SpanError for others."""
    if not 1 <= len(spans) <= MAX_APART:
        raise SpanError(f"{len(spans)} spans: 1 to {MAX_APART} can be served by one node")
    for before, after in pairwise(spans):
        if after.start <= before.end:
            message = (
                f"spans {before} and {after} are not in order with blocks between them: write touching ones as one"
            )
            raise SpanError(message, start=after.start, end=after.end)
    return tuple(spans)


def parse_spans(text: str) -> tuple[Span, ...]:
    """Read "0:2,4:6", or one span. Raises SpanError, also for spans that are not `apart`."""
    return apart([Span.parse(part) for part in text.split(",")])


def covers(spans: Iterable[Span], wanted: Span) -> bool:
    """Whether one of the spans has all the blocks of another."""
    return any(span.start <= wanted.start and wanted.end <= span.end for span in spans)


def without(spans: Iterable[Span], gone: Iterable[Span]) -> tuple[Span, ...]:
    """What is left of spans less the blocks of others; spans that touch stay apart."""
    left = list(spans)
    for hole in gone:
        left = [part for span in left for part in _cut(span, hole)]
    return tuple(left)


def _cut(span: Span, hole: Span) -> Iterator[Span]:
    if span.start < min(hole.start, span.end):
        yield Span(span.start, min(hole.start, span.end))
    if max(hole.end, span.start) < span.end:
        yield Span(max(hole.end, span.start), span.end)
