"""One transaction from wish to receipt: gas, fees, number, signature, waiting, and the reason when it fails.

Nothing here is repeated: a transaction that may have arrived is looked for by its hash, never sent again.
"""

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NoReturn

from hexbytes import HexBytes

from incentives.errors import ChainUnavailable, TransactionLost, UnexpectedAnswer
from incentives.rpc_errors import reverted
from incentives.signing import Signer
from incentives.tx_states import Wanted
from sharding.hashing import keccak256

GAS_MARGIN_PERCENT = 125
"""The state may change between the estimate and the block."""
FIRST_POLL_S, LAST_POLL_S = 0.01, 1.0

Receipt = Mapping[str, Any]
"""As web3 gives it."""
_nonce_locks: dict[tuple[str, str], threading.Lock] = {}
"""One per account of a chain, for all clients of this process: two threads must not take the same number."""


def recorded_wish(wanted: Mapping[str, Any], gas: int | None) -> Wanted:
    """The same to, data and value for a recorded sender."""
    data = bytes.fromhex(str(wanted.get("data", "0x")).removeprefix("0x"))
    return Wanted(wanted.get("to"), data, int(wanted.get("value", 0)), gas)


@dataclass(frozen=True, slots=True)
class Sender:
    """Sends for one chain. `eth` answers as web3.eth does; `find_receipt` gives None until a block has it."""

    eth: Any
    url: str
    chain_id: int
    find_receipt: Callable[[bytes], Receipt | None]
    receipt_timeout_s: float

    def transact(self, signer: Signer, wanted: Mapping[str, Any], gas: int | None = None) -> Receipt:
        """Send one EIP-1559 transaction with the wanted to, data and value; return its receipt.

        Raises: Reverted, TransactionRefused, TransactionLost, ChainUnavailable.
        """
        simulated = {"from": signer.address, "value": 0, **wanted}
        limit = gas if gas is not None else int(self.eth.estimate_gas(simulated)) * GAS_MARGIN_PERCENT // 100
        unnumbered = {"value": 0, **wanted, **self._fees(), "gas": limit, "chainId": self.chain_id, "type": 2}
        with _nonce_locks.setdefault((self.url, signer.address), threading.Lock()):
            nonce = int(self.eth.get_transaction_count(signer.address, "pending"))
            raw = signer.sign_transaction({**unnumbered, "nonce": nonce})
            self._broadcast(raw)
        return self.judge(signer, wanted, keccak256(raw), limit)

    def judge(self, signer: Signer, wanted: Mapping[str, Any], tx_hash: bytes, gas: int | None = None) -> Receipt:
        """Wait for the receipt of a transaction that was sent with so much gas. Raises: Reverted, TransactionLost."""
        receipt = self._await_receipt(tx_hash)
        if receipt["status"] != 1:
            limit = gas if gas is not None else int(self.eth.get_transaction(HexBytes(tx_hash))["gas"])
            self._explain_failure({"from": signer.address, "value": 0, **wanted}, limit, receipt)
        return receipt

    def _fees(self) -> dict[str, int]:
        tip = int(self.eth.max_priority_fee)
        base = int(self.eth.get_block("latest")["baseFeePerGas"])
        return {"maxFeePerGas": 2 * base + tip, "maxPriorityFeePerGas": tip}

    def _broadcast(self, raw: bytes) -> None:
        # When the connection breaks here or the answer is unreadable, the transaction may have arrived all the same.
        with suppress(ChainUnavailable, UnexpectedAnswer):
            self.eth.send_raw_transaction(raw)

    def _await_receipt(self, tx_hash: bytes) -> Receipt:
        deadline, pause = time.monotonic() + self.receipt_timeout_s, FIRST_POLL_S
        while True:
            reason = "no block contains it"
            try:
                if (receipt := self.find_receipt(tx_hash)) is not None:
                    return receipt
            except ChainUnavailable as error:
                reason = error.reason
            if time.monotonic() + pause > deadline:
                raise TransactionLost(tx_hash, self.receipt_timeout_s, reason)
            time.sleep(pause)
            pause = min(2 * pause, LAST_POLL_S)

    def _explain_failure(self, simulated: Mapping[str, Any], limit: int, receipt: Receipt) -> NoReturn:
        """Ask again, on the state before the block, why a transaction failed. Raises: Reverted, always."""
        if int(receipt["gasUsed"]) >= limit:
            raise reverted("OutOfGas", (limit,))
        self.eth.call({**simulated, "gas": limit}, int(receipt["blockNumber"]) - 1)
        raise reverted("NoReason")  # alone it succeeds: another transaction of that block came first
