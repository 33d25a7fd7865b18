"""Finding and reading single tensors in a folder of safetensors files. No other format is ever opened.

An index is a stranger's word: it may name only files that lie in the folder itself, and what it says is checked
against the files. Files that hold nothing of what is wanted are not touched and need not exist.
"""

import re
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from sharding.errors import FileDamaged, IndexLies, TensorMismatch, TensorMissing
from sharding.strict_json import BadJson, read_json_object
from sharding.tensors import Shape, Shapes

SINGLE_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"
MAX_INDEX_BYTES = 32 << 20
_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}\.safetensors", re.ASCII)


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """One tensor as it lies in the file: dtype is safetensors' name for it, values has the bytes unchanged."""

    name: str
    dtype: str
    values: Tensor


def read_tensors(folder: Path, shapes: Shapes, dtypes: Collection[str]) -> Iterator[StoredTensor]:
    """Yield each named tensor once, file by file; dtypes has the names that are accepted.

    Raises CheckpointError's leaves, before reading a wrong tensor.
    """
    for path, names in locate(folder, shapes).items():
        with _opened(path) as file:
            present = set(file.keys())
            for name in names:
                if name not in present:
                    message = f"{path.name} does not hold {name!r}, where it should be"
                    raise IndexLies(message, tensor=name, file=path.name)
                yield _read(file, name, shapes[name], dtypes)


def holds_tensor(folder: Path, name: str) -> bool:
    """Whether the folder's index, or its only file, knows the name. Raises IndexLies, FileDamaged."""
    weight_map = _weight_map(folder.resolve())
    if weight_map is not None:
        return name in weight_map
    path = folder.resolve() / SINGLE_FILE
    if not path.exists():
        return False
    with _opened(path) as file:
        return name in file.keys()  # noqa: SIM118 - no mapping


def locate(folder: Path, names: Iterable[str]) -> dict[Path, list[str]]:
    """Which of the names lies in which file. Raises TensorMissing, IndexLies."""
    folder = folder.resolve()
    weight_map = _weight_map(folder)
    places: dict[Path, list[str]] = {}
    for name in names:
        file_name = SINGLE_FILE if weight_map is None else weight_map.get(name)
        if file_name is None:
            raise TensorMissing(f"the index does not know {name!r}: pull the checkpoint again", tensor=name)
        places.setdefault(_inside(folder, file_name, name), []).append(name)
    return places


def _weight_map(folder: Path) -> dict[str, Any] | None:
    try:
        weight_map = read_json_object(folder / INDEX_FILE, MAX_INDEX_BYTES).get("weight_map")
    except FileNotFoundError:
        return None
    except BadJson as error:
        raise IndexLies(str(error), file=INDEX_FILE) from error
    if not isinstance(weight_map, dict):
        raise IndexLies(f"{INDEX_FILE} has no weight_map", file=INDEX_FILE)
    return weight_map


def _inside(folder: Path, file_name: object, tensor: str) -> Path:
    shown = str(file_name)[:80]
    if not isinstance(file_name, str) or not _FILE_NAME.fullmatch(file_name):
        raise IndexLies(f"the index puts {tensor!r} into {shown!r}: no plain safetensors file name", tensor=tensor)
    path = folder / file_name
    if not path.exists():
        message = f"{shown} is missing, it should hold {tensor!r}: pull the span's files"
        raise TensorMissing(message, tensor=tensor, file=file_name)
    if path.resolve().parent != folder:
        raise IndexLies(f"{shown} is a link that leaves the model's folder", tensor=tensor, file=file_name)
    return path


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            yield file
    except (SafetensorError, OSError) as error:
        raise FileDamaged(f"{path.name} cannot be read: {error}", file=path.name) from error


def _read(file: Any, name: str, shape: Shape, dtypes: Collection[str]) -> StoredTensor:
    header = file.get_slice(name)
    found, dtype = tuple(header.get_shape()), str(header.get_dtype())
    if found != shape:
        raise TensorMismatch(name, "shape", shape, found)
    if dtype not in dtypes:
        raise TensorMismatch(name, "dtype", " or ".join(dtypes), dtype)
    # A copy: the file is mapped, and whoever writes to it later must not write to what was checked.
    return StoredTensor(name, dtype, file.get_tensor(name).clone())
