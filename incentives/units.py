"""Amounts of the token between people (decimal text) and programs (integers of the smallest unit)."""

import re

from incentives.errors import AmountError

DECIMALS = 18
ONE: int = 10**DECIMALS
MAX_AMOUNT = 2**96 - 1
"""The contracts keep amounts in 96 bits: 79 thousand million whole tokens."""

_AMOUNT = re.compile(r"([0-9]+)(?:\.([0-9]+))?", re.ASCII)


def parse_amount(text: str) -> int:
    """Read "1.5" as 1.5 tokens, exactly. No signs, exponents, separators or spaces.

    Raises: AmountError, also past 18 decimals or 96 bits.
    """
    match = _AMOUNT.fullmatch(text) if len(text) <= 64 else None
    if match is None:
        raise AmountError(text[:64], "write digits and at most one point, such as 12 or 0.05")
    whole, fraction = match.group(1), match.group(2) or ""
    if len(fraction) > DECIMALS:
        raise AmountError(text, f"at most {DECIMALS} digits after the point")
    amount = int(whole) * ONE + int(fraction.ljust(DECIMALS, "0"))
    if amount > MAX_AMOUNT:
        raise AmountError(text, f"more than {format_amount(MAX_AMOUNT)}, the most the contracts can hold")
    return amount


def format_amount(amount: int) -> str:
    """Write an amount without loss and without trailing zeros; parse_amount reads it back."""
    if amount < 0:
        raise AmountError(str(amount), "it is negative")
    whole, fraction = divmod(amount, ONE)
    digits = f"{fraction:0{DECIMALS}}".rstrip("0")
    return f"{whole}.{digits}" if digits else str(whole)
