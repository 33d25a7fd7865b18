"""The fields of a trace as contracts/src/lib/TraceLayout.sol numbers them."""

_NORM = ("largest", "squares", "root", "scaled", "top", "total", "shift", "x")
_PACK = _NORM[4:]
BEFORE = ("token", "row")
IN_BLOCK = (
    *(f"attention_norm.{part}" for part in _NORM), "qkv.sums", "qkv.y",
    "head_norm.largest", "head_norm.squares", "head_norm.root", "head_norm.y",
    "rotated", "heads.largest", "heads.exponent", "heads",
    "keys", "keys.exponent", "values", "values.exponent", "dots", "scores", "scores.highest", "weights", "weights.total",
    "values.highest", "reciprocal", "lowered", "sums", "mixed",
    *(f"o.{part}" for part in _PACK), "o.sums", "o.y", "middle",
    *(f"mlp_norm.{part}" for part in _NORM), "gate_up.sums", "gate_up.y", "gated",
    *(f"down.{part}" for part in _PACK), "down.sums", "down.y", "output",
)  # fmt: skip
BEHIND = (
    *(f"head_norm.{part}" for part in _NORM), "head.sums", "head.y", "order", "shares", "shares.total", "kept", "cells",
    "perturbed", "best", "chosen",
)  # fmt: skip
_NUMBERS = {name: number for number, name in enumerate((*BEFORE, *(f"*.{name}" for name in IN_BLOCK), *BEHIND))}


def number_of(name: str) -> tuple[int, int]:
    """The block, 0 for a field of none, and the number of a field. Raises KeyError."""
    block, _, inside = name.partition(".")
    return (int(block), _NUMBERS[f"*.{inside}"]) if block.isdecimal() else (0, _NUMBERS[name])
