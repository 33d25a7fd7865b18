"""Which tests can notice that a guard is gone: those that call a function from which it is reached, the likeliest first."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from scripts.guards import Guard, conditions
from scripts.solidity_ast import Node, Suite, entry_name, error_name, is_entry, kind_of, walk

Entry = tuple[str, str]
"""A contract and a function of it that anybody can call, or its constructor."""


@dataclass(slots=True)
class Noted:
    """What one test did while every guard was on."""

    calls: set[Entry] = field(default_factory=set)
    refused: set[tuple[Entry, str]] = field(default_factory=set)
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Reach:
    """For each function, by its id in the tree, which ones call it; and which entries of contracts it is."""

    callers: dict[int, set[int]]
    entries: dict[int, set[Entry]]

    def of(self, function: Node) -> set[Entry]:
        """From where anybody can get into the function."""
        seen, waiting = set[int](), [function["id"]]
        while waiting:
            one = waiting.pop()
            if one not in seen:
                seen.add(one)
                waiting += self.callers.get(one, ())
        return {entry for one in seen for entry in self.entries.get(one, ())}


def reach_of(suite: Suite) -> Reach:
    """Read the calls of all functions. A call that leaves a contract may arrive at every function of that name."""
    reach = Reach({}, {})
    for contract in suite.contracts():
        for function in suite.functions(contract):
            if is_entry(function):
                entry = contract["name"], entry_name(function)
                reach.entries.setdefault(function["id"], set()).add(entry)
    named: dict[str, set[int]] = {}
    for found, entries in reach.entries.items():
        for _, name in entries:
            named.setdefault(name, set()).add(found)
    for contract in suite.contracts():
        for function in contract["nodes"]:
            for called in _called(suite, function, named):
                reach.callers.setdefault(called, set()).add(function["id"])
    return reach


def errors_of(guard: Guard) -> set[str]:
    """What the guard may refuse with; nothing for a limit."""
    if guard.target is not None:
        return {error_name(thrown) for _, thrown in conditions(guard.target)}
    inside = {id(node) for node in walk(guard.node)}
    for node, thrown in conditions(guard.within):
        if inside & {id(each) for each in walk(node["condition"])}:
            return {error_name(thrown)}
    return set()


def order(guard: Guard, reach: Reach, noted: dict[str, Noted]) -> list[str]:
    """First the tests that saw its error from a function that leads to it, then those that saw the error anywhere."""
    entries, errors = reach.of(guard.within), errors_of(guard)
    ranked = []
    for test, did in noted.items():
        near = any(entry in entries and error in errors for entry, error in did.refused)
        seen = near or any(error in errors for _, error in did.refused)
        if seen or did.calls & entries:
            ranked.append((0 if near else 1 if seen else 2, did.seconds, test))
    return [test for _, _, test in sorted(ranked)]


def _called(suite: Suite, function: Node, named: dict[str, set[int]]) -> Iterable[int]:
    if kind_of(function) not in ("FunctionDefinition", "ModifierDefinition"):
        return
    yield from (target["id"] for target in suite.called(function))
    yield from (found for name in _outward(function) for found in named.get(name, ()))


def _outward(function: Node) -> Iterator[str]:
    """Names of other contracts' functions, as members of whatever is asked, and as selectors."""
    for node in walk(function):
        if kind_of(node) == "MemberAccess" and "function_external" in str(node["typeDescriptions"]):
            yield str(node["memberName"])
        if kind_of(node) == "MemberAccess" and "function_declaration" in str(node["typeDescriptions"]):
            yield str(node["memberName"])
        if kind_of(node) == "NewExpression":
            yield "constructor"
