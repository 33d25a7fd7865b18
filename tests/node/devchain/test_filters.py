"""Both kinds of local chain find the same logs."""

from collections.abc import Callable
from typing import Any

import pytest

LOGGER = "2a PUSH0 MSTORE PUSH0 CALLDATALOAD 0b 20 PUSH0 LOG2 STOP"  # log topics 11 and calldata's first word, data 42
Failure = Callable[..., Any]


def word(number: int) -> str:
    return f"0x{number:064x}"


def test_logs_are_found_by_address_topic_and_range(client: Any) -> None:
    """Null matches anything, a list matches any of its members, positions count."""
    contract, other = client.deploy(LOGGER), client.deploy(LOGGER)
    receipts = [
        client.send(to=to, value=0, data=word(n), gas=100_000) for to, n in ((contract, 1), (contract, 2), (other, 3))
    ]
    start = receipts[0]["blockNumber"]

    def found(**wanted: Any) -> list[int]:
        logs = client.call("eth_getLogs", {"fromBlock": start, "toBlock": "latest"} | wanted)
        return [int(log["topics"][1], 16) for log in logs]

    assert found() == [1, 2, 3]
    assert found(address=contract) == [1, 2]
    assert found(address=[contract, other]) == [1, 2, 3]
    assert found(topics=[word(11)]) == [1, 2, 3]
    assert found(topics=[word(12)]) == []
    assert found(topics=[None, word(2)]) == [2]
    assert found(topics=[None, [word(1), word(3)]]) == [1, 3]
    assert found(topics=[[word(11), word(12)], word(3)], address=contract) == []
    assert found(toBlock=receipts[1]["blockNumber"]) == [1, 2]
    assert found(fromBlock=receipts[1]["blockNumber"]) == [2, 3]
    assert found(fromBlock=receipts[2]["blockNumber"], toBlock=start) == []
    by_block = client.call("eth_getLogs", {"blockHash": receipts[1]["blockHash"]})
    assert by_block == receipts[1]["logs"]


def test_a_log_says_where_it_is_from(client: Any) -> None:
    """Every field of a log is right."""
    contract = client.deploy(LOGGER)
    receipt = client.send(to=contract, value=0, data=word(5), gas=100_000)
    (log,) = receipt["logs"]
    expected = {"data": word(42), "topics": [word(11), word(5)], "logIndex": "0x0", "removed": False}
    expected |= {name: receipt[name] for name in ("blockHash", "blockNumber", "transactionHash", "transactionIndex")}
    assert {name: log[name] for name in expected} == expected
    assert log["address"].lower() == contract.lower()


def test_a_filter_cannot_name_a_block_and_a_range(client: Any, failure: Failure) -> None:
    """Nor a block that does not exist."""
    unknown = "0x" + "11" * 32
    assert failure(client, "eth_getLogs", {"blockHash": unknown, "fromBlock": "0x1"}).code == -32602
    assert failure(client, "eth_getLogs", {"blockHash": unknown}).code in (-32602, -32000)


def test_a_topic_position_past_a_logs_own_never_matches(embedded: Any) -> None:
    """As in geth, also where the position may be anything; anvil differs here."""
    receipt = embedded.send(to=embedded.deploy(LOGGER), value=0, data=word(1), gas=100_000)
    wanted = {"fromBlock": receipt["blockNumber"], "topics": [None, None]}
    assert len(embedded.call("eth_getLogs", wanted)) == 1
    assert embedded.call("eth_getLogs", wanted | {"topics": [None, None, None]}) == []


@pytest.mark.parametrize(
    "wanted",
    [{"topics": [None] * 5}, {"topics": word(1)}, {"address": "0x12"}, {"addresses": []}, [], {"topics": ["0x12"]},
     {"address": ["0x" + "11" * 20] * 1001}],
)  # fmt: skip
def test_a_malformed_filter_is_refused(embedded: Any, failure: Failure, wanted: Any) -> None:
    """One topic too many, one address too many, a misspelt name."""
    assert failure(embedded, "eth_getLogs", wanted).code == -32602


def test_the_limits_of_a_filter_are_admissible(embedded: Any) -> None:
    """Four topics, a thousand addresses, a range that ends past the head."""
    wanted = {"topics": [None] * 4, "address": ["0x" + "11" * 20] * 1000, "fromBlock": "earliest", "toBlock": "0xffff"}
    assert embedded.call("eth_getLogs", wanted) == []
