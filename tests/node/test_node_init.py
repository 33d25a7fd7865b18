"""`tally node init` for a node that finds its own blocks."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from node.cli import app
from node.errors import SettingsError
from node.settings import load_node_settings
from sharding.errors import SpanError

ROOT = Path(__file__).resolve().parents[2]


def init(folder: Path, *options: str) -> Exception | None:
    """Run it on the committed model; returns what it raised."""
    model = ("--model", str(ROOT / "models" / "demo-exact"), "--dev-account", "1")
    done = CliRunner().invoke(app, ["node", "init", str(folder), *model, *options])
    return done.exception if isinstance(done.exception, Exception) else None


def test_auto_is_written_with_its_memory(tmp_path: Path) -> None:
    """The file is one that a node starts from."""
    assert init(tmp_path / "n", "--blocks", "auto", "--memory-megabytes", "512") is None
    settings = load_node_settings(tmp_path / "n" / "node.toml")

    assert (settings.places_itself, settings.memory_megabytes) == (True, 512)


@pytest.mark.parametrize(
    ("options", "error", "word"),
    [
        (("--blocks", "auto"), SettingsError, "memory_megabytes"),
        (("--blocks", "auto", "--memory-megabytes", "256"), SettingsError, "cache_megabytes"),
        (("--blocks", "0:4", "--memory-megabytes", "512"), SettingsError, "auto"),
        (("--blocks", "0:4,6:9"), SpanError, "8 blocks"),
    ],
    ids=str,
)
def test_what_cannot_be_is_named_and_nothing_is_written(
    options: tuple[str, ...], error: type[Exception], word: str, tmp_path: Path
) -> None:
    """No memory for weights, memory that says nothing, blocks that the model does not have."""
    raised = init(tmp_path / "n", *options)

    assert isinstance(raised, error)
    assert word in str(raised)
    assert not (tmp_path / "n" / "node.toml").exists()
