"""Switch every guard of the contracts off once, and see that some test notices.

    python scripts/mutate_contracts.py                  all of them, or what a stopped run has left
    python scripts/mutate_contracts.py --file Court.sol those of one source, or several
    python scripts/mutate_contracts.py --tests tests/contracts/test_court.py     let these tests judge alone, in seconds
    python scripts/mutate_contracts.py --list           say what they are, and run nothing

A guard is a condition that ends in a revert; each part of such a condition that an `or` joins; a modifier on a
function; a limit that cuts a number down; and each call of a function that holds guards of its own, which is replaced
by a call of the same function without them. Guards are found in the compiler's tree. They are also counted in the
plain text, in another way: the script fails if it found fewer than stand there, or if a mutant lives.

The contracts are compiled once, with a switch in every guard (scripts/schemata.py), and judged by the Python tests on
one anvil (scripts/mutant_trial.py). Verdicts are kept in build/mutants beside what was compiled: a later run on the same
sources judges those that are new and those that lived. What no test can see is named in EQUIVALENT with the reason.
"""

import argparse
import json
import re
import sys
import time
from dataclasses import asdict
from pathlib import Path

from incentives.errors import IncentivesError
from incentives.solc import Compiler, find_compiler
from scripts.build_contracts import CONTRACTS, ROOT, SOURCES
from scripts.guards import Guard, guards_of
from scripts.mutant_choice import reach_of
from scripts.mutant_trial import FOLDERS, Fate, Trial
from scripts.schemata import built
from scripts.solidity_ast import Suite, parse

KEPT = ROOT / "build" / "mutants"
ENDS = "who has read behind the end never meets it again: the reading of a proof ends with Parts.finish, with the same error"
EQUIVALENT: dict[str, str] = {
    "Finders.requireRipe: CommitmentNotRipe if since == 0 || block.timestamp <= since || block.timestamp > since + LIFE, "
    "without since == 0": "nothing committed was committed in 1970: its life is over on every chain, with the same error",
    "Evidence.count: if all > type(uint128).max": "one claim adds less than 2^96: it takes 2^32 of them in one epoch to get "
    "there, some 10^14 gas",
    "Descent.opened: NodesForeign if next.height == 0 || nodes.length == 0, without nodes.length == 0": "below a node there is "
    "one at least, so that none are not all of them, with the same error",
    "Descent.leafOf: LeafForeign if leaves.length < LENGTH": "zeros stand for the bytes that are missing, and the leaf's end lies "
    "behind what there is, with the same error",
    "Reliability.claimReward: standing(posting)": "isActive has asked the same of the same posting a line before",
    "Parts.number: skip(cursor, size)": ENDS,
    "Parts.part: skip(cursor, length)": ENDS,
    "Parts.skip: ProofMalformed if next > cursor.end": ENDS,
}
"""Mutants that do the same as the original, by their names, and why. One that dies nevertheless is an error here."""


def names() -> list[str]:
    """The sources that are shipped: the suite, the libraries, the coin of local networks."""
    found = [path.relative_to(SOURCES).as_posix() for path in sorted(SOURCES.rglob("*.sol"))]
    return [name for name in found if not name.startswith("test/") or name == "test/Token.sol"]


def standing(suite: Suite) -> int:
    """Guards counted in the text: reverts, requires, and modifiers by name after a function's head."""
    total = 0
    for text in suite.sources.values():
        code = re.sub(r"//[^\n]*|/\*.*?\*/|\"[^\"\n]*\"", "", text, flags=re.DOTALL)
        total += len(re.findall(r"\brevert\s+\w", code)) + len(re.findall(r"\brequire\s*\(", code))
        total += len(re.findall(r"\)[^;{}()]*\bguarded\b", code))
    return total


def earlier(path: Path) -> dict[str, Fate]:
    """The verdicts that former runs on the same sources have written. What was killed once is killed."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    fates = [Fate(**json.loads(line)) for line in lines]
    return {fate.name: fate for fate in sorted(fates, key=lambda fate: fate.end == "killed")}


def trial(
    compiler: Compiler, suite: Suite, guards: list[Guard], chosen: list[Guard], tests: tuple[str, ...], patience: float
) -> list[Fate]:
    """Judge those that no former run has killed, and return the verdicts on all that were chosen."""
    folder = built(KEPT, compiler, suite, guards, SOURCES)
    path = folder / "fates.jsonl"
    fates = earlier(path)
    wanted = [guard for guard in chosen if guard.name not in fates or fates[guard.name].end != "killed"]

    def told(fate: Fate) -> None:
        fates[fate.name] = fate
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(fate)) + "\n")
        print(f"{fate.end:<7} {fate.seconds:6.1f} s {fate.tests:4} tests  {fate.name}", file=sys.stderr, flush=True)

    if wanted:
        Trial(folder, wanted, reach_of(parse(SOURCES, compiler)), told, tests, patience).run()
    return [fates[guard.name] for guard in chosen]


def verdict(guards: list[Guard], fates: list[Fate], stood: int) -> list[str]:
    """What is wrong, a line each."""
    simple = sum(guard.counted for guard in guards)
    wrong = [f"only {simple} of {stood} guards were found in the tree"] if simple < stood else []
    for fate in fates:
        if fate.end == "lives" and fate.name not in EQUIVALENT:
            wrong.append(f"no test misses {fate.name}")
        if fate.end == "given up":
            wrong.append(f"no verdict on {fate.name}: out of patience")
        if fate.end == "killed" and fate.name in EQUIVALENT:
            wrong.append(f"{fate.name} is not equivalent, take it off the list")
    return wrong


def main() -> int:
    """Exit status 1 if a mutant lives or guards were overlooked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--file", nargs="*", help="only guards of the sources with these names")
    parser.add_argument("--tests", nargs="*", default=FOLDERS, help="only these tests judge, as pytest names them")
    parser.add_argument("--patience", type=float, default=float("inf"), help="seconds for a mutant")
    parser.add_argument("--list", action="store_true", help="say what would be switched off, and run nothing")
    options = parser.parse_args()
    try:
        compiler = find_compiler(CONTRACTS)
        suite = parse(SOURCES, compiler, names())
        guards, stood = guards_of(suite), standing(suite)
        chosen = [one for one in guards if not options.file or Path(suite.span(one.node).file).name in options.file]
        if options.list:
            print("\n".join(guard.name for guard in chosen))
        began = time.monotonic()
        fates = [] if options.list else trial(compiler, suite, guards, chosen, tuple(options.tests), options.patience)
    except IncentivesError as error:
        print(error, file=sys.stderr)
        return 1
    return report(guards, chosen, fates, stood, time.monotonic() - began)


def report(guards: list[Guard], chosen: list[Guard], fates: list[Fate], stood: int, seconds: float) -> int:
    """Say how it went; the exit status."""
    wrong = verdict(guards, fates, stood)
    living = {fate.name for fate in fates if fate.end != "killed"}
    print(f"{len(chosen)} guards, {len(fates) - len(living)} killed, {len(living)} living, ", end="")
    print(f"of these {len(living & set(EQUIVALENT))} equivalent; {stood} counted in the text; {seconds:.0f} s")
    print("\n".join(wrong), file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
