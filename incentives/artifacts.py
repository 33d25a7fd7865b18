"""The compiled contracts that travel with the package, and the names of everything they can revert with.

ArtifactError
└── ArtifactMissing      no such contract, or a file that is not an artifact
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from incentives.errors import IncentivesError
from sharding.hashing import keccak256

CONTRACT_NAMES = (
    "Token", "Stakes", "Court", "Disputes", "Demands", "Jury", "Channels", "Models", "Rulebook", "Bench", "Judge",
    "Reliability", "Evidence",
)  # fmt: skip
SELECTOR_BYTES = 4
# The two errors that the compiler itself puts into every contract.
_BUILT_IN = ("Error(string)", "Panic(uint256)")


class ArtifactError(IncentivesError):
    """A compiled contract cannot be used."""


class ArtifactMissing(ArtifactError):
    """The package holds no such contract, or its file is damaged."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"artifact {name}: {reason}; reinstall, or run `python scripts/build_contracts.py`")
        self.name = name
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Artifact:
    """One compiled contract.

    `bytecode` creates it (constructor arguments follow), `deployed_bytecode` is what then lies at its address, with
    zeros at `immutables`, the (start, length) places that the constructor fills in.
    """

    name: str
    abi: tuple[dict[str, Any], ...]
    bytecode: bytes
    deployed_bytecode: bytes
    immutables: tuple[tuple[int, int], ...]

    def is_code(self, code: bytes) -> bool:
        """Whether `code`, read from a chain, is this contract, whatever its immutables are."""
        return len(code) == len(self.deployed_bytecode) and self._blank(code) == self._blank(self.deployed_bytecode)

    def _blank(self, code: bytes) -> bytes:
        blanked = bytearray(code)
        for start, length in self.immutables:
            blanked[start : start + length] = bytes(length)
        return bytes(blanked)


@dataclass(frozen=True, slots=True)
class ErrorSpec:
    """A Solidity error: its name and the ABI types and names of its arguments, in order."""

    name: str
    types: tuple[str, ...]
    arguments: tuple[str, ...]


@cache
def load_artifact(name: str) -> Artifact:
    """Load one of CONTRACT_NAMES. Raises: ArtifactMissing."""
    if name not in CONTRACT_NAMES:
        raise ArtifactMissing(name, f"the contracts are {', '.join(CONTRACT_NAMES)}")
    try:
        text = files("incentives").joinpath("artifacts", f"{name}.json").read_text(encoding="utf-8")
        return parse_artifact(json.loads(text))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ArtifactMissing(name, f"{type(error).__name__}: {error}") from error


def parse_artifact(fields: Mapping[str, Any]) -> Artifact:
    """Turn the content of an artifact file into an Artifact. Raises: ValueError, KeyError, TypeError."""
    return Artifact(
        name=fields["contractName"],
        abi=tuple(fields["abi"]),
        bytecode=bytes.fromhex(fields["bytecode"].removeprefix("0x")),
        deployed_bytecode=bytes.fromhex(fields["deployedBytecode"].removeprefix("0x")),
        immutables=tuple((int(start), int(length)) for start, length in fields["immutables"]),
    )


@cache
def error_table() -> Mapping[bytes, ErrorSpec]:
    """Every error of every contract by its 4-byte selector, with Error(string) and Panic(uint256)."""
    table = {}
    for signature in _BUILT_IN:
        name, argument = signature.rstrip(")").split("(")
        table[selector(signature)] = ErrorSpec(name, (argument,), ("reason" if name == "Error" else "code",))
    for contract in CONTRACT_NAMES:
        for entry in load_artifact(contract).abi:
            if entry["type"] == "error":
                table[selector(canonical_signature(entry))] = _error_spec(entry)
    return table


def error_name(data: bytes) -> str | None:
    """Return the name of the error whose selector begins `data`, None when no contract of ours has it."""
    spec = error_table().get(data[:SELECTOR_BYTES])
    return None if spec is None else spec.name


def canonical_signature(entry: Mapping[str, Any]) -> str:
    """Return an ABI entry's `Name(type,type)`, tuples spelled out: what a selector is the hash of."""
    return f"{entry['name']}({','.join(_type_name(item) for item in entry['inputs'])})"


def selector(signature: str) -> bytes:
    """Return the first four bytes of a signature's hash."""
    return keccak256(signature.encode())[:SELECTOR_BYTES]


def _error_spec(entry: Mapping[str, Any]) -> ErrorSpec:
    types = tuple(_type_name(item) for item in entry["inputs"])
    return ErrorSpec(entry["name"], types, tuple(item["name"] for item in entry["inputs"]))


def _type_name(item: Mapping[str, Any]) -> str:
    kind: str = item["type"]
    if not kind.startswith("tuple"):
        return kind
    members = ",".join(_type_name(member) for member in item["components"])
    return f"({members}){kind.removeprefix('tuple')}"
