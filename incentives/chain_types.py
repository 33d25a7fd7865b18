"""What a chain client speaks: contracts, blocks, results of transactions, events; and the interface of a client."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, Self

from incentives.artifacts import Artifact, load_artifact
from incentives.signing import Signer
from verification.addresses import Address, to_address


@dataclass(frozen=True, slots=True)
class Contract:
    """A deployed program: where it is and how to speak to it."""

    address: Address
    artifact: Artifact

    @property
    def name(self) -> str:
        """The contract's name in its source."""
        return self.artifact.name

    @classmethod
    def at(cls, name: str, address: str) -> Self:
        """One of the suite's contracts at an address. Raises: MalformedAddress."""
        return cls(to_address(address), load_artifact(name))


@dataclass(frozen=True, slots=True)
class Block:
    """A block's place in the chain; `timestamp` in seconds since 1970."""

    number: int
    timestamp: int
    hash: bytes


@dataclass(frozen=True, slots=True)
class Event:
    """One log entry of a contract, decoded."""

    contract: Address
    name: str
    args: Mapping[str, Any]
    block: int
    log_index: int
    tx_hash: bytes


@dataclass(frozen=True, slots=True)
class Sent:
    """A transaction that is in a block and succeeded."""

    tx_hash: bytes
    gas_used: int
    block: int
    logs: tuple[Event, ...] = ()
    """The events of the contract that was called; not those of contracts it called in turn."""


@dataclass(frozen=True, slots=True)
class Called:
    """What a transaction asked of a contract: the function's name, and its arguments by theirs."""

    fn: str
    args: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Deployed:
    """A new contract."""

    contract: Contract
    code_hash: bytes
    """keccak256 of the code that runs at the address."""
    tx_hash: bytes
    gas_used: int
    block: int

    @property
    def address(self) -> Address:
        """Where the contract is."""
        return self.contract.address


class CodeReader(Protocol):
    """Where contracts can be compared with what is recorded of them: a chain, or one endpoint of it."""

    @property
    def url(self) -> str: ...

    @property
    def chain_id(self) -> int: ...

    def code(self, address: str) -> bytes:
        """The program at an address; empty for a plain account."""
        ...


class Chain(Protocol):
    """A chain to read and write. Every method raises leaves of ChainError and nothing of the libraries beneath."""

    url: str
    chain_id: int

    def head(self) -> Block:
        """The newest block."""
        ...

    def native_balance(self, address: str) -> int:
        """Gas money of an account, in wei."""
        ...

    def nonce(self, address: str) -> int:
        """The number of the account's next transaction."""
        ...

    def code(self, address: str) -> bytes:
        """The program at an address; empty for a plain account."""
        ...

    def call(self, contract: Contract, fn: str, *args: Any, block: int | None = None) -> Any:
        """Ask a view. One output comes as a value, several as a list. Raises: Reverted."""
        ...

    def send(
        self, signer: Signer, contract: Contract, fn: str, *args: Any, gas: int | None = None, key: str | None = None
    ) -> Sent:
        """Sign, send and wait. The same `key` again is the same transaction, where the account has a recorded sender.

        Raises: Reverted, TransactionRefused, TransactionLost, CallMismatch for a key without such a sender.
        """
        ...

    def gas_used(self, tx_hash: bytes) -> int:
        """What a mined transaction took. Raises: UnexpectedAnswer for one that is in no block."""
        ...

    def called(self, contract: Contract, tx_hash: bytes) -> Called:
        """What a transaction asked of the contract. Raises: UnexpectedAnswer for one that is not there, or asked another one."""
        ...

    def deploy(self, signer: Signer, artifact: Artifact, *args: Any) -> Deployed:
        """Create a contract with constructor arguments. Raises: as send."""
        ...

    def transfer_native(self, signer: Signer, to: str, amount: int) -> Sent:
        """Send gas money, in wei. Raises: as send."""
        ...

    def events(self, contract: Contract, name: str, from_block: int, **indexed: Any) -> list[Event]:
        """Read all events of one name from a block up to the head, in order; `indexed` arguments filter by value."""
        ...

    def all_events(self, contract: Contract, from_block: int) -> list[Event]:
        """Read the events of every name from a block up to the head, in order."""
        ...
