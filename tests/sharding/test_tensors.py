"""The tensor names and shapes are those of the checkpoints that transformers writes."""

from typing import Any

import pytest
from safetensors import safe_open

from sharding.errors import SpanError
from sharding.span import Span
from sharding.spec import ModelSpec
from sharding.tensors import EMBEDDING, FINAL_NORM, HEAD, span_tensors
from tests.sharding.conftest import Models
from tests.sharding.tiny import BLOCKS, FAMILY_NAMES

KINDS: list[dict[str, Any]] = [
    *({"family": name} for name in FAMILY_NAMES),
    {"family": "llama", "tied": False, "attention_bias": True, "mlp_bias": True},
    {"family": "qwen3", "attention_bias": True},
]


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_the_whole_model_is_every_tensor_of_the_files(models: Models, kind: dict[str, Any]) -> None:
    """Not one more, not one less, each with its shape."""
    folder = models(**kind)
    found = {}
    for path in folder.glob("*.safetensors"):
        with safe_open(path, "pt") as file:
            found |= {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    spec = ModelSpec.from_folder(folder)

    assert span_tensors(spec, spec.whole) == found


def test_ends_of_the_model_belong_to_the_ends_of_the_route(models: Models) -> None:
    """The embedding to the first stage, norm and head to the last; tied, the last has the embedding too."""
    tied, untied = (ModelSpec.from_folder(models(tied=value)) for value in (True, False))

    def ends(spec: ModelSpec, span: Span) -> set[str]:
        return {EMBEDDING, FINAL_NORM, HEAD} & span_tensors(spec, span).keys()

    assert [ends(untied, Span(a, a + 1)) for a in (0, 1, BLOCKS - 1)] == [{EMBEDDING}, set(), {FINAL_NORM, HEAD}]
    assert [ends(tied, Span(a, a + 1)) for a in (0, 1, BLOCKS - 1)] == [{EMBEDDING}, set(), {FINAL_NORM, EMBEDDING}]


def test_a_span_past_the_end_has_no_tensors(models: Models) -> None:
    """It is refused before any file is looked at."""
    with pytest.raises(SpanError):
        span_tensors(ModelSpec.from_folder(models()), Span(0, BLOCKS + 1))
