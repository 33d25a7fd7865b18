"""The guards of the contracts, each with the edits of the sources that let it be switched off while the chain runs.

Every edit only adds: `if (C) revert X();` becomes `if ((!GuardSwitch.off(7) && (C))) revert X();`, so that edits of one
place do not disturb each other. Switched off, a condition is not even evaluated. A call of a function that holds guards
of its own goes to a twin of it (`f` becomes `fSwitched`) that is told by its last argument which switch opens it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from scripts.solidity_ast import Node, Suite, error_name, kind_of, walk

TOTAL = ("rsh",)
"""Functions whose condition no caller's formula can fail: it is removed where it stands, not call by call."""
TWIN = "Switched"
"""What the name of a twin ends with."""
OFF = "GuardSwitch.off({})"
_FAR = 1 << 40


@dataclass(frozen=True, slots=True)
class Edit:
    """A text put in at a byte of a source. Of several at one byte the smallest rank comes first."""

    file: str
    at: int
    rank: int
    text: str


@dataclass(frozen=True, slots=True)
class Guard:
    """A guard by a name that says where it is and what it refuses; `counted` if the text's count has it as well.

    `node` is what it is in the tree, `within` the function or modifier that it stands in, `target` the function or
    modifier whose twin is needed, and `number` the switch, from 1 on.
    """

    name: str
    node: Node
    within: Node
    counted: bool
    target: Node | None = None
    number: int = 0


def guards_of(suite: Suite) -> list[Guard]:
    """Return every guard of every function, in the order of the sources, numbered."""
    found: list[Guard] = []
    for contract in suite.contracts():
        for function in contract["nodes"]:
            if kind_of(function) in ("FunctionDefinition", "ModifierDefinition") and function.get("body"):
                place = f"{contract['name']}.{function['name'] or function['kind']}"
                found += _of_function(suite, function, place)
    return _numbered(found)


def edits_of(suite: Suite, guard: Guard) -> list[Edit]:
    """What makes the guard obey its switch."""
    span, off = suite.span(guard.node), OFF.format(guard.number)
    if kind_of(guard.node) == "ModifierInvocation":
        return [Edit(span.file, span.end, 0, f"{TWIN}({guard.number})")]
    if guard.target is not None:
        callee, more = suite.span(guard.node["expression"]), ", " if guard.node["arguments"] else ""
        return [Edit(span.file, callee.end, 0, TWIN), Edit(span.file, span.end - 1, 0, f"{more}{guard.number}")]
    wide = span.end - span.start
    opened = f"({off} || (" if guard.name.endswith(": require") else f"(!{off} && ("
    return [Edit(span.file, span.start, _FAR - wide, opened), Edit(span.file, span.end, wide - _FAR, "))")]


def conditions(function: Node) -> Iterator[tuple[Node, Node]]:
    """Every `if (...) revert` of a function, with the revert that it is there for."""
    for node in walk(function["body"]):
        thrown = _thrown(node)
        if thrown is not None:
            yield node, thrown


def _of_function(suite: Suite, function: Node, place: str) -> Iterator[Guard]:
    for node, thrown in conditions(function):
        yield from _condition(suite, function, f"{place}: {error_name(thrown)} if ", node["condition"])
    for modifier in function.get("modifiers", []):
        if modifier.get("kind") == "modifierInvocation":
            target = suite.by_id[modifier["modifierName"]["referencedDeclaration"]]
            yield Guard(f"{place}: {suite.text(modifier)}", modifier, function, True, target)
    for node in walk(function["body"]):
        if kind_of(node) == "FunctionCall" and node["expression"].get("name") == "require":
            yield Guard(f"{place}: require", node["arguments"][0], function, True)
        if kind_of(node) == "IfStatement" and _is_limit(node):
            yield Guard(f"{place}: if {suite.text(node['condition'])}", node["condition"], function, False)
    for node, target in _guarded_calls(suite, function):
        yield Guard(f"{place}: {suite.text(node)}", node, function, False, target)


def _condition(suite: Suite, function: Node, before: str, condition: Node) -> Iterator[Guard]:
    """A condition as a whole, and by each part that an `or` joins."""
    name = before + " ".join(suite.text(condition).split())
    yield Guard(name, condition, function, True)
    parts = list(_disjuncts(condition))
    for part in parts if len(parts) > 1 else []:
        yield Guard(f"{name}, without {suite.text(part)}", part, function, False)


def _guarded_calls(suite: Suite, function: Node) -> Iterator[tuple[Node, Node]]:
    """Every call of a function of the sources that holds conditions, with that function."""
    for node in walk(function["body"]):
        if kind_of(node) != "FunctionCall":
            continue
        called = node["expression"]
        target = suite.by_id.get(called.get("referencedDeclaration", -1), {})
        internal = "function_internal" in (called["typeDescriptions"].get("typeIdentifier") or "")
        if kind_of(target) != "FunctionDefinition" or not internal or target["name"] in TOTAL or not target.get("body"):
            continue
        if any(conditions(target)):
            yield node, target


def _thrown(node: Node) -> Node | None:
    """The revert that an if statement is there for."""
    if kind_of(node) != "IfStatement" or node.get("falseBody"):
        return None
    body = node["trueBody"]
    statements = body["statements"] if kind_of(body) == "Block" else [body]
    last = statements[-1] if statements else {}
    return last if kind_of(last) == "RevertStatement" else None


def _is_limit(node: Node) -> bool:
    """`if (x > limit) x = limit;`"""
    body, condition = node["trueBody"], node["condition"]
    if kind_of(body) != "ExpressionStatement" or kind_of(body["expression"]) != "Assignment" or node.get("falseBody"):
        return False
    compared = condition.get("leftExpression", {}).get("referencedDeclaration")
    return (
        condition.get("operator") in ("<", ">")
        and compared == body["expression"]["leftHandSide"].get("referencedDeclaration")
    )  # fmt: skip


def _disjuncts(condition: Node) -> Iterator[Node]:
    if kind_of(condition) == "BinaryOperation" and condition["operator"] == "||":
        yield from _disjuncts(condition["leftExpression"])
        yield from _disjuncts(condition["rightExpression"])
    else:
        yield condition


def _numbered(guards: list[Guard]) -> list[Guard]:
    """Every guard gets its switch; those that look alike get a number each in their names too."""
    seen: dict[str, int] = {}
    named = []
    for number, guard in enumerate(guards, 1):
        seen[guard.name] = count = seen.get(guard.name, 0) + 1
        name = guard.name + (f" ({count})" if count > 1 else "")
        named.append(replace(guard, name=name, number=number))
    return named
