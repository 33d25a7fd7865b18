"""What the contracts' sources say, as the compiler reads them: functions, their guards, who calls whom.

Only the compiler's parser runs, which takes a second; text is never searched for anything but by place.
"""

import json
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from incentives.solc import CompilationFailed, Compiler, read_sources

Node = dict[str, Any]
TIMEOUT_S = 120.0


@dataclass(frozen=True, slots=True)
class Span:
    """Bytes [start, end) of a source's text in UTF-8."""

    file: str
    start: int
    end: int


@dataclass(frozen=True)
class Suite:
    """Sources by name, and the tree of each."""

    sources: Mapping[str, str]
    trees: Mapping[str, Node]
    names: Mapping[int, str] = field(repr=False)

    @cached_property
    def by_id(self) -> dict[int, Node]:
        """Every node that something can refer to."""
        return {node["id"]: node for tree in self.trees.values() for node in walk(tree) if "id" in node}

    def span(self, node: Node) -> Span:
        """Where the node stands."""
        start, length, source = map(int, node["src"].split(":"))
        return Span(self.names[source], start, start + length)

    def text(self, node: Node) -> str:
        """The node as it is written."""
        span = self.span(node)
        return self.sources[span.file].encode()[span.start : span.end].decode()

    def contracts(self) -> list[Node]:
        """Every contract, abstract contract, interface and library."""
        return [node for tree in self.trees.values() for node in tree["nodes"] if kind_of(node) == "ContractDefinition"]

    def functions(self, contract: Node) -> list[Node]:
        """Functions and modifiers with a body, the inherited ones included."""
        lineage = [self.by_id[base] for base in contract["linearizedBaseContracts"]]
        kinds = ("FunctionDefinition", "ModifierDefinition")
        return [node for base in lineage for node in base["nodes"] if kind_of(node) in kinds and node.get("body")]

    def called(self, function: Node) -> Iterator[Node]:
        """Functions and modifiers that run in the same contract: internal ones, those of libraries, and the bases'.

        Where one is called that others override, these as well: which of them runs depends on the contract.
        """
        for node in walk(function):
            target = self.by_id.get(_reference(node), {})
            if kind_of(target) == "ModifierDefinition" or (
                kind_of(target) == "FunctionDefinition" and not _leaves(node)
            ):
                yield target
                yield from self._overriding.get(target["id"], ())

    @cached_property
    def _overriding(self) -> dict[int, list[Node]]:
        found: dict[int, list[Node]] = {}
        for node in self.by_id.values():
            for base in node.get("baseFunctions", ()):
                found.setdefault(base, []).append(node)
        return found

    def errors_of(self, function: Node) -> set[str]:
        """The names of all errors that a call of the function can end with, as far as this contract decides."""
        seen: dict[int, Node] = {}
        waiting = [function]
        while waiting:
            one = waiting.pop()
            if one["id"] not in seen:
                seen[one["id"]] = one
                waiting += self.called(one)
        return {error_name(node) for one in seen.values() for node in walk(one) if kind_of(node) == "RevertStatement"}


def parse(folder: Path, compiler: Compiler, names: list[str] | None = None) -> Suite:
    """Read and parse every source below a folder, or those named.

    Raises: CompilationFailed.
    """
    names = names or [path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*.sol"))]
    sources = read_sources(folder, names)
    told = {
        "language": "Solidity",
        "sources": {name: {"content": text} for name, text in sources.items()},
        "settings": {"outputSelection": {"*": {"": ["ast"]}}},
    }
    command = [*compiler.command, "--standard-json"]
    done = subprocess.run(
        command, input=json.dumps(told), capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )
    answer = json.loads(done.stdout)
    if answer.get("errors"):
        raise CompilationFailed(entry["formattedMessage"] for entry in answer["errors"])
    found = answer["sources"]
    trees = {name: found[name]["ast"] for name in names}
    return Suite(sources, trees, {found[name]["id"]: name for name in names})


def kind_of(node: Mapping[str, Any]) -> str:
    """Such as "IfStatement"; empty for what is no node."""
    return str(node.get("nodeType", ""))


def walk(node: Node) -> Iterator[Node]:
    """The node and everything below it, in the order of the text."""
    yield node
    for value in node.values():
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, dict) and "nodeType" in child:
                yield from walk(child)


def error_name(revert: Node) -> str:
    """The error that a revert statement names, without its contract."""
    thrown = revert["errorCall"]["expression"]
    return str(thrown.get("memberName") or thrown["name"])


def entry_name(function: Node) -> str:
    """How a caller knows the function; a constructor has no name of its own."""
    return "constructor" if function.get("kind") == "constructor" else str(function["name"])


def is_entry(function: Node) -> bool:
    """Whether somebody outside can call it, or call it into being."""
    return function.get("kind") == "constructor" or function.get("visibility") in ("external", "public")


def _reference(node: Node) -> int:
    reference = node.get("referencedDeclaration")
    return reference if isinstance(reference, int) else -1


def _leaves(node: Node) -> bool:
    """Whether the name is that of another contract's function."""
    kind = node.get("typeDescriptions", {}).get("typeIdentifier") or ""
    return "function_external" in kind
