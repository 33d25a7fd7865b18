"""The float engine: the engines' contract, and equality with the whole model that transformers computes."""

import itertools
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from sharding.engine import Chunk, is_first, is_last
from sharding.errors import CheckpointError, NotFinite, ShapeMismatch, UnsupportedModel
from sharding.float_engine import FloatEngine
from sharding.manifest import MANIFEST_FILE, build_manifest
from sharding.span import Span
from tests.sharding.chains import feed, greedy, open_all
from tests.sharding.conftest import Models
from tests.sharding.engine_contract import FloatContract, Load
from tests.sharding.paging_contract import PagingContract
from tests.sharding.shared_pages_contract import LoadPaged
from tests.sharding.tiny import BLOCKS, FAMILY_NAMES

PROMPT = [17, 3, 250, 99, 42, 7, 128, 200, 64, 31, 5, 77]
COUNT = 20


def reference(folder: Path, prompt: list[int], count: int) -> list[int]:
    """What transformers' generate says for the whole model."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    ids = torch.tensor([prompt])
    output = model.generate(
        ids, attention_mask=torch.ones_like(ids), max_new_tokens=count, do_sample=False, pad_token_id=0
    )
    return [int(token) for token in output[0, len(prompt) :]]


def stages(folder: Path, *cuts: int) -> list[FloatEngine]:
    edges = [0, *cuts, BLOCKS]
    return [FloatEngine.from_folder(folder, Span(start, end)) for start, end in itertools.pairwise(edges)]


class TestContract(FloatContract):
    """Sums in another order differ in the last bits: the tolerance is some hundred of them at the logits' size."""

    tolerance = 2e-3

    @pytest.fixture
    def load(self, models: Models) -> Load:
        return lambda span: FloatEngine.from_folder(models(), span)


class TestPages(PagingContract):
    """The float engine over pages."""

    tolerance = 2e-3

    @pytest.fixture
    def load(self, models: Models) -> LoadPaged:
        folder = models(max_position_embeddings=256)
        return lambda span, cache: FloatEngine.from_folder(folder, span, cache_bytes=cache)


KINDS: list[dict[str, Any]] = [
    *({"family": family} for family in FAMILY_NAMES),
    {"family": "llama", "tied": False, "attention_bias": True, "mlp_bias": True},
    {"family": "mistral", "sliding_window": 9},
    {"family": "qwen3", "attention_bias": True},
    {"family": "llama", "rope_parameters": {"rope_type": "linear", "rope_theta": 5000.0, "factor": 2.0}},
    {"family": "llama", "rope_parameters": {
        "rope_type": "llama3", "rope_theta": 1000.0, "factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 32}},
]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: "-".join(map(str, kind.values()))[:40])
def test_every_split_gives_transformers_tokens(models: Models, kind: dict[str, Any]) -> None:
    """Token for token, in one to four stages, with the prompt whole and in chunks."""
    folder = models(**kind)
    expected = reference(folder, PROMPT, COUNT)

    assert len(set(expected)) > COUNT // 3, "a model that repeats itself proves little"
    for cuts, chunk in [((), 100), ((1,), 5), ((1, 2, 3), 4)]:
        assert greedy(stages(folder, *cuts), PROMPT, COUNT, chunk=chunk) == expected


def test_tokens_after_going_back_are_transformers_tokens(models: Models) -> None:
    """A wrong continuation, forgotten on every stage, leaves no mark."""
    engines = stages(models(), 2)
    expected = reference(models(), PROMPT, 6)
    open_all(engines, b"s", 64)
    feed(engines, b"s", torch.tensor([*PROMPT, 1, 2, 3, 4]))
    for engine in engines:
        engine.truncate(b"s", len(PROMPT) - 1)

    tokens, token = [], PROMPT[-1]
    for _ in range(6):
        token = int(feed(engines, b"s", torch.tensor([token])).argmax())
        tokens.append(token)
    assert tokens == expected


def test_a_window_hides_what_is_older(models: Models) -> None:
    """A key just outside the window changes nothing in a single block; the oldest inside does."""
    engine = FloatEngine.from_folder(models("mistral", sliding_window=5), Span(1, 2))
    rows = torch.randn((9, engine.spec.hidden_size), generator=torch.Generator().manual_seed(0))
    outputs = []
    for changed in (None, 3, 4):
        engine.open(b"s", 16)
        other = rows.clone()
        if changed is not None:
            other[changed] += 1
        outputs.append(engine.forward([Chunk(b"s", 0, other)])[0][8])
        engine.close(b"s")

    assert torch.equal(outputs[0], outputs[1])
    assert not torch.equal(outputs[0], outputs[2])


def test_the_other_files_may_be_absent(models: Models, tmp_path: Path) -> None:
    """A stage with the manifest and the files of its own blocks needs nothing else."""
    folder = Path(shutil.copytree(models(), tmp_path / "part"))
    whole = FloatEngine.from_folder(folder, Span(2, 3))
    needed = {name for name, file in _weight_map(folder).items() if name.startswith("model.layers.2.")}
    keep = {_weight_map(folder)[name] for name in needed}
    for path in folder.glob("*.safetensors"):
        if path.name not in keep:
            path.unlink()
    part = FloatEngine.from_folder(folder, Span(2, 3))

    rows = torch.randn((3, whole.spec.hidden_size))
    for engine in (whole, part):
        engine.open(b"s", 4)
    assert torch.equal(*(engine.forward([Chunk(b"s", 0, rows)])[0] for engine in (whole, part)))
    with pytest.raises(CheckpointError):
        FloatEngine.from_folder(folder, Span(0, BLOCKS))


def _weight_map(folder: Path) -> dict[str, str]:
    return dict(json.loads((folder / "model.safetensors.index.json").read_text())["weight_map"])


def test_without_a_manifest_one_is_built(spoilt: Path) -> None:
    """A folder straight from the hub works, and says the same root."""
    expected = FloatEngine.from_folder(spoilt, Span(0, 1)).manifest.root
    (spoilt / MANIFEST_FILE).unlink()

    assert FloatEngine.from_folder(spoilt, Span(0, 1)).manifest.root == expected


def test_a_given_manifest_is_the_one_that_counts(spoilt: Path, models: Models) -> None:
    """The caller's manifest, perhaps from the chain, outranks the folder's."""
    manifest = build_manifest(spoilt, model="another label")
    (spoilt / MANIFEST_FILE).write_text("{}")

    assert FloatEngine.from_folder(spoilt, Span(0, 1), manifest).manifest is manifest


def test_an_overflow_is_an_error_and_no_output(models: Models) -> None:
    """Finite rows that overflow inside are caught before they are sent on."""
    engine = FloatEngine.from_folder(models(), Span(0, 1))
    engine.open(b"s", 4)
    engine._layers.blocks[0].get_parameter("mlp.down_proj.weight").fill_(3e38)
    with pytest.raises(NotFinite, match="outputs"):
        engine.forward([Chunk(b"s", 0, torch.tensor([5]))])
    assert engine.length(b"s") == 0


def test_an_exact_model_is_not_taken_for_a_float_one() -> None:
    """Its integers would be read as weights: the folder's manifest says what it is."""
    folder = Path(__file__).resolve().parents[2] / "models" / "demo-exact"
    with pytest.raises(UnsupportedModel) as caught:
        FloatEngine.from_folder(folder, Span(0, 1))
    assert caught.value.key == "profile"


def test_stage_roles_follow_the_span(models: Models) -> None:
    """Only the first stage takes tokens, only the last gives logits."""
    roles = [(is_first(stage), is_last(stage)) for stage in stages(models(), 1, 3)]
    assert roles == [(True, False), (False, False), (False, True)]


def test_tokens_are_no_hidden_states(models: Models) -> None:
    """The stage's place decides what it takes."""
    middle = stages(models(), 1, 3)[1]
    middle.open(b"s", 4)
    with pytest.raises(ShapeMismatch):
        middle.forward([Chunk(b"s", 0, torch.tensor([1, 2]))])
