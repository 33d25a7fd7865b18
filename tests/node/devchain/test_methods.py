"""Both kinds of local chain answer the same questions in the same shapes."""

import time
from collections.abc import Callable
from typing import Any

import pytest

ETHER = 10**18
FIRST = "0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266"
COUNTER = "PUSH0 SLOAD 01 SWAP1 SUB PUSH0 SSTORE STOP"  # storage[0] -= 1
Failure = Callable[..., Any]


def word(number: int) -> str:
    return f"0x{number:064x}"


def test_it_is_chain_31337_for_every_question_about_it(client: Any) -> None:
    """The RPC, the network id and the CHAINID opcode agree."""
    assert client.call("eth_chainId") == "0x7a69"
    assert client.call("net_version") == "31337"
    assert client.run("CHAINID PUSH0 MSTORE 20 PUSH0 RETURN") == 31337


def test_the_usual_accounts_hold_ether(client: Any) -> None:
    """Accounts of the usual test mnemonic, in the usual order."""
    accounts = client.call("eth_accounts")
    assert len(accounts) == 10
    assert accounts[0].lower() == FIRST
    assert all(client.number("eth_getBalance", account, "latest") > 0 for account in accounts)


def test_the_past_can_be_asked_about_from_the_first_block_on(fresh_client: Any) -> None:
    """As far as states are kept, which on anvil are the last ones: at the start each account holds 10,000 ether."""
    contract = fresh_client.deploy(COUNTER)
    accounts = fresh_client.call("eth_accounts")
    assert {fresh_client.number("eth_getBalance", account, "0x0") for account in accounts} == {10_000 * ETHER}
    assert fresh_client.call("eth_getCode", contract, "0x0") == "0x"


def test_the_rules_are_cancuns_or_newer(client: Any) -> None:
    """Transient storage and MCOPY exist."""
    assert client.run("2a PUSH0 TSTORE PUSH0 TLOAD PUSH0 MSTORE 20 PUSH0 RETURN") == 42
    assert client.run("2a PUSH0 MSTORE 20 PUSH0 20 MCOPY 20 20 RETURN") == 42


def test_a_transfer_moves_value_and_costs_what_the_receipt_says(client: Any) -> None:
    """Money is conserved to the wei between sender, recipient and fee."""
    before = [client.number("eth_getBalance", one.address, "latest") for one in client.accounts[:2]]
    receipt = client.send(value=5 * ETHER)
    after = [client.number("eth_getBalance", one.address, "latest") for one in client.accounts[:2]]
    fee = int(receipt["gasUsed"], 16) * int(receipt["effectiveGasPrice"], 16)
    assert receipt["gasUsed"] == "0x5208"
    assert after == [before[0] - 5 * ETHER - fee, before[1] + 5 * ETHER]
    assert (
        client.number("eth_getBalance", client.accounts[1].address, hex(int(receipt["blockNumber"], 16) - 1))
        == before[1]
    )


def test_a_legacy_transaction_with_a_chain_id_is_taken(client: Any) -> None:
    """EIP-155 transactions are valid beside EIP-1559 ones."""
    receipt = client.send(maxFeePerGas=None, maxPriorityFeePerGas=None, gasPrice=3 * 10**9)
    assert receipt["status"] == "0x1"
    assert receipt["type"] == "0x0"
    assert client.call("eth_getTransactionByHash", receipt["transactionHash"])["gasPrice"] == hex(3 * 10**9)


def test_receipt_transaction_and_block_tell_the_same_story(client: Any) -> None:
    """The three views of one transaction agree field by field."""
    receipt = client.send(value=3)
    by_hash = client.call("eth_getTransactionByHash", receipt["transactionHash"])
    block = client.call("eth_getBlockByHash", receipt["blockHash"], True)
    assert block["transactions"] == [by_hash]
    assert client.call("eth_getBlockByNumber", receipt["blockNumber"], False)["transactions"] == [by_hash["hash"]]
    for name in ("blockHash", "blockNumber", "transactionIndex", "from", "to", "type"):
        assert by_hash[name] == receipt[name], name
    assert (block["number"], block["hash"], block["gasUsed"]) == (
        receipt["blockNumber"],
        receipt["blockHash"],
        receipt["gasUsed"],
    )
    assert by_hash["value"] == "0x3"
    assert receipt["effectiveGasPrice"] == by_hash["gasPrice"]
    assert receipt["contractAddress"] is None


@pytest.mark.parametrize(
    "fields",
    [
        "type status cumulativeGasUsed gasUsed effectiveGasPrice logs logsBloom transactionHash transactionIndex "
        "blockHash blockNumber from to contractAddress"
    ],
)
def test_a_receipt_has_the_usual_fields(client: Any, fields: str) -> None:
    """Clients that insist on a field find it."""
    assert set(fields.split()) <= set(client.send())


@pytest.mark.parametrize(
    "fields",
    [
        "hash parentHash sha3Uncles miner stateRoot transactionsRoot receiptsRoot logsBloom difficulty number gasLimit "
        "gasUsed timestamp extraData mixHash nonce baseFeePerGas size transactions uncles withdrawals"
    ],
)
def test_a_block_has_the_usual_fields(client: Any, fields: str) -> None:
    """Clients that insist on a field find it, and blocks have 30 million gas."""
    block = client.call("eth_getBlockByNumber", "latest", False)
    assert set(fields.split()) <= set(block)
    assert int(block["gasLimit"], 16) == 30_000_000


def test_blocks_are_chained_by_hash(client: Any) -> None:
    """Every block names the one before."""
    first, second = client.send(), client.send()
    block = client.call("eth_getBlockByHash", second["blockHash"], False)
    assert block["parentHash"] == first["blockHash"]


def test_what_does_not_exist_is_null(client: Any) -> None:
    """Unknown hashes and numbers are not errors."""
    unknown = "0x" + "11" * 32
    assert client.call("eth_getBlockByNumber", "0xffff", False) is None
    assert client.call("eth_getBlockByHash", unknown, False) is None
    assert client.call("eth_getTransactionByHash", unknown) is None
    assert client.call("eth_getTransactionReceipt", unknown) is None


def test_code_and_storage_of_a_contract_can_be_read_now_and_then(client: Any) -> None:
    """Old blocks keep their state."""
    contract = client.deploy(COUNTER)
    before = client.call("eth_blockNumber")
    client.send(to=contract, value=0, gas=100_000)
    assert client.call("eth_getCode", contract, "latest").startswith("0x5f54")
    assert client.call("eth_getStorageAt", contract, "0x0", "latest") == word(2**256 - 1)
    assert client.call("eth_getStorageAt", contract, "0x0", before) == word(0)


def test_a_call_changes_nothing(client: Any) -> None:
    """eth_call leaves no trace in state or blocks."""
    contract = client.deploy(COUNTER)
    head = client.call("eth_blockNumber")
    assert client.call("eth_call", {"to": contract}, "latest") == "0x"
    assert client.call("eth_getStorageAt", contract, "0x0", "latest") == word(0)
    assert client.call("eth_blockNumber") == head


def test_a_snapshot_brings_everything_back_once(client: Any) -> None:
    """Balances, blocks and receipts are as before; a used snapshot is gone."""
    balance, head = client.number("eth_getBalance", FIRST, "latest"), client.call("eth_blockNumber")
    taken = client.call("evm_snapshot")
    receipt = client.send()
    assert client.call("evm_revert", taken) is True
    assert client.number("eth_getBalance", FIRST, "latest") == balance
    assert client.call("eth_blockNumber") == head
    assert client.call("eth_getTransactionReceipt", receipt["transactionHash"]) is None
    assert client.call("eth_getBlockByHash", receipt["blockHash"], False) is None
    assert client.call("evm_revert", taken) is False
    assert client.send()["blockNumber"] == receipt["blockNumber"]


def test_time_can_be_moved_on(client: Any) -> None:
    """By seconds, and to a moment."""
    client.call("evm_mine")  # the newest block may be from long before
    start = _time(client)
    client.call("evm_increaseTime", 86_400)
    client.call("evm_mine")
    moved = _time(client)
    assert 86_400 <= moved - start <= 86_400 + 60
    client.call("evm_setNextBlockTimestamp", moved + 1000)
    client.send()
    assert _time(client) == moved + 1000
    client.call("evm_mine")
    assert moved + 1000 <= _time(client) <= moved + 1060


def test_time_is_now_and_never_runs_backwards(fresh_client: Any, failure: Failure) -> None:
    """Blocks carry the machine's time until somebody moves it, as anvil does in going back to a snapshot."""
    client = fresh_client
    client.call("evm_mine")
    now = _time(client)
    assert abs(now - time.time()) < 60
    failure(client, "evm_setNextBlockTimestamp", now - 10)
    client.send()
    assert _time(client) >= now


def test_a_call_sees_the_block_it_is_made_in(client: Any) -> None:
    """NUMBER at latest is the head's; at pending the next one's, with the time it would have."""
    head = client.number("eth_blockNumber")
    program = "NUMBER PUSH0 MSTORE 20 PUSH0 RETURN"
    assert client.run(program, "latest") == head
    assert client.run(program, "pending") == head + 1
    client.call("evm_increaseTime", 5000)
    assert client.run("TIMESTAMP PUSH0 MSTORE 20 PUSH0 RETURN", "pending") >= _time(client) + 4990


def test_fees_follow_eip_1559(client: Any) -> None:
    """What is suggested is enough for the next block, and the history says what was paid."""
    client.send()
    receipt = client.send()
    history = client.call("eth_feeHistory", "0x2", "latest", [50])
    assert history["oldestBlock"] == hex(int(receipt["blockNumber"], 16) - 1)
    assert len(history["baseFeePerGas"]) == 3
    assert history["reward"] == [[hex(10**9)], [hex(10**9)]]
    assert history["gasUsedRatio"][1] == pytest.approx(21_000 / 30_000_000)
    tip = client.number("eth_maxPriorityFeePerGas")
    assert client.number("eth_gasPrice") >= int(history["baseFeePerGas"][-1], 16) + tip
    base = client.call("eth_getBlockByNumber", receipt["blockNumber"], False)["baseFeePerGas"]
    assert base == history["baseFeePerGas"][1]
    assert int(receipt["effectiveGasPrice"], 16) == int(base, 16) + 10**9


def test_malformed_parameters_are_named_as_such(client: Any, failure: Failure) -> None:
    """Code -32602."""
    for method, params in (
        ("eth_getBalance", ["0x12", "latest"]),
        ("eth_getBalance", [FIRST, "0xffff"]),
        ("eth_getBalance", []),
        ("eth_getTransactionReceipt", ["0x12"]),
        ("eth_call", ["0x12", "latest"]),
        ("eth_getLogs", [{"fromBlock": "0xffff"}]),
    ):
        assert failure(client, method, *params).code == -32602, (method, params)


def _time(client: Any) -> int:
    return int(client.call("eth_getBlockByNumber", "latest", False)["timestamp"], 16)
