"""From a checkpoint's folder to an exact model's: the same bytes every time, whole or not at all, and nothing broken gets in."""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from sharding.errors import (
    CheckpointError,
    ConfigError,
    FileDamaged,
    IndexLies,
    ManifestMismatch,
    ScaleOutOfRange,
    ShardingError,
    TensorMismatch,
    TensorMissing,
    TensorNotFinite,
    UnsupportedModel,
)
from sharding.exact import equalise
from sharding.exact import quantise as module
from sharding.exact.arithmetic import MAX_EXACT_POSITIONS
from sharding.exact.engine import ExactEngine
from sharding.exact.layout import EXACT_PROFILE, span_slots
from sharding.exact.load import check_exact
from sharding.exact.quantise import COMPANIONS, quantise
from sharding.float_engine import FloatEngine
from sharding.manifest import MANIFEST_FILE, build_manifest, read_manifest
from sharding.random_model import write_random_model
from sharding.spec import ModelSpec
from tests.sharding.chains import feed, open_all
from tests.sharding.conftest import Models
from tests.sharding.exact.random_span import small_spec
from tests.sharding.spoil import INDEX, change_index, change_tensor, file_of
from tests.sharding.tiny import tiny

DEMO = Path(__file__).parents[3] / "models" / "demo"
DEMO_EXACT = DEMO.with_name("demo-exact")
NAME = "model.layers.1.mlp.up_proj.weight"


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@contextmanager
def refused(error: type[ShardingError], folder: Path) -> Iterator[None]:
    """The error is raised, and the folder holds what it held before."""
    before = sorted(folder.rglob("*"))
    with pytest.raises(error):
        yield
    assert sorted(folder.rglob("*")) == before


def test_quantising_the_demonstration_model_gives_its_committed_root(tmp_path: Path) -> None:
    """Two machines agree: this one makes, hash for hash, what is in the repository and was made on another."""
    made, committed = quantise(DEMO, tmp_path / "model"), read_manifest(DEMO_EXACT)

    assert made.root == committed.root
    assert made == committed
    assert contents(DEMO_EXACT).keys() - contents(tmp_path / "model").keys() == {"README.md"}


def test_the_committed_exact_model_is_its_manifests() -> None:
    """Its weights, built into a manifest again, are the ones promised."""
    assert build_manifest(DEMO_EXACT, model="tallystick-demo") == read_manifest(DEMO_EXACT)


def test_the_result_is_a_model_of_the_exact_profile(models: Models, tmp_path: Path) -> None:
    """Its manifest is the folder's own, believed when read and found again when built; the tensors are the layout's."""
    made = quantise(models("qwen3"), tmp_path / "new" / "model", model="label")

    assert (
        made == read_manifest(tmp_path / "new" / "model") == build_manifest(tmp_path / "new" / "model", model="label")
    )
    assert (made.profile, made.model) == (EXACT_PROFILE, "label")
    spec = ModelSpec.from_folder(models("qwen3"))
    assert {each.name: (each.dtype, each.shape) for each in made.tensors} == {
        name: (slot.dtype, slot.shape) for name, slot in span_slots(spec, spec.whole).items()
    }


def test_pieces_and_threads_do_not_show(models: Models, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two runs write the same bytes, however many rows are worked on at a time and threads there are."""
    quantise(models("qwen2"), tmp_path / "a")
    monkeypatch.setattr(equalise, "PIECE_ELEMENTS", 200)
    torch.set_num_threads(2)
    try:
        quantise(models("qwen2"), tmp_path / "b", model=read_manifest(tmp_path / "a").model)
    finally:
        torch.set_num_threads(1)

    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_how_the_same_weights_are_stored_does_not_show(tmp_path: Path) -> None:
    """One file or several, bfloat16 or the same numbers in float32, with a manifest or without: one root."""
    several = write_random_model(tmp_path / "several", tiny(), dtype=torch.bfloat16, max_file_bytes=100_000)
    tensors = {name: each.float() for path in several.glob("*.safetensors") for name, each in load_file(path).items()}
    (tmp_path / "one").mkdir()
    shutil.copyfile(several / "config.json", tmp_path / "one" / "config.json")
    save_file(tensors, tmp_path / "one" / "model.safetensors")

    assert quantise(several, tmp_path / "a").root == quantise(tmp_path / "one", tmp_path / "b").root


def test_what_belongs_to_the_model_comes_along(models: Models, tmp_path: Path) -> None:
    """config.json and the tokenizer's files, byte for byte; other files stay where they are."""
    source = Path(shutil.copytree(models(), tmp_path / "source"))
    for name in (*COMPANIONS, "pytorch_model.bin", "script.py"):
        (source / name).write_text(name)
    quantise(source, tmp_path / "model")
    made = contents(tmp_path / "model")

    assert {name: made[name].decode() for name in COMPANIONS} == {name: name for name in COMPANIONS}
    assert made["config.json"] == (source / "config.json").read_bytes()
    others = {name for name in made if not name.endswith(".safetensors")}
    assert others == {*COMPANIONS, "config.json", INDEX, MANIFEST_FILE}


def test_one_block_is_read_at_a_time(models: Models, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory holds a block's weights or the embedding's, never the model's, and no weight is read twice."""
    asked: list[str] = []
    load = module.load_tensors

    def watched(folder: Path, shapes: Any, *rest: Any, **more: Any) -> Any:
        assert len({name.split(".")[2] for name in shapes if ".layers." in name}) <= 1
        assert "model.embed_tokens.weight" not in shapes or len(shapes) == 1
        asked.extend(shapes)
        return load(folder, shapes, *rest, **more)

    monkeypatch.setattr(module, "load_tensors", watched)
    quantise(models(), tmp_path / "model")

    assert sorted(asked) == sorted(build_manifest(models()).records())


@pytest.mark.parametrize("tied", [True, False])
def test_progress_ends_at_the_total(models: Models, tmp_path: Path, tied: bool) -> None:
    """It never falls and ends at the model's size in weights."""
    seen: list[tuple[int, int]] = []
    quantise(models(tied=tied), tmp_path / "model", lambda done, total: seen.append((done, total)))
    weights = sum(torch.Size(each.shape).numel() for each in read_manifest(models(tied=tied)).tensors)

    assert seen == sorted(seen)
    assert {total for _, total in seen} == {seen[-1][0]} == {weights}


@pytest.mark.parametrize(
    ("family", "more"),
    [("llama", {"attention_bias": True, "mlp_bias": True}), ("mistral", {"tied": False}), ("qwen2", {}), ("qwen3", {})],
)
def test_the_exact_model_says_what_the_float_model_says(
    models: Models, tmp_path: Path, family: str, more: dict[str, Any]
) -> None:
    """Logits after twelve tokens differ by what rounding to eight bits does to four blocks of random weights."""
    source = models(family, **more)
    quantise(source, tmp_path / "model")
    spec = ModelSpec.from_folder(source)
    logits = []
    exact = ExactEngine.from_folder(tmp_path / "model", spec.whole, kernel="reference")
    for engine in (FloatEngine.from_folder(source, spec.whole), exact):
        open_all([engine], b"s", 12)
        logits.append(feed([engine], b"s", torch.arange(3, 15) * 7).double())
    wanted, made = logits[0], logits[1] / 65536

    assert (made - wanted).norm() / wanted.norm() < 0.05


def test_the_target_may_be_an_empty_folder(models: Models, tmp_path: Path) -> None:
    """Such as one that was made for it."""
    (tmp_path / "model").mkdir()

    assert quantise(models(), tmp_path / "model") == read_manifest(tmp_path / "model")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


@pytest.mark.parametrize("inside", [True, False])
def test_a_target_in_use_is_refused(models: Models, tmp_path: Path, inside: bool) -> None:
    """A folder with something in it, or a file: nothing of anybody's is overwritten."""
    if inside:
        (tmp_path / "model").mkdir()
    (tmp_path / "model" / "diary" if inside else tmp_path / "model").write_text("dear diary")
    with refused(CheckpointError, tmp_path):
        quantise(models(), tmp_path / "model")


def test_a_target_that_cannot_be_written_is_refused(models: Models, tmp_path: Path) -> None:
    """By the package's own error: here a file stands where a folder would have to be."""
    (tmp_path / "file").write_text("")
    with refused(CheckpointError, tmp_path):
        quantise(models(), tmp_path / "file" / "model")


def test_a_run_that_ends_halfway_leaves_nothing(models: Models, tmp_path: Path) -> None:
    """Whatever ended it, no folder looks finished."""

    def interrupt(done: int, total: int) -> None:
        if done > total / 2:
            assert not (tmp_path / "model").exists()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        quantise(models(), tmp_path / "model", interrupt)
    assert list(tmp_path.iterdir()) == []


def without_manifest(folder: Path, change: Callable[[torch.Tensor], torch.Tensor]) -> None:
    change_tensor(folder, NAME, change)
    (folder / MANIFEST_FILE).unlink()


def set_config(folder: Path, **values: object) -> None:
    (folder / "config.json").write_text(json.dumps(json.loads((folder / "config.json").read_text()) | values))
    (folder / MANIFEST_FILE).unlink(missing_ok=True)


def poison(value: float) -> Callable[[torch.Tensor], torch.Tensor]:
    return lambda tensor: tensor.index_fill(1, torch.tensor([5]), value)


def cut(folder: Path) -> None:
    path = file_of(folder, NAME)
    path.write_bytes(path.read_bytes()[:-1])


SPOILT: dict[str, tuple[type[ShardingError], Callable[[Path], object]]] = {
    "not a number": (TensorNotFinite, lambda f: without_manifest(f, poison(float("nan")))),
    "infinity": (TensorNotFinite, lambda f: without_manifest(f, poison(float("-inf")))),
    "float64": (TensorMismatch, lambda f: without_manifest(f, torch.Tensor.double)),
    "integers": (TensorMismatch, lambda f: without_manifest(f, lambda t: t.to(torch.int8))),
    "rank 3": (TensorMismatch, lambda f: without_manifest(f, lambda t: t[None])),
    "empty": (TensorMismatch, lambda f: without_manifest(f, lambda t: t[:0])),
    "turned": (TensorMismatch, lambda f: without_manifest(f, torch.Tensor.t)),
    "other sizes in config.json": (TensorMismatch, lambda f: set_config(f, intermediate_size=97)),
    "heads that do not divide": (ConfigError, lambda f: set_config(f, num_key_value_heads=3)),
    "unknown rope": (UnsupportedModel, lambda f: set_config(f, rope_parameters={"rope_type": "yarn", "factor": 2.0})),
    "unknown family": (UnsupportedModel, lambda f: set_config(f, model_type="mamba")),
    "feed-forward past 2^20": (ConfigError, lambda f: set_config(f, intermediate_size=(1 << 20) + 1)),
    "truncated": (FileDamaged, cut),
    "file gone": (TensorMissing, lambda f: file_of(f, NAME).unlink()),
    "index without it": (TensorMissing, lambda f: change_index(f, lambda m: m.pop(NAME))),
    "index that lies": (IndexLies, lambda f: change_index(f, lambda m: m.update({NAME: m["model.norm.weight"]}))),
    "not the manifest's weights": (ManifestMismatch, lambda f: change_tensor(f, NAME, lambda t: t * 2)),
    "no weights": (TensorMissing, lambda f: [path.unlink() for path in f.glob("*.safetensors*")]),
    "weights too large": (ScaleOutOfRange, lambda f: without_manifest(f, lambda t: t * 1e30)),
    "no config.json": (ConfigError, lambda f: (f / "config.json").unlink()),
}


@pytest.mark.parametrize("name", SPOILT)
def test_a_broken_checkpoint_becomes_no_model(spoilt: Path, name: str) -> None:
    """It is refused by name, and nothing is left behind."""
    error, spoil = SPOILT[name]
    spoil(spoilt)
    with refused(error, spoilt.parent):
        quantise(spoilt, spoilt.parent / "target")


def test_an_exact_model_is_not_quantised_again(models: Models, tmp_path: Path) -> None:
    """Not with its manifest and not without, nor are float weights under an exact model's."""
    quantise(models(), tmp_path / "once")
    with refused(UnsupportedModel, tmp_path):
        quantise(tmp_path / "once", tmp_path / "twice")
    shutil.copytree(models(), tmp_path / "mixed")
    (tmp_path / "once" / MANIFEST_FILE).replace(tmp_path / "mixed" / MANIFEST_FILE)
    for name in ("once", "mixed"):
        with refused(UnsupportedModel, tmp_path):
            quantise(tmp_path / name, tmp_path / "twice")


def test_the_context_is_bounded() -> None:
    """2^17 positions are taken, one more not."""
    check_exact(small_spec(max_positions=MAX_EXACT_POSITIONS))
    with pytest.raises(UnsupportedModel, match="131073"):
        check_exact(small_spec(max_positions=MAX_EXACT_POSITIONS + 1))
