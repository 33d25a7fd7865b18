"""A transaction is refused, lost or failed with a reason; it is never sent twice."""

from typing import Any

import pytest

from incentives.chain import Web3Chain
from incentives.errors import Reverted, TransactionLost, TransactionRefused
from incentives.signing import LocalSigner
from sharding.hashing import keccak256
from tests.incentives.fake_rpc import HttpReply, chain_answers, refusing, serving

SIGNER = LocalSigner(keccak256(b"sender"))
READY_TO_SEND: dict[str, Any] = {
    "eth_estimateGas": "0x5208",
    "eth_maxPriorityFeePerGas": "0x1",
    "eth_getBlockByNumber": {"number": "0x5", "timestamp": "0x64", "hash": "0x" + "11" * 32, "baseFeePerGas": "0x1"},
    "eth_getTransactionCount": "0x0",
}


def test_a_refused_transaction_says_why() -> None:
    """The node's own words."""
    refusal = refusing({"code": -32003, "message": "insufficient funds"})
    answers = chain_answers(**READY_TO_SEND, eth_sendRawTransaction=refusal)
    with serving(answers) as url, pytest.raises(TransactionRefused, match="gas money"):
        Web3Chain(url).transfer_native(SIGNER, SIGNER.address, 1)


def test_a_transaction_that_no_block_takes_is_lost() -> None:
    """With its hash, to look it up."""
    answers = chain_answers(**READY_TO_SEND, eth_sendRawTransaction="0x" + "00" * 32, eth_getTransactionReceipt=None)
    with serving(answers) as url, pytest.raises(TransactionLost, match="look it up") as caught:
        Web3Chain(url, receipt_timeout_s=0.05).transfer_native(SIGNER, SIGNER.address, 1)
    assert len(caught.value.tx_hash) == 32


def test_a_connection_that_breaks_while_sending_leaves_the_transaction_lost_and_not_sent_twice() -> None:
    """Reads are repeated, writes are not: the first one may have arrived."""
    sent: list[object] = []

    def broken(raw: object) -> None:
        sent.append(raw)
        raise HttpReply(b"", 502)

    answers = chain_answers(**READY_TO_SEND, eth_sendRawTransaction=broken, eth_getTransactionReceipt=None)
    with serving(answers) as url, pytest.raises(TransactionLost):
        Web3Chain(url, receipt_timeout_s=0.05).transfer_native(SIGNER, SIGNER.address, 1)
    assert len(sent) == 1


def test_a_failure_that_does_not_happen_again_is_still_a_revert() -> None:
    """Another transaction of the same block came first; asking again cannot show it."""
    receipt = {
        "status": "0x0",
        "gasUsed": "0x5000",
        "blockNumber": "0x5",
        "transactionHash": "0x" + "22" * 32,
        "logs": [],
    }
    answers = chain_answers(
        **READY_TO_SEND,
        eth_sendRawTransaction="0x" + "22" * 32,
        eth_getTransactionReceipt=receipt,
        eth_call="0x",
    )
    with serving(answers) as url, pytest.raises(Reverted, match=r"account\.transfer reverted: NoReason"):
        Web3Chain(url).transfer_native(SIGNER, SIGNER.address, 1)
