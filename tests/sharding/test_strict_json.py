"""JSON from strangers: what is odd is refused."""

import sys
from pathlib import Path

import pytest

from sharding.strict_json import MAX_DEPTH, BadJson, parse_json_object, read_json_object


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[]",
        b"1",
        b"null",
        b"{",
        b'{"a":1,}',
        b'{"a":NaN}',
        b'{"a":-Infinity}',
        b'{"a":1,"a":1}',
        b'{"b":{"a":1,"a":2}}',
        b"\xff{}",
        b"{}x",
        b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"a":' + b"9" * 10_000 + b"}",
    ],
    ids=lambda raw: repr(raw[:16]),
)
def test_odd_json_is_refused(raw: bytes) -> None:
    """Not an object, not JSON, a key twice, no number, nested without end, a number without end."""
    with pytest.raises(BadJson):
        parse_json_object(raw, "it")


def nested(depth: int) -> bytes:
    """depth counts the object around the lists."""
    return b'{"a":' + b"[" * (depth - 1) + b"]" * (depth - 1) + b"}"


def test_nesting_ends_where_it_says() -> None:
    """The limit is possible, one more is not, and it holds where a library has lifted the interpreter's own."""
    assert parse_json_object(nested(MAX_DEPTH), "it")
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(100_000)
    try:
        for depth in (MAX_DEPTH + 1, 90_000):
            with pytest.raises(BadJson):
                parse_json_object(nested(depth), "it")
    finally:
        sys.setrecursionlimit(before)


def test_brackets_in_strings_do_not_nest() -> None:
    """Nor do those of neighbours add up."""
    text = '{"a": "' + "[{" * 500 + '\\"[", "b": [' + "[]," * 500 + "[]]}"
    assert parse_json_object(text.encode(), "it")["a"].endswith('"[')


def test_plain_json_is_read() -> None:
    """The rest is what it says."""
    assert parse_json_object(b' {"a": [1, 2.5, "x", null, true]} ', "it") == {"a": [1, 2.5, "x", None, True]}


def test_the_size_limit_is_where_it_says(tmp_path: Path) -> None:
    """At the limit a file is read, one byte past it not."""
    path = tmp_path / "a.json"
    path.write_bytes(b'{"a":1}')

    assert read_json_object(path, 7) == {"a": 1}
    with pytest.raises(BadJson, match="larger than 6"):
        read_json_object(path, 6)


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    """What cannot be read is bad, what is not there is not found."""
    with pytest.raises(BadJson):
        read_json_object(tmp_path, 10)
    with pytest.raises(FileNotFoundError):
        read_json_object(tmp_path / "none", 10)
