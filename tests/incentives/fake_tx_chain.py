"""A chain in memory with a pool of waiting transactions, for one account whose signatures are plain JSON."""

import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from incentives.errors import ChainUnavailable, Reverted, TransactionRefused
from incentives.tx_chain import Offered
from incentives.tx_fees import Market
from incentives.tx_states import Inclusion, Wanted
from sharding.hashing import keccak256
from verification.addresses import Address, to_address

ACCOUNT = to_address(b"\5" * 20)
SOMEBODY = to_address(b"\6" * 20)


class PlainSigner:
    """Signs by writing down; the same transaction gives the same bytes, as RFC 6979 does."""

    address = ACCOUNT

    def sign_digest(self, digest: bytes) -> bytes:
        """Nobody asks for it here."""
        raise NotImplementedError

    def sign_transaction(self, transaction: Mapping[str, Any]) -> bytes:
        """All its fields."""
        return json.dumps(transaction, sort_keys=True).encode()


@dataclass(frozen=True, slots=True)
class Waiting:
    """A transaction as the chain knows it."""

    raw: bytes

    @property
    def fields(self) -> dict[str, Any]:
        parsed: dict[str, Any] = json.loads(self.raw)
        return parsed

    @property
    def nonce(self) -> int:
        return int(self.fields["nonce"])

    @property
    def tx_hash(self) -> bytes:
        return keccak256(self.raw)


class FakeTxChain:
    """A TxChain. Blocks are mined when `mine` is called; faults are attributes."""

    chain_id = 31337

    def __init__(self, seed: int = 0) -> None:
        self.random = random.Random(seed)
        self.blocks: list[tuple[Waiting, ...]] = [()]
        self.salts = [0]
        self.pool: dict[int, Waiting] = {}
        self.prices = Market(base_fee=100, tip=10)
        self.before_offer: Callable[[], None] = lambda: None
        self.after_offer: Callable[[], None] = lambda: None
        self.refusal: TransactionRefused | None = None
        self.down = False
        self.silence = 0.0
        """How likely an offer is not answered; half of those arrive."""
        self.reverts: set[bytes] = set()
        """Data that reverts when it is mined, and not in the estimate."""
        self.forgets = False
        """Whether receipts are gone."""
        self.offered: list[bytes] = []

    def mined(self) -> list[Waiting]:
        """Everything in the chain."""
        return [one for block in self.blocks for one in block]

    def mine(self, count: int = 1) -> None:
        """Add blocks with what waits, in the order of the numbers."""
        for _ in range(count):
            taken, number = list[Waiting](), len(self.mined())
            while number in self.pool and self.pool[number].fields["maxFeePerGas"] >= self.prices.base_fee:
                taken.append(self.pool.pop(number))
                number += 1
            self.blocks.append(tuple(taken))
            self.salts.append(self.random.getrandbits(32))

    def reorganise(self, depth: int, keep: bool = True) -> None:
        """Drop the newest blocks; what they held waits again, or is forgotten."""
        for _ in range(min(depth, len(self.blocks) - 1)):
            self.salts.pop()
            for one in self.blocks.pop():
                if keep:
                    self.pool.setdefault(one.nonce, one)

    def foreign(self, nonce: int | None = None, price: int = 10**6) -> None:
        """Another program with the same key sends something."""
        number = self.next_number(ACCOUNT) if nonce is None else nonce
        salt = self.random.getrandbits(64)
        raw = json.dumps({"nonce": number, "foreign": salt, "data": "0x", "maxFeePerGas": price}).encode()
        self.pool[number] = Waiting(raw)

    def next_number(self, account: Address) -> int:
        self._answer()
        number = len(self.mined())
        while number in self.pool:
            number += 1
        return number

    def spent_numbers(self, account: Address, confirmations: int) -> int:
        self._answer()
        blocks = self.blocks[: max(1, len(self.blocks) - confirmations)]
        return sum(map(len, blocks))

    def estimate(self, account: Address, wanted: Wanted) -> int:
        self._answer()
        if wanted.data == b"revert":
            raise Reverted("Odd")
        return 21_000

    def market(self) -> Market:
        self._answer()
        return self.prices

    def offer(self, raw: bytes, *, everywhere: bool = False) -> Offered:
        self.before_offer()
        if self.refusal is not None:
            raise self.refusal
        silent = self.random.random() < self.silence
        if self.down or (silent and self.random.random() < 0.5):
            return Offered.UNKNOWN
        result = self._take(Waiting(raw))
        self.offered.append(raw)
        self.after_offer()
        return Offered.UNKNOWN if silent else result

    def _take(self, one: Waiting) -> Offered:
        if one.nonce < len(self.mined()):
            return Offered.TAKEN if one in self.mined() else Offered.SPENT
        there = self.pool.get(one.nonce)
        if there is not None and there != one:
            before, now = (each.fields["maxFeePerGas"] for each in (there, one))
            if now * 10 < before * 11:
                return Offered.CONTESTED
        self.pool[one.nonce] = one
        return Offered.TAKEN

    def find(self, hashes: Sequence[bytes]) -> Inclusion | None:
        self._answer()
        for number, block in enumerate(self.blocks):
            for one in block:
                if one.tx_hash in hashes and not self.forgets:
                    block_hash = keccak256(repr((number, self.salts[number])).encode())
                    success = bytes.fromhex(one.fields["data"][2:]) not in self.reverts
                    return Inclusion(one.tx_hash, number, block_hash, success)
        return None

    def height(self) -> int:
        self._answer()
        return len(self.blocks) - 1

    def _answer(self) -> None:
        if self.down:
            raise ChainUnavailable("http://fake", "down")
