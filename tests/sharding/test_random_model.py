"""Random checkpoints: the right sizes, the same for the same seed."""

from pathlib import Path

import torch
from safetensors.torch import load_file

from sharding.manifest import read_manifest
from sharding.random_model import RandomShape, write_random_model
from sharding.spec import ModelSpec
from tests.sharding.tiny import tiny


def test_the_seed_decides(tmp_path: Path) -> None:
    """Twice the same root, and a caller's random state that did not move."""
    state = torch.get_rng_state()
    roots = [
        read_manifest(write_random_model(tmp_path / name, tiny(), seed=seed)).root
        for name, seed in zip("abc", (1, 1, 2), strict=True)
    ]

    assert roots[0] == roots[1] != roots[2]
    assert torch.equal(torch.get_rng_state(), state)


def test_gains_are_not_all_one(tmp_path: Path) -> None:
    """A norm that is forgotten would otherwise not show."""
    folder = write_random_model(tmp_path, tiny())
    gains = load_file(folder / "model.safetensors")["model.norm.weight"]
    assert gains.std() > 0.01


def test_the_benchmarks_shape_has_ninety_seven_million(tmp_path: Path) -> None:
    """Counted from the spec alone: nothing of that size is written here."""
    from math import prod

    from sharding.tensors import span_tensors

    shape = RandomShape()
    config = {name: getattr(shape, name) for name in shape.__slots__ if name not in ("family", "more")}
    spec = ModelSpec.from_config({**config, "model_type": shape.family, "rms_norm_eps": 1e-5})
    assert sum(prod(size) for size in span_tensors(spec, spec.whole).values()) == 97_536_768
