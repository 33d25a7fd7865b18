"""Loading exact weights from strangers: what breaks a kernel's promise is refused by name, at each bound."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from sharding.errors import ManifestMismatch, TensorMismatch, TensorMissing
from sharding.exact.load import load_exact_span
from sharding.exact.model import ExactSpan
from sharding.exact.quantise import quantise
from sharding.manifest import build_manifest, read_manifest, write_manifest
from sharding.span import Span
from sharding.spec import ModelSpec
from sharding.weight_files import INDEX_FILE
from tests.sharding.conftest import Models

MAX_INT32 = (1 << 31) - 1


@pytest.fixture
def folder(models: Models, tmp_path: Path) -> Path:
    """An exact Qwen3 with biases and untied ends: every kind of tensor."""
    quantise(models(family="qwen3", tied=False, attention_bias=True), tmp_path / "model")
    return tmp_path / "model"


def load(folder: Path, span: Span | None = None) -> ExactSpan:
    spec = ModelSpec.from_folder(folder)
    return load_exact_span(folder, spec, span or spec.whole, read_manifest(folder))


def put(folder: Path, name: str, value: int) -> None:
    """Write one number into a tensor and the manifest that a stranger would write for it."""
    path = folder / json.loads((folder / INDEX_FILE).read_text())["weight_map"][name]
    tensors = load_file(path)
    tensors[name].view(-1)[0] = value
    save_file(tensors, path)
    write_manifest(folder, build_manifest(folder))


BOUNDS = [
    ("blocks.0.qkv.weight", -127, -128),
    ("blocks.1.down.scale", 1, 0),
    ("blocks.1.down.scale", MAX_INT32, -MAX_INT32),
    ("blocks.0.o.shift", 80, 81),
    ("blocks.0.o.shift", 0, -1),
    ("blocks.0.qkv.bias", -MAX_INT32, -MAX_INT32 - 1),
    ("blocks.0.attention_norm.gain", (1 << 20) - 1, 1 << 20),
    ("blocks.0.q_norm.gain", -(1 << 20) + 1, -(1 << 20)),
    ("blocks.0.mlp_norm.shift", 40, 41),
    ("rope.table", -(1 << 14), -(1 << 14) - 1),
    ("embed.weight", -127, -128),
    ("embed.scale", 1, 0),
    ("embed.column", 1 << 15, (1 << 15) + 1),
    ("embed.column", 1, 0),
    ("embed.shift", 80, 81),
    ("head.weight", -127, -128),
    ("head.scale", 1, -1),
    ("head.shift", 80, 81),
    ("head_norm.gain", (1 << 20) - 1, 1 << 20),
]


@pytest.mark.parametrize(("name", "taken", "refused"), BOUNDS)
def test_each_range_ends_where_the_specification_says(folder: Path, name: str, taken: int, refused: int) -> None:
    """The last number within is loaded, the first beyond names its tensor."""
    put(folder, name, taken)
    load(folder)
    put(folder, name, refused)
    with pytest.raises(TensorMismatch) as caught:
        load(folder)
    assert caught.value.tensor == name


def test_a_span_needs_no_other_file(folder: Path) -> None:
    """A middle stage loads its block and the rotary table; the ends may be elsewhere."""
    for name in ("embed.safetensors", "head.safetensors", "block-0000.safetensors", "block-0002.safetensors"):
        (folder / name).unlink()
    middle = load(folder, Span(1, 2))

    assert (len(middle.blocks), middle.embedding, middle.head) == (1, None, None)
    with pytest.raises(TensorMissing):
        load(folder, Span(0, 1))


def test_other_bytes_than_the_manifests_are_refused(folder: Path) -> None:
    """One weight changed after the manifest was written."""
    path = folder / "block-0001.safetensors"
    tensors: dict[str, Tensor] = load_file(path)
    tensors["blocks.1.o.weight"][0, 0] ^= 1
    save_file(tensors, path)
    with pytest.raises(ManifestMismatch) as caught:
        load(folder)
    assert caught.value.tensor == "blocks.1.o.weight"


def test_another_dtype_is_refused(folder: Path) -> None:
    """Scales in float32 would be another model; neither a manifest nor a loader takes them."""
    path = folder / "block-0001.safetensors"
    tensors: dict[str, Tensor] = load_file(path)
    tensors["blocks.1.o.scale"] = tensors["blocks.1.o.scale"].to(torch.float32)
    save_file(tensors, path)
    for use in (load, build_manifest):
        with pytest.raises(TensorMismatch) as caught:
            use(folder)
        assert caught.value.tensor == "blocks.1.o.scale"


def test_a_swapped_dtype_of_the_profile_is_refused(folder: Path) -> None:
    """int16 scales are a dtype that the profile has, but not there."""
    path = folder / "block-0001.safetensors"
    tensors: dict[str, Tensor] = load_file(path)
    tensors["blocks.1.o.scale"] = torch.ones_like(tensors["blocks.1.o.scale"], dtype=torch.int16)
    save_file(tensors, path)
    with pytest.raises(TensorMismatch, match="I32"):
        build_manifest(folder)
