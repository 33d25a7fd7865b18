"""What nodes answer when they refuse, and what contracts revert with."""

import pytest
from eth_abi.abi import encode
from hypothesis import given
from hypothesis import strategies as st

from incentives.artifacts import CONTRACT_NAMES, canonical_signature, load_artifact, selector
from incentives.errors import Reverted, TransactionRefused
from incentives.rpc_errors import ErrorTable, shown_url, translate_rpc_error

TABLE = ErrorTable()
STALE = selector("VoucherStale(uint96,uint96)") + encode(["uint96", "uint96"], [7, 5])


def translated(**error: object) -> Reverted:
    """The Reverted made of an error object."""
    result = translate_rpc_error(error, TABLE, "Channels.settle")
    assert isinstance(result, Reverted)
    return result


def test_a_custom_error_is_named_with_its_arguments() -> None:
    """As code 3 with the data as text."""
    error = translated(code=3, message="execution reverted", data="0x" + STALE.hex())
    assert (error.name, error.arguments) == ("VoucherStale", (7, 5))
    assert str(error).startswith("Channels.settle reverted: VoucherStale(7, 5): ")


@pytest.mark.parametrize(
    "error",
    [
        {"code": 3, "message": "execution reverted: custom error", "data": STALE.hex()},
        {"code": -32000, "message": "execution reverted", "data": "0x" + STALE.hex()},
        {"code": -32603, "message": "Error: Execution Reverted", "data": {"data": "0x" + STALE.hex()}},
        {"code": 3, "message": "", "data": {"result": "0x" + STALE.hex()}},
    ],
)
def test_the_forms_of_other_nodes_are_understood(error: dict[str, object]) -> None:
    """Other codes, other places for the data, no 0x."""
    assert translated(**error).name == "VoucherStale"


def test_every_error_of_every_contract_is_known() -> None:
    """By its selector alone, too: arguments that do not decode leave the name."""
    for name in CONTRACT_NAMES:
        for entry in load_artifact(name).abi:
            if entry["type"] == "error":
                reverted = TABLE.decode(selector(canonical_signature(entry)))
                assert reverted.name == entry["name"]


def test_requires_and_panics_are_named() -> None:
    """The two errors of the compiler itself."""
    text = TABLE.decode(selector("Error(string)") + encode(["string"], ["no"]))
    panic = TABLE.decode(selector("Panic(uint256)") + encode(["uint256"], [0x11]))
    assert (text.name, text.arguments) == ("Error", ("no",))
    assert (panic.name, panic.arguments) == ("Panic", (0x11,))


def test_errors_of_a_foreign_contract_are_learned_from_its_abi() -> None:
    """With tuples among their arguments."""
    item = {"type": "tuple", "name": "x", "components": [{"type": "uint8", "name": "y"}]}
    data = selector("Odd((uint8))") + encode(["(uint8)"], [(3,)])
    table = ErrorTable()
    assert table.decode(data).name == "0x" + data[:4].hex()
    table.add_abi([{"type": "error", "name": "Odd", "inputs": [item]}, {"type": "fallback"}])
    assert (table.decode(data).name, table.decode(data).arguments) == ("Odd", ((3,),))


@pytest.mark.parametrize("data", [None, "", "0x", "0xzz", "nonsense", 5, [], {"data": 3}, {"other": "0x12"}])
def test_a_revert_without_readable_data_has_no_reason(data: object) -> None:
    """It stays a revert."""
    assert translated(code=3, message="execution reverted", data=data).name == "NoReason"


@given(st.binary(max_size=200))
def test_no_revert_data_breaks_the_decoder(content: bytes) -> None:
    """A hostile contract chooses them: any bytes, after a known selector as well."""
    assert isinstance(TABLE.decode(content), Reverted)
    for signature in ("Error(string)", "VoucherStale(uint96,uint96)", "Panic(uint256)"):
        assert TABLE.decode(selector(signature) + content).name == signature.partition("(")[0]


@pytest.mark.parametrize("error", [None, "text", 5, [], {}, {"code": "x"}, {"code": None, "message": None}])
def test_error_objects_of_any_shape_are_a_refusal(error: object) -> None:
    """Never an exception of another kind."""
    assert isinstance(translate_rpc_error(error, TABLE), TransactionRefused)


def test_a_refusal_says_what_to_do() -> None:
    """Where the reason is one that people meet."""
    poor = translate_rpc_error({"code": -32003, "message": "Insufficient funds for gas * price + value"}, TABLE)
    busy = translate_rpc_error({"code": -32003, "message": "nonce too low"}, TABLE)
    assert "gas money" in str(poor)
    assert "same key" in str(busy)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://127.0.0.1:8545", "http://127.0.0.1:8545"),
        ("http://127.0.0.1:8545/", "http://127.0.0.1:8545"),
        ("https://node.example/v3/secretkey", "https://node.example/..."),
        ("https://node.example?key=secretkey", "https://node.example/..."),
        ("https://user:secretkey@node.example:1/x", "https://node.example:1/..."),
        ("not a url", "://..."),
    ],
)
def test_access_keys_in_a_url_are_not_shown(url: str, shown: str) -> None:
    """Errors are logged."""
    assert shown_url(url).replace(":///...", "://...") == shown
