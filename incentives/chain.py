"""The chain client: the one place that knows web3.py, and the one place where its errors become ours.

The pool of endpoints judges JSON-RPC answers before web3 interprets them: an error never reaches web3's own guesses, nor
the requests it would make to URLs that a contract names. What web3 still objects to is an unusable answer.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from eth_abi.exceptions import DecodingError, EncodingError
from hexbytes import HexBytes
from web3 import Web3
from web3.exceptions import TransactionNotFound, Web3Exception
from web3.providers import BaseProvider
from web3.types import RPCEndpoint, RPCResponse

from incentives.abi import decode_log, event_topics, plain
from incentives.artifacts import Artifact
from incentives.chain_types import Block, Called, Chain, Contract, Deployed, Event, Sent
from incentives.endpoint_health import NO_LIMITS, HeadLimits
from incentives.endpoints import EndpointPool
from incentives.errors import (
    CallMismatch,
    ChainError,
    ChainUnavailable,
    Reverted,
    UnexpectedAnswer,
)
from incentives.json_rpc import HttpRpc
from incentives.rpc_errors import ErrorTable, shown_url
from incentives.rpc_values import quantity
from incentives.sending import FIRST_POLL_S, LAST_POLL_S, Sender, recorded_wish
from incentives.signing import DEV_CHAIN_ID, Signer
from incentives.tx_chain import PoolTxChain
from incentives.tx_fees import SenderPolicy
from incentives.tx_sender import TxSender
from incentives.tx_store import TxStore
from sharding.hashing import keccak256
from verification.addresses import to_address

__all__ = ["Block", "Chain", "Contract", "Deployed", "Event", "Sent", "Web3Chain", "wait_until_up"]

REQUEST_TIMEOUT_S = 10.0
RECEIPT_TIMEOUT_S = 60.0
LOG_RANGE_BLOCKS = 5_000


class _Provider(BaseProvider):
    """What web3 asks, the pool answers; raises ChainError leaves only."""

    def __init__(self, pool: EndpointPool) -> None:
        super().__init__()
        self._pool = pool

    def make_request(self, method: RPCEndpoint, params: Any) -> RPCResponse:
        return {"jsonrpc": "2.0", "id": 0, "result": self._pool.ask(method, list(params))}


class Web3Chain:
    """A Chain over JSON-RPC. Safe to share between threads."""

    def __init__(
        self,
        url: str | Sequence[str],
        expected_chain_id: int | None = None,
        timeout_s: float = REQUEST_TIMEOUT_S,
        receipt_timeout_s: float = RECEIPT_TIMEOUT_S,
        heads: HeadLimits | None = None,
    ) -> None:
        """Connects to the first of the endpoints that answers. `timeout_s` is for one answer of one endpoint.

        Without `heads`, endpoints that are behind are passed over on every chain but the local development chain.
        Raises: ChainUnavailable; WrongChain if no endpoint is of the expected chain.
        """
        urls = (url,) if isinstance(url, str) else tuple(url)
        self._errors = ErrorTable()
        rpcs = [HttpRpc(each, timeout_s, self._errors) for each in urls]
        self.pool = EndpointPool(rpcs, timeout_s * len(rpcs), expected_chain_id)
        self.chain_id = self.pool.chain_id
        local = NO_LIMITS if self.chain_id == DEV_CHAIN_ID else HeadLimits()
        self.pool.limits = local if heads is None else heads
        self.url = urls[0]
        self._shown = shown_url(self.url)
        # No middleware, no ENS: values go out as they are given and come back as plain data.
        self._web3 = Web3(_Provider(self.pool), middleware=[], ens=None)
        self._eth: Any = self._web3.eth
        self._bound: dict[tuple[str, str], Any] = {}
        self._recorded: dict[str, TxSender] = {}
        self._sender = Sender(self._eth, self.url, self.chain_id, self._find_receipt, receipt_timeout_s)

    def head(self) -> Block:
        """The newest block."""
        with self._foreign():
            block = self._eth.get_block("latest")
            return Block(int(block["number"]), int(block["timestamp"]), bytes(block["hash"]))

    def block(self, number: int) -> Block:
        """The block with that number. Raises: UnexpectedAnswer for one that is not there."""
        with self._foreign("block", str(number)):
            found = self._eth.get_block(number)
            return Block(int(found["number"]), int(found["timestamp"]), bytes(found["hash"]))

    def native_balance(self, address: str) -> int:
        """Gas money of an account, in wei."""
        with self._foreign():
            return int(self._eth.get_balance(to_address(address)))

    def nonce(self, address: str) -> int:
        """The number of the account's next transaction."""
        with self._foreign():
            return int(self._eth.get_transaction_count(to_address(address), "pending"))

    def code(self, address: str) -> bytes:
        """The program at an address; empty for a plain account."""
        with self._foreign():
            return bytes(self._eth.get_code(to_address(address)))

    def call(self, contract: Contract, fn: str, *args: Any, block: int | None = None) -> Any:
        """Ask a view; one output comes as a value, several as a list."""
        with self._foreign(contract.name, fn):
            with _fitting(contract.name, fn):
                function = self._bind(contract).functions[fn](*args)
            return plain(function.call(block_identifier="latest" if block is None else block))

    def record(self, signer: Signer, directory: Path, policy: SenderPolicy | None = None) -> TxSender:
        """Record this account's transactions in a directory from now on; the caller ticks and closes the sender.

        Raises: ClientLocked while another process records them there, ClientStoreError.
        """
        store = TxStore(directory, self.chain_id, signer.address)
        sender = TxSender(signer, PoolTxChain(self.pool, self.chain_id), store, policy)
        self._recorded[sender.account] = sender
        return sender

    def send(
        self,
        signer: Signer,
        contract: Contract,
        fn: str,
        *args: Any,
        gas: int | None = None,
        key: str | None = None,
    ) -> Sent:
        """Sign, send and wait for the block. `gas` skips the estimate, and with it the simulation.

        With a `key`, which needs a recorded sender for the account, the same call again is the same transaction.
        """
        with self._foreign(contract.name, fn):
            with _fitting(contract.name, fn):
                data = self._bind(contract).encode_abi(fn, args)
            receipt = self._transact(signer, {"to": contract.address, "data": data}, gas, key)
            return _sent(receipt, _decode_logs(contract, receipt["logs"]))

    def deploy(self, signer: Signer, artifact: Artifact, *args: Any) -> Deployed:
        """Create a contract."""
        self._errors.add_abi(artifact.abi)
        with self._foreign(artifact.name, "constructor"):
            with _fitting(artifact.name, "constructor"):
                factory = self._eth.contract(abi=artifact.abi, bytecode=artifact.bytecode)
                data = factory.constructor(*args).data_in_transaction
            receipt = self._transact(signer, {"data": data})
            contract = Contract(to_address(receipt["contractAddress"]), artifact)
            sent = _sent(receipt, ())
        code_hash = keccak256(self.code(contract.address))
        return Deployed(contract, code_hash, sent.tx_hash, sent.gas_used, sent.block)

    def transfer_native(self, signer: Signer, to: str, amount: int) -> Sent:
        """Send gas money, in wei."""
        with self._foreign("account", "transfer"):
            return _sent(self._transact(signer, {"to": to_address(to), "value": amount}), ())

    def gas_used(self, tx_hash: bytes) -> int:
        """What a mined transaction took. Raises: UnexpectedAnswer for one that is in no block."""
        with self._foreign("transaction", tx_hash.hex()):
            return int(self._eth.get_transaction_receipt(HexBytes(tx_hash))["gasUsed"])

    def called(self, contract: Contract, tx_hash: bytes) -> Called:
        """What a transaction asked of the contract. Raises: UnexpectedAnswer for one that is not there, or asked another one."""
        with self._foreign(contract.name, "transaction"):
            found = self._eth.get_transaction(HexBytes(tx_hash))
            if to_address(found.get("to") or bytes(20)) != contract.address:
                raise UnexpectedAnswer(self.url, f"transaction 0x{tx_hash.hex()} is not for {contract.name}")
            function, arguments = self._bind(contract).decode_function_input(found["input"])
            return Called(str(function.fn_name), {name: plain(value) for name, value in arguments.items()})

    def events(self, contract: Contract, name: str, from_block: int, **indexed: Any) -> list[Event]:
        """Read events up to the head in bounded ranges of blocks, in the chain's order.

        A log that cannot be decoded is left out: whoever made a contract emit it must not hide the others' logs.
        """
        with self._foreign(contract.name, name):
            return self._logs(contract, event_topics(contract.artifact, name, indexed), from_block)

    def all_events(self, contract: Contract, from_block: int) -> list[Event]:
        """As events, of every name."""
        with self._foreign(contract.name, "events"):
            return self._logs(contract, [], from_block)

    def _logs(self, contract: Contract, topics: list[str | None], from_block: int) -> list[Event]:
        last, found = self.head().number, list[Event]()
        for first in range(from_block, last + 1, LOG_RANGE_BLOCKS):
            until = min(first + LOG_RANGE_BLOCKS - 1, last)
            query = {"address": contract.address, "topics": topics, "fromBlock": first, "toBlock": until}
            found += _decode_logs(contract, self._eth.get_logs(query))
        return sorted(found, key=lambda event: (event.block, event.log_index))

    def _transact(
        self, signer: Signer, wanted: Mapping[str, Any], gas: int | None = None, key: str | None = None
    ) -> Mapping[str, Any]:
        recorded = self._recorded.get(signer.address)
        if recorded is not None:
            included = recorded.send(recorded_wish(wanted, gas), key)
            return self._sender.judge(signer, wanted, included.tx_hash)
        if key is not None:
            raise CallMismatch("send", f"a key needs a recorded sender, {signer.address} has none")
        return self._sender.transact(signer, wanted, gas)

    def _find_receipt(self, tx_hash: bytes) -> Mapping[str, Any] | None:
        try:
            receipt: Mapping[str, Any] = self._eth.get_transaction_receipt(HexBytes(tx_hash))
        except TransactionNotFound:
            return None
        return receipt

    def _bind(self, contract: Contract) -> Any:
        key = (contract.address, contract.name)
        if key not in self._bound:
            self._errors.add_abi(contract.artifact.abi)
            self._bound[key] = self._eth.contract(address=contract.address, abi=list(contract.artifact.abi))
        return self._bound[key]

    @contextmanager
    def _foreign(self, part: str = "", fn: str = "") -> Iterator[None]:
        """Name the call in a Reverted, and turn what web3 and eth-abi object to into an UnexpectedAnswer."""
        during = f"{part}.{fn}" if part else ""
        try:
            yield
        except Reverted as error:
            raise Reverted(error.name, error.arguments, during=during, sentence=error.sentence) from None
        except (Web3Exception, DecodingError, ValueError, TypeError, KeyError) as error:
            raise UnexpectedAnswer(
                self._shown, f"{during or 'request'}: {type(error).__name__}: {error}"[:500]
            ) from error


def wait_until_up(url: str | Sequence[str], deadline_s: float, timeout_s: float = 2.0) -> int:
    """Wait until a chain answers, at one of its URLs, and return its id. Raises: ChainUnavailable after `deadline_s` seconds."""
    rpcs = [HttpRpc(each, timeout_s, ErrorTable()) for each in ((url,) if isinstance(url, str) else url)]
    deadline, pause = time.monotonic() + deadline_s, FIRST_POLL_S
    while True:
        failures = list[ChainError]()
        for rpc in rpcs:
            try:
                return quantity(rpc.shown, "the chain id", rpc.ask("eth_chainId", []))
            except ChainError as error:
                failures.append(error)
        silent = any(isinstance(error, ChainUnavailable) for error in failures)
        if not silent or time.monotonic() + pause > deadline:
            raise failures[-1]
        time.sleep(pause)
        pause = min(2 * pause, LAST_POLL_S)


@contextmanager
def _fitting(part: str, fn: str) -> Iterator[None]:
    """Around the encoding of arguments, where whatever goes wrong is the caller's mistake."""
    try:
        yield
    except (Web3Exception, EncodingError, AttributeError, TypeError, ValueError) as error:
        raise CallMismatch(f"{part}.{fn}", " ".join(str(error).split())[:500]) from error


def _decode_logs(contract: Contract, logs: Sequence[Mapping[str, Any]]) -> tuple[Event, ...]:
    decoded = (decode_log(contract.artifact, log) for log in logs if log["address"] == contract.address)
    return tuple(event for event in decoded if event is not None)


def _sent(receipt: Mapping[str, Any], logs: tuple[Event, ...]) -> Sent:
    return Sent(bytes(receipt["transactionHash"]), int(receipt["gasUsed"]), int(receipt["blockNumber"]), logs)
