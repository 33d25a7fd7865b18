"""Reading a JSON object field by field: nothing missing, nothing unknown, nothing twice, nothing out of range."""

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from incentives.errors import DeploymentError
from verification.addresses import Address, to_address
from verification.errors import MalformedAddress

_HASH = re.compile(r"0x[0-9a-fA-F]{64}", re.ASCII)
_DECIMAL = re.compile(r"[0-9]{1,78}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Fields:
    """One JSON object of a file; every refusal names the file and the field."""

    where: str
    values: Mapping[str, Any]

    @classmethod
    def parse(cls, where: str, content: bytes, expected: Collection[str]) -> Self:
        """Read a whole file. Raises: DeploymentError."""
        try:
            value = json.loads(content, object_pairs_hook=_no_duplicates)
        except (ValueError, RecursionError) as error:
            raise DeploymentError(where, f"not readable as JSON: {error}") from error
        return cls(where, _object(where, value, expected))

    def inner(self, name: str, expected: Collection[str]) -> Self:
        """The object in a field."""
        where = f"{self.where}: {name}"
        return type(self)(where, _object(where, self.values[name], expected))

    def integer(self, name: str, most: int) -> int:
        """A number from 0 to `most`."""
        value = self.values[name]
        if type(value) is not int or not 0 <= value <= most:
            raise self._refused(name, f"{value!r} is not a whole number from 0 to {most}")
        return value

    def decimal(self, name: str, most: int) -> int:
        """A number from 0 to `most`, written as text."""
        value = self.values[name]
        if not isinstance(value, str) or not _DECIMAL.fullmatch(value) or int(value) > most:
            raise self._refused(name, f"{value!r} is not a whole number from 0 to {most}, written as text")
        return int(value)

    def address(self, name: str) -> Address:
        """A checksummed address."""
        try:
            return to_address(self.values[name])
        except MalformedAddress as error:
            raise self._refused(name, str(error)) from error

    def hash(self, name: str) -> bytes:
        """32 bytes, written as 0x and 64 hexadecimal digits."""
        value = self.values[name]
        if not isinstance(value, str) or not _HASH.fullmatch(value):
            raise self._refused(name, f"{value!r} is not 0x and 64 hexadecimal digits")
        return bytes.fromhex(value[2:])

    def _refused(self, name: str, reason: str) -> DeploymentError:
        return DeploymentError(f"{self.where}: {name}", reason)


def _object(where: str, value: object, expected: Collection[str]) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise DeploymentError(where, "not a JSON object")
    if unknown := sorted(set(value) - set(expected)):
        raise DeploymentError(where, f"unknown field {unknown[0]!r}; is it from a newer version?")
    if missing := sorted(set(expected) - set(value)):
        raise DeploymentError(where, f"field {missing[0]!r} is missing")
    return value


def _no_duplicates(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("a field appears twice")
    return fields
