"""What a sender of transactions asks of a chain, and the same over a pool of endpoints."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol

from incentives.endpoint_health import MIN_FOR_ONE_LIAR
from incentives.endpoints import BoundEndpoint, EndpointPool
from incentives.errors import ChainUnavailable, TransactionRefused, UnexpectedAnswer
from incentives.rpc_values import HASH_BYTES, data, fields, quantity
from incentives.tx_fees import Market
from incentives.tx_states import Inclusion, Wanted
from verification.addresses import Address

_KNOWN = ("already known", "already imported", "known transaction", "alreadyknown", "already exists")
_SPENT = ("nonce too low", "nonce is too low", "old nonce", "invalid nonce")
_CONTESTED = ("replacement transaction underpriced", "replacement", "could not replace")


class Offered(Enum):
    """What became of a transaction that was offered and not refused for good."""

    TAKEN = "taken"
    UNKNOWN = "nobody answered; it may have arrived"
    SPENT = "its number is used up"
    CONTESTED = "another one with its number waits, for a price as good"


class TxChain(Protocol):
    """The chain as one account's sender sees it. Everything raises leaves of ChainError."""

    @property
    def chain_id(self) -> int:
        """Which chain the transactions are signed for."""
        ...

    def next_number(self, account: Address) -> int:
        """The account's next transaction number, those waiting for a block counted."""
        ...

    def spent_numbers(self, account: Address, confirmations: int) -> int:
        """How many numbers were used up so many blocks before the newest one."""
        ...

    def estimate(self, account: Address, wanted: Wanted) -> int:
        """The gas it would take now. Raises: Reverted when it would revert."""
        ...

    def market(self) -> Market:
        """Today's prices."""
        ...

    def offer(self, raw: bytes, *, everywhere: bool = False) -> Offered:
        """Give a signed transaction to the chain, or to all its endpoints: one may take it and keep it to itself.

        Raises: TransactionRefused when it can never be mined as it is.
        """
        ...

    def find(self, hashes: Sequence[bytes]) -> Inclusion | None:
        """The block that holds one of these transactions, asked of all endpoints."""
        ...

    def height(self) -> int:
        """The newest block's number."""
        ...


@dataclass(frozen=True, slots=True)
class PoolTxChain:
    """A TxChain over endpoints."""

    pool: EndpointPool
    chain_id: int

    def next_number(self, account: Address) -> int:
        return _believed(self.pool.ask_each(lambda endpoint: _count(endpoint, account, "pending")))

    def spent_numbers(self, account: Address, confirmations: int) -> int:
        return _believed(self.pool.ask_each(lambda endpoint: _spent(endpoint, account, confirmations)))

    def estimate(self, account: Address, wanted: Wanted) -> int:
        call: dict[str, str] = {"from": account, "value": hex(wanted.value), "data": "0x" + wanted.data.hex()}
        if wanted.to is not None:
            call["to"] = wanted.to
        return self._number("eth_estimateGas", call)

    def market(self) -> Market:
        block = fields(self._shown, "the newest block", self.pool.ask("eth_getBlockByNumber", ["latest", False]))
        base_fee = quantity(self._shown, "the base fee", block.get("baseFeePerGas"))
        return Market(base_fee, self._number("eth_maxPriorityFeePerGas"))

    def offer(self, raw: bytes, *, everywhere: bool = False) -> Offered:
        give = self.pool.spread if everywhere else self.pool.ask
        try:
            give("eth_sendRawTransaction", ["0x" + raw.hex()])
        except (ChainUnavailable, UnexpectedAnswer):
            return Offered.UNKNOWN
        except TransactionRefused as error:
            words = error.reason.lower()
            for meaning, phrases in ((Offered.TAKEN, _KNOWN), (Offered.SPENT, _SPENT), (Offered.CONTESTED, _CONTESTED)):
                if any(phrase in words for phrase in phrases):
                    return meaning
            raise
        return Offered.TAKEN

    def find(self, hashes: Sequence[bytes]) -> Inclusion | None:
        for tx_hash in hashes:
            answer = self.pool.ask("eth_getTransactionReceipt", ["0x" + tx_hash.hex()])
            if answer is not None:
                return self._inclusion(tx_hash, answer)
        return None

    def height(self) -> int:
        return self._number("eth_blockNumber")

    def _inclusion(self, tx_hash: bytes, answer: Any) -> Inclusion | None:
        receipt = fields(self._shown, "the receipt", answer)
        if data(self._shown, "the transaction's hash", receipt.get("transactionHash"), HASH_BYTES) != tx_hash:
            raise UnexpectedAnswer(self._shown, "the receipt is of another transaction")
        if receipt.get("blockHash") is None:
            return None  # some nodes give a receipt before there is a block
        block_hash = data(self._shown, "the receipt's block", receipt.get("blockHash"), HASH_BYTES)
        block = quantity(self._shown, "the receipt's block", receipt.get("blockNumber"))
        return Inclusion(tx_hash, block, block_hash, quantity(self._shown, "status", receipt.get("status")) == 1)

    def _number(self, method: str, *params: Any) -> int:
        return quantity(self._shown, method, self.pool.ask(method, list(params)))

    @property
    def _shown(self) -> str:
        return "the chain's endpoint"


def _believed(counts: Sequence[int]) -> int:
    """Of several endpoints' counts the lowest, of three or more the second: too low a number costs time, a higher one money.

    Who counts too many could have a transaction be sent again that still waits, or gaps be filled that there are not.
    """
    return sorted(counts)[1 if len(counts) >= MIN_FOR_ONE_LIAR else 0]


def _spent(endpoint: BoundEndpoint, account: Address, confirmations: int) -> int:
    """By the endpoint's own newest block: one that tells of a later one would leave the others without an answer."""
    if confirmations == 0:
        return _count(endpoint, account, "latest")
    height = quantity(endpoint.url, "eth_blockNumber", endpoint.ask("eth_blockNumber", []))
    return _count(endpoint, account, hex(max(0, height - confirmations)))


def _count(endpoint: BoundEndpoint, account: Address, block: str) -> int:
    method = "eth_getTransactionCount"
    return quantity(endpoint.url, method, endpoint.ask(method, [account, block]))
