"""The chain client: the one place that knows web3.py, and the one place where its errors become ours.

The provider judges JSON-RPC answers before web3 interprets them: an error never reaches web3's own guesses, nor the
requests it would make to URLs that a contract names. What web3 still objects to is an unusable answer.
"""

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, NoReturn

import requests
from eth_abi.exceptions import DecodingError, EncodingError
from hexbytes import HexBytes
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, stop_after_delay, wait_exponential
from web3 import HTTPProvider, Web3
from web3.exceptions import TransactionNotFound, Web3Exception
from web3.types import RPCEndpoint, RPCResponse

from incentives.abi import event_names, event_topics, plain
from incentives.artifacts import Artifact
from incentives.chain_types import Block, Chain, Contract, Deployed, Event, Sent
from incentives.errors import (
    CallMismatch,
    ChainUnavailable,
    Reverted,
    TransactionLost,
    UnexpectedAnswer,
    WrongChain,
)
from incentives.rpc_errors import ErrorTable, shown_url, translate_rpc_error
from incentives.signing import Signer
from sharding.hashing import keccak256
from verification.addresses import to_address

__all__ = ["Block", "Chain", "Contract", "Deployed", "Event", "Sent", "Web3Chain", "wait_until_up"]

REQUEST_TIMEOUT_S = 10.0
RECEIPT_TIMEOUT_S = 60.0
READ_ATTEMPTS = 3
GAS_MARGIN_PERCENT = 125
LOG_RANGE_BLOCKS = 5_000
_WRITES = frozenset({"eth_sendRawTransaction"})
_FIRST_POLL_S, _LAST_POLL_S = 0.01, 1.0
_nonce_locks: dict[tuple[str, str], threading.Lock] = {}


class _Provider(HTTPProvider):
    """HTTP with bounded retries of reads; raises ChainError leaves only. One per Web3Chain, shared by its threads."""

    def __init__(self, url: str, timeout_s: float, errors: ErrorTable) -> None:
        super().__init__(url, request_kwargs={"timeout": timeout_s}, exception_retry_configuration=None)
        self._shown, self._timeout_s, self._errors = shown_url(url), timeout_s, errors
        self._retrying = Retrying(
            retry=retry_if_exception_type(ChainUnavailable),
            stop=stop_after_attempt(READ_ATTEMPTS) | stop_after_delay(timeout_s),
            wait=wait_exponential(multiplier=0.05, max=1.0),
            reraise=True,
        )

    def make_request(self, method: RPCEndpoint, params: Any) -> RPCResponse:
        if method in _WRITES:
            return self.ask_once(method, params)
        return self._retrying(self.ask_once, method, params)

    def ask_once(self, method: RPCEndpoint, params: Any) -> RPCResponse:
        """Raises: ChainUnavailable, Reverted, TransactionRefused, UnexpectedAnswer."""
        try:
            response = super().make_request(method, params)
        except OSError as error:  # every error of requests is one
            raise ChainUnavailable(self._shown, self._reason(error)) from error
        except ValueError as error:
            raise UnexpectedAnswer(self._shown, f"{method} was not answered with JSON") from error
        if not isinstance(response, dict) or ("error" not in response and "result" not in response):
            raise UnexpectedAnswer(self._shown, f"{method} was not answered with JSON-RPC")
        if response.get("error") is not None:
            raise translate_rpc_error(response["error"], self._errors)
        return response

    def _reason(self, error: OSError) -> str:
        if isinstance(error, requests.Timeout):
            return f"no answer within {self._timeout_s:g} s"
        if isinstance(error, requests.HTTPError) and error.response is not None:
            return f"HTTP status {error.response.status_code}"
        return f"{type(error).__name__}"  # its text would show the whole URL, access key included


class Web3Chain:
    """A Chain over JSON-RPC. Safe to share between threads."""

    def __init__(
        self,
        url: str,
        expected_chain_id: int | None = None,
        timeout_s: float = REQUEST_TIMEOUT_S,
        receipt_timeout_s: float = RECEIPT_TIMEOUT_S,
    ) -> None:
        """Connects. Raises: ChainUnavailable; WrongChain if another chain than the expected one answers."""
        self.url = url
        self._shown, self._receipt_timeout_s = shown_url(url), receipt_timeout_s
        self._errors = ErrorTable()
        # No middleware, no ENS: values go out as they are given and come back as plain data.
        self._web3 = Web3(_Provider(url, timeout_s, self._errors), middleware=[], ens=None)
        self._eth: Any = self._web3.eth
        self._bound: dict[tuple[str, str], Any] = {}
        with self._foreign():
            self.chain_id = _whole(self._eth.chain_id)
        if expected_chain_id is not None and self.chain_id != expected_chain_id:
            raise WrongChain(self._shown, expected_chain_id, self.chain_id)

    def head(self) -> Block:
        """The newest block."""
        with self._foreign():
            block = self._eth.get_block("latest")
            return Block(int(block["number"]), int(block["timestamp"]), bytes(block["hash"]))

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
            with _fitting(contract, fn):
                function = self._bind(contract).functions[fn](*args)
            return plain(function.call(block_identifier="latest" if block is None else block))

    def send(self, signer: Signer, contract: Contract, fn: str, *args: Any, gas: int | None = None) -> Sent:
        """Sign, send and wait for the block. `gas` skips the estimate, and with it the simulation."""
        with self._foreign(contract.name, fn):
            with _fitting(contract, fn):
                data = self._bind(contract).encode_abi(fn, args)
            receipt = self._transact(signer, {"to": contract.address, "data": data}, gas)
            return _sent(receipt, tuple(self._decode_logs(contract, receipt["logs"])))

    def deploy(self, signer: Signer, artifact: Artifact, *args: Any) -> Deployed:
        """Create a contract."""
        self._errors.add_abi(artifact.abi)
        with self._foreign(artifact.name, "constructor"):
            factory = self._eth.contract(abi=artifact.abi, bytecode=artifact.bytecode)
            receipt = self._transact(signer, {"data": factory.constructor(*args).data_in_transaction}, None)
            contract = Contract(to_address(receipt["contractAddress"]), artifact)
            sent = _sent(receipt, ())
        code_hash = keccak256(self.code(contract.address))
        return Deployed(contract, code_hash, sent.tx_hash, sent.gas_used, sent.block)

    def transfer_native(self, signer: Signer, to: str, amount: int) -> Sent:
        """Send gas money, in wei."""
        with self._foreign("account", "transfer"):
            return _sent(self._transact(signer, {"to": to_address(to), "value": amount}, None), ())

    def gas_used(self, tx_hash: bytes) -> int:
        """What a mined transaction took. Raises: UnexpectedAnswer for one that is in no block."""
        with self._foreign("transaction", tx_hash.hex()):
            return int(self._eth.get_transaction_receipt(HexBytes(tx_hash))["gasUsed"])

    def events(self, contract: Contract, name: str, from_block: int, **indexed: Any) -> list[Event]:
        """Read events up to the head in bounded ranges of blocks, in the chain's order.

        A log that cannot be decoded is left out: whoever made a contract emit it must not hide the others' logs.
        """
        last = self.head().number
        with self._foreign(contract.name, name):
            found: list[Event] = []
            for first in range(from_block, last + 1, LOG_RANGE_BLOCKS):
                until = min(first + LOG_RANGE_BLOCKS - 1, last)
                topics = event_topics(contract.artifact, name, indexed)
                query = {"address": contract.address, "topics": topics, "fromBlock": first, "toBlock": until}
                found += self._decode_logs(contract, self._eth.get_logs(query))
            return sorted(found, key=lambda event: (event.block, event.log_index))

    def _transact(self, signer: Signer, wanted: Mapping[str, Any], gas: int | None) -> Mapping[str, Any]:
        """Send one EIP-1559 transaction and return its receipt. Raises: Reverted, TransactionLost."""
        simulated = {"from": signer.address, "value": 0, **wanted}
        limit = gas if gas is not None else int(self._eth.estimate_gas(simulated)) * GAS_MARGIN_PERCENT // 100
        tip = int(self._eth.max_priority_fee)
        most = 2 * int(self._eth.get_block("latest")["baseFeePerGas"]) + tip
        fees = {"gas": limit, "maxFeePerGas": most, "maxPriorityFeePerGas": tip, "chainId": self.chain_id, "type": 2}
        with _nonce_locks.setdefault((self.url, signer.address), threading.Lock()):
            raw = signer.sign_transaction({"value": 0, **wanted, **fees, "nonce": self.nonce(signer.address)})
            self._broadcast(raw)
        receipt = self._await_receipt(keccak256(raw))
        if receipt["status"] != 1:
            self._explain_failure(simulated, limit, receipt)
        return receipt

    def _broadcast(self, raw: bytes) -> None:
        # When the connection breaks here, the transaction may have arrived; only its receipt can tell. The same holds
        # for an answer that is not one.
        with suppress(ChainUnavailable, UnexpectedAnswer):
            self._eth.send_raw_transaction(raw)

    def _await_receipt(self, tx_hash: bytes) -> Mapping[str, Any]:
        deadline, pause, reason = time.monotonic() + self._receipt_timeout_s, _FIRST_POLL_S, ""
        while True:
            try:
                receipt: Mapping[str, Any] = self._eth.get_transaction_receipt(tx_hash)
                return receipt
            except TransactionNotFound:
                reason = "no block contains it"
            except ChainUnavailable as error:
                reason = error.reason
            if time.monotonic() + pause > deadline:
                raise TransactionLost(tx_hash, self._receipt_timeout_s, reason)
            time.sleep(pause)
            pause = min(2 * pause, _LAST_POLL_S)

    def _explain_failure(self, simulated: Mapping[str, Any], limit: int, receipt: Mapping[str, Any]) -> NoReturn:
        """Ask again, on the state before the block, why a transaction failed. Raises: Reverted, always."""
        if int(receipt["gasUsed"]) >= limit:
            raise Reverted("OutOfGas", (limit,))
        self._eth.call({**simulated, "gas": limit}, int(receipt["blockNumber"]) - 1)
        raise Reverted("NoReason")  # the same call succeeds on its own: another transaction of that block was first

    def _bind(self, contract: Contract) -> Any:
        key = (contract.address, contract.name)
        if key not in self._bound:
            self._errors.add_abi(contract.artifact.abi)
            self._bound[key] = self._eth.contract(address=contract.address, abi=list(contract.artifact.abi))
        return self._bound[key]

    def _decode_logs(self, contract: Contract, logs: Sequence[Mapping[str, Any]]) -> Iterator[Event]:
        names = event_names(contract.artifact)
        for log in logs:
            name = names.get(bytes(log["topics"][0])) if log["topics"] else None
            if name is None or log["address"] != contract.address:
                continue
            try:
                args = self._bind(contract).events[name]().process_log(log)["args"]
            except (Web3Exception, DecodingError, ValueError):
                continue
            place = int(log["blockNumber"]), int(log["logIndex"])
            yield Event(contract.address, name, plain(args), *place, bytes(log["transactionHash"]))

    @contextmanager
    def _foreign(self, part: str = "", fn: str = "") -> Iterator[None]:
        """Name the call in a Reverted, and turn what web3 and eth-abi object to into an UnexpectedAnswer."""
        during = f"{part}.{fn}" if part else ""
        try:
            yield
        except Reverted as error:
            raise Reverted(error.name, error.arguments, during=during) from None
        except (Web3Exception, DecodingError, ValueError, TypeError, KeyError) as error:
            raise UnexpectedAnswer(
                self._shown, f"{during or 'request'}: {type(error).__name__}: {error}"[:500]
            ) from error


def wait_until_up(url: str, deadline_s: float, timeout_s: float = 2.0) -> int:
    """Wait until a chain answers and return its id. Raises: ChainUnavailable after `deadline_s` seconds."""
    provider, deadline, pause = _Provider(url, timeout_s, ErrorTable()), time.monotonic() + deadline_s, _FIRST_POLL_S
    while True:
        try:
            return int(provider.ask_once(RPCEndpoint("eth_chainId"), [])["result"], 16)
        except ChainUnavailable:
            if time.monotonic() + pause > deadline:
                raise
        time.sleep(pause)
        pause = min(2 * pause, _LAST_POLL_S)


@contextmanager
def _fitting(contract: Contract, fn: str) -> Iterator[None]:
    """Around the encoding of arguments, where whatever goes wrong is the caller's mistake."""
    try:
        yield
    except (Web3Exception, EncodingError, AttributeError, TypeError, ValueError) as error:
        raise CallMismatch(f"{contract.name}.{fn}", " ".join(str(error).split())[:500]) from error


def _whole(value: object) -> int:
    if type(value) is not int:
        raise ValueError(f"{value!r} is not a whole number")
    return value


def _sent(receipt: Mapping[str, Any], logs: tuple[Event, ...]) -> Sent:
    return Sent(bytes(receipt["transactionHash"]), int(receipt["gasUsed"]), int(receipt["blockNumber"]), logs)
