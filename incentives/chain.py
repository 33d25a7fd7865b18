"""The chain client: the one place that knows web3.py, and the one place where its errors become ours.

The provider judges JSON-RPC answers before web3 interprets them: an error never reaches web3's own guesses, nor the
requests it would make to URLs that a contract names. What web3 still objects to is an unusable answer.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import requests
from eth_abi.exceptions import DecodingError, EncodingError
from hexbytes import HexBytes
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, stop_after_delay, wait_exponential
from web3 import HTTPProvider, Web3
from web3.exceptions import TransactionNotFound, Web3Exception
from web3.types import RPCEndpoint, RPCResponse

from incentives.abi import decode_log, event_topics, plain
from incentives.artifacts import Artifact
from incentives.chain_types import Block, Chain, Contract, Deployed, Event, Sent
from incentives.errors import (
    CallMismatch,
    ChainUnavailable,
    Reverted,
    UnexpectedAnswer,
    WrongChain,
)
from incentives.rpc_errors import ErrorTable, shown_url, translate_rpc_error
from incentives.sending import FIRST_POLL_S, LAST_POLL_S, Sender
from incentives.signing import Signer
from sharding.hashing import keccak256
from verification.addresses import to_address

__all__ = ["Block", "Chain", "Contract", "Deployed", "Event", "Sent", "Web3Chain", "wait_until_up"]

REQUEST_TIMEOUT_S = 10.0
RECEIPT_TIMEOUT_S = 60.0
READ_ATTEMPTS = 3
LOG_RANGE_BLOCKS = 5_000
_WRITES = frozenset({"eth_sendRawTransaction"})


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
        self._shown = shown_url(url)
        self._errors = ErrorTable()
        # No middleware, no ENS: values go out as they are given and come back as plain data.
        self._web3 = Web3(_Provider(url, timeout_s, self._errors), middleware=[], ens=None)
        self._eth: Any = self._web3.eth
        self._bound: dict[tuple[str, str], Any] = {}
        with self._foreign():
            self.chain_id = _whole(self._eth.chain_id)
        if expected_chain_id is not None and self.chain_id != expected_chain_id:
            raise WrongChain(self._shown, expected_chain_id, self.chain_id)
        self._sender = Sender(self._eth, url, self.chain_id, self._find_receipt, receipt_timeout_s)

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
            with _fitting(contract.name, fn):
                function = self._bind(contract).functions[fn](*args)
            return plain(function.call(block_identifier="latest" if block is None else block))

    def send(self, signer: Signer, contract: Contract, fn: str, *args: Any, gas: int | None = None) -> Sent:
        """Sign, send and wait for the block. `gas` skips the estimate, and with it the simulation."""
        with self._foreign(contract.name, fn):
            with _fitting(contract.name, fn):
                data = self._bind(contract).encode_abi(fn, args)
            receipt = self._sender.transact(signer, {"to": contract.address, "data": data}, gas)
            return _sent(receipt, _decode_logs(contract, receipt["logs"]))

    def deploy(self, signer: Signer, artifact: Artifact, *args: Any) -> Deployed:
        """Create a contract."""
        self._errors.add_abi(artifact.abi)
        with self._foreign(artifact.name, "constructor"):
            with _fitting(artifact.name, "constructor"):
                factory = self._eth.contract(abi=artifact.abi, bytecode=artifact.bytecode)
                data = factory.constructor(*args).data_in_transaction
            receipt = self._sender.transact(signer, {"data": data})
            contract = Contract(to_address(receipt["contractAddress"]), artifact)
            sent = _sent(receipt, ())
        code_hash = keccak256(self.code(contract.address))
        return Deployed(contract, code_hash, sent.tx_hash, sent.gas_used, sent.block)

    def transfer_native(self, signer: Signer, to: str, amount: int) -> Sent:
        """Send gas money, in wei."""
        with self._foreign("account", "transfer"):
            return _sent(self._sender.transact(signer, {"to": to_address(to), "value": amount}), ())

    def gas_used(self, tx_hash: bytes) -> int:
        """What a mined transaction took. Raises: UnexpectedAnswer for one that is in no block."""
        with self._foreign("transaction", tx_hash.hex()):
            return int(self._eth.get_transaction_receipt(HexBytes(tx_hash))["gasUsed"])

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
            raise Reverted(error.name, error.arguments, during=during) from None
        except (Web3Exception, DecodingError, ValueError, TypeError, KeyError) as error:
            raise UnexpectedAnswer(
                self._shown, f"{during or 'request'}: {type(error).__name__}: {error}"[:500]
            ) from error


def wait_until_up(url: str, deadline_s: float, timeout_s: float = 2.0) -> int:
    """Wait until a chain answers and return its id. Raises: ChainUnavailable after `deadline_s` seconds."""
    provider, deadline, pause = _Provider(url, timeout_s, ErrorTable()), time.monotonic() + deadline_s, FIRST_POLL_S
    while True:
        try:
            return _chain_id(url, provider.ask_once(RPCEndpoint("eth_chainId"), [])["result"])
        except ChainUnavailable:
            if time.monotonic() + pause > deadline:
                raise
        time.sleep(pause)
        pause = min(2 * pause, LAST_POLL_S)


def _chain_id(url: str, result: object) -> int:
    try:
        return int(str(result), 16)
    except ValueError as error:
        raise UnexpectedAnswer(shown_url(url), f"the chain id is {result!r}"[:100]) from error


@contextmanager
def _fitting(part: str, fn: str) -> Iterator[None]:
    """Around the encoding of arguments, where whatever goes wrong is the caller's mistake."""
    try:
        yield
    except (Web3Exception, EncodingError, AttributeError, TypeError, ValueError) as error:
        raise CallMismatch(f"{part}.{fn}", " ".join(str(error).split())[:500]) from error


def _whole(value: object) -> int:
    if type(value) is not int:
        raise ValueError(f"{value!r} is not a whole number")
    return value


def _decode_logs(contract: Contract, logs: Sequence[Mapping[str, Any]]) -> tuple[Event, ...]:
    decoded = (decode_log(contract.artifact, log) for log in logs if log["address"] == contract.address)
    return tuple(event for event in decoded if event is not None)


def _sent(receipt: Mapping[str, Any], logs: tuple[Event, ...]) -> Sent:
    return Sent(bytes(receipt["transactionHash"]), int(receipt["gasUsed"]), int(receipt["blockNumber"]), logs)
