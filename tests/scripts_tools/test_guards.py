"""The mutants: every guard is found, and what removes it removes nothing else."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from incentives.solc import find_compiler
from scripts import build_contracts
from scripts.guards import guards_of
from scripts.mutant_trial import Fate
from scripts.mutate_contracts import EQUIVALENT, earlier, names, standing, verdict
from scripts.schemata import switched
from scripts.solidity_ast import Suite, parse

SOURCE = """// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

contract Door {
    error Shut(uint256 a);
    uint256 private _open;

    modifier locked() {
        _;
    }

    function enter(uint256 a, uint256 b) external locked {
        if (a == 0 || b == 0) revert Shut(a); // revert Shut(b) in a comment counts for nothing
        if (a > 9) a = 9;
        _open = checked(a);
    }

    function checked(uint256 a) private pure returns (uint256) {
        if (a == 1) {
            revert Shut(a);
        }
        return a;
    }
}
"""


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Suite:
    """One contract with a guard of each kind."""
    folder: Path = tmp_path_factory.mktemp("door")
    (folder / "Door.sol").write_text(SOURCE)
    return parse(folder, find_compiler(build_contracts.CONTRACTS))


def test_every_guard_gets_a_switch_and_nothing_else_changes(door: Suite) -> None:
    """Whole conditions, their parts, limits, modifiers, and calls of what holds a condition itself."""
    text = switched(door, guards_of(door))["Door.sol"]
    changed = [line.strip() for line in text.splitlines() if "Switch" in line]
    assert changed == [
        'import {GuardSwitch} from "./lib/GuardSwitch.sol";',
        "modifier lockedSwitched(uint256 guard_) { if (GuardSwitch.off(guard_)) { _; } else {",
        "function enter(uint256 a, uint256 b) external lockedSwitched(4) {",
        "if ((!GuardSwitch.off(1) && ((!GuardSwitch.off(2) && (a == 0)) || (!GuardSwitch.off(3) && (b == 0))))) "
        "revert Shut(a); // revert Shut(b) in a comment counts for nothing",
        "if ((!GuardSwitch.off(5) && (a > 9))) a = 9;",
        "_open = checkedSwitched(a, 6);",
        "if ((!GuardSwitch.off(7) && (a == 1))) {",
        "function checkedSwitched(uint256 a, uint256 guard_) private pure returns (uint256) {",
        "if (!GuardSwitch.off(guard_) && (!GuardSwitch.off(7) && (a == 1))) {",
    ]
    assert [guard.name for guard in guards_of(door)] == [
        "Door.enter: Shut if a == 0 || b == 0",
        "Door.enter: Shut if a == 0 || b == 0, without a == 0",
        "Door.enter: Shut if a == 0 || b == 0, without b == 0",
        "Door.enter: locked",
        "Door.enter: if a > 9",
        "Door.enter: checked(a)",
        "Door.checked: Shut if a == 1",
    ]


def test_the_tree_holds_every_guard_that_the_text_does() -> None:
    """Counted twice, in two ways, over the contracts that are shipped."""
    suite = parse(build_contracts.SOURCES, find_compiler(build_contracts.CONTRACTS), names())
    guards = guards_of(suite)
    assert sum(guard.counted for guard in guards) == standing(suite) >= 70
    assert len({guard.name for guard in guards}) == len(guards)
    assert set(EQUIVALENT) <= {guard.name for guard in guards}, "what is excused is no guard any more"


def test_a_mutant_that_lives_is_a_failure_and_so_is_a_guard_that_was_overlooked(door: Suite) -> None:
    """All of them killed is what passes."""
    guards = guards_of(door)
    fates = [Fate(guard.name, "killed") for guard in guards]
    assert verdict(guards, fates, 2) == []
    assert verdict(guards, fates, 99) == ["only 3 of 99 guards were found in the tree"]
    assert verdict(guards, [Fate(guards[0].name, "lives")], 2) == [f"no test misses {guards[0].name}"]


def test_a_stopped_run_goes_on_with_what_it_has_not_killed(tmp_path: Path) -> None:
    """Verdicts are read back; of two on one mutant the deadly one counts, whichever is later."""
    path = tmp_path / "fates.jsonl"
    assert earlier(path) == {}
    fates = [Fate("a", "lives"), Fate("b", "killed", "test"), Fate("a", "killed", "test", 3, 0.5), Fate("b", "lives")]
    path.write_text("".join(json.dumps(asdict(fate)) + "\n" for fate in fates))
    assert earlier(path) == {"a": fates[2], "b": fates[1]}
