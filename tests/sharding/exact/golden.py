"""The golden vectors as they lie in tests/vectors/exact, decimal strings turned back into whole numbers."""

import json
from functools import cache
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parents[2] / "vectors" / "exact"
Case = dict[str, Any]


@cache
def golden(name: str) -> list[Case]:
    """Every case of one file, in its order."""
    cases: list[Case] = _whole(json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8")))
    return cases


def _whole(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _whole(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_whole(each) for each in value]
    return int(value) if isinstance(value, str) and value.removeprefix("-").isdecimal() else value
