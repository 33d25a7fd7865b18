"""Values of JSON-RPC answers as Python's, refused unless they are written as the standard says.

Source: https://ethereum.org/en/developers/docs/apis/json-rpc/#hex-encoding
"""

import re
from collections.abc import Mapping
from typing import Any

from incentives.errors import UnexpectedAnswer

_QUANTITY = re.compile(r"0x[0-9a-fA-F]{1,64}")
_DATA = re.compile(r"0x(?:[0-9a-fA-F]{2})*")
HASH_BYTES = 32


def quantity(shown: str, name: str, value: object) -> int:
    """A number written as 0x... Raises: UnexpectedAnswer with `shown` as the URL."""
    if not isinstance(value, str) or not _QUANTITY.fullmatch(value):
        raise UnexpectedAnswer(shown, f"{name} is {value!r}"[:200])
    return int(value, 16)


def data(shown: str, name: str, value: object, length: int | None = None) -> bytes:
    """Bytes written as 0x..., of that length if one is given. Raises: UnexpectedAnswer."""
    if not isinstance(value, str) or not _DATA.fullmatch(value):
        raise UnexpectedAnswer(shown, f"{name} is {value!r}"[:200])
    content = bytes.fromhex(value[2:])
    if length is not None and len(content) != length:
        raise UnexpectedAnswer(shown, f"{name} has {len(content)} bytes, expected {length}")
    return content


def fields(shown: str, name: str, value: object) -> Mapping[str, Any]:
    """An object. Raises: UnexpectedAnswer."""
    if not isinstance(value, Mapping):
        raise UnexpectedAnswer(shown, f"{name} is {value!r}"[:200])
    return value
