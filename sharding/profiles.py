"""The numeric profiles, and which tensors a model has in each: the one place that tells them apart by name."""

from collections.abc import Callable
from dataclasses import dataclass

from sharding.errors import TensorMismatch
from sharding.exact.layout import EXACT_PROFILE, Slots, block_slots, embedding_slots, head_slots, span_slots
from sharding.span import Span
from sharding.spec import ModelSpec
from sharding.tensors import Shapes, block_tensors, embedding_tensors, head_tensors, span_tensors

FLOAT_PROFILE = "float32"
FLOAT_BYTES = {"F16": 2, "BF16": 2, "F32": 4}
EXACT_BYTES = {"I8": 1, "I16": 2, "I32": 4}

__all__ = ["EXACT_PROFILE", "FLOAT_PROFILE", "ProfileTensors", "tensors_of"]


@dataclass(frozen=True, slots=True)
class ProfileTensors:
    """Names and shapes by part of the model; item_bytes has the dtypes that may occur."""

    embedding: Callable[[ModelSpec], Shapes]
    block: Callable[[ModelSpec, int], Shapes]
    head: Callable[[ModelSpec], Shapes]
    span: Callable[[ModelSpec, Span], Shapes]
    item_bytes: dict[str, int]

    def check_dtypes(self, spec: ModelSpec, dtypes: dict[str, str]) -> None:
        """Raises TensorMismatch where a tensor of the model cannot have its dtype in this profile."""
        slots = span_slots(spec, spec.whole) if self.item_bytes is EXACT_BYTES else {}
        for name, dtype in dtypes.items():
            if dtype not in self.item_bytes or (name in slots and slots[name].dtype != dtype):
                expected = slots[name].dtype if name in slots else " or ".join(self.item_bytes)
                raise TensorMismatch(name, "dtype", expected, dtype)


def _shapes(slots: Slots) -> Shapes:
    return {name: slot.shape for name, slot in slots.items()}


_FLOAT = ProfileTensors(embedding_tensors, block_tensors, head_tensors, span_tensors, FLOAT_BYTES)
_EXACT = ProfileTensors(
    lambda spec: _shapes(embedding_slots(spec)),
    lambda spec, index: _shapes(block_slots(spec, index)),
    lambda spec: _shapes(head_slots(spec)),
    lambda spec, span: _shapes(span_slots(spec, span)),
    EXACT_BYTES,
)


def tensors_of(profile: str) -> ProfileTensors:
    """Every profile but the exact one keeps the checkpoint's own tensors."""
    return _EXACT if profile == EXACT_PROFILE else _FLOAT
