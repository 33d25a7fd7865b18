"""From a float checkpoint to an exact model, block by block: SPEC.md section 5. The same bytes wherever it is run."""

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.numpy import save_file

from sharding.checkpoint import load_tensors
from sharding.config_file import CONFIG_FILE
from sharding.errors import CheckpointError, UnsupportedModel
from sharding.exact.block_weights import Arrays, Floats, quantise_block, quantise_embedding, quantise_head
from sharding.exact.layout import EMBED_WEIGHT, EXACT_PROFILE, ROPE_TABLE
from sharding.exact.load import check_exact
from sharding.exact.rope_table import rope_table
from sharding.manifest import FLOAT_PROFILE, MANIFEST_FILE, Manifest, build_manifest, read_manifest, write_manifest
from sharding.spec import ModelSpec
from sharding.tensors import EMBEDDING, Shapes, block_tensors, embedding_tensors, head_tensors
from sharding.weight_files import INDEX_FILE, holds_tensor

COMPANIONS = ("tokenizer.json", "tokenizer_config.json", "generation_config.json", "special_tokens_map.json")
Progress = Callable[[int, int], None]  # weights done, weights in all


def quantise(
    source: Path,
    target: Path,
    progress: Progress | None = None,
    *,
    model: str | None = None,
    manifest: Manifest | None = None,
) -> Manifest:
    """Write the exact model of a checkpoint's folder into a new folder, whole or not at all.

    Peak memory is about one block's tensors. manifest is the source's, where its
    folder holds none: every tensor is held to it. model is the manifest's label, without it the source's own. Raises ConfigError,
    UnsupportedModel, CheckpointError (the target is in use or cannot be written) and its leaves, ScaleOutOfRange.
    """
    source, target = Path(source), Path(target).resolve()
    reader = _Source.open(source, manifest)
    with _whole_or_not_at_all(target) as folder:
        return _write(reader, folder, progress, model or reader.label())


@contextmanager
def _whole_or_not_at_all(target: Path) -> Iterator[Path]:
    """A draft beside the target, which takes the target's name once the block has ended well."""
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise CheckpointError(f"{target} is there already: choose a folder that is new or empty", file=target.name)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{target.name}-", dir=target.parent) as draft:
            folder = Path(draft) / "model"
            folder.mkdir()
            yield folder
            if target.exists():
                target.rmdir()
            os.replace(folder, target)
    except (OSError, SafetensorError) as error:
        message = f"{target} cannot be written: {error}; make room there or choose another folder"
        raise CheckpointError(message, file=target.name) from error


def _write(reader: "_Source", folder: Path, progress: Progress | None, label: str) -> Manifest:
    weight_map: dict[str, str] = {}
    done, total = 0, reader.total()
    for part in _parts(reader):
        save_file(part.tensors, folder / part.file)
        (folder / part.file).chmod(0o644)  # save_file keeps them to their owner
        weight_map |= dict.fromkeys(part.tensors, part.file)
        done += part.read
        if progress is not None:
            progress(done, total)
    index = {"metadata": {"format": "tallystick exact"}, "weight_map": dict(sorted(weight_map.items()))}
    (folder / INDEX_FILE).write_text(json.dumps(index, indent=1) + "\n", encoding="utf-8")
    for name in (CONFIG_FILE, *COMPANIONS):
        if (reader.folder / name).exists():
            shutil.copyfile(reader.folder / name, folder / name)
    manifest = build_manifest(folder, model=label, profile=EXACT_PROFILE)
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

    @classmethod
    def open(cls, folder: Path, manifest: Manifest | None) -> "_Source":
        """Everything that can be refused before a weight is read."""
        spec = ModelSpec.from_folder(folder)
        check_exact(spec)
        if manifest is None and (folder / MANIFEST_FILE).exists():
            manifest = read_manifest(folder)
        if holds_tensor(folder, EMBED_WEIGHT) or (manifest is not None and manifest.profile != FLOAT_PROFILE):
            message = f"{folder.name} is an exact model already: serve it as it is"
            raise UnsupportedModel(message, key="model", value=folder.name)
        return cls(folder, spec, manifest)

    def label(self) -> str:
        return self.folder.resolve().name if self.manifest is None else self.manifest.model

    def load(self, shapes: Shapes) -> Floats:
        tensors = load_tensors(self.folder, shapes, self.manifest, dtype=torch.float32)
        return {name: tensor.numpy() for name, tensor in tensors.items()}

    def head_shapes(self) -> Shapes:
        """A tied matrix has been read as the embedding."""
        return {name: shape for name, shape in head_tensors(self.spec).items() if name != EMBEDDING}

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
    del embedding[EMBED_WEIGHT]  # written, and hundreds of megabytes; a tied head needs only column and shift
    yield _Part("rope.safetensors", {ROPE_TABLE: rope_table(spec)}, 0)
    for index in range(spec.num_blocks):
        shapes = block_tensors(spec, index)
        yield _Part(f"block-{index:04d}.safetensors", quantise_block(spec, index, source.load(shapes)), _size(shapes))
    shapes = source.head_shapes()
    yield _Part("head.safetensors", quantise_head(spec, source.load(shapes), embedding), _size(shapes))
