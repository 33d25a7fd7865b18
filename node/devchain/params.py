"""From JSON values to bytes and integers; everything that does not fit is InvalidParams."""

import re
from dataclasses import dataclass
from typing import Any

from eth_typing import Address

from node.devchain.constants import BLOCK_GAS_LIMIT, CHAIN_ID
from node.devchain.errors import InvalidParams

_HEX = re.compile(r"0x(?:[0-9a-fA-F]{2})*")
_QUANTITY = re.compile(r"0x[0-9a-fA-F]{1,64}")
_CALL_FIELDS = frozenset(
    {"from", "to", "gas", "gasPrice", "maxFeePerGas", "maxPriorityFeePerGas", "value", "data", "input", "nonce"}
    | {"chainId", "type", "accessList"}
)
TAGS = frozenset({"latest", "safe", "finalized", "pending", "earliest"})

BlockRef = int | str | bytes
"""A number, one of TAGS, or a block hash."""


def data(value: Any) -> bytes:
    """Hex with the prefix 0x and an even number of digits."""
    if not isinstance(value, str) or not _HEX.fullmatch(value):
        raise InvalidParams(f"expected 0x-prefixed hex of whole bytes, got {_short(value)}")
    return bytes.fromhex(value[2:])


def sized(value: Any, size: int, what: str) -> bytes:
    found = data(value)
    if len(found) != size:
        raise InvalidParams(f"expected {what} of {size} bytes, got {len(found)}")
    return found


def address(value: Any) -> Address:
    return Address(sized(value, 20, "an address"))


def word(value: Any) -> bytes:
    return sized(value, 32, "a hash")


def quantity(value: Any) -> int:
    """0x-prefixed hex of at most 256 bits; a JSON integer is taken too, as anvil does."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**256:
        return value
    if not isinstance(value, str) or not _QUANTITY.fullmatch(value):
        raise InvalidParams(f"expected a 0x-prefixed number, got {_short(value)}")
    return int(value, 16)


def block_ref(value: Any) -> BlockRef:
    """A tag, a number, or EIP-1898's {blockNumber} or {blockHash}; null means latest."""
    if value is None:
        return "latest"
    if isinstance(value, str) and value in TAGS:
        return value
    if isinstance(value, dict) and set(value) <= {"blockHash", "requireCanonical"} and "blockHash" in value:
        return word(value["blockHash"])
    if isinstance(value, dict) and set(value) == {"blockNumber"}:
        return quantity(value["blockNumber"])
    return quantity(value)


@dataclass(frozen=True, slots=True)
class Call:
    """An unsigned transaction to try. Fees are left out: trying costs nothing."""

    sender: Address
    to: Address  # empty: create a contract
    value: int
    data: bytes
    gas: int


def call(value: Any) -> Call:
    """The first parameter of eth_call and eth_estimateGas; unknown fields are refused rather than ignored."""
    if not isinstance(value, dict):
        raise InvalidParams(f"expected a call object, got {_short(value)}")
    unknown = sorted(set(value) - _CALL_FIELDS)
    if unknown:
        raise InvalidParams(f"unknown call field {_short(unknown[0])}")
    _check_chain(value)
    return Call(
        sender=address(value["from"]) if value.get("from") is not None else Address(bytes(20)),
        to=address(value["to"]) if value.get("to") is not None else Address(b""),
        value=quantity(value.get("value") or 0),
        data=_call_data(value),
        gas=min(quantity(value["gas"]), BLOCK_GAS_LIMIT) if value.get("gas") is not None else BLOCK_GAS_LIMIT,
    )


def _check_chain(value: dict[str, Any]) -> None:
    if value.get("chainId") is not None and quantity(value["chainId"]) != CHAIN_ID:
        raise InvalidParams(f"this is chain {CHAIN_ID}, the call is for {quantity(value['chainId'])}")
    if value.get("accessList"):
        raise InvalidParams("access lists are not supported in calls to the embedded chain; leave accessList out")


def _call_data(value: dict[str, Any]) -> bytes:
    given = [data(value[name]) for name in ("input", "data") if value.get(name) is not None]
    if len(given) == 2 and given[0] != given[1]:
        raise InvalidParams('"data" and "input" differ; give one')
    return given[0] if given else b""


def _short(value: Any) -> str:
    return repr(value)[:80]
