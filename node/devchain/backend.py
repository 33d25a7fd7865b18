"""The embedded chain: eth-tester's py-evm backend, with its own block list so that look-ups never scan.

py-evm runs the EVM and keeps the state; blocks, receipts, the queue and the snapshots are lists and dictionaries here.
One transaction makes one block at once, as anvil does. Not thread-safe: one thread owns a chain.
"""

import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import rlp  # type: ignore[import-untyped]
from eth.abc import ReceiptAPI, SignedTransactionAPI, StateAPI
from eth.db.trie import make_trie_root_and_nodes
from eth_tester.backends.pyevm.main import (  # type: ignore[import-untyped]
    PyEVMBackend,
    get_default_genesis_params,
)
from eth_typing import Address

from node.devchain import RECURSION_LIMIT
from node.devchain.chain_errors import NotTheLocalChain
from node.devchain.clock import Clock
from node.devchain.constants import ACCOUNTS, BALANCE_WEI, BLOCK_GAS_LIMIT, CHAIN_ID, MNEMONIC
from node.devchain.errors import InvalidParams
from node.devchain.params import BlockRef

sys.setrecursionlimit(RECURSION_LIMIT)
EVM_RECURSION_LIMIT = 15_000
"""30 million gas allow some 530 nested calls of about ten Python frames each."""


@contextmanager
def deep_recursion() -> Iterator[None]:
    """Lets py-evm nest as deep as the block's gas allows."""
    sys.setrecursionlimit(EVM_RECURSION_LIMIT)
    try:
        yield
    finally:
        sys.setrecursionlimit(RECURSION_LIMIT)


class _Backend(PyEVMBackend):  # type: ignore[misc]  # eth-tester carries no types
    """eth-tester fixes its own chain id in a class made on the fly; the chain is rebuilt on a subclass with ours."""

    chain: Any

    def reset_to_genesis(self, *args: Any, **kwargs: Any) -> None:
        super().reset_to_genesis(*args, **kwargs)
        local = type("LocalChain", (type(self.chain),), {"chain_id": CHAIN_ID})
        self.chain = local(self.chain.chaindb.db)


Header = Any
"""A py-evm block header. Its declared type lacks the fields of the later forks and has others as optional."""


@dataclass(frozen=True, slots=True)
class Mined:
    """A block of at most one transaction."""

    header: Header
    hash: bytes
    transaction: SignedTransactionAPI | None = None
    receipt: ReceiptAPI | None = None

    @property
    def number(self) -> int:
        return int(self.header.block_number)


@dataclass(frozen=True, slots=True)
class _Snapshot:
    height: int
    clock: Clock
    queue: dict[tuple[Address, int], SignedTransactionAPI]


class EmbeddedChain:
    """State, blocks and time of one chain. Wei, seconds since the epoch, raw bytes for hashes and addresses."""

    def __init__(self) -> None:
        params = get_default_genesis_params({"gas_limit": BLOCK_GAS_LIMIT})
        backend = _Backend.from_mnemonic(
            MNEMONIC,
            genesis_state_overrides={"balance": BALANCE_WEI},
            num_accounts=ACCOUNTS,
            genesis_parameters=params,
            hd_path="m/44'/60'/0'/0",
        )
        self.accounts: tuple[bytes, ...] = backend.get_accounts()
        self.clock = Clock()
        self.queue: dict[tuple[Address, int], SignedTransactionAPI] = {}
        self._chain = backend.chain
        genesis = self._chain.get_canonical_head()
        self._blocks = [Mined(genesis, genesis.hash)]
        self._by_hash = {genesis.hash: 0}
        self._places: dict[bytes, int] = {}
        self._snapshots: dict[int, _Snapshot] = {}
        self._next_snapshot = 0
        self._check_chain_id()

    def _check_chain_id(self) -> None:
        found = self.vm(self._blocks[0].header).chain_context.chain_id
        if found != CHAIN_ID:
            raise NotTheLocalChain("the embedded chain", CHAIN_ID, found)

    @property
    def head(self) -> Mined:
        return self._blocks[-1]

    def blocks(self, first: int, last: int) -> Iterator[Mined]:
        """The blocks first..last inclusive that exist."""
        return iter(self._blocks[first : last + 1])

    def find(self, ref: BlockRef) -> Mined | None:
        """The block, or None where there is none; "pending" is the head, since nothing waits unmined."""
        if isinstance(ref, bytes):
            number = self._by_hash.get(ref)
            return None if number is None else self._blocks[number]
        if isinstance(ref, str):
            return self._blocks[0] if ref == "earliest" else self.head
        return self._blocks[ref] if ref < len(self._blocks) else None

    def at(self, ref: BlockRef) -> Mined:
        """The block; InvalidParams where there is none."""
        found = self.find(ref)
        if found is None:
            name = "0x" + ref.hex() if isinstance(ref, bytes) else str(ref)
            raise InvalidParams(f"block {name} does not exist; the chain's height is {self.head.number}")
        return found

    def place(self, transaction_hash: bytes) -> Mined | None:
        """The block that holds a transaction."""
        number = self._places.get(transaction_hash)
        return None if number is None else self._blocks[number]

    def next_header(self, timestamp: int | None = None) -> Header:
        """The header of the block to come, before its transaction."""
        parent = self.head.header
        return self._chain.create_header_from_parent(
            parent,
            timestamp=self.clock.next(parent.timestamp) if timestamp is None else timestamp,
            mix_hash=secrets.token_bytes(32),
        )

    def vm(self, header: Header) -> Any:
        """An EVM with the state after `header`."""
        return self._chain.get_vm(header)

    def state(self, ref: BlockRef) -> StateAPI:
        """The state after a block."""
        state: StateAPI = self.vm(self.at(ref).header).state
        return state

    def mine(self, transaction: SignedTransactionAPI | None = None) -> Mined:
        """Makes one block. ValidationError of py-evm, and no block, where the transaction is not admissible."""
        parent = self.head.header
        header = self.next_header(self.clock.next(parent.timestamp))
        mined = self._empty(header) if transaction is None else self._with(header, transaction)
        self.clock.take(parent.timestamp)
        self._append(mined)
        return mined

    def _empty(self, header: Header) -> Mined:
        return Mined(header, header.hash)

    def _with(self, header: Header, transaction: SignedTransactionAPI) -> Mined:
        vm = self.vm(header)
        with deep_recursion():
            receipt, _ = vm.apply_transaction(header, transaction)
        vm.state.persist()
        full = vm.add_receipt_to_header(header, receipt).copy(
            state_root=vm.state.state_root,
            transaction_root=make_trie_root_and_nodes((transaction,))[0],
            receipt_root=make_trie_root_and_nodes((receipt,))[0],
        )
        return Mined(full, full.hash, transaction, receipt)

    def _append(self, mined: Mined) -> None:
        self._chain.chaindb.db.set(mined.hash, rlp.encode(mined.header))  # BLOCKHASH walks these
        self._by_hash[mined.hash] = len(self._blocks)
        if mined.transaction is not None:
            self._places[mined.transaction.hash] = len(self._blocks)
        self._blocks.append(mined)

    def snapshot(self) -> int:
        """Remembers blocks, queue and time; returns the number to go back by."""
        number = self._next_snapshot
        self._next_snapshot += 1
        self._snapshots[number] = _Snapshot(len(self._blocks), self.clock.copy(), dict(self.queue))
        return number

    def revert(self, number: int) -> bool:
        """Goes back, once; this snapshot and the later ones are gone after. False where there is none such."""
        found = self._snapshots.get(number)
        if found is None:
            return False
        for mined in self._blocks[found.height :]:
            del self._by_hash[mined.hash]
            if mined.transaction is not None:
                del self._places[mined.transaction.hash]
        del self._blocks[found.height :]
        self._snapshots = {key: kept for key, kept in self._snapshots.items() if key < number}
        self.clock, self.queue = found.clock.copy(), dict(found.queue)
        return True
