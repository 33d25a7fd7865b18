"""Loading a span: only its bytes are read, and a checkpoint that lies is refused by name."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from sharding.checkpoint import load_span
from sharding.errors import (
    CheckpointError,
    FileDamaged,
    IndexLies,
    ManifestMismatch,
    TensorMismatch,
    TensorMissing,
    TensorNotFinite,
)
from sharding.manifest import build_manifest, read_manifest
from sharding.random_model import write_random_model
from sharding.span import Span
from sharding.spec import ModelSpec
from sharding.tensors import EMBEDDING, span_tensors
from sharding.weight_files import MAX_INDEX_BYTES
from tests.sharding.conftest import Models
from tests.sharding.spoil import INDEX, change_file, change_index, change_tensor, file_of, weight_map
from tests.sharding.tiny import tiny

NAME = "model.layers.1.mlp.up_proj.weight"
SPAN = Span(1, 2)


def load(folder: Path, span: Span = SPAN, **more: Any) -> dict[str, torch.Tensor]:
    return load_span(folder, ModelSpec.from_folder(folder), span, read_manifest(folder), **more)


def refuses(folder: Path, error: type[CheckpointError], tensor: str = NAME) -> None:
    """The error names the tensor, and a span without it is served as before."""
    with pytest.raises(error) as caught:
        load(folder)
    assert caught.value.tensor == tensor


def test_a_span_is_its_tensors_unchanged(models: Models) -> None:
    """Exactly the span's names, with the bytes of the files."""
    folder = models()
    loaded = load(folder)

    assert loaded.keys() == span_tensors(ModelSpec.from_folder(folder), SPAN).keys()
    for name, tensor in loaded.items():
        assert torch.equal(tensor, load_file(file_of(folder, name))[name])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_three_dtypes_are_read(tmp_path: Path, dtype: torch.dtype) -> None:
    """From one file without an index, as stored or converted on the way."""
    folder = write_random_model(tmp_path, tiny(), dtype=dtype)
    stored, converted = load(folder), load(folder, dtype=torch.float32)

    assert not (folder / INDEX).exists()
    assert {tensor.dtype for tensor in stored.values()} == {dtype}
    assert {tensor.dtype for tensor in converted.values()} == {torch.float32}
    assert all(torch.equal(stored[name].float(), converted[name]) for name in stored)


def test_what_was_loaded_does_not_change_with_the_file(spoilt: Path) -> None:
    """Checked bytes stay the checked bytes, whoever writes to the file afterwards."""
    loaded = load(spoilt)
    before = {name: tensor.clone() for name, tensor in loaded.items()}
    path = file_of(spoilt, NAME)
    with path.open("r+b") as file:
        file.seek(1000)
        file.write(b"\x55" * (path.stat().st_size - 1000))

    assert all(torch.equal(loaded[name], before[name]) for name in loaded)


def test_other_files_are_not_opened(spoilt: Path) -> None:
    """Files that hold nothing of the span may be absent or rubbish."""
    needed = {file_of(spoilt, name) for name in span_tensors(ModelSpec.from_folder(spoilt), SPAN)}
    others = sorted(set(spoilt.glob("*.safetensors")) - needed)
    assert len(others) >= 2
    others[0].unlink()
    others[1].write_bytes(b"rubbish")

    assert NAME in load(spoilt)


def test_a_missing_file_is_a_missing_tensor(spoilt: Path) -> None:
    """The error says which file to pull."""
    path = file_of(spoilt, NAME)
    path.unlink()
    with pytest.raises(TensorMissing) as caught:
        load(spoilt)
    assert caught.value.file == path.name


def test_a_tensor_the_index_does_not_know_is_missing(spoilt: Path) -> None:
    """Even where the file holds it: the index is the one that says so."""
    change_index(spoilt, lambda mapping: mapping.pop(NAME))
    refuses(spoilt, TensorMissing)


def test_a_folder_without_safetensors_has_no_weights(spoilt: Path) -> None:
    """A pickle beside it is not looked at."""
    for path in [*spoilt.glob("*.safetensors"), spoilt / INDEX]:
        path.unlink()
    (spoilt / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    with pytest.raises(TensorMissing):
        load(spoilt)


def test_an_index_that_names_the_wrong_file_lies(spoilt: Path) -> None:
    """The tensor is looked for where the index says, and nowhere else."""
    change_index(spoilt, lambda mapping: mapping.update({NAME: mapping["model.norm.weight"]}))
    assert weight_map(spoilt)[NAME] != weight_map(spoilt)[EMBEDDING]
    refuses(spoilt, IndexLies)


def test_a_tensor_gone_from_its_file_is_a_lie_of_the_index(spoilt: Path) -> None:
    """The file is sound and lacks it."""
    change_file(spoilt, NAME, lambda tensors: tensors.pop(NAME))
    refuses(spoilt, IndexLies)


@pytest.mark.parametrize(
    "place",
    [
        "../other/model.safetensors",
        "/etc/model.safetensors",
        "sub/model.safetensors",
        "..\\model.safetensors",
        ".safetensors",
        "model.bin",
        "pytorch_model.pkl",
        "model.safetensors\n",
        "",
        "x" * 300 + ".safetensors",
        "mo\0del.safetensors",
        7,
        None,
        ["model.safetensors"],
        {},
    ],
    ids=lambda place: repr(place)[:24],
)
def test_an_index_may_name_only_plain_files(spoilt: Path, place: object) -> None:
    """No folders, no way up, no other format, no nonsense; nothing outside is opened."""
    (spoilt.parent / "other").mkdir()
    save_file({NAME: torch.zeros(96, 64)}, spoilt.parent / "other" / "model.safetensors")
    change_index(spoilt, lambda mapping: mapping.update({NAME: place}))
    with pytest.raises((IndexLies, TensorMissing)) as caught:
        load(spoilt)
    assert caught.value.tensor == NAME
    assert isinstance(caught.value, TensorMissing) is (place is None)


def test_a_link_out_of_the_folder_is_not_followed(spoilt: Path) -> None:
    """A plain name that leads elsewhere is no plain file."""
    path = file_of(spoilt, NAME)
    path.rename(spoilt.parent / "outside.safetensors")
    path.symlink_to(spoilt.parent / "outside.safetensors")
    with pytest.raises(IndexLies, match="link"):
        load(spoilt)


@pytest.mark.parametrize("index", [b"[]", b"{", b"{}", b'{"weight_map": []}', b'{"weight_map": {"a": "b", "a": "c"}}'])
def test_a_malformed_index_is_refused(spoilt: Path, index: bytes) -> None:
    """An index that says nothing says nothing true."""
    (spoilt / INDEX).write_bytes(index)
    with pytest.raises(IndexLies):
        load(spoilt)


def test_the_index_is_bounded(spoilt: Path) -> None:
    """At the limit it is read, one byte past it not."""
    raw = (spoilt / INDEX).read_bytes()
    (spoilt / INDEX).write_bytes(raw.ljust(MAX_INDEX_BYTES))
    assert NAME in load(spoilt)
    (spoilt / INDEX).write_bytes(raw.ljust(MAX_INDEX_BYTES + 1))
    with pytest.raises(IndexLies):
        load(spoilt)


@pytest.mark.parametrize("kept", [0, 4, 200, -1])
def test_a_truncated_file_is_damaged(spoilt: Path, kept: int) -> None:
    """Cut in its length, its header, or by its last byte."""
    path = file_of(spoilt, NAME)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(FileDamaged) as caught:
        load(spoilt)
    assert caught.value.file == path.name


def test_a_header_without_end_is_damaged(spoilt: Path) -> None:
    """A length of 2^63 asks for no memory."""
    path = file_of(spoilt, NAME)
    path.write_bytes((1 << 63).to_bytes(8, "little") + path.read_bytes()[8:])
    with pytest.raises(FileDamaged):
        load(spoilt)


def test_a_wrong_shape_is_refused(spoilt: Path) -> None:
    """Also where the number of values is right."""
    change_tensor(spoilt, NAME, lambda tensor: tensor.t())
    with pytest.raises(TensorMismatch) as caught:
        load(spoilt)
    assert (caught.value.tensor, caught.value.expected, caught.value.found) == (NAME, (96, 64), (64, 96))


@pytest.mark.parametrize("dtype", [torch.float64, torch.int8, torch.int64, torch.float8_e4m3fn])
def test_a_wrong_dtype_is_refused(spoilt: Path, dtype: torch.dtype) -> None:
    """Only the three float formats are weights."""
    change_tensor(spoilt, NAME, lambda tensor: tensor.to(dtype))
    refuses(spoilt, TensorMismatch)


def test_another_dtype_than_the_manifests_is_refused(spoilt: Path) -> None:
    """An accepted format is not enough: it must be the promised one."""
    change_tensor(spoilt, NAME, lambda tensor: tensor.half())
    refuses(spoilt, TensorMismatch)


def test_one_changed_bit_is_refused(spoilt: Path) -> None:
    """The smallest change of one weight is not the manifest's model."""

    def flip(tensor: torch.Tensor) -> torch.Tensor:
        tensor.view(torch.int32)[3, 5] ^= 1
        return tensor

    change_tensor(spoilt, NAME, flip)
    refuses(spoilt, ManifestMismatch)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_weights_are_finite(spoilt: Path, value: float) -> None:
    """Even where the manifest promises the NaN."""

    def poison(tensor: torch.Tensor) -> torch.Tensor:
        tensor[2, 2] = value
        return tensor

    change_tensor(spoilt, NAME, poison)
    spec, manifest = ModelSpec.from_folder(spoilt), build_manifest(spoilt)
    with pytest.raises(TensorNotFinite) as caught:
        load_span(spoilt, spec, SPAN, manifest)
    assert caught.value.tensor == NAME
    assert load_span(spoilt, spec, Span(2, 3), manifest)


def test_a_manifest_of_another_config_is_refused(spoilt: Path) -> None:
    """The numbers that no tensor shows are promised too."""
    manifest = read_manifest(spoilt)
    config = json.loads((spoilt / "config.json").read_text())
    (spoilt / "config.json").write_text(json.dumps({**config, "rms_norm_eps": 1e-3}))
    with pytest.raises(ManifestMismatch):
        load_span(spoilt, ModelSpec.from_folder(spoilt), SPAN, manifest)
