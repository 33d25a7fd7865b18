"""A pytest plugin that judges mutants with the tests of this repository, in one process and on one anvil.

The contracts are those with a switch in every guard. First all tests run with every guard on: they must pass, and what
each of them calls is noted. That also deploys whatever a session shares. Then each guard is switched off in turn, the
tests that can notice run until one fails, twice, and the chain goes back to where it was. What failed must pass again
with the guard on; else the mutant before has left something behind, and nothing more can be believed.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hypothesis
import pytest

import incentives.artifacts
from incentives.chain import Web3Chain
from incentives.errors import IncentivesError, Reverted
from node.devchain.local import LocalChain
from scripts.guards import Guard
from scripts.mutant_choice import Noted, Reach, order
from scripts.schemata import coinbase
from tests.conftest import ask
from tests.contracts.reverts import LEDGER

FOLDERS = ("tests/contracts", "tests/incentives")
LEFT_OUT = ("test_gas", "test_gas_snapshot", "test_jury_gas", "test_score_gas", "test_artifacts", "test_build")
"""They judge what the compiler made of the sources, not what the contracts do."""
FRUGAL = ("cost_little", "costs_little", "for_little", "no_gas_limit", "want_of_gas")
"""What the names of such tests say in the other files."""
ROOMY = ("--disable-code-size-limit", "--gas-limit", "1000000000")
PHASES = (hypothesis.Phase.explicit, hypothesis.Phase.generate)
"""A mutant's failure need not be made small, and must not come back with the next one."""
_QUIET = "-Wignore::pytest.PytestAssertRewriteWarning"
_ARGUMENTS = ("--override-ini=timeout=120", "-pno:terminal", "-pno:xdist", "-pno:cacheprovider", "--capture=no", _QUIET)


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of a mutant: it was "killed" by a test, it "lives" after all that can notice, or was "given up"."""

    name: str
    end: str
    by: str = ""
    tests: int = 0
    seconds: float = 0.0


@dataclass(eq=False)
class Trial:
    """The plugin. `told` gets each fate as soon as it is known."""

    folder: Path
    guards: list[Guard]
    reach: Reach
    told: Callable[[Fate], None]
    tests: tuple[str, ...] = FOLDERS
    patience: float = float("inf")
    """Seconds after which no other test is tried on a mutant."""
    noted: dict[str, Noted] = field(default_factory=dict)
    failure: str = ""
    _items: dict[str, pytest.Item] = field(default_factory=dict)
    _failed: list[str] = field(default_factory=list)
    _now: Noted = field(default_factory=Noted)
    _url: str = ""

    def run(self) -> None:
        """Judge them all. Raises: IncentivesError where the tests cannot be used as a judge."""
        with pytest.MonkeyPatch.context() as patch:
            self._rearrange(patch)
            status = pytest.main([*_ARGUMENTS, *self.tests], plugins=[self])
        if self.failure or status != pytest.ExitCode.OK:
            raise IncentivesError(self.failure or f"pytest ended with {status!r}")

    def pytest_collection_modifyitems(self, session: pytest.Session, items: list[pytest.Item]) -> None:
        """Only what asks the anvil of this session, and judges what the contracts do."""
        items[:] = [item for item in items if _asks_anvil(item) and not _is_about_gas(item)]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self._failed.append(f"{report.nodeid} ({report.when}): {str(report.longrepr)[-1500:]}")

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: pytest.FixtureDef[Any]) -> Iterator[None]:
        """Where the session's anvil is."""
        found = yield
        if fixturedef.argname == "anvil_url":
            self._url = str(found)
        return found

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Instead of one run through all tests."""
        self._items = {item.nodeid: item for item in session.items}
        try:
            if session.testsfailed:
                raise IncentivesError("the tests cannot be collected")
            self._baseline(session)
            for guard in self.guards:
                self.told(self._judge(session, guard))
        except IncentivesError as error:
            self.failure = str(error)
        session.testsfailed = 0
        return True

    def _rearrange(self, patch: pytest.MonkeyPatch) -> None:
        """Other artifacts, an anvil that takes large contracts, and an ear at the chain's client."""
        from tests.contracts import world

        started = LocalChain._command
        patch.setattr(incentives.artifacts, "files", lambda _: self.folder)
        patch.setattr(world, "_DOUBLES", self.folder / "doubles")
        patch.setattr(LocalChain, "_command", lambda chain, port: _roomy(chain, started(chain, port)))
        incentives.artifacts.load_artifact.cache_clear()
        incentives.artifacts.error_table.cache_clear()
        self._listen(patch)
        hypothesis.settings.register_profile("mutants", phases=PHASES, database=None, derandomize=True)
        hypothesis.settings.load_profile("mutants")

    def _listen(self, patch: pytest.MonkeyPatch) -> None:
        """At what the client asks and is refused, and at what contracts of the tests were refused by others."""
        asked, refused, ledger = Web3Chain._foreign, Reverted.__init__, LEDGER.note

        def noting(chain: Web3Chain, part: str = "", fn: str = "") -> Any:
            self._now.calls.add((part, fn))
            return asked(chain, part, fn)

        def noting_refusal(error: Reverted, name: str, *args: Any, **options: Any) -> None:
            part, _, fn = str(options.get("during") or "").partition(".")
            self._now.refused.add(((part, fn), name))
            refused(error, name, *args, **options)

        def noting_inside(contract: str, function: str, error: str) -> None:
            self._now.calls.add((contract, function))
            self._now.refused.add(((contract, function), error))
            ledger(contract, function, error)

        patch.setattr(LEDGER, "note", noting_inside)
        patch.setattr(Web3Chain, "_foreign", noting)
        patch.setattr(Reverted, "__init__", noting_refusal)

    def _baseline(self, session: pytest.Session) -> None:
        for item in session.items:
            self.noted[item.nodeid] = self._now = Noted()
            began, before = time.monotonic(), len(self._failed)
            if not self._passes(item.nodeid) and self._passes(item.nodeid):
                del self._failed[before:]  # once only: by the clock of a busy machine
            self._now.seconds = time.monotonic() - began
        _leave(session, session)
        if self._failed:
            raise IncentivesError("tests fail without any mutation, correct them first:\n" + "\n".join(self._failed))

    def _judge(self, session: pytest.Session, guard: Guard) -> Fate:
        began, end = time.monotonic(), "lives"
        tried = list[str]()
        with self._on_chain(session, guard.number):
            for test in order(guard, self.reach, self.noted):
                if time.monotonic() - began > self.patience:
                    end = "given up"
                    break
                tried.append(test)
                if not self._passes(test) and not self._passes(test):
                    end = "killed"
                    break
        if end == "killed":
            self._must_pass(session, tried[-1], guard)
        by = tried[-1] if end == "killed" else ""
        return Fate(guard.name, end, by, len(tried), round(time.monotonic() - began, 1))

    def _must_pass(self, session: pytest.Session, test: str, guard: Guard) -> None:
        with self._on_chain(session, 0):
            if not self._passes(test) and not self._passes(test):
                raise IncentivesError(f"after {guard.name} the chain is not what it was:\n{self._failed[0]}")

    def _passes(self, test: str) -> bool:
        """Run one test; what its module shares stays for the next one of the module."""
        item, before = self._items[test], len(self._failed)
        _leave(item.session, item)
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=item.parent)
        return len(self._failed) == before

    @contextmanager
    def _on_chain(self, session: pytest.Session, number: int) -> Iterator[None]:
        """With the guard off, from the next block on; nothing of it is left afterwards but what the session shares."""
        taken, self._failed, self._now = ask(self._url, "evm_snapshot"), [], Noted()
        ask(self._url, "anvil_setCoinbase", coinbase(number))
        ask(self._url, "evm_mine")  # a call is asked of the newest block, with its coinbase
        try:
            yield
        finally:
            _leave(session, session)
            ask(self._url, "anvil_setCoinbase", coinbase(0))
            ask(self._url, "evm_revert", taken)


def _asks_anvil(item: pytest.Item) -> bool:
    """Tests that have their choice of chains are asked once."""
    if "chain_url" in getattr(item, "fixturenames", ()):
        callspec: Any = getattr(item, "callspec", None)
        return bool(callspec.params.get("chain_url") == "anvil")
    return "anvil_url" in getattr(item, "fixturenames", ())


def _is_about_gas(item: pytest.Item) -> bool:
    return item.path.stem in LEFT_OUT or any(word in item.name for word in FRUGAL)


def _roomy(chain: LocalChain, command: list[str]) -> list[str]:
    return [*command, *ROOMY] if chain.kind == "anvil" else command


def _leave(session: pytest.Session, wanted: pytest.Item | pytest.Session) -> None:
    """Ends what is open of other modules than the wanted one's; with the session, of all."""
    session._setupstate.teardown_exact(wanted)  # type: ignore[arg-type]
