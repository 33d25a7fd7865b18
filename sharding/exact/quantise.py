"""From a float checkpoint to an exact model, block by block: SPEC.md section 5. The same bytes wherever it is run."""

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import save_file

from sharding.checkpoint import load_tensors
from sharding.config_file import CONFIG_FILE
from sharding.errors import CheckpointError, UnsupportedModel
from sharding.exact.arithmetic import MAX_EXACT_POSITIONS
from sharding.exact.block_weights import Arrays, quantise_block, quantise_embedding, quantise_head
from sharding.exact.layout import EMBED_WEIGHT, EXACT_PROFILE, ROPE_TABLE
from sharding.exact.rope_table import rope_table
from sharding.manifest import MANIFEST_FILE, Manifest, build_manifest, read_manifest, write_manifest
from sharding.spec import ModelSpec
from sharding.tensors import EMBEDDING, Shapes, block_tensors, embedding_tensors, head_tensors
from sharding.weight_files import INDEX_FILE, holds_tensor

COMPANIONS = ("tokenizer.json", "tokenizer_config.json", "generation_config.json", "special_tokens_map.json")
Progress = Callable[[int, int], None]  # weights done, weights in all


def quantise(source: Path, target: Path, progress: Progress | None = None, *, model: str | None = None) -> Manifest:
    """Write the exact model of a checkpoint's folder into a new folder, whole or not at all.

    Peak memory is about one block's tensors. Raises ConfigError, UnsupportedModel, CheckpointError and its leaves,
    ScaleOutOfRange.
    """
    source, target = Path(source), Path(target)
    spec = ModelSpec.from_folder(source)
    _check_supported(spec, source)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise CheckpointError(f"{target} is there already: choose a folder that is new or empty", file=target.name)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{target.name}-", dir=target.parent) as draft:
        folder = Path(draft) / "model"
        folder.mkdir()
        manifest = _write(source, folder, spec, progress, model or source.resolve().name)
        if target.exists():
            target.rmdir()
        os.replace(folder, target)
    return manifest


def _check_supported(spec: ModelSpec, source: Path) -> None:
    if spec.max_positions > MAX_EXACT_POSITIONS:
        message = (
            f"{spec.max_positions} positions: the exact profile has {MAX_EXACT_POSITIONS}; serve the model in float32"
        )
        raise UnsupportedModel(message, key="max_position_embeddings", value=spec.max_positions)
    if holds_tensor(source, EMBED_WEIGHT):
        raise UnsupportedModel(
            f"{source.name} is an exact model already: serve it as it is", key="model", value=source.name
        )


def _write(source: Path, folder: Path, spec: ModelSpec, progress: Progress | None, model: str) -> Manifest:
    reader = _Source(source, spec, read_manifest(source) if (source / MANIFEST_FILE).exists() else None)
    weight_map: dict[str, str] = {}
    done, total = 0, reader.total()
    for part in _parts(reader):
        save_file(part.tensors, folder / part.file)
        weight_map |= dict.fromkeys(part.tensors, part.file)
        done += part.read
        if progress is not None:
            progress(done, total)
    index = {"metadata": {"format": "tallystick exact"}, "weight_map": dict(sorted(weight_map.items()))}
    (folder / INDEX_FILE).write_text(json.dumps(index, indent=1) + "\n", encoding="utf-8")
    shutil.copyfile(source / CONFIG_FILE, folder / CONFIG_FILE)
    for name in COMPANIONS:
        if (source / name).exists():
            shutil.copyfile(source / name, folder / name)
    manifest = build_manifest(folder, model=model, profile=EXACT_PROFILE)
    write_manifest(folder, manifest)
    return manifest


@dataclass(frozen=True, slots=True)
class _Part:
    """One file of the result, and how many weights of the source went into it."""

    file: str
    tensors: Arrays
    read: int


@dataclass(frozen=True, slots=True)
class _Source:
    folder: Path
    spec: ModelSpec
    manifest: Manifest | None

    def load(self, shapes: Shapes) -> dict[str, NDArray[np.float32]]:
        if self.manifest is not None:
            self.manifest.check_spec(self.spec)
        tensors = load_tensors(self.folder, shapes, self.manifest, dtype=torch.float32)
        return {name: tensor.numpy() for name, tensor in tensors.items()}

    def head_shapes(self) -> Shapes:
        """The embedding comes once more where it is tied: its columns are needed for the norm."""
        return head_tensors(self.spec)

    def total(self) -> int:
        shapes = [embedding_tensors(self.spec), self.head_shapes()]
        shapes += [block_tensors(self.spec, index) for index in range(self.spec.num_blocks)]
        return sum(_size(each) for each in shapes)


def _size(shapes: Shapes) -> int:
    return sum(prod(shape) for shape in shapes.values())


def _parts(source: _Source) -> Iterator[_Part]:
    spec, shapes = source.spec, embedding_tensors(source.spec)
    embedding = quantise_embedding(source.load(shapes)[EMBEDDING])
    yield _Part("embed.safetensors", embedding, _size(shapes))
    yield _Part("rope.safetensors", {ROPE_TABLE: rope_table(spec)}, 0)
    for index in range(spec.num_blocks):
        shapes = block_tensors(spec, index)
        yield _Part(f"block-{index:04d}.safetensors", quantise_block(spec, index, source.load(shapes)), _size(shapes))
    shapes = source.head_shapes()
    wanted = {name: shape for name, shape in shapes.items() if not (spec.tied_embeddings and name == EMBEDDING)}
    yield _Part("head.safetensors", quantise_head(spec, source.load(wanted), embedding), _size(shapes))
