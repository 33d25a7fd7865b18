"""What slither is given to read is the whole suite, and nothing that only tests use."""

import json
from pathlib import Path

import pytest

from incentives.solc import find_compiler
from scripts import slither_input
from scripts.solidity_ast import Node, parse

SOURCE = "// SPDX-License-Identifier: Apache-2.0\npragma solidity 0.8.37;\ncontract A {}\nlibrary B {}\n"


@pytest.fixture
def trees(tmp_path: Path) -> dict[str, Node]:
    (tmp_path / "pair.sol").write_text(SOURCE, encoding="utf-8")
    return dict(parse(tmp_path, find_compiler(slither_input.CONTRACTS)).trees)


def test_every_deployed_source_is_written_and_no_double_of_the_tests(tmp_path: Path) -> None:
    target = tmp_path / "suite_export.json"
    assert slither_input.main([str(target)]) == 0
    (unit,) = json.loads(target.read_text(encoding="utf-8"))["compilation_units"].values()
    found = {file["relative"] for file in unit["filenames"]}
    assert {"Stakes.sol", "Disputes.sol", "lib/Transfers.sol"} <= found
    assert [name for name in found if name.startswith("test/")] == ["test/Token.sol"]


def test_every_contract_of_a_source_is_described_with_its_file(trees: dict[str, Node]) -> None:
    told = slither_input.described(trees)
    (unit,) = told["compilation_units"].values()
    ((path, source),) = unit["source_units"].items()
    assert path.endswith("contracts/src/pair.sol")
    assert set(source["contracts"]) == {"A", "B"}
    assert all(contract["filenames"]["absolute"] == path for contract in source["contracts"].values())
    assert source["ast"]["nodeType"] == "SourceUnit"


def test_imports_find_their_files_by_the_names_they_were_compiled_under(trees: dict[str, Node]) -> None:
    (unit,) = slither_input.described(trees)["compilation_units"].values()
    assert [file["relative"] for file in unit["filenames"]] == ["pair.sol"]
