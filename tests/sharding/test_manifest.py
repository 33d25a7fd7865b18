"""The manifest: one root for a model down to its last byte, believed only when derived again."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from sharding.errors import CheckpointError, ManifestMalformed, ManifestMismatch, TensorMismatch, TensorMissing
from sharding.manifest import MANIFEST_FILE, MAX_MANIFEST_BYTES, build_manifest, read_manifest, write_manifest
from sharding.manifest_tree import DOMAIN, TensorRecord, derive_manifest, model_leaves, tensor_hash
from sharding.merkle import merkle_proof, merkle_root, merkle_verify
from sharding.random_model import write_random_model
from sharding.spec import ModelSpec
from sharding.tensors import EMBEDDING, block_tensors
from tests.sharding.conftest import Models
from tests.sharding.spoil import change_tensor, file_of
from tests.sharding.tiny import BLOCKS, tiny

NAME = "model.layers.2.self_attn.k_proj.weight"


def edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads((folder / MANIFEST_FILE).read_text())
    change(content)
    (folder / MANIFEST_FILE).write_text(json.dumps(content))


def test_what_is_written_is_read(models: Models, tmp_path: Path) -> None:
    """Nothing is lost, and the same manifest is the same file."""
    manifest = build_manifest(models(), model="tiny")
    (tmp_path / "config.json").write_bytes((models() / "config.json").read_bytes())
    write_manifest(tmp_path, manifest)
    once = (tmp_path / MANIFEST_FILE).read_bytes()
    write_manifest(tmp_path, manifest)

    assert read_manifest(tmp_path) == manifest
    assert (tmp_path / MANIFEST_FILE).read_bytes() == once
    assert (manifest.model, manifest.profile, len(manifest.block_roots)) == ("tiny", "float32", BLOCKS)


def test_hashes_are_sha256_of_the_stored_bytes(models: Models) -> None:
    """Anyone can check one with sha256sum."""
    record = build_manifest(models()).records()[NAME]
    tensor = load_file(file_of(models(), NAME))[NAME]

    assert record == TensorRecord(NAME, "F32", (32, 64), hashlib.sha256(tensor.numpy().tobytes()).digest())


def test_a_view_hashes_like_its_copy() -> None:
    """Row-major order, whatever the strides."""
    tensor = torch.arange(12, dtype=torch.bfloat16).view(3, 4)
    assert tensor_hash(tensor.t()) == tensor_hash(tensor.t().contiguous()) != tensor_hash(tensor)


def test_files_do_not_matter_values_do(tmp_path: Path) -> None:
    """One file or many: one root. Another seed or dtype: another."""

    def root(name: str, **more: Any) -> bytes:
        return read_manifest(write_random_model(tmp_path / name, tiny(), **more)).root

    base = root("a", seed=1)
    assert root("b", seed=1, max_file_bytes=100_000) == base
    assert len({base, root("c", seed=2), root("d", seed=1, dtype=torch.float16)}) == 3


def test_one_weight_changes_its_blocks_root_and_no_other(spoilt: Path) -> None:
    """Whoever serves other blocks serves the same bytes as before; the model is another."""
    before = build_manifest(spoilt)
    change_tensor(spoilt, NAME, lambda tensor: tensor * 2)
    after = build_manifest(spoilt)

    changed = [one != other for one, other in zip(before.block_roots, after.block_roots, strict=True)]
    assert changed == [False, False, True, False]
    assert (after.embed_root, after.head_root) == (before.embed_root, before.head_root)
    assert after.root != before.root


def test_a_tied_embedding_is_in_both_ends(spoilt: Path) -> None:
    """Changing it changes what the first and the last stage hold."""
    before = build_manifest(spoilt)
    change_tensor(spoilt, EMBEDDING, lambda tensor: tensor * 2)
    after = build_manifest(spoilt)

    assert before.embed_root != after.embed_root
    assert before.head_root != after.head_root
    assert before.block_roots == after.block_roots


def test_profile_and_spec_are_in_the_root_and_the_label_is_not(models: Models, spoilt: Path) -> None:
    """The same weights under other arithmetic or other numbers are another model."""
    base = build_manifest(models())
    config = json.loads((spoilt / "config.json").read_text())
    (spoilt / "config.json").write_text(json.dumps({**config, "rms_norm_eps": 1e-3}))

    assert build_manifest(models(), model="renamed").root == base.root
    assert build_manifest(models(), profile="other").root != base.root
    assert build_manifest(spoilt).root != base.root
    assert build_manifest(spoilt).block_roots == base.block_roots


def test_a_block_can_be_proven_against_the_root(models: Models) -> None:
    """As a contract does it: tensor in block, block in model; and never at another block's place."""
    manifest, spec = build_manifest(models()), ModelSpec.from_folder(models())
    leaves = model_leaves("float32", spec.digest(), manifest.embed_root, manifest.block_roots, manifest.head_root)
    records = manifest.records()
    block = [records[name].leaf() for name in sorted(block_tensors(spec, 2))]
    proof = merkle_proof(leaves, 3 + 2)

    assert merkle_root(block) == manifest.block_roots[2]
    assert leaves[5] == DOMAIN + b"block" + (2).to_bytes(4, "big") + manifest.block_roots[2]
    assert merkle_verify(manifest.root, leaves[5], proof)
    assert not merkle_verify(manifest.root, DOMAIN + b"block" + (1).to_bytes(4, "big") + manifest.block_roots[2], proof)


def test_the_leafs_encoding_is_fixed() -> None:
    """A golden vector by hand."""
    assert TensorRecord("ab", "BF16", (3, 256), bytes(range(32))).leaf() == (
        b"\x00\x02ab\x02\x02" + (3).to_bytes(8, "big") + (256).to_bytes(8, "big") + bytes(range(32))
    )


def test_progress_ends_at_the_total(models: Models) -> None:
    """It rises with every tensor and names the model's size in weights."""
    seen: list[tuple[int, int]] = []
    build_manifest(models(), lambda done, total: seen.append((done, total)))

    assert [done for done, _ in seen] == sorted({done for done, _ in seen})
    assert {total for _, total in seen} == {seen[-1][0]}


Change = Callable[[dict[str, Any]], object]
LIES: dict[str, Change] = {
    "root": lambda m: m.update(root="00" * 32),
    "embed": lambda m: m.update(embed=m["head"]),
    "head": lambda m: m.update(head=m["embed"]),
    "block": lambda m: m["blocks"].reverse(),
    "fewer blocks": lambda m: m["blocks"].pop(),
    "more blocks": lambda m: m["blocks"].append("00" * 32),
    "spec": lambda m: m.update(spec="00" * 32),
    "profile": lambda m: m.update(profile="exact"),
    "hash": lambda m: m["tensors"][NAME].update(sha256="00" * 32),
    "dtype": lambda m: m["tensors"][NAME].update(dtype="F16"),
    "surplus": lambda m: m["tensors"].update(surplus=m["tensors"][NAME]),
}


@pytest.mark.parametrize("lie", LIES)
def test_no_root_is_believed(spoilt: Path, lie: str) -> None:
    """A manifest whose parts do not fit is refused, whichever part it is."""
    edit(spoilt, LIES[lie])
    with pytest.raises(ManifestMismatch):
        read_manifest(spoilt)


def test_a_manifest_must_be_complete(spoilt: Path) -> None:
    """A tensor left out or of another shape is no smaller model."""
    manifest = build_manifest(spoilt)
    spec, records = ModelSpec.from_folder(spoilt), manifest.records()
    with pytest.raises(TensorMissing):
        derive_manifest("m", "p", spec, [record for name, record in records.items() if name != NAME])
    with pytest.raises(TensorMismatch):
        derive_manifest("m", "p", spec, [replace(r, shape=r.shape[::-1]) for r in records.values()])


MALFORMED: dict[str, Change] = {
    "format": lambda m: m.update(format="tallystick-manifest-2"),
    "missing": lambda m: m.pop("head"),
    "unknown": lambda m: m.update(extra=1),
    "short hash": lambda m: m.update(root=m["root"][:-2]),
    "capital hash": lambda m: m.update(root="AB" * 32),
    "number": lambda m: m.update(root=7),
    "dtype": lambda m: m["tensors"][NAME].update(dtype="I8"),
    "empty label": lambda m: m.update(model=""),
    "endless label": lambda m: m.update(model="x" * 201),
    "null": lambda m: m.update(tensors=None),
}


@pytest.mark.parametrize("change", MALFORMED)
def test_a_malformed_manifest_is_refused(spoilt: Path, change: str) -> None:
    """By a name of its own, not by an exception of the parser."""
    edit(spoilt, MALFORMED[change])
    with pytest.raises(ManifestMalformed):
        read_manifest(spoilt)


@pytest.mark.parametrize("shape", [[-1, 64], [1 << 70, 64], [], [32, 64, 1], ["32", 64], [True, 64]], ids=str)
def test_an_absurd_shape_is_refused(spoilt: Path, shape: list[Any]) -> None:
    """Before anything of that size is made."""
    edit(spoilt, lambda m: m["tensors"][NAME].update(shape=shape))
    with pytest.raises(CheckpointError):
        read_manifest(spoilt)


@pytest.mark.parametrize("raw", [b"", b"[]", b"\xff", b"{}", b'{"a":' * 100_000])
def test_rubbish_is_no_manifest(spoilt: Path, raw: bytes) -> None:
    """Nor is a file that is not there."""
    (spoilt / MANIFEST_FILE).write_bytes(raw)
    with pytest.raises(ManifestMalformed):
        read_manifest(spoilt)
    (spoilt / MANIFEST_FILE).unlink()
    with pytest.raises(ManifestMalformed):
        read_manifest(spoilt)


def test_the_file_is_bounded(spoilt: Path) -> None:
    """At the limit it is read, one byte past it not."""
    path = spoilt / MANIFEST_FILE
    raw = path.read_bytes()
    path.write_bytes(raw.ljust(MAX_MANIFEST_BYTES))
    assert read_manifest(spoilt).root
    path.write_bytes(raw.ljust(MAX_MANIFEST_BYTES + 1))
    with pytest.raises(ManifestMalformed, match="larger"):
        read_manifest(spoilt)
