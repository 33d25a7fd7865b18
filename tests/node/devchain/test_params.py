"""From JSON values to bytes and integers."""

from typing import Any

import pytest

from node.devchain import params
from node.devchain.constants import BLOCK_GAS_LIMIT
from node.devchain.errors import InvalidParams

ADDRESS = "0x" + "ab" * 20
HASH = "0x" + "cd" * 32


@pytest.mark.parametrize("value", ["0x", "0x00", "0xABcd"])
def test_data_is_hex_of_whole_bytes(value: str) -> None:
    """Upper and lower case, also nothing at all."""
    assert params.data(value) == bytes.fromhex(value[2:])


@pytest.mark.parametrize(
    "value", ["", "00", "0x0", "0X00", "0xgg", "0x0 ", "0x00\n", " 0x00", 0, None, True, [], b"0x"]
)
def test_anything_else_is_no_data(value: Any) -> None:
    """Trailing newlines and half bytes included."""
    with pytest.raises(InvalidParams):
        params.data(value)


@pytest.mark.parametrize(("value", "number"), [("0x0", 0), ("0x0f", 15), (7, 7), ("0x" + "f" * 64, 2**256 - 1)])
def test_quantities(value: Any, number: int) -> None:
    """Hex or a JSON integer, up to 256 bits."""
    assert params.quantity(value) == number


@pytest.mark.parametrize("value", ["", "0x", "12", "0x" + "1" * 65, -1, 2**256, 1.0, True, None, "0x-1", "0x1_0"])
def test_what_is_no_quantity(value: Any) -> None:
    """One digit past 256 bits, signs, floats and booleans."""
    with pytest.raises(InvalidParams):
        params.quantity(value)


@pytest.mark.parametrize("size", [19, 21])
def test_an_address_has_twenty_bytes(size: int) -> None:
    """Not one fewer or more."""
    assert params.address(ADDRESS) == bytes.fromhex(ADDRESS[2:])
    with pytest.raises(InvalidParams):
        params.address("0x" + "ab" * size)


@pytest.mark.parametrize(
    ("value", "expected"),
    [(None, "latest"), ("pending", "pending"), ("0x10", 16), (3, 3), ({"blockNumber": "0x2"}, 2),
     ({"blockHash": HASH}, bytes.fromhex("cd" * 32)),
     ({"blockHash": HASH, "requireCanonical": True}, bytes.fromhex("cd" * 32))],
)  # fmt: skip
def test_block_references(value: Any, expected: Any) -> None:
    """Tags, numbers and EIP-1898 objects."""
    assert params.block_ref(value) == expected


@pytest.mark.parametrize(
    "value", ["newest", "LATEST", {}, {"blockNumber": "0x1", "blockHash": HASH}, [], HASH + "00", True]
)
def test_what_is_no_block_reference(value: Any) -> None:
    """Ambiguous objects too."""
    with pytest.raises(InvalidParams):
        params.block_ref(value)


def test_a_calls_defaults() -> None:
    """From nobody, to nobody, with nothing, with a block's gas."""
    assert params.call({}) == params.Call(bytes(20), b"", 0, b"", BLOCK_GAS_LIMIT)  # type: ignore[arg-type]


def test_a_calls_gas_is_at_most_the_blocks() -> None:
    """More is not an error, as with other nodes."""
    assert params.call({"gas": hex(BLOCK_GAS_LIMIT + 1)}).gas == BLOCK_GAS_LIMIT
    assert params.call({"gas": "0x5208"}).gas == 21_000


@pytest.mark.parametrize(
    "value",
    [{"too": ADDRESS}, {"to": "0x12"}, {"chainId": "0x1"}, {"accessList": [{}]}, {"data": "0x01", "input": "0x02"}, [],
     "0x", None],
)  # fmt: skip
def test_a_call_that_cannot_be_meant_is_refused(value: Any) -> None:
    """Unknown fields are not ignored, since they might have changed the result."""
    with pytest.raises(InvalidParams):
        params.call(value)


def test_data_and_input_may_both_be_given_when_they_agree() -> None:
    """Some clients send both."""
    assert params.call({"data": "0x01", "input": "0x01"}).data == b"\1"
    assert params.call({"input": "0x02"}).data == b"\2"
