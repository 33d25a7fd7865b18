"""Errors of the verification package.

VerificationError
├── MalformedAddress   not 20 bytes, or a checksum that does not hold
└── MalformedRecord    a field outside the range that its signed type allows
"""


class VerificationError(Exception):
    """Anything this package refuses."""


class MalformedAddress(VerificationError):
    """Not an Ethereum address."""

    def __init__(self, value: object) -> None:
        super().__init__(f"{value!r} is not an address: expected 20 bytes, or 0x and 40 hexadecimal digits")
        self.value = value


class MalformedRecord(VerificationError):
    """A field of a signed record is outside its range."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason
