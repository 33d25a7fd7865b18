"""Blocks, transactions, receipts and logs as JSON-RPC objects, field by field what anvil answers."""

from typing import Any

import rlp  # type: ignore[import-untyped]
from eth._utils.address import generate_contract_address
from eth.abc import LogAPI, SignedTransactionAPI
from eth.vm.forks.berlin.transactions import TypedTransaction

from node.devchain.backend import Mined

DYNAMIC_FEE_TYPE = 2


def hexed(value: bytes) -> str:
    return "0x" + value.hex()


def number(value: int) -> str:
    return hex(value)


def block(mined: Mined, full: bool) -> dict[str, Any]:
    """A block, with its transactions' objects or only their hashes."""
    header = mined.header
    found = [] if mined.transaction is None else [mined.transaction]
    return {
        "hash": hexed(mined.hash),
        "parentHash": hexed(header.parent_hash),
        "sha3Uncles": hexed(header.uncles_hash),
        "miner": hexed(header.coinbase),
        "stateRoot": hexed(header.state_root),
        "transactionsRoot": hexed(header.transaction_root),
        "receiptsRoot": hexed(header.receipt_root),
        "logsBloom": hexed(header.bloom.to_bytes(256, "big")),
        "difficulty": number(header.difficulty),
        "number": number(mined.number),
        "gasLimit": number(header.gas_limit),
        "gasUsed": number(header.gas_used),
        "timestamp": number(header.timestamp),
        "extraData": hexed(header.extra_data),
        "mixHash": hexed(header.mix_hash),
        "nonce": hexed(header.nonce),
        "baseFeePerGas": number(header.base_fee_per_gas),
        "size": number(len(rlp.encode(header)) + sum(len(one.encode()) for one in found)),
        "transactions": [transaction(one, mined) if full else hexed(one.hash) for one in found],
        "uncles": [],
        "withdrawals": [],
        **_later_fields(mined),
    }


def _later_fields(mined: Mined) -> dict[str, Any]:
    """What the forks from Shanghai to Prague added."""
    header = mined.header
    return {
        "withdrawalsRoot": hexed(header.withdrawals_root),
        "blobGasUsed": number(header.blob_gas_used),
        "excessBlobGas": number(header.excess_blob_gas),
        "parentBeaconBlockRoot": hexed(header.parent_beacon_block_root),
        "requestsHash": hexed(header.requests_hash),
    }


def transaction(one: SignedTransactionAPI, mined: Mined | None) -> dict[str, Any]:
    """A transaction; without a block, one that waits for an earlier nonce."""
    kind = type_of(one)
    return {
        "type": number(kind),
        "chainId": number(one.chain_id or 0),
        "hash": hexed(one.hash),
        "nonce": number(one.nonce),
        "blockHash": None if mined is None else hexed(mined.hash),
        "blockNumber": None if mined is None else number(mined.number),
        "transactionIndex": None if mined is None else "0x0",
        "from": hexed(one.sender),
        "to": hexed(one.to) if one.to else None,
        "value": number(one.value),
        "gas": number(one.gas),
        "gasPrice": number(one.max_fee_per_gas if mined is None else paid_price(one, mined)),
        "input": hexed(one.data),
        "r": number(one.r),
        "s": number(one.s),
        **_typed_fields(one, kind),
    }


def _typed_fields(one: SignedTransactionAPI, kind: int) -> dict[str, Any]:
    if kind == 0:
        return {"v": number(one.v)}  # type: ignore[attr-defined]
    found: dict[str, Any] = {
        "accessList": [
            {"address": hexed(address), "storageKeys": [hexed(slot.to_bytes(32, "big")) for slot in slots]}
            for address, slots in one.access_list
        ],
        "v": number(one.y_parity),
        "yParity": number(one.y_parity),
    }
    if kind >= DYNAMIC_FEE_TYPE:
        found["maxFeePerGas"] = number(one.max_fee_per_gas)
        found["maxPriorityFeePerGas"] = number(one.max_priority_fee_per_gas)
    return found


def receipt(mined: Mined) -> dict[str, Any]:
    """The receipt of a block's only transaction."""
    one, found = _contents(mined)
    return {
        "type": number(type_of(one)),
        "status": number(int.from_bytes(found.state_root, "big")),
        "cumulativeGasUsed": number(found.gas_used),
        "gasUsed": number(found.gas_used),
        "effectiveGasPrice": number(paid_price(one, mined)),
        "logs": [log(mined, index) for index in range(len(found.logs))],
        "logsBloom": hexed(found.bloom.to_bytes(256, "big")),
        "transactionHash": hexed(one.hash),
        "transactionIndex": "0x0",
        "blockHash": hexed(mined.hash),
        "blockNumber": number(mined.number),
        "from": hexed(one.sender),
        "to": hexed(one.to) if one.to else None,
        "contractAddress": None if one.to else hexed(generate_contract_address(one.sender, one.nonce)),
    }


def log(mined: Mined, index: int) -> dict[str, Any]:
    """The log at `index` of a block's only transaction."""
    one, found = _contents(mined)
    entry: LogAPI = found.logs[index]
    return {
        "address": hexed(entry.address),
        "topics": [hexed(topic.to_bytes(32, "big")) for topic in entry.topics],
        "data": hexed(entry.data),
        "blockHash": hexed(mined.hash),
        "blockNumber": number(mined.number),
        "blockTimestamp": number(mined.header.timestamp),
        "transactionHash": hexed(one.hash),
        "transactionIndex": "0x0",
        "logIndex": number(index),
        "removed": False,
    }


def _contents(mined: Mined) -> tuple[SignedTransactionAPI, Any]:
    if mined.transaction is None or mined.receipt is None:
        raise LookupError(f"block {mined.number} holds no transaction")
    return mined.transaction, mined.receipt


def type_of(one: SignedTransactionAPI) -> int:
    return int(one.type_id or 0) if isinstance(one, TypedTransaction) else 0


def paid_price(one: SignedTransactionAPI, mined: Mined) -> int:
    """Wei per gas: the base fee and what of the tip fits under the ceiling (EIP-1559)."""
    return min(one.max_fee_per_gas, one.max_priority_fee_per_gas + int(mined.header.base_fee_per_gas))
