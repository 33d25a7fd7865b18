"""What each JSON-RPC method does on the embedded chain. Parameters are the raw JSON values."""

from collections.abc import Callable
from importlib.metadata import version
from typing import Any, NoReturn

from node.devchain import execution, filters, params, pool, shapes
from node.devchain.backend import EmbeddedChain
from node.devchain.constants import CHAIN_ID, MAX_BLOCKS_PER_MINE, PRIORITY_FEE_WEI
from node.devchain.errors import InvalidParams, RpcError
from node.devchain.fees import fee_history


class AccountsLocked(RpcError):
    """No key is held by the chain's process."""

    code = -32000


class Methods:
    """One method per JSON-RPC method, named after it in Python's way."""

    def __init__(self, chain: EmbeddedChain) -> None:
        self._chain = chain

    def table(self) -> dict[str, Callable[..., Any]]:
        """JSON-RPC name -> method; whatever is not here does not exist."""
        return {
            "eth_chainId": self.chain_id,
            "net_version": self.net_version,
            "web3_clientVersion": self.client_version,
            "eth_syncing": self.syncing,
            "eth_accounts": self.accounts,
            "eth_blockNumber": self.block_number,
            "eth_getBlockByNumber": self.block_by_number,
            "eth_getBlockByHash": self.block_by_hash,
            "eth_getBalance": self.balance,
            "eth_getCode": self.code,
            "eth_getStorageAt": self.storage_at,
            "eth_getTransactionCount": self.transaction_count,
            "eth_call": self.call,
            "eth_estimateGas": self.estimate_gas,
            "eth_gasPrice": self.gas_price,
            "eth_maxPriorityFeePerGas": self.max_priority_fee,
            "eth_feeHistory": self.fee_history,
            "eth_sendRawTransaction": self.send_raw_transaction,
            "eth_sendTransaction": self.send_transaction,
            "eth_getTransactionByHash": self.transaction_by_hash,
            "eth_getTransactionReceipt": self.transaction_receipt,
            "eth_getLogs": self.logs,
            "evm_snapshot": self.snapshot,
            "evm_revert": self.revert,
            "evm_increaseTime": self.increase_time,
            "evm_setNextBlockTimestamp": self.set_next_timestamp,
            "evm_mine": self.mine,
        }

    def chain_id(self) -> str:
        return hex(CHAIN_ID)

    def net_version(self) -> str:
        return str(CHAIN_ID)

    def client_version(self) -> str:
        return f"tallystick-devchain/py-evm-{version('py-evm')}"

    def syncing(self) -> bool:
        return False

    def accounts(self) -> list[str]:
        return [shapes.hexed(account) for account in self._chain.accounts]

    def block_number(self) -> str:
        return hex(self._chain.head.number)

    def block_by_number(self, ref: Any, full: Any = False) -> dict[str, Any] | None:
        found = self._chain.find(params.block_ref(ref))
        return None if found is None else shapes.block(found, _flag(full))

    def block_by_hash(self, block_hash: Any, full: Any = False) -> dict[str, Any] | None:
        found = self._chain.find(params.word(block_hash))
        return None if found is None else shapes.block(found, _flag(full))

    def balance(self, account: Any, ref: Any = None) -> str:
        return hex(self._chain.state(params.block_ref(ref)).get_balance(params.address(account)))

    def code(self, account: Any, ref: Any = None) -> str:
        return shapes.hexed(self._chain.state(params.block_ref(ref)).get_code(params.address(account)))

    def storage_at(self, account: Any, slot: Any, ref: Any = None) -> str:
        state = self._chain.state(params.block_ref(ref))
        return shapes.hexed(state.get_storage(params.address(account), params.quantity(slot)).to_bytes(32, "big"))

    def transaction_count(self, account: Any, ref: Any = None) -> str:
        return hex(self._chain.state(params.block_ref(ref)).get_nonce(params.address(account)))

    def call(self, request: Any, ref: Any = None) -> str:
        return shapes.hexed(execution.call(self._chain, params.call(request), params.block_ref(ref)))

    def estimate_gas(self, request: Any, ref: Any = None) -> str:
        """The block is checked and then the next one is used, since that is where the transaction will run."""
        self._chain.at(params.block_ref(ref))
        return hex(execution.estimate(self._chain, params.call(request)))

    def gas_price(self) -> str:
        return hex(self._chain.next_header().base_fee_per_gas + PRIORITY_FEE_WEI)

    def max_priority_fee(self) -> str:
        return hex(PRIORITY_FEE_WEI)

    def fee_history(self, count: Any, newest: Any, percentiles: Any = None) -> dict[str, Any]:
        return fee_history(self._chain, params.quantity(count), params.block_ref(newest), percentiles or [])

    def send_raw_transaction(self, raw: Any) -> str:
        return shapes.hexed(pool.submit(self._chain, params.data(raw)))

    def send_transaction(self, *_: Any) -> NoReturn:
        raise AccountsLocked("no account is unlocked here; sign the transaction and use eth_sendRawTransaction")

    def transaction_by_hash(self, transaction_hash: Any) -> dict[str, Any] | None:
        wanted = params.word(transaction_hash)
        mined = self._chain.place(wanted)
        if mined is not None and mined.transaction is not None:
            return shapes.transaction(mined.transaction, mined)
        waiting = next((one for one in self._chain.queue.values() if one.hash == wanted), None)
        return None if waiting is None else shapes.transaction(waiting, None)

    def transaction_receipt(self, transaction_hash: Any) -> dict[str, Any] | None:
        mined = self._chain.place(params.word(transaction_hash))
        return None if mined is None else shapes.receipt(mined)

    def logs(self, wanted: Any) -> list[dict[str, Any]]:
        return filters.logs(self._chain, wanted)

    def snapshot(self) -> str:
        return hex(self._chain.snapshot())

    def revert(self, number: Any) -> bool:
        return self._chain.revert(params.quantity(number))

    def increase_time(self, seconds: Any) -> int:
        return self._chain.clock.advance(params.quantity(seconds))

    def set_next_timestamp(self, timestamp: Any) -> None:
        self._chain.clock.fix(params.quantity(timestamp), self._chain.head.header.timestamp)

    def mine(self, options: Any = None) -> str:
        wanted = options if isinstance(options, dict) else {"timestamp": options}
        if set(wanted) - {"timestamp", "blocks"}:
            raise InvalidParams("expected a timestamp or an object with timestamp and blocks")
        count = params.quantity(wanted["blocks"]) if wanted.get("blocks") is not None else 1
        if not 1 <= count <= MAX_BLOCKS_PER_MINE:
            raise InvalidParams(f"{count} blocks at once; the limit is {MAX_BLOCKS_PER_MINE}")
        if wanted.get("timestamp") is not None:
            self.set_next_timestamp(wanted["timestamp"])
        for _ in range(count):
            self._chain.mine()
        return "0x0"


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise InvalidParams("expected true or false")
    return value
