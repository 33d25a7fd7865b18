"""What leaves the house: the texts of the repository and the files of the wheel."""

import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("sharding", "verification", "incentives", "node")

# Pieces, so that this file does not contain what it looks for: folders of one machine, and who or what typed the text.
TRACES = re.compile(
    "|".join(
        (
            r"(?<![\w.:])/" + r"(?:work|root|home/\w+|Users/\w+|tmp|opt)/\w",
            r"\b(?:clau" + "de|anth" + r"ropic|chat" + r"gpt|open" + r"ai codex|lang" + r"uage model assist)\w*",
            r"\b(?:my|your|the) bri" + r"ef says\b",
        )
    ),
    re.IGNORECASE,
)
TEXTS = {".py", ".md", ".toml", ".txt", ".sol", ".js", ".mjs", ".json", ".yml", ".yaml", ".sh", ""}
SKIPPED = {".git", ".venv", "node_modules", "__pycache__", "dist", "build", "models", "cache", "out"}


def traces(text: str) -> list[str]:
    """Words that tie the text to a machine or a workplace."""
    return [match.group() for match in TRACES.finditer(text)]


def _texts() -> Iterator[Path]:
    for path in ROOT.rglob("*"):
        inner = path.relative_to(ROOT)
        hidden = any(part.startswith(".") and part != ".ci" for part in inner.parts)
        if path.is_file() and path.suffix in TEXTS and not hidden and not SKIPPED & set(inner.parts):
            yield path


def test_no_file_tells_where_it_was_written() -> None:
    """Paths of somebody's machine and the like have no place in the source."""
    found = {str(path.relative_to(ROOT)): traces(path.read_text(encoding="utf-8")) for path in _texts()}

    assert {path: words for path, words in found.items() if words} == {}


@pytest.mark.parametrize(
    "text", ["see /" + "work/notes.md", "'/" + "home/ann/model'", "by Clau" + "de", "(/" + "tmp/venv/bin/python)"]
)
def test_a_trace_would_be_found(text: str) -> None:
    """In prose and in code."""
    assert traces(text) != []


@pytest.mark.parametrize("text", ["docs/work/x", "https://host/home/x", "network/", "work / pay", "$HOME/x"])
def test_ordinary_text_has_no_traces(text: str) -> None:
    """Relative paths, addresses and the words themselves are fine."""
    assert traces(text) == []


@pytest.fixture(scope="module")
def wheel_names(tmp_path_factory: pytest.TempPathFactory) -> frozenset[str]:
    """The names of the files in a wheel built from this tree, without a network."""
    target = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(target)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = target.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return frozenset(archive.namelist())


def test_the_wheel_ships_every_module_and_the_contracts(wheel_names: frozenset[str]) -> None:
    """What runs from a checkout runs when installed: code, type markers, compiled contracts, the licence."""
    code = {path.relative_to(ROOT).as_posix() for package in PACKAGES for path in (ROOT / package).rglob("*.py")}
    artifacts = {path.relative_to(ROOT).as_posix() for path in (ROOT / "incentives" / "artifacts").glob("*.json")}
    markers = {f"{package}/py.typed" for package in PACKAGES}

    assert artifacts != set()
    assert (code | artifacts | markers) - wheel_names == set()
    assert any(name.endswith("/LICENSE") for name in wheel_names)


def test_the_wheel_ships_nothing_else(wheel_names: frozenset[str]) -> None:
    """No tests, no scripts, no node_modules."""
    tops = {name.split("/")[0] for name in wheel_names}

    assert {top for top in tops if not top.endswith(".dist-info")} == set(PACKAGES)
