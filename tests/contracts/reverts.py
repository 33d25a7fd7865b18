"""Which refusals the tests have really provoked, and which there are.

A refusal is an error that a function of a deployed contract can end with; the compiler's tree of the sources says
which those are, through every internal function, modifier, base and library. What was provoked is noted where the
chain's client hands out a decoded revert, so that a name in a test's text counts for nothing. When every test of this
folder has run, in however many processes, and none has failed, a refusal that nobody provoked fails the session.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from incentives.artifacts import CONTRACT_NAMES
from incentives.chain import Contract, Web3Chain
from incentives.errors import Reverted
from incentives.solc import find_compiler
from scripts import build_contracts
from scripts.solidity_ast import Suite, entry_name, is_entry, parse

FOLDER = Path(__file__).resolve().parent
JUDGED = (*CONTRACT_NAMES, "ExactProbe")
"""What is deployed; the libraries of the exact profile are so by a wrapper only, until a contract uses them."""
FORWARDERS = {("AnyCourt", "slash"): ("Stakes", "slash")}
"""Functions that pass on what another contract's refuses."""
_OBSERVED, _WHOLE = "observed reverts", "whole folder"


@dataclass(frozen=True, slots=True, order=True)
class Refusal:
    """A function of a contract, or its constructor, ending with an error."""

    contract: str
    function: str
    error: str

    def __str__(self) -> str:
        return f"{self.contract}.{self.function}: {self.error}"


def sources() -> Suite:
    """The contracts' sources, parsed. Raises: CompilerMissing."""
    return parse(build_contracts.SOURCES, find_compiler(build_contracts.CONTRACTS))


def possible(suite: Suite) -> set[Refusal]:
    """Every refusal of what is deployed."""
    return {
        Refusal(contract["name"], entry_name(function), error)
        for contract in suite.contracts()
        if contract["name"] in JUDGED
        for function in suite.functions(contract)
        if is_entry(function)
        for error in suite.errors_of(function)
    }


UNREACHABLE = frozenset({
    Refusal("Bench", "isRight", "IntegerOverflow"),
    Refusal("Bench", "isRight", "ScaleOutOfRange"),
    Refusal("Demands", "burn", "BondShort"),
    Refusal("Disputes", "burn", "BondShort"),
    Refusal("Jury", "burn", "BondShort"),
})  # fmt: skip
"""What is burnt is what is there. The arithmetic's own refusals behind the checkers, which compare every operand with
SPEC.md's ranges first and answer "wrong": no step gets there, whatever a liar's values are. test_checkers.py plays ten thousand
spoilt steps for that."""


@dataclass
class Ledger:
    """A pytest plugin: what this process has seen, and on the controller what all have."""

    observed: set[Refusal] = field(default_factory=set)
    whole: bool = False
    missing: list[Refusal] = field(default_factory=list)
    compute: Callable[[], set[Refusal]] = lambda: possible(sources())

    def note(self, contract: str, function: str, error: str) -> None:
        """Something that a chain has answered."""
        contract, function = FORWARDERS.get((contract, function), (contract, function))
        self.observed.add(Refusal(contract, function, error))

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Notes every revert that the chain's client decodes meanwhile."""
        with pytest.MonkeyPatch.context() as patch:
            for method in ("call", "send", "deploy"):
                patch.setattr(Web3Chain, method, self._noting(method, getattr(Web3Chain, method)))
            yield

    def _noting(self, method: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def noting(chain: Web3Chain, *args: Any, **options: Any) -> Any:
            try:
                return original(chain, *args, **options)
            except Reverted as error:
                self.note(*_called(method, args), error.name)
                raise

        return noting

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Whether no test of the folder is left out."""
        files = {item.path for item in session.items if item.path.parent == FOLDER}
        everything = files == set(FOLDER.glob("test_*.py"))
        self.whole = self.whole or (everything and not any("::" in arg for arg in session.config.args))

    def pytest_deselected(self, items: Iterable[pytest.Item]) -> None:
        if any(item.path.parent == FOLDER for item in items):
            self.compute = set  # part of the tests owes part of the refusals, and which is not known

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """What a worker process of pytest-xdist has seen."""
        told = getattr(node, "workeroutput", {})
        self.observed |= {Refusal(*row) for row in told.get(_OBSERVED, ())}
        self.whole = self.whole or told.get(_WHOLE, False)

    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        output = getattr(session.config, "workeroutput", None)
        if output is not None:
            output[_OBSERVED] = [[one.contract, one.function, one.error] for one in sorted(self.observed)]
            output[_WHOLE] = self.whole and self.compute is not set
        elif self.whole and exitstatus == pytest.ExitCode.OK and not session.config.option.collectonly:
            self.missing = sorted(self.compute() - self.observed - UNREACHABLE)
            session.exitstatus = pytest.ExitCode.TESTS_FAILED if self.missing else exitstatus

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        if self.missing:
            terminalreporter.section("refusals that no test provokes", red=True, bold=True)
            for one in self.missing:
                terminalreporter.line(str(one), red=True)


LEDGER = Ledger()


def _called(method: str, args: tuple[Any, ...]) -> tuple[str, str]:
    """The contract and the function of a call to the chain's client."""
    if method == "deploy":
        return args[1].name, "constructor"
    contract: Contract = args[0] if method == "call" else args[1]
    return contract.name, args[1] if method == "call" else args[2]
