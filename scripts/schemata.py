"""The contracts' sources with a switch in every guard, and what they compile to: one compilation for all mutants.

A guard is off while the block's coinbase is BASE plus its number, which anvil_setCoinbase sets. That costs two gas and
touches no state, so no access list, balance or slot tells a test of it; with any other coinbase every guard is on.
"""

import hashlib
import json
import re
from collections.abc import Iterable
from pathlib import Path

from incentives.artifacts import CONTRACT_NAMES
from incentives.solc import Compiler, compile_sources, read_sources, render
from scripts.guards import OFF, TWIN, Edit, Guard, conditions, edits_of
from scripts.solidity_ast import Node, Suite, kind_of

BASE = 0x6775617264 << 112
"""Far from every address that a test uses."""
STEPS = "dhfoDgvulfnTUtnIf:fDnTOcmu"
"""Of the optimiser those that make no function's stack deeper. Nothing is inlined, so that switches and twins add little."""
LIBRARY = "lib/GuardSwitch.sol"
SWITCH = f"""// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @dev Which guard is off. The coinbase is read behind a pointer that calls itself pure: pure functions have guards too.
library GuardSwitch {{
    function off(uint256 guard_) internal pure returns (bool) {{
        function () internal view returns (uint256) seen = number;
        function () internal pure returns (uint256) told;
        assembly ("memory-safe") {{
            told := seen
        }}
        return told() == guard_;
    }}

    function number() private view returns (uint256) {{
        return uint256(uint160(address(block.coinbase))) ^ {BASE:#x};
    }}
}}
"""


def coinbase(number: int) -> str:
    """The coinbase under which the guard with that number is off; number 0 switches none."""
    return f"0x{BASE ^ number:040x}"


def switched(suite: Suite, guards: list[Guard]) -> dict[str, str]:
    """The sources with every guard behind its switch, and the twins of what guarded calls and modifiers go to."""
    edits = [edit for guard in guards for edit in edits_of(suite, guard)]
    targets = {guard.target["id"]: guard.target for guard in guards if guard.target is not None}
    edits += [_twin(suite, target, edits) for target in targets.values()]
    sources = {LIBRARY: SWITCH}
    for name, text in suite.sources.items():
        changed = applied(text.encode(), [edit for edit in edits if edit.file == name]).decode()
        sources[name] = _with_import(name, changed) if "GuardSwitch." in changed else changed
    return sources


def applied(raw: bytes, edits: Iterable[Edit], start: int = 0) -> bytes:
    """The text, which begins at that byte of its source, with each edit made."""
    parts, last = [], 0
    for edit in sorted(edits, key=lambda one: (one.at, one.rank)):
        parts += [raw[last : edit.at - start], edit.text.encode()]
        last = edit.at - start
    return b"".join([*parts, raw[last:]])


def build(compiler: Compiler, sources: dict[str, str], doubles: dict[str, str]) -> dict[str, str]:
    """The text of every artifact by its path below a folder: `artifacts` of the suite, `doubles` of the tests."""
    suite = compile_sources(sources, compiler, steps=STEPS)
    texts = {f"artifacts/{name}.json": render(suite[name]) for name in CONTRACT_NAMES}
    libraries = {name: text for name, text in sources.items() if name.startswith("lib/")}
    mocks = compile_sources(libraries | doubles, compiler, steps=STEPS)
    return texts | {f"doubles/{name}.json": render(mocks[name]) for name in (Path(each).stem for each in doubles)}


def built(folder: Path, compiler: Compiler, suite: Suite, guards: list[Guard], originals: Path) -> Path:
    """The folder of the artifacts below `folder`, compiled unless they are there from an earlier run."""
    names = [path.relative_to(originals).as_posix() for path in sorted((originals / "test").glob("*.sol"))]
    doubles = read_sources(originals, [name for name in names if name not in suite.sources])
    sources = switched(suite, guards)
    known = json.dumps([sources, doubles], sort_keys=True)
    place = folder / hashlib.sha256(known.encode()).hexdigest()[:16]
    if not (place / "complete").is_file():
        for name, text in build(compiler, sources, doubles).items():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            (place / name).write_text(text, encoding="utf-8")
        (place / "complete").touch()
    return place


def _twin(suite: Suite, target: Node, edits: list[Edit]) -> Edit:
    """A copy of the function or modifier behind it, whose conditions a switch named by its last argument opens."""
    span = suite.span(target)
    own = [edit for edit in edits if edit.file == span.file and span.start <= edit.at <= span.end]
    name = int(target["nameLocation"].split(":")[0]) + len(target["name"])
    own.append(Edit(span.file, name, 0, TWIN))
    own.append(_parameter(suite, target))
    if kind_of(target) == "ModifierDefinition":
        body = suite.span(target["body"])
        own.append(Edit(span.file, body.start, -1, f"{{ if ({OFF.format('guard_')}) {{ _; }} else "))
        own.append(Edit(span.file, body.end, 1, " }"))
    for node, _ in conditions(target) if kind_of(target) == "FunctionDefinition" else ():
        own.append(Edit(span.file, suite.span(node["condition"]).start, -1, f"!{OFF.format('guard_')} && "))
    text = applied(suite.text(target).encode(), own, span.start).decode()
    return Edit(span.file, span.end, 1, "\n\n    " + _inside(text))


def _parameter(suite: Suite, target: Node) -> Edit:
    """`guard_` as the last one; a modifier without parameters has no brackets either."""
    span, known = suite.span(target["parameters"]), target["parameters"]["parameters"]
    if suite.text(target["parameters"]).endswith(")"):
        return Edit(span.file, span.end - 1, 0, f"{', ' if known else ''}uint256 guard_")
    name = int(target["nameLocation"].split(":")[0]) + len(target["name"])
    return Edit(span.file, name, 1, "(uint256 guard_)")


def _inside(text: str) -> str:
    """Nobody calls a twin from outside, and it overrides nothing."""
    head, brace, body = text.partition("{")
    head = re.sub(r"\b(external|public)\b", "internal", head)
    return re.sub(r"\s+(virtual|override)\b", "", head) + brace + body


def _with_import(name: str, text: str) -> str:
    """The switch is known by the way from the source's own folder."""
    way = (
        "./GuardSwitch.sol" if name.startswith("lib/") else "../lib/GuardSwitch.sol" if "/" in name else f"./{LIBRARY}"
    )
    return re.sub(r"(pragma solidity [^;]*;)", rf'\1\nimport {{GuardSwitch}} from "{way}";', text, count=1)
