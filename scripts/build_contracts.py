"""Compile the contracts and write the artifacts; `--check` proves instead that the committed ones are current.

The suite is compiled apart from the contracts that only tests use, so that no change to those can move a byte of it.
What was compiled from the very same input before is taken from contracts/cache; `--fresh` compiles all the same.
"""

import argparse
import hashlib
import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from incentives.artifacts import CONTRACT_NAMES
from incentives.errors import IncentivesError
from incentives.solc import (
    COMPILER_VERSION,
    Compiler,
    compile_sources,
    find_compiler,
    read_sources,
    render,
    standard_input,
)

ROOT = Path(__file__).resolve().parent.parent
CONTRACTS = ROOT / "contracts"
SOURCES = CONTRACTS / "src"
SHIPPED = ROOT / "incentives" / "artifacts"
FOR_TESTS = ROOT / "tests" / "contracts" / "artifacts"
CACHE = CONTRACTS / "cache" / "compiled"
_LOCAL_COIN = "test/Token.sol"


def compiled(names: Iterable[str], compiler: Compiler, *, fresh: bool = False) -> dict[str, dict[str, Any]]:
    """Return the artifacts of the named sources, from the cache where their input was compiled before."""
    sources = read_sources(SOURCES, names)
    told = json.dumps([COMPILER_VERSION, compiler.kind, standard_input(sources)], sort_keys=True)
    kept = CACHE / f"{hashlib.sha256(told.encode()).hexdigest()}.json"
    if kept.is_file() and not fresh:
        found: dict[str, dict[str, Any]] = json.loads(kept.read_text(encoding="utf-8"))
        return found
    artifacts = compile_sources(sources, compiler)
    CACHE.mkdir(parents=True, exist_ok=True)
    part = kept.with_suffix(".part")
    part.write_text(json.dumps(artifacts), encoding="utf-8")
    part.replace(kept)
    return artifacts


def build(compiler: Compiler, *, fresh: bool = False) -> dict[Path, str]:
    """Return the text of every artifact by the file it belongs into."""
    names = [path.relative_to(SOURCES).as_posix() for path in sorted(SOURCES.rglob("*.sol"))]
    doubles = [name for name in names if name.startswith("test/") and name != _LOCAL_COIN]
    suite = compiled([name for name in names if name not in doubles], compiler, fresh=fresh)
    texts = {SHIPPED / f"{name}.json": render(suite[name]) for name in CONTRACT_NAMES}
    libraries = [name for name in names if name.startswith("lib/")]  # compiled into whatever imports them
    mocks = compiled([*libraries, *doubles], compiler, fresh=fresh)
    return texts | {
        FOR_TESTS / f"{name}.json": render(mocks[name]) for name in sorted(Path(each).stem for each in doubles)
    }


def differences(texts: Mapping[Path, str]) -> list[str]:
    """Return one line for each committed artifact that is missing, outdated or without a source."""
    found = []
    for path, text in texts.items():
        if not path.is_file():
            found.append(f"{path.relative_to(ROOT)} is missing")
        elif path.read_text(encoding="utf-8") != text:
            found.append(f"{path.relative_to(ROOT)} is not what the sources compile to")
    present = {*SHIPPED.glob("*.json"), *FOR_TESTS.glob("*.json")}
    return found + [f"{path.relative_to(ROOT)} has no source" for path in sorted(present - set(texts))]


def write(texts: Mapping[Path, str]) -> None:
    """Write every artifact into its file."""
    for path, text in texts.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="\n")


def main() -> int:
    """Build or check; the exit status is 1 when the committed artifacts are not current or nothing can be compiled."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a committed artifact would change")
    parser.add_argument(
        "--fresh", action="store_true", help="compile even what was compiled from the same input before"
    )
    arguments = parser.parse_args()
    try:
        compiler = find_compiler(CONTRACTS)
        texts = build(compiler, fresh=arguments.fresh)
    except IncentivesError as error:
        print(error, file=sys.stderr)
        return 1
    if not arguments.check:
        write(texts)
        print(f"{len(texts)} artifacts written ({compiler.kind} compiler)")
        return 0
    found = differences(texts)
    for line in found:
        print(line, file=sys.stderr)
    print("run `python scripts/build_contracts.py` and commit the result" if found else "all artifacts are current")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
