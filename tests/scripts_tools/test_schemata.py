"""The switches of the mutants: on a chain, each opens what its guard alone had shut, and nothing besides."""

from pathlib import Path
from typing import Any

import pytest

from incentives.artifacts import parse_artifact
from incentives.chain import Contract, Web3Chain
from incentives.errors import Reverted
from incentives.signing import LocalSigner
from incentives.solc import compile_sources, find_compiler
from scripts import build_contracts
from scripts.guards import Guard, guards_of
from scripts.mutant_choice import Noted, order, reach_of
from scripts.schemata import STEPS, coinbase, switched
from scripts.solidity_ast import Suite, parse
from tests.conftest import ask

SOURCE = """// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

library Numbers {
    error Odd(uint256 a);
    error Large(uint256 a);

    function even(uint256 a) internal pure returns (uint256) {
        if (a % 2 == 1 || a == 6) revert Odd(a);
        return a;
    }

    function small(uint256 a) internal pure returns (uint256) {
        if (a > 99) a = 99;
        if (a > 9) {
            revert Large(a);
        }
        return a;
    }
}

contract Gate {
    using Numbers for uint256;

    error Shut();
    error Zero();

    bool private immutable _open;

    modifier whenOpen() {
        if (!_open) revert Shut();
        _;
    }

    constructor(uint256 a) {
        if (a == 0) revert Zero();
        _open = a > 1;
    }

    function half(uint256 a) external view whenOpen returns (uint256) {
        return Numbers.even(a.small()) / 2;
    }

    function whole(uint256 a) external pure returns (uint256) {
        return a.even();
    }
}
"""
DEPLOYER = LocalSigner.dev_account(0, 31337)


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Suite:
    """A contract with a guard of each kind, in pure functions and in its constructor too."""
    folder: Path = tmp_path_factory.mktemp("gate")
    (folder / "Gate.sol").write_text(SOURCE)
    return parse(folder, find_compiler(build_contracts.CONTRACTS))


class Gates:
    """A gate that is open and one that is shut, and what they answer while a guard is off."""

    def __init__(self, url: str, suite: Suite) -> None:
        self._url, self._chain = url, Web3Chain(url)
        compiled = compile_sources(
            switched(suite, guards_of(suite)), find_compiler(build_contracts.CONTRACTS), steps=STEPS
        )
        self._artifact = parse_artifact(compiled["Gate"])
        self.opened, self.shut = self.deploy(2), self.deploy(1)

    def deploy(self, argument: int) -> Contract:
        return self._chain.deploy(DEPLOYER, self._artifact, argument).contract

    def switch(self, number: int) -> None:
        ask(self._url, "anvil_setCoinbase", coinbase(number))
        ask(self._url, "evm_mine")

    def ask(self, gate: Contract, fn: str, argument: int) -> Any:
        """The answer, or the error with its numbers."""
        try:
            return self._chain.call(gate, fn, argument)
        except Reverted as error:
            return f"{error.name} {' '.join(map(str, error.arguments))}".strip()

    def answers(self) -> dict[str, Any]:
        """What the gates say to arguments that touch every guard."""
        said = {f"half {argument}": self.ask(self.opened, "half", argument) for argument in (4, 5, 6, 20, 120)}
        said |= {f"whole {argument}": self.ask(self.opened, "whole", argument) for argument in (20, 5)}
        said["shut"] = self.ask(self.shut, "half", 4)
        try:
            self.deploy(0)
            said["zero"] = "deployed"
        except Reverted as error:
            said["zero"] = error.name
        return said


@pytest.fixture(scope="module")
def gates(anvil_url: str, suite: Suite) -> Gates:
    """On a chain of the tests."""
    return Gates(anvil_url, suite)


ALL_ON = {"half 4": 2, "half 5": "Odd 5", "half 6": "Odd 6", "half 20": "Large 20", "half 120": "Large 99"}
ALL_ON |= {"whole 20": 20, "whole 5": "Odd 5", "shut": "Shut", "zero": "Zero"}
OPENS: dict[str, dict[str, Any]] = {
    "Numbers.even: Odd if a % 2 == 1 || a == 6": {"half 5": 2, "half 6": 3, "whole 5": 5},
    "Numbers.even: Odd if a % 2 == 1 || a == 6, without a % 2 == 1": {"half 5": 2, "whole 5": 5},
    "Numbers.even: Odd if a % 2 == 1 || a == 6, without a == 6": {"half 6": 3},
    "Numbers.small: Large if a > 9": {"half 20": 10, "half 120": "Odd 99"},
    "Numbers.small: if a > 99": {"half 120": "Large 120"},
    "Gate.whenOpen: Shut if !_open": {"shut": 2},
    "Gate.constructor: Zero if a == 0": {"zero": "deployed"},
    "Gate.half: whenOpen": {"shut": 2},
    "Gate.half: Numbers.even(a.small())": {"half 5": 2, "half 6": 3},
    "Gate.half: a.small()": {"half 20": 10, "half 120": "Odd 99"},
    "Gate.whole: a.even()": {"whole 5": 5},
}


def test_a_switch_opens_what_its_guard_alone_had_shut(gates: Gates, suite: Suite) -> None:
    """One after the other; with none off, the rewritten contract refuses what the contract itself does."""
    assert gates.answers() == ALL_ON
    guards = {guard.name: guard for guard in guards_of(suite)}
    assert set(guards) == set(OPENS)
    try:
        for name, opens in OPENS.items():
            gates.switch(guards[name].number)
            assert gates.answers() == ALL_ON | opens, name
    finally:
        gates.switch(0)
    assert gates.answers() == ALL_ON


def _guard(suite: Suite, name: str) -> Guard:
    return next(guard for guard in guards_of(suite) if guard.name == name)


def test_the_tests_that_saw_the_error_come_first_and_those_that_never_get_there_not_at_all(suite: Suite) -> None:
    """By the calls that each test was seen to make."""
    half, whole = ("Gate", "half"), ("Gate", "whole")
    noted = {
        "calls": Noted({half}, set(), 1.0),
        "sees": Noted({half}, {(half, "Large")}, 3.0),
        "sees sooner": Noted({half}, {(half, "Large")}, 2.0),
        "elsewhere": Noted({whole}, {(whole, "Large")}, 1.0),
        "never": Noted({whole}, set(), 0.0),
    }
    found = order(_guard(suite, "Numbers.small: Large if a > 9"), reach_of(suite), noted)
    assert found == ["sees sooner", "sees", "elsewhere", "calls"]
    assert order(_guard(suite, "Gate.constructor: Zero if a == 0"), reach_of(suite), noted) == []
