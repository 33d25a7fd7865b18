"""JSON from strangers: bounded in size, an object at the top, no key twice, no NaN, no endless nesting."""

import json
import re
from pathlib import Path
from typing import Any, NoReturn

MAX_DEPTH = 128
_STRINGS_AND_BRACKETS = re.compile(rb'"(?:[^"\\]|\\.)*+"|[\[{]|[\]}]', re.DOTALL)


class BadJson(ValueError):
    """The text is no acceptable JSON object; callers turn it into their own error."""


def read_json_object(path: Path, max_bytes: int) -> dict[str, Any]:
    """The object in a UTF-8 file of at most max_bytes. Raises BadJson, and FileNotFoundError where there is none."""
    try:
        with path.open("rb") as file:
            raw = file.read(max_bytes + 1)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise BadJson(f"{path.name} cannot be read: {error.strerror}") from error
    if len(raw) > max_bytes:
        raise BadJson(f"{path.name} is larger than {max_bytes} bytes")
    return parse_json_object(raw, path.name)


def parse_json_object(raw: bytes, name: str) -> dict[str, Any]:
    _check_depth(raw, name)
    try:
        value = json.loads(raw.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_refuse_constant)
    except BadJson:
        raise
    except (ValueError, RecursionError) as error:  # decoding errors and JSONDecodeError are ValueErrors
        raise BadJson(f"{name} is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise BadJson(f"{name} holds no JSON object")
    return value


def _check_depth(raw: bytes, name: str) -> None:
    """Before the parser, whose own recursion is bounded only as long as no library lifts the interpreter's limit."""
    if raw.count(b"[") + raw.count(b"{") <= MAX_DEPTH:
        return
    depth = 0
    for match in _STRINGS_AND_BRACKETS.finditer(raw):
        mark = match[0]
        depth += (mark in (b"[", b"{")) - (mark in (b"]", b"}"))
        if depth > MAX_DEPTH:
            raise BadJson(f"{name} nests deeper than {MAX_DEPTH}")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise BadJson(f"the key {key[:80]!r} occurs twice")
        found[key] = value
    return found


def _refuse_constant(name: str) -> NoReturn:
    raise BadJson(f"{name} is not a JSON number")
