"""Calls and estimates on the embedded chain, where they differ from anvil or need a look inside."""

from collections.abc import Callable
from typing import Any

import pytest

from node.devchain import execution
from node.devchain.backend import EmbeddedChain
from node.devchain.params import call

RECURSE = "PUSH0 PUSH0 PUSH0 PUSH0 PUSH0 ADDRESS GAS CALL STOP"


def test_calls_nest_as_deep_as_the_gas_allows(embedded: Any) -> None:
    """Some 530 levels within 30 million gas; neither Python's nor C's stack gives way."""
    contract = embedded.deploy(RECURSE)
    assert embedded.call("eth_call", {"to": contract}, "latest") == "0x"
    assert embedded.send(to=contract, value=0, gas=30_000_000)["status"] == "0x1"


def test_an_estimate_takes_one_execution(monkeypatch: pytest.MonkeyPatch) -> None:
    """And not a binary search."""
    runs: list[int] = []
    real = execution._try
    monkeypatch.setattr(execution, "_try", lambda *args: (runs.append(1), real(*args))[1])
    execution.estimate(EmbeddedChain(), call({"data": "0x5f5f55"}))
    assert len(runs) == 1


def test_an_estimate_covers_an_sstore_at_the_very_end(embedded: Any) -> None:
    """EIP-2200 wants more than 2,300 gas left before a store, also where the store is cheap."""
    contract = embedded.deploy("01 PUSH0 SSTORE 02 PUSH0 SSTORE STOP")
    estimate = embedded.number("eth_estimateGas", {"from": embedded.accounts[0].address, "to": contract})
    assert embedded.send(to=contract, value=0, gas=estimate)["status"] == "0x1"


def test_an_estimate_covers_the_floor_of_calldata(embedded: Any) -> None:
    """EIP-7623."""
    request = {"from": embedded.accounts[0].address, "to": embedded.deploy("STOP"), "data": "0x" + "ff" * 1000}
    estimate = embedded.number("eth_estimateGas", request)
    assert estimate == execution.data_floor(b"\xff" * 1000) == 61_000
    assert embedded.send(to=request["to"], value=0, data=request["data"], gas=estimate)["status"] == "0x1"


def test_an_estimate_sees_the_time_of_the_next_block(embedded: Any) -> None:
    """A deadline that has been travelled past is past, without mining a block first."""
    deadline = int(embedded.call("eth_getBlockByNumber", "latest", False)["timestamp"], 16) + 500
    contract = embedded.deploy(f"{deadline:08x} TIMESTAMP GT ISZERO @no JUMPI STOP no: PUSH0 PUSH0 REVERT")
    request = {"from": embedded.accounts[0].address, "to": contract}
    with pytest.raises(Exception, match="execution reverted"):
        embedded.call("eth_estimateGas", request)
    embedded.call("evm_increaseTime", 1000)
    assert embedded.number("eth_estimateGas", request) > 21_000


def test_a_call_without_enough_money_is_refused(embedded: Any, failure: Callable[..., Any]) -> None:
    """In calls and in estimates."""
    request = {"from": embedded.accounts[0].address, "to": embedded.accounts[1].address, "value": hex(10**23)}
    assert failure(embedded, "eth_call", request, "latest").code == -32003
    assert failure(embedded, "eth_estimateGas", request).code == -32003


def test_a_call_with_too_little_gas_says_so(embedded: Any, failure: Callable[..., Any]) -> None:
    """It is not mistaken for a revert."""
    request = {"to": embedded.accounts[1].address, "gas": hex(20_999)}
    assert failure(embedded, "eth_call", request, "latest").code == -32000
    loop = {"data": "0x5b5f56", "gas": hex(100_000)}
    assert failure(embedded, "eth_call", loop, "latest").message == "EVM error OutOfGas"


def test_gas_price_and_base_fee_are_nothing_in_a_call(embedded: Any) -> None:
    """Trying costs nothing, also for an account without money, whatever fees the request names."""
    code = bytes.fromhex("3a48015f5260205ff3")  # gasprice + basefee
    request = {"from": "0x" + "77" * 20, "data": "0x" + code.hex(), "maxFeePerGas": hex(10**12)}
    assert embedded.number("eth_call", request, "latest") == 0


def test_an_old_block_is_called_in_its_own_state(embedded: Any) -> None:
    """Storage as of then."""
    contract = embedded.deploy(
        "CALLDATASIZE @read JUMPI 07 PUSH0 SSTORE STOP read: PUSH0 SLOAD PUSH0 MSTORE 20 PUSH0 RETURN"
    )
    before = embedded.call("eth_blockNumber")
    embedded.send(to=contract, value=0, gas=100_000)
    read = {"to": contract, "data": "0x01"}
    assert [embedded.number("eth_call", read, block) for block in (before, "latest")] == [0, 7]
