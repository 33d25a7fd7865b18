"""Amounts as text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from incentives.errors import AmountError
from incentives.units import MAX_AMOUNT, ONE, format_amount, parse_amount


@given(st.integers(0, MAX_AMOUNT))
def test_every_amount_survives_the_way_to_text_and_back(amount: int) -> None:
    """Nothing is rounded."""
    assert parse_amount(format_amount(amount)) == amount


@pytest.mark.parametrize(
    ("text", "amount"),
    [("0", 0), ("1", ONE), ("1.5", 15 * ONE // 10), ("0.000000000000000001", 1), ("007.10", 71 * ONE // 10)],
)
def test_decimal_text_is_read_exactly(text: str, amount: int) -> None:
    """Digits with at most one point."""
    assert parse_amount(text) == amount


@pytest.mark.parametrize(
    "text",
    ["", ".", "1.", ".5", "-1", "+1", "1e3", "1,5", "1_000", " 1", "1 ", "1\n", "0x10", "١", "NaN", "1.2.3", "9" * 65],
)
def test_anything_but_plain_decimal_text_is_refused(text: str) -> None:
    """No signs, exponents, separators, spaces or foreign digits."""
    with pytest.raises(AmountError):
        parse_amount(text)


def test_eighteen_decimals_pass_and_nineteen_do_not() -> None:
    """An amount below the smallest unit is not silently dropped."""
    assert parse_amount("0." + "1" * 18) == int("1" * 18)
    with pytest.raises(AmountError, match="18"):
        parse_amount("0." + "0" * 19)


def test_the_most_that_a_contract_can_hold_passes_and_one_more_does_not() -> None:
    """96 bits."""
    assert parse_amount(format_amount(MAX_AMOUNT)) == MAX_AMOUNT
    with pytest.raises(AmountError, match="most"):
        parse_amount(format_amount(MAX_AMOUNT + 1))


def test_a_negative_amount_cannot_be_shown_as_money() -> None:
    """It would be a fault somewhere else."""
    with pytest.raises(AmountError):
        format_amount(-1)
