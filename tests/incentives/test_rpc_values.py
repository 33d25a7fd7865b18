"""Only what is written as the standard says is taken for a number or for bytes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from incentives.errors import UnexpectedAnswer
from incentives.rpc_values import data, fields, quantity

URL = "http://a"


@given(st.integers(0, 2**256 - 1))
def test_numbers_are_read_back(number: int) -> None:
    """All that fit a word."""
    assert quantity(URL, "it", hex(number)) == number


@pytest.mark.parametrize(
    "value", [None, 5, True, "", "5", "0x", "0xg", "-0x1", "0x1 ", " 0x1", "0x1_0", "0x" + "1" * 65]
)
def test_anything_else_is_no_number(value: object) -> None:
    """65 digits are one too many."""
    with pytest.raises(UnexpectedAnswer, match="it is"):
        quantity(URL, "it", value)


@given(st.binary(max_size=100))
def test_bytes_are_read_back(content: bytes) -> None:
    """Of any length, or of the wanted one only."""
    assert data(URL, "it", "0x" + content.hex()) == content
    assert data(URL, "it", "0x" + content.hex(), len(content)) == content
    with pytest.raises(UnexpectedAnswer, match="expected"):
        data(URL, "it", "0x" + content.hex(), len(content) + 1)


@pytest.mark.parametrize("value", [None, 5, "", "12", "0x1", "0xzz", "0x12 "])
def test_anything_else_is_no_bytes(value: object) -> None:
    """Half bytes neither."""
    with pytest.raises(UnexpectedAnswer):
        data(URL, "it", value)


@pytest.mark.parametrize("value", [None, 5, "{}", []])
def test_what_has_no_fields_is_refused(value: object) -> None:
    """An object has."""
    assert fields(URL, "it", {"a": 1}) == {"a": 1}
    with pytest.raises(UnexpectedAnswer):
        fields(URL, "it", value)
