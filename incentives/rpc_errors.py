"""From what a JSON-RPC node answers when it refuses to the errors of this package. Knows no chain library.

Nodes report a revert as {code: 3, message, data: "0x" + selector + arguments}; the names come from the contracts' ABIs.
Source: https://docs.soliditylang.org/en/latest/control-structures.html#revert (Error(string), Panic(uint256))
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from eth_abi.abi import decode
from eth_abi.exceptions import DecodingError
from eth_utils.abi import collapse_if_tuple

from incentives.artifacts import SELECTOR_BYTES, ErrorSpec, canonical_signature, error_table, selector
from incentives.errors import ChainError, Reverted, TransactionRefused
from incentives.revert_sentences import UNKNOWN, sentence

REVERT_CODE = 3
MAX_REVERT_BYTES = 16 * 1024


class ErrorTable:
    """The suite's Solidity errors, and those of other contracts met. Threads may share it: entries are only added."""

    def __init__(self) -> None:
        self._others: dict[bytes, ErrorSpec] = {}

    def add_abi(self, abi: Iterable[Mapping[str, Any]]) -> None:
        """Learn the errors of a contract that is not one of the suite's."""
        for entry in abi:
            if entry["type"] == "error":
                types = tuple(collapse_if_tuple(dict(item)) for item in entry["inputs"])
                names = tuple(item["name"] for item in entry["inputs"])
                self._others[selector(canonical_signature(entry))] = ErrorSpec(entry["name"], types, names)

    def decode(self, data: bytes, during: str = "") -> Reverted:
        """Name what a contract reverted with; a reason nobody knows is named by its selector."""
        if not data:
            return reverted("NoReason", (), during)
        first, content = data[:SELECTOR_BYTES], data[SELECTOR_BYTES:MAX_REVERT_BYTES]
        spec = self._others.get(first) or error_table().get(first)
        if spec is None:
            return reverted(f"0x{first.hex()}", (content,), during)
        try:
            return reverted(spec.name, decode(spec.types, content), during)
        except (DecodingError, UnicodeDecodeError, OverflowError):
            return Reverted(spec.name, (content,), during=during, sentence=UNKNOWN)  # known, with nonsense behind it


def reverted(name: str, arguments: Sequence[Any] = (), during: str = "") -> Reverted:
    """The error with its sentence for the user."""
    return Reverted(name, arguments, during=during, sentence=sentence(name, arguments))


def translate_rpc_error(error: object, table: ErrorTable, during: str = "") -> ChainError:
    """Turn the `error` member of a JSON-RPC answer into a Reverted or a TransactionRefused."""
    if not isinstance(error, Mapping):
        return TransactionRefused(0, repr(error)[:200])
    code, message, data = error.get("code"), str(error.get("message", ""))[:500], error.get("data")
    number = code if isinstance(code, int) else 0
    if number == REVERT_CODE or "execution reverted" in message.lower():
        return table.decode(_revert_bytes(data), during)
    return TransactionRefused(number, message or "no reason given")


def _revert_bytes(data: object) -> bytes:
    """The revert data; some nodes put it one level deeper. Nothing readable counts as no reason."""
    if isinstance(data, Mapping):
        data = data.get("data", data.get("result"))
    if not isinstance(data, str):
        return b""
    try:
        return bytes.fromhex(data.removeprefix("0x"))
    except ValueError:
        return b""


def shown_url(url: str) -> str:
    """The URL as it may appear in logs and errors: without user, password, path and query, where access keys live."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "an unreadable URL"
    host = parts.netloc.rpartition("@")[2]
    hidden = "/..." if parts.path.strip("/") or parts.query else ""
    return f"{parts.scheme}://{host}{hidden}"
