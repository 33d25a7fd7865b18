"""What the chain client needs of a contract's ABI besides web3: event topics, and values without a library's types."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from eth_abi.abi import encode

from incentives.artifacts import Artifact, canonical_signature
from incentives.errors import CallMismatch
from sharding.hashing import keccak256


def event_names(artifact: Artifact) -> Mapping[bytes, str]:
    """The contract's events by the hash of their signature, which is a log's first topic."""
    return _event_names(tuple(canonical_signature(entry) for entry in artifact.abi if entry["type"] == "event"))


@lru_cache(maxsize=64)
def _event_names(signatures: tuple[str, ...]) -> Mapping[bytes, str]:
    return {keccak256(signature.encode()): signature.partition("(")[0] for signature in signatures}


def event_topics(artifact: Artifact, name: str, indexed: Mapping[str, Any]) -> list[str | None]:
    """The topics to ask for: the event itself, then its indexed arguments, None where any value will do.

    Raises: CallMismatch for an unknown event, or an argument that is not an indexed one of it.
    """
    entry = next((e for e in artifact.abi if e["type"] == "event" and e["name"] == name), None)
    if entry is None:
        raise CallMismatch(f"{artifact.name}.{name}", "the contract has no such event")
    inputs = [item for item in entry["inputs"] if item["indexed"]]
    strangers = set(indexed) - {item["name"] for item in inputs}
    if strangers:
        raise CallMismatch(f"{artifact.name}.{name}", f"no indexed argument is called {', '.join(sorted(strangers))}")
    words = [encode([item["type"]], [indexed[item["name"]]]) if item["name"] in indexed else None for item in inputs]
    return [
        "0x" + keccak256(canonical_signature(entry).encode()).hex(),
        *(None if w is None else "0x" + w.hex() for w in words),
    ]


def plain(value: Any) -> Any:
    """Strip a library's own types off an answer: plain bytes, lists, tuples and dicts remain."""
    if isinstance(value, bytes):
        return bytes(value)
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(plain, value))
    return value
