"""Engines of one process over spans that overlap: what one has loaded the others share, and it goes with the last of them."""

import gc
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor

from sharding import checkpoint
from sharding.engine import Engine
from sharding.exact.engine import ExactEngine
from sharding.exact.quantise import quantise
from sharding.float_engine import FloatEngine
from sharding.span import Span
from sharding.tensors import Shapes
from tests.sharding.chains import feed, open_all
from tests.sharding.conftest import Models
from tests.sharding.tiny import BLOCKS

LoadSpan = Callable[[str, Sequence[Engine]], Engine]


@pytest.fixture(params=["exact", "float"])
def load(request: pytest.FixtureRequest, models: Models, tmp_path: Path) -> LoadSpan:
    """Engines over spans of one model, which share with others."""
    if request.param == "exact":
        quantise(models(), tmp_path / "exact")
        return lambda span, have: ExactEngine.from_folder(tmp_path / "exact", Span.parse(span), reuse=have)
    return lambda span, have: FloatEngine.from_folder(models(), Span.parse(span), reuse=have)


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the tensors that were read from files."""
    names: list[str] = []
    real = checkpoint.read_tensors

    def noted(folder: Path, shapes: Shapes, *rest: object) -> object:
        names.extend(shapes)
        return real(folder, shapes, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(checkpoint, "read_tensors", noted)
    return names


def computed(engine: Engine) -> Tensor:
    """What it makes of five rows."""
    inputs = torch.tensor([7, 3, 200, 11, 64])
    if engine.span.start:
        wide = torch.arange(5 * engine.spec.hidden_size).reshape(5, -1) % 97
        inputs = (wide * 1000).to(torch.int32) if engine.hidden_dtype == torch.int32 else wide / 97
    open_all([engine], b"s", 8)
    out = feed([engine], b"s", inputs)
    engine.close(b"s")
    return out


def test_a_wider_span_reads_the_blocks_that_are_lacking(load: LoadSpan, read: list[str]) -> None:
    """From 0:2 to 0:4 it is blocks 2 and 3 and the model's end, and every number is what it would be anyway."""
    narrow = load("0:2", ())
    before = computed(narrow)
    read.clear()
    wide = load("0:4", (narrow,))
    assert read
    assert not set(read) & set(narrow.tensors)
    assert set(read) | set(narrow.tensors) == set(wide.tensors)
    assert torch.equal(computed(wide), computed(load("0:4", ())))
    assert torch.equal(computed(narrow), before)


def test_a_narrower_span_reads_nothing_and_copies_nothing(load: LoadSpan, read: list[str]) -> None:
    """Every tensor lies where it lay."""
    wide = load("0:4", ())
    read.clear()
    narrow = load("1:3", (wide,))
    assert read == []
    assert narrow.tensors.keys() < wide.tensors.keys()
    assert all(tensor is wide.tensors[name] for name, tensor in narrow.tensors.items())
    assert torch.equal(computed(narrow), computed(load("1:3", ())))


def test_several_engines_give_what_each_has(load: LoadSpan, read: list[str]) -> None:
    """Blocks 0 and 3 are there, 1 and 2 are read."""
    first, last = load("0:1", ()), load("3:4", ())
    read.clear()
    whole = load(f"0:{BLOCKS}", (first, last))
    assert not set(read) & (set(first.tensors) | set(last.tensors))
    assert torch.equal(computed(whole), computed(load("0:4", ())))


def test_weights_go_with_the_last_engine_that_has_them(load: LoadSpan) -> None:
    """From 0:4 to 0:2: when the old engine is gone so are blocks 2 and 3, and what the new one has stays."""
    wide = load("0:4", ())
    kept = {name: weakref.ref(tensor) for name, tensor in wide.tensors.items()}
    narrow = load("0:2", (wide,))
    stays = set(narrow.tensors)
    expected = computed(narrow)
    del wide
    gc.collect()
    assert {name for name, tensor in kept.items() if tensor() is not None} == stays
    assert torch.equal(computed(narrow), expected)
    del narrow
    gc.collect()
    assert all(tensor() is None for tensor in kept.values())


def test_another_models_weights_are_not_taken(load: LoadSpan, models: Models, tmp_path: Path, read: list[str]) -> None:
    """They have the same names and shapes, and another root."""
    own = load("0:2", ())
    other_folder = models(rms_norm_eps=1e-4)
    if own.profile != "float32":
        quantise(other_folder, tmp_path / "other")
        other: Engine = ExactEngine.from_folder(tmp_path / "other", Span(0, 2))
    else:
        other = FloatEngine.from_folder(other_folder, Span(0, 2))
    assert other.manifest.root != own.manifest.root
    read.clear()
    again = load("0:2", (other,))
    assert set(read) == set(again.tensors)
    assert torch.equal(computed(again), computed(own))


def test_what_is_shared_is_checked_no_less(load: LoadSpan) -> None:
    """A span outside the model is refused before anything is looked at."""
    have = load("0:2", ())
    with pytest.raises(Exception, match="blocks"):
        load(f"2:{BLOCKS + 1}", (have,))
