"""JSON-RPC 2.0 framing: what is answered to bodies that are not one well-formed request."""

import json
from typing import Any

import pytest

from node.devchain.backend import EmbeddedChain
from node.devchain.constants import MAX_BATCH
from node.devchain.rpc import Rpc

CHAIN_ID = {"jsonrpc": "2.0", "id": 1, "method": "eth_chainId", "params": []}


@pytest.fixture(scope="module")
def rpc() -> Rpc:
    """In process, without a server."""
    return Rpc(EmbeddedChain())


def answer(rpc: Rpc, body: Any) -> Any:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    found = rpc.handle(raw)
    return None if found is None else json.loads(found)


def test_both_chains_answer_a_batch_in_order(client: Any) -> None:
    """Results and errors side by side, each with its id."""
    batch = [CHAIN_ID, {"jsonrpc": "2.0", "id": "b", "method": "no_such", "params": []}, CHAIN_ID | {"id": 3}]
    status, body = client.post(json.dumps(batch).encode())
    first, second, third = json.loads(body)
    assert (status, first["id"], first["result"], third["id"]) == (200, 1, "0x7a69", 3)
    assert (second["id"], second["error"]["code"]) == ("b", -32601)


def test_both_chains_refuse_what_is_no_json(client: Any) -> None:
    """With an error object, not with a closed connection; anvil calls it an invalid request."""
    status, body = client.post(b"{bad")
    assert status == 200
    assert json.loads(body)["error"]["code"] in (-32700, -32600)


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"{'a': 1}", b"[" * 100_000, b"NaN", b'{"a": 1} x'])
def test_what_is_no_json_is_a_parse_error(rpc: Rpc, body: bytes) -> None:
    """-32700 with a null id, also for absurd nesting."""
    found = answer(rpc, body)
    assert (found["id"], found["error"]["code"]) == (None, -32700)


@pytest.mark.parametrize(
    "body",
    [
        1, "x", None, [], {}, CHAIN_ID | {"jsonrpc": "1.0"}, CHAIN_ID | {"method": 5}, {"jsonrpc": "2.0", "id": 1},
        CHAIN_ID | {"id": [1]}, CHAIN_ID | {"id": {}},
    ],
)  # fmt: skip
def test_json_that_is_no_request_is_an_invalid_request(rpc: Rpc, body: Any) -> None:
    """-32600."""
    assert answer(rpc, body)["error"]["code"] == -32600


@pytest.mark.parametrize("identity", [0, 7, "a", None, 1.5])
def test_the_id_comes_back_as_it_was(rpc: Rpc, identity: Any) -> None:
    """Of its own type, with results and with errors."""
    assert answer(rpc, CHAIN_ID | {"id": identity})["id"] == identity
    assert answer(rpc, CHAIN_ID | {"id": identity, "method": "no_such"})["id"] == identity


def test_a_notification_is_not_answered(rpc: Rpc) -> None:
    """Neither alone nor in a batch; not even one that fails."""
    notification = {"jsonrpc": "2.0", "method": "eth_chainId"}
    unknown = {"jsonrpc": "2.0", "method": "no_such"}
    assert answer(rpc, notification) is None
    assert answer(rpc, unknown) is None
    assert answer(rpc, [notification, unknown]) is None
    assert [one["id"] for one in answer(rpc, [notification, CHAIN_ID])] == [1]


@pytest.mark.parametrize("params", [{}, {"a": 1}, "x", 5, [1, 2, 3]])
def test_parameters_of_the_wrong_number_or_kind_are_refused(rpc: Rpc, params: Any) -> None:
    """-32602."""
    assert answer(rpc, CHAIN_ID | {"params": params})["error"]["code"] == -32602


@pytest.mark.parametrize("extra", [{}, {"params": None}])
def test_parameters_may_be_left_out(rpc: Rpc, extra: dict[str, Any]) -> None:
    """As JSON-RPC allows."""
    request = {name: value for name, value in CHAIN_ID.items() if name != "params"}
    assert answer(rpc, request | extra)["result"] == "0x7a69"


def test_a_batch_has_a_limit(rpc: Rpc) -> None:
    """One at it is answered, one past it is refused whole."""
    assert len(answer(rpc, [CHAIN_ID] * MAX_BATCH)) == MAX_BATCH
    assert answer(rpc, [CHAIN_ID] * (MAX_BATCH + 1))["error"]["code"] == -32600


@pytest.mark.parametrize(
    "method", ["__init__", "table", "_chain", "eth_sign", "personal_unlockAccount", "anvil_setBalance"]
)
def test_only_the_listed_methods_exist(rpc: Rpc, method: str) -> None:
    """Python's names are not reachable, and nothing can sign or print money."""
    assert answer(rpc, CHAIN_ID | {"method": method})["error"]["code"] == -32601


def test_no_account_is_unlocked(rpc: Rpc) -> None:
    """The chain holds no key, not even the well-known ones."""
    found = answer(rpc, CHAIN_ID | {"method": "eth_sendTransaction", "params": [{"from": "0x" + "11" * 20}]})
    assert "sign the transaction" in found["error"]["message"]


def test_a_fault_inside_is_an_internal_error_and_the_next_request_works(
    rpc: Rpc, monkeypatch: pytest.MonkeyPatch
) -> None:
    """-32603, without the fault's text."""
    monkeypatch.setitem(rpc._methods, "eth_chainId", lambda: 1 / 0)
    found = answer(rpc, CHAIN_ID)["error"]
    assert (found["code"], found["message"]) == (-32603, "internal error: ZeroDivisionError")
    assert answer(rpc, CHAIN_ID | {"method": "net_version"})["result"] == "31337"
