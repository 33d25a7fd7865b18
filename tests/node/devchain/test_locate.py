"""Where anvil is looked for."""

from pathlib import Path

import pytest

from node.devchain.chain_errors import AnvilNotFound
from node.devchain.locate import find_anvil

NATIVE = "node_modules/@foundry-rs/anvil-linux-amd64/bin/anvil"


def _program(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path.resolve()


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without anvil."""
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr("node.devchain.locate._folders", lambda: [tmp_path / "contracts"])
    return tmp_path


def test_it_may_be_nowhere(nowhere: Path) -> None:
    """None then, for the caller to fall back."""
    assert find_anvil() is None


def test_the_path_comes_before_the_npm_package(nowhere: Path) -> None:
    """What the user installed wins."""
    package = _program(nowhere / "contracts" / NATIVE)
    assert find_anvil() == package
    own = _program(nowhere / "bin" / "anvil")
    assert find_anvil() == own


def test_npms_starter_is_replaced_by_the_program_it_starts(nowhere: Path) -> None:
    """The starter is a script that would stay between us and the program."""
    program = _program(nowhere / "elsewhere" / NATIVE)
    starter = _program(nowhere / "elsewhere/node_modules/@foundry-rs/anvil/bin.mjs")
    (nowhere / "bin").mkdir()
    (nowhere / "bin" / "anvil").symlink_to(starter)
    assert find_anvil() == program


def test_an_explicit_program_wins(nowhere: Path) -> None:
    """Over everything else."""
    _program(nowhere / "bin" / "anvil")
    assert find_anvil(nowhere / "bin" / ".." / "bin" / "anvil") == (nowhere / "bin" / "anvil").resolve()


@pytest.mark.parametrize("mode", [None, 0o644])
def test_an_explicit_program_that_cannot_run_is_an_error(nowhere: Path, mode: int | None) -> None:
    """Even where there is another one: an explicit wish is not replaced by a guess."""
    _program(nowhere / "bin" / "anvil")
    wished = nowhere / "mine"
    if mode is not None:
        _program(wished).chmod(mode)
    with pytest.raises(AnvilNotFound, match="mine"):
        find_anvil(wished)
