"""Write what slither reads: the syntax trees of the suite, by the compiler of the build. See contracts/ANALYSIS.md.

    python scripts/slither_input.py suite_export.json

Slither looks at sources and not at bytecode, and a compiler that makes no bytecode is done in seconds.
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from incentives.errors import IncentivesError
from incentives.solc import COMPILER_VERSION, find_compiler
from scripts.mutate_contracts import names
from scripts.solidity_ast import Node, kind_of, parse

ROOT = Path(__file__).resolve().parent.parent
CONTRACTS = ROOT / "contracts"
SOURCES = CONTRACTS / "src"
# The one format of crytic-compile's that wants no bytecode; its number is that of the format, not of the program.
_FORMAT = "0.0.2"
_STANDARD_JSON = 10


def described(trees: Mapping[str, Node]) -> dict[str, Any]:
    """Return the description of one compilation, in crytic-compile's own words."""
    files = [_file(name) for name in trees]
    units = {
        _file(name)["absolute"]: {"ast": tree, "contracts": _contracts(name, tree)} for name, tree in trees.items()
    }
    compiler = {"compiler": "solc", "version": COMPILER_VERSION, "optimized": True}
    unit = {"compiler": compiler, "filenames": files, "source_units": units}
    return {
        "compilation_units": {"suite": unit},
        "package": "tallystick",
        "working_dir": str(CONTRACTS),
        "type": _STANDARD_JSON,
        "unit_tests": [],
        "crytic_version": _FORMAT,
    }


def _file(name: str) -> dict[str, str]:
    path = str(SOURCES / name)
    return {"absolute": path, "used": path, "short": f"src/{name}", "relative": name}


def _contracts(name: str, tree: Node) -> dict[str, Any]:
    empty = {"abi": [], "bin": "", "bin-runtime": "", "srcmap": "", "srcmap-runtime": "", "libraries": {}}
    found = [node["name"] for node in tree["nodes"] if kind_of(node) == "ContractDefinition"]
    return {each: {**empty, "filenames": _file(name), "is_dependency": False} for each in found}


def main(arguments: list[str]) -> int:
    """Write the file that is named; the exit status is 1 where nothing can be compiled."""
    try:
        trees = parse(SOURCES, find_compiler(CONTRACTS), names()).trees
    except IncentivesError as error:
        print(error, file=sys.stderr)
        return 1
    Path(arguments[0]).write_text(json.dumps(described(trees)), encoding="utf-8")
    print(f"{len(trees)} sources written to {arguments[0]}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
