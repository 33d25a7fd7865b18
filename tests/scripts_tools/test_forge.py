"""The forge lane: what it starts, and what it says where there is no forge."""

from pathlib import Path

import pytest

from incentives import solc
from scripts import forge


@pytest.fixture
def nothing_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine without forge: not in the folder, not on PATH."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(forge, "CONTRACTS", tmp_path)
    monkeypatch.setattr(forge.find_forge, "__defaults__", (tmp_path,))
    return tmp_path


@pytest.mark.parametrize(("options", "status"), [([], 0), (["--require"], 1)])
def test_without_forge_it_says_what_to_do(
    nothing_found: Path, capsys: pytest.CaptureFixture[str], options: list[str], status: int
) -> None:
    """A developer is left in peace, the build server is not."""
    assert forge.main(options) == status
    message = capsys.readouterr().err
    assert "the forge tests were not run" in message
    assert "npm ci --prefix contracts" in message


def test_without_the_compiler_it_says_so_too(nothing_found: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Forge would try to download one."""
    binary = nothing_found / "forge"
    binary.write_text("#!/bin/sh\n")
    binary.chmod(0o755)
    monkeypatch.setattr(solc, "_native_compiler", lambda: (None, "no network"))
    with pytest.raises(forge.ForgeMissing, match="no network"):
        forge.find_forge(nothing_found)


def test_npms_forge_comes_first_and_never_asks_the_network(
    nothing_found: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the build's own compiler, and node where that compiler's first line can find it."""
    binary = nothing_found / "node_modules" / "@foundry-rs" / "forge-linux-amd64" / "bin" / "forge"
    binary.parent.mkdir(parents=True)
    binary.write_text("")
    compiler = solc.Compiler("npm", ("/somewhere/bin/node", "/shim"))
    monkeypatch.setattr(forge, "find_compiler", lambda _folder: compiler)
    found = forge.find_forge(nothing_found)
    assert found.command("-v") == [str(binary), "test", "--offline", "--use", "/shim", "-v"]
    assert found.environment()["PATH"].startswith("/somewhere/bin:")
