"""The roots of an exact model's pieces: the compiled hash and the plain one agree, and nobody's word is taken for them."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from sharding.checkpoint import load_span
from sharding.errors import KernelRefused, ManifestMalformed, ManifestMismatch
from sharding.exact import weight_pieces
from sharding.exact.parameters import parameters_of
from sharding.exact.quantise import quantise
from sharding.exact.weight_pieces import TensorPlace, piece_leaf, piece_leaves, tensor_places, tensor_root
from sharding.manifest import MANIFEST_FILE, build_manifest, read_manifest, write_manifest
from sharding.manifest_tree import derive_manifest, trace_leaf
from sharding.merkle import merkle_root, merkle_verify
from sharding.random_model import write_random_model
from sharding.spec import ModelSpec
from tests.sharding.tiny import tiny

SIZES = {torch.int8: 1, torch.int16: 2, torch.int32: 4}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An exact model with its manifest."""
    made: Path = tmp_path_factory.mktemp("models")
    write_random_model(made / "float", tiny("qwen3"))
    quantise(made / "float", made / "exact")
    return made / "exact"


def refuse() -> Any:
    raise KernelRefused("no compiler")


@pytest.mark.parametrize("dtype", SIZES)
@pytest.mark.parametrize(("rows", "width"), [(1, 1), (1, 127), (1, 128), (3, 129), (5, 256), (37, 300)])
def test_both_ways_give_one_root(rows: int, width: int, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows that end in a shorter piece, one piece and many, each size of an element; and without a compiler."""
    dice = torch.Generator().manual_seed(rows * width)
    values = torch.randint(-128, 128, (rows, width), dtype=dtype, generator=dice)
    place = TensorPlace(0, 9, rows, width, SIZES[dtype])
    expected = merkle_root(list(piece_leaves(values, place)))
    assert tensor_root(values, place) == expected
    assert [piece_leaf(values, place, k) for k in range(rows * -(-width // 128))] == list(piece_leaves(values, place))
    monkeypatch.setattr(weight_pieces, "library", refuse)
    assert tensor_root(values, place) == expected


def test_the_leaf_that_disputes_need_lies_under_the_root(folder: Path) -> None:
    """With the model's numbers and the root over all pieces; the path leads there and nowhere else."""
    manifest, spec = read_manifest(folder), ModelSpec.from_folder(folder)
    tensors = load_span(folder, spec, spec.whole, manifest)
    roots = {name: tensor_root(tensors[name], place) for name, place in tensor_places(spec).items()}
    weights = weight_pieces.weights_root(spec, roots)
    assert manifest.trace == trace_leaf(parameters_of(spec), weights)
    assert merkle_verify(manifest.root, manifest.trace, manifest.trace_path())
    assert not merkle_verify(manifest.root, manifest.trace + b"\0", manifest.trace_path())


def test_other_profiles_have_no_such_leaf(folder: Path) -> None:
    """Nor roots of pieces: their numbers are not judged one by one."""
    manifest = build_manifest(folder.parent / "float")
    assert manifest.trace == b""
    assert {record.pieces for record in manifest.tensors} == {b""}


def changed(folder: Path, to: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """The same model with another manifest, its root as that manifest's own content gives it."""
    shutil.copytree(folder, to)
    content = json.loads((folder / MANIFEST_FILE).read_text())
    change(content)
    (to / MANIFEST_FILE).write_text(json.dumps(content))
    return to


def test_a_false_root_of_pieces_is_not_served(folder: Path, tmp_path: Path) -> None:
    """Its author could have honest work proven wrong: whoever loads the tensor refuses the manifest."""
    manifest, spec = read_manifest(folder), ModelSpec.from_folder(folder)
    honest = manifest.records()["blocks.1.o.weight"]
    false = [
        type(each)(each.name, each.dtype, each.shape, each.sha256, bytes(32)) if each is honest else each
        for each in manifest.tensors
    ]
    lying = derive_manifest(manifest.model, manifest.profile, spec, false)
    assert lying.root != manifest.root
    made = changed(folder, tmp_path / "lying", lambda _: None)
    write_manifest(made, lying)
    assert read_manifest(made) == lying
    with pytest.raises(ManifestMismatch, match=r"pieces of 'blocks\.1\.o\.weight'") as caught:
        load_span(made, spec, spec.whole, lying)
    assert (caught.value.expected, caught.value.found) == (bytes(32), honest.pieces)


def test_an_exact_manifest_without_its_pieces_is_refused(folder: Path, tmp_path: Path) -> None:
    """As earlier versions wrote them; so is one whose text is no hash."""
    old = changed(folder, tmp_path / "old", lambda made: made["tensors"]["embed.weight"].pop("pieces"))
    with pytest.raises(ManifestMismatch, match="build it again"):
        read_manifest(old)
    bad = changed(folder, tmp_path / "bad", lambda made: made["tensors"]["embed.weight"].update(pieces="0x12"))
    with pytest.raises(ManifestMalformed, match="no hash"):
        read_manifest(bad)
    other = changed(folder, tmp_path / "other", lambda made: made["tensors"]["embed.weight"].update(pieces="00" * 32))
    with pytest.raises(ManifestMismatch, match="root"):
        read_manifest(other)
