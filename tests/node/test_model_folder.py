"""Which folder is served: exact models as they are, float ones quantised once, and a clear word about everything else."""

import json
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import sharding.exact.quantise
from node.errors import SettingsError
from node.model_folder import (
    MAX_MANIFEST_BYTES,
    StatedManifest,
    check_profile,
    engine_loader,
    known_profiles,
    profile_of,
    resolve_model,
    stated_manifest,
)
from node.settings import Profile
from sharding.errors import CheckpointError, ManifestMalformed, ScaleOutOfRange, UnsupportedModel
from sharding.exact.engine import ExactEngine
from sharding.float_engine import FloatEngine
from sharding.manifest import MANIFEST_FILE, read_manifest
from sharding.manifest import MAX_MANIFEST_BYTES as READERS_LIMIT
from sharding.random_model import RandomShape, write_random_model
from sharding.span import Span

SHAPE = RandomShape(
    num_hidden_layers=2, hidden_size=32, intermediate_size=48, num_attention_heads=4, num_key_value_heads=2,
    vocab_size=96, max_position_embeddings=64, tie_word_embeddings=False,
)  # fmt: skip


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A float model in several files, only read."""
    return write_random_model(tmp_path_factory.mktemp("float") / "model", SHAPE, seed=3, max_file_bytes=20_000)


@pytest.fixture
def model(written: Path, tmp_path: Path) -> Path:
    """A copy of it that the test may break."""
    return Path(shutil.copytree(written, tmp_path / "model"))


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of this test's own, empty."""
    monkeypatch.setenv("TALLY_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache" / "exact"


@pytest.fixture
def exact(model: Path, cache: Path) -> Path:
    """The model's exact form, as it was quantised into the cache."""
    return resolve_model(model, "exact")


def no_second_time(*_: object, **__: object) -> None:
    """Stands for a quantiser that must not be called."""
    raise AssertionError("quantised once more")


def folders(cache: Path) -> list[str]:
    """What is in the cache beside the locks."""
    return sorted(path.name for path in cache.iterdir() if path.suffix != ".lock")


@pytest.mark.parametrize("with_manifest", [True, False], ids=["manifest", "no manifest"])
def test_a_float_model_is_quantised_once_and_found_again(
    model: Path, cache: Path, with_manifest: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under the root that its own manifest has, or would have; the label stays, progress is heard, nothing else is left."""
    float_root = read_manifest(model).root.hex()
    heard: list[tuple[int, int]] = []
    if not with_manifest:
        (model / MANIFEST_FILE).unlink()

    made = resolve_model(model, "exact", lambda done, total: heard.append((done, total)))

    assert made == cache / f"{float_root}-exact-1-2"
    assert (read_manifest(made).profile, read_manifest(made).model) == ("exact-1", "model")
    assert heard
    assert heard[-1][0] == heard[-1][1] > 0
    assert folders(cache) == [made.name]
    monkeypatch.setattr(sharding.exact.quantise, "quantise", no_second_time)
    assert resolve_model(model, "exact") == made


def test_an_exact_model_is_served_as_it_is(exact: Path, cache: Path) -> None:
    """Nothing is made of it, and nothing else is served in its place."""
    before = folders(cache)

    assert resolve_model(exact, "exact") == exact
    assert folders(cache) == before


def test_a_float_model_is_served_in_float32_where_that_is_asked_for(model: Path, cache: Path) -> None:
    """Without a cache."""
    assert resolve_model(model, "float32") == model
    assert not cache.exists()


def test_an_exact_model_is_not_served_in_float32(exact: Path) -> None:
    """Whoever asks learns what can be asked for."""
    for ask in (resolve_model, check_profile):
        with pytest.raises(SettingsError, match="profile exact") as caught:
            ask(exact, "float32")
        assert caught.value.path == exact


def test_an_exact_model_without_its_manifest_says_how_to_write_one(exact: Path) -> None:
    """It is not taken for a checkpoint to be quantised."""
    (exact / MANIFEST_FILE).unlink()

    with pytest.raises(SettingsError, match="tally manifest"):
        resolve_model(exact, "exact")


def test_a_profile_of_the_future_is_not_guessed_at(exact: Path) -> None:
    """Not even as something like the ones that are known."""
    path = exact / MANIFEST_FILE
    path.write_text(path.read_text().replace('"exact-1"', '"exact-2"'))

    profiles: tuple[Profile, ...] = ("exact", "float32")
    for profile in profiles:
        with pytest.raises(SettingsError, match="exact-2"):
            resolve_model(exact, profile)


def leave_one_file(model: Path) -> None:
    """What `tally pull --blocks` leaves of a float model: the files of a span."""
    index = json.loads((model / "model.safetensors.index.json").read_text())["weight_map"]
    kept = index["model.layers.0.mlp.gate_proj.weight"]
    for path in model.glob("*.safetensors"):
        if path.name != kept:
            path.unlink()


@pytest.mark.parametrize("with_manifest", [True, False], ids=["manifest", "no manifest"])
def test_a_part_of_a_float_model_says_what_can_be_done(model: Path, cache: Path, with_manifest: bool) -> None:
    """Pull the exact model, quantise elsewhere, or float32: each is named, and nothing half made stays."""
    leave_one_file(model)
    if not with_manifest:
        (model / MANIFEST_FILE).unlink()

    with pytest.raises(SettingsError) as caught:
        resolve_model(model, "exact")

    for word in ("pull the exact model", "tally quantize", "--profile float32", "is missing"):
        assert word in str(caught.value)
    assert not cache.exists() or folders(cache) == []


def test_a_part_of_a_float_model_is_enough_where_its_exact_form_is_known(model: Path, exact: Path) -> None:
    """The manifest says which model it is."""
    leave_one_file(model)

    assert resolve_model(model, "exact") == exact


def test_a_model_without_an_exact_form_is_served_in_float32_with_a_warning(
    tmp_path: Path, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """More positions than the exact profile has: the operator hears of it, and the node serves."""
    shape = RandomShape(
        num_hidden_layers=1, hidden_size=16, intermediate_size=16, num_attention_heads=2, num_key_value_heads=2,
        vocab_size=16, max_position_embeddings=(1 << 17) + 1,
    )  # fmt: skip
    model = write_random_model(tmp_path / "long", shape)

    assert resolve_model(model, "exact") == model
    assert [record.levelname for record in caplog.records if "float32" in record.message] == ["WARNING"]
    assert folders(cache) == []


def test_a_scale_out_of_range_is_a_warning_too(
    model: Path, cache: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found only in the middle of the work: what was written until then is gone."""
    monkeypatch.setattr(sharding.exact.quantise, "quantise", half_done(ScaleOutOfRange("a weight", 99, "in [16, 62]")))

    assert resolve_model(model, "exact") == model
    assert "a weight" in caplog.text
    assert folders(cache) == []


def half_done(error: Exception) -> Callable[..., None]:
    """A quantiser that fails after its first file."""

    def quantise(source: Path, target: Path, *_: object, **__: object) -> None:
        target.mkdir(parents=True)
        (target / "embed.safetensors").write_bytes(b"half")
        raise error

    return quantise


def test_a_quantiser_that_fails_leaves_nothing_that_looks_finished(
    model: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next attempt begins anew and succeeds."""
    with monkeypatch.context() as patch:
        patch.setattr(sharding.exact.quantise, "quantise", half_done(CheckpointError("no room")))
        with pytest.raises(CheckpointError, match="no room"):
            resolve_model(model, "exact")
    assert folders(cache) == []

    assert read_manifest(resolve_model(model, "exact")).profile == "exact-1"


def test_what_a_killed_process_left_is_cleared_away(model: Path, cache: Path) -> None:
    """A draft without its lock belongs to nobody."""
    draft = cache / f"{read_manifest(model).root.hex()}-exact-1-2.draft" / "model"
    draft.mkdir(parents=True)
    (draft / "embed.safetensors").write_bytes(b"half")

    made = resolve_model(model, "exact")

    assert folders(cache) == [made.name]
    assert read_manifest(made).profile == "exact-1"


def test_several_at_once_quantise_once(model: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One works, the others wait for it and find what it made."""
    calls: list[Path] = []
    honest = sharding.exact.quantise.quantise

    def counted(source: Path, *rest: object, **more: object) -> object:
        calls.append(source)
        return honest(source, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(sharding.exact.quantise, "quantise", counted)
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda _: resolve_model(model, "exact"), range(4)))

    assert len(set(made)) == len(calls) == 1


def test_a_cache_that_cannot_be_written_names_the_variable(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file where the folder should be."""
    (tmp_path / "file").touch()
    monkeypatch.setenv("TALLY_CACHE_DIR", str(tmp_path / "file"))

    with pytest.raises(SettingsError, match="TALLY_CACHE_DIR"):
        resolve_model(model, "exact")


def test_a_model_that_no_profile_can_serve_is_no_matter_of_profiles(
    model: Path, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """An unknown family is refused under its own name, without a promise of float32."""
    config = json.loads((model / "config.json").read_text()) | {"model_type": "gpt2"}
    (model / "config.json").write_text(json.dumps(config))

    with pytest.raises(UnsupportedModel, match="gpt2"):
        resolve_model(model, "exact")
    assert caplog.text == ""


def test_the_stated_manifest_is_the_one_that_is_read(model: Path, exact: Path, tmp_path: Path) -> None:
    """Same file, same limit; a folder without one states nothing and is a checkpoint as it came."""
    assert READERS_LIMIT == MAX_MANIFEST_BYTES
    for folder in (model, exact):
        manifest = read_manifest(folder)
        assert stated_manifest(folder) == StatedManifest(manifest.profile, manifest.root.hex())
    assert stated_manifest(tmp_path) is None
    assert profile_of(tmp_path) == "float32"


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff", b'{"profile": 1, "profile": 2}'])
def test_a_manifest_that_cannot_be_read_says_how_to_write_it(model: Path, cache: Path, content: bytes) -> None:
    """It is not passed over as if there were none."""
    (model / MANIFEST_FILE).write_bytes(content)

    with pytest.raises(ManifestMalformed, match="tally manifest"):
        resolve_model(model, "exact")


def test_the_manifest_chooses_the_engine(model: Path, exact: Path) -> None:
    """Each profile has its own, and the numbers on the wire follow."""
    assert isinstance(engine_loader(model)(model, Span(0, 1)), FloatEngine)
    assert isinstance(engine_loader(exact)(exact, Span(0, 1)), ExactEngine)


def test_profiles_are_known_of_the_models_on_this_machine(model: Path, exact: Path, tmp_path: Path) -> None:
    """The client's own and all that were quantised here; a damaged one is passed over."""
    roots = {read_manifest(model).root.hex(): "float32", read_manifest(exact).root.hex(): "exact-1"}
    assert known_profiles(model) == roots

    (model / MANIFEST_FILE).write_bytes(b"{")
    assert set(known_profiles(model).values()) == {"exact-1"}
    assert known_profiles(tmp_path) == known_profiles(model)
