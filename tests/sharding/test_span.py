"""Spans: half-open, non-empty, written like 2:4."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharding.errors import SpanError
from sharding.span import MAX_APART, MAX_BLOCKS, Span, apart, covers, is_cover, parse_spans, without


@given(st.integers(0, MAX_BLOCKS - 1), st.data())
def test_a_span_reads_what_it_writes(start: int, data: st.DataObject) -> None:
    """str and parse are inverse, and the length is the number of blocks."""
    span = Span(start, data.draw(st.integers(start + 1, MAX_BLOCKS)))

    assert Span.parse(str(span)) == span
    assert len(span) == len(list(span.blocks)) == span.end - span.start


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2",
        "2:",
        ":4",
        "2-4",
        " 2:4",
        "2:4 ",
        "2:4\n",
        "02:4",
        "-1:4",
        "+1:4",
        "2:2",
        "4:2",
        "0:0",
        "1:99999",
        "٢:4",
        "0:1025",
        "a:b",
        "1:2:3",
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    """No signs, spaces, leading zeros, foreign digits, empty or reversed ranges."""
    with pytest.raises(SpanError):
        Span.parse(text)


@pytest.mark.parametrize(
    ("start", "end"), [(-1, 2), (2, 2), (3, 2), (0, MAX_BLOCKS + 1), (True, 2), (0, 1.0), ("0", 1)]
)
def test_a_span_cannot_be_made_of_nonsense(start: object, end: object) -> None:
    """The constructor checks too; a boolean is no number."""
    with pytest.raises(SpanError):
        Span(start, end)  # type: ignore[arg-type]


def test_a_span_ends_at_the_last_block() -> None:
    """All of a model's blocks are inside it, one more is not; the error carries the span."""
    assert Span(2, 4).within(4) == Span(2, 4)
    with pytest.raises(SpanError) as caught:
        Span(2, 5).within(4)
    assert (caught.value.start, caught.value.end) == (2, 5)


@pytest.mark.parametrize(
    ("spans", "covers"),
    [
        ([Span(0, 4)], True),
        ([Span(0, 1), Span(1, 4)], True),
        ([Span(1, 4), Span(0, 1)], False),
        ([Span(0, 2), Span(1, 4)], False),
        ([Span(0, 1), Span(2, 4)], False),
        ([Span(0, 3)], False),
        ([Span(0, 4), Span(4, 5)], False),
        ([], False),
    ],
)
def test_a_cover_holds_every_block_once_in_order(spans: list[Span], covers: bool) -> None:
    """Gaps, overlaps, wrong order and surplus are no cover."""
    assert is_cover(spans, 4) is covers


def test_nothing_does_not_cover_nothing() -> None:
    """A model without blocks is no model."""
    assert not is_cover([], 0)


@pytest.mark.parametrize(
    ("text", "good"),
    [("0:2", True), ("0:2,3:4", True), ("0:2,4:6,1023:1024", True), ("0:2,2:4", False), ("0:3,2:4", False), ("0:2,0:2", False),
     ("4:6,0:2", False), ("0:2,", False), (",0:2", False), ("0:2, 4:6", False), ("0:2;4:6", False), ("", False)],
)  # fmt: skip
def test_several_spans_lie_apart_and_in_order(text: str, good: bool) -> None:
    """Those that touch are written as one; a space is no part of it."""
    if good:
        assert ",".join(map(str, parse_spans(text))) == text
    else:
        with pytest.raises(SpanError):
            parse_spans(text)


@pytest.mark.parametrize(("count", "good"), [(0, False), (1, True), (MAX_APART, True), (MAX_APART + 1, False)])
def test_there_are_at_most_sixteen(count: int, good: bool) -> None:
    """And at least one."""
    spans = [Span(2 * place, 2 * place + 1) for place in range(count)]
    if good:
        assert apart(spans) == tuple(spans)
    else:
        with pytest.raises(SpanError, match="1 to 16"):
            apart(spans)


@pytest.mark.parametrize(
    ("wanted", "covered"),
    [
        ((0, 2), True),
        ((1, 2), True),
        ((4, 6), True),
        ((0, 3), False),
        ((2, 4), False),
        ((0, 6), False),
        ((5, 7), False),
    ],
)
def test_one_span_has_to_have_all_the_blocks(wanted: tuple[int, int], covered: bool) -> None:
    """Blocks of two spans are no span; of none at all nothing is covered."""
    assert covers([Span(0, 2), Span(4, 6)], Span(*wanted)) is covered
    assert not covers([], Span(*wanted))


@pytest.mark.parametrize(
    ("gone", "left"),
    [
        ("0:1", "1:4,6:9"),
        ("3:7", "0:3,7:9"),
        ("1:2,7:8", "0:1,2:4,6:7,8:9"),
        ("4:6", "0:4,6:9"),
        ("0:9", ""),
        ("10:12", "0:4,6:9"),
    ],
)
def test_what_is_left_without_some_blocks(gone: str, left: str) -> None:
    """Ends, middles, parts of two spans, all, none."""
    assert ",".join(map(str, without([Span(0, 4), Span(6, 9)], parse_spans(gone)))) == left


def test_spans_that_touch_stay_apart() -> None:
    """They are two engines' blocks."""
    assert without([Span(0, 2), Span(2, 4)], [Span(0, 1)]) == (Span(1, 2), Span(2, 4))
