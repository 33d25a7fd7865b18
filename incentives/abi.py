"""What the chain client needs of a contract's ABI besides web3: event topics, and values without a library's types."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from eth_abi.abi import decode, encode
from eth_abi.exceptions import DecodingError
from eth_utils.abi import collapse_if_tuple

from incentives.artifacts import Artifact, canonical_signature
from incentives.chain_types import Event
from incentives.errors import CallMismatch
from sharding.hashing import keccak256
from verification.addresses import to_address


def decode_log(artifact: Artifact, log: Mapping[str, Any]) -> Event | None:
    """Read one log entry of a contract; None for an unknown event or one with content that does not fit it."""
    topics = [bytes(topic) for topic in log["topics"]]
    entry = next((e for e in artifact.abi if e["type"] == "event" and topics[:1] == [_event_hash(e)]), None)
    if entry is None:
        return None
    try:
        args = _decode_args(entry["inputs"], topics[1:], bytes(log["data"]))
    except (DecodingError, ValueError, OverflowError):
        return None
    place = int(log["blockNumber"]), int(log["logIndex"])
    return Event(to_address(log["address"]), entry["name"], args, *place, bytes(log["transactionHash"]))


def _decode_args(inputs: Sequence[Mapping[str, Any]], topics: Sequence[bytes], data: bytes) -> dict[str, Any]:
    """Indexed arguments are the topics, the others follow one another in the data."""
    indexed = [item for item in inputs if item["indexed"]]
    others = [item for item in inputs if not item["indexed"]]
    values = {item["name"]: _decode_topic(_kind(item), topic) for item, topic in zip(indexed, topics, strict=True)}
    decoded = decode([_kind(item) for item in others], data)
    values |= {item["name"]: value for item, value in zip(others, decoded, strict=True)}
    return {item["name"]: _spelled(item, values[item["name"]]) for item in inputs}


def _decode_topic(kind: str, topic: bytes) -> Any:
    """The value of a type of one word; of a longer one the chain keeps the hash only."""
    return topic if kind in ("string", "bytes") or kind[-1] in ")]" else decode([kind], topic)[0]


def _spelled(item: Mapping[str, Any], value: Any) -> Any:
    return to_address(value) if item["type"] == "address" else value


def _kind(item: Mapping[str, Any]) -> str:
    return collapse_if_tuple(dict(item))


def _event_hash(entry: Mapping[str, Any]) -> bytes:
    return _hash_of(canonical_signature(entry))


@lru_cache(maxsize=256)
def _hash_of(signature: str) -> bytes:
    return keccak256(signature.encode())


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
        "0x" + _event_hash(entry).hex(),
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
