"""Both kinds of local chain try, take and refuse the same transactions."""

from collections.abc import Callable
from typing import Any

import pytest

REVERTER = "deadbeef PUSH0 MSTORE 04 1c REVERT"
NESTED = """
    PUSH0 CALLDATALOAD DUP1 ISZERO @work JUMPI
    01 SWAP1 SUB PUSH0 MSTORE PUSH0 PUSH0 20 PUSH0 PUSH0 ADDRESS GAS CALL ISZERO @fail JUMPI STOP
    work: 14 again: DUP1 DUP1 SSTORE 01 SWAP1 SUB DUP1 @again JUMPI STOP
    fail: PUSH0 PUSH0 REVERT
"""  # calls itself n times with all its gas; the innermost frame fills 20 slots
Failure = Callable[..., Any]


def word(number: int) -> str:
    return f"0x{number:064x}"


def test_revert_data_comes_back_from_call_and_estimate(client: Any, failure: Failure) -> None:
    """Code 3, and the contract's bytes untouched, so that custom errors can be decoded."""
    request = {"from": client.accounts[0].address, "to": client.deploy(REVERTER), "data": "0x"}
    for answer in (failure(client, "eth_call", request, "latest"), failure(client, "eth_estimateGas", request)):
        assert (answer.code, answer.data) == (3, "0xdeadbeef")
        assert answer.message.startswith("execution reverted")


def test_a_revert_string_is_part_of_the_message(client: Any, failure: Failure) -> None:
    """Error(string) is shown decoded."""
    reason = bytes.fromhex("08c379a0") + (32).to_bytes(32, "big") + (5).to_bytes(32, "big") + b"no go".ljust(32, b"\0")
    code = f"{reason[:32].hex()} PUSH0 MSTORE {reason[32:64].hex()} 20 MSTORE {reason[64:96].hex()} 40 MSTORE"
    code += f" {reason[96:].hex()} 60 MSTORE 64 PUSH0 REVERT"
    answer = failure(client, "eth_call", {"to": client.deploy(code)}, "latest")
    assert answer.message == "execution reverted: no go"
    assert answer.data == "0x" + reason.hex()


def test_a_reverting_transaction_is_mined_with_status_0(client: Any) -> None:
    """The fee is paid and the nonce used."""
    contract, nonce = client.deploy(REVERTER), client.nonce()
    receipt = client.send(to=contract, value=0, gas=100_000)
    assert receipt["status"] == "0x0"
    assert receipt["logs"] == []
    assert client.nonce() == nonce + 1


def test_an_invalid_opcode_is_an_error_without_revert_data(client: Any, failure: Failure) -> None:
    """It is not taken for a contract's own refusal."""
    answer = failure(client, "eth_call", {"data": "0xfe"}, "latest")
    assert answer.code == -32603
    assert answer.data is None


def test_a_plain_transfer_is_estimated_exactly(client: Any) -> None:
    """21,000 and not more, so that an account can be emptied."""
    request = {"from": client.accounts[0].address, "to": client.accounts[1].address, "value": "0x1"}
    assert client.number("eth_estimateGas", request) == 21_000


@pytest.mark.parametrize("depth", [0, 1, 8])
def test_an_estimate_is_enough_and_not_much_too_much(client: Any, depth: int) -> None:
    """Also where every level of nested calls may pass on only 63/64 of its gas."""
    contract = client.deploy(NESTED)
    request = {"from": client.accounts[0].address, "to": contract, "data": word(depth)}
    estimate = client.number("eth_estimateGas", request)
    receipt = client.send(to=contract, value=0, data=word(depth), gas=estimate)
    assert receipt["status"] == "0x1"
    assert estimate <= int(receipt["gasUsed"], 16) * 1.25


def test_the_estimate_of_a_deployment_is_enough(client: Any) -> None:
    """Creation code counts its data and its deposit."""
    code = "0x600b8060095f395ff3" + "5b" * 11
    estimate = client.number("eth_estimateGas", {"from": client.accounts[0].address, "data": code})
    assert client.send(to=None, value=0, data=code, gas=estimate)["status"] == "0x1"


def test_a_transaction_for_another_chain_is_refused(client: Any, failure: Failure) -> None:
    """A signature for mainnet is worth nothing here."""
    answer = failure(client, "eth_sendRawTransaction", client.sign(chainId=1))
    assert answer.code == -32003
    assert "chain id" in answer.message


def test_a_used_nonce_is_refused(client: Any, failure: Failure) -> None:
    """The same transaction twice, or another one with the same nonce."""
    nonce, raw = client.nonce(), client.sign()
    client.receipt(client.call("eth_sendRawTransaction", raw))
    for again in (raw, client.sign(nonce=nonce, value=2)):
        answer = failure(client, "eth_sendRawTransaction", again)
        assert (answer.code, answer.message) == (-32003, "nonce too low")


def test_a_nonce_that_comes_early_waits_for_the_one_before(client: Any) -> None:
    """Until then there is no receipt; then both are mined."""
    nonce = client.nonce()
    early = client.call("eth_sendRawTransaction", client.sign(nonce=nonce + 1))
    assert client.call("eth_getTransactionReceipt", early) is None
    assert client.call("eth_getTransactionByHash", early)["blockHash"] is None
    client.send(nonce=nonce)
    assert client.receipt(early)["status"] == "0x1"
    assert client.nonce() == nonce + 2


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"value": 10**23}, "nsufficient funds"),
        ({"gas": 20_999}, "intrinsic gas too low"),
        ({"gas": 30_000_001}, "intrinsic gas too high"),
        ({"maxFeePerGas": 1, "maxPriorityFeePerGas": 1}, "max fee per gas less than block base fee"),
    ],
)
def test_an_inadmissible_transaction_is_refused(
    client: Any, failure: Failure, fields: dict[str, int], words: str
) -> None:
    """With the reason, and without a block."""
    head = client.call("eth_blockNumber")
    answer = failure(client, "eth_sendRawTransaction", client.sign(**fields))
    assert answer.code in (-32000, -32003)
    assert words in answer.message
    assert client.call("eth_blockNumber") == head


def test_the_gas_limit_of_a_transaction_may_be_the_blocks(client: Any) -> None:
    """30,000,000 is the last admissible limit; one more is refused above."""
    assert client.send(gas=30_000_000)["status"] == "0x1"


@pytest.mark.parametrize("raw", ["0x", "0x1234", "0x02", "0xc0", "zz", 5, None, "0x02c0"])
def test_bytes_that_are_no_transaction_are_bad_parameters(client: Any, failure: Failure, raw: Any) -> None:
    """Whatever they are."""
    assert failure(client, "eth_sendRawTransaction", raw).code in (-32602, -32000)
