"""Breaking a checkpoint in one place."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor

INDEX = "model.safetensors.index.json"


def weight_map(folder: Path) -> dict[str, str]:
    return dict(json.loads((folder / INDEX).read_text())["weight_map"])


def change_index(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Let change work on the weight map and write the index again."""
    mapping: dict[str, Any] = dict(weight_map(folder))
    change(mapping)
    (folder / INDEX).write_text(json.dumps({"weight_map": mapping}))


def file_of(folder: Path, tensor: str) -> Path:
    return folder / weight_map(folder)[tensor]


def change_file(folder: Path, tensor: str, change: Callable[[dict[str, Tensor]], object]) -> None:
    """Let change work on the tensors of the file that holds this one; the index stays as it is."""
    path = file_of(folder, tensor)
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)


def change_tensor(folder: Path, tensor: str, change: Callable[[Tensor], Tensor]) -> None:
    change_file(folder, tensor, lambda tensors: tensors.update({tensor: change(tensors[tensor]).contiguous()}))
