"""Tiny random checkpoints, one of each kind per test session, and folders of them that a test may spoil."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from sharding.random_model import RandomShape, write_random_model
from tests.sharding.tiny import TINY_FILE_BYTES, tiny

Models = Callable[..., Path]


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    """Small matrices are slower on several threads, and sums in one order are the same every time."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    """models("qwen2", ...) is a folder with that random model in several files; read it, do not write into it."""
    made: dict[str, Path] = {}

    def model(family: str = "llama", **more: object) -> Path:
        shape = tiny(family, **more)
        key = repr(shape)
        if key not in made:
            made[key] = _write(tmp_path_factory.mktemp(family), shape)
        return made[key]

    return model


@pytest.fixture
def spoilt(models: Models, tmp_path: Path) -> Path:
    """A copy of the tiny Llama that the test may break."""
    return Path(shutil.copytree(models(), tmp_path / "model"))


def _write(folder: Path, shape: RandomShape) -> Path:
    return write_random_model(folder, shape, seed=11, max_file_bytes=TINY_FILE_BYTES)
