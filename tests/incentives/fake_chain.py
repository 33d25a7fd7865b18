"""A chain in memory that rewrites itself when it is told to, behind the JSON-RPC questions of a follower."""

import random
from dataclasses import dataclass
from typing import Any

from eth_abi.abi import encode

from incentives.artifacts import load_artifact
from incentives.chain_types import Contract
from incentives.errors import ChainUnavailable, TransactionRefused
from sharding.hashing import keccak256
from verification.addresses import to_address

TOKEN = Contract(to_address(b"\7" * 20), load_artifact("Token"))
_TRANSFER = keccak256(b"Transfer(address,address,uint256)")
START_TIME = 1_700_000_000


@dataclass(frozen=True, slots=True)
class FakeBlock:
    """A block whose transfers are numbers."""

    number: int
    salt: int
    parent: bytes
    transfers: tuple[int, ...]

    @property
    def hash(self) -> bytes:
        return keccak256(repr((self.number, self.salt, self.parent, self.transfers)).encode())

    @property
    def header(self) -> dict[str, Any]:
        return {
            "number": hex(self.number),
            "timestamp": hex(START_TIME + self.number),
            "hash": "0x" + self.hash.hex(),
            "parentHash": "0x" + self.parent.hex(),
        }

    @property
    def logs(self) -> list[dict[str, Any]]:
        return [self._log(index, value) for index, value in enumerate(self.transfers)]

    def _log(self, index: int, value: int) -> dict[str, Any]:
        return {
            "address": TOKEN.address.lower(),
            "topics": ["0x" + word.hex() for word in (_TRANSFER, b"\1".rjust(32, b"\0"), b"\2".rjust(32, b"\0"))],
            "data": "0x" + encode(["uint256"], [value]).hex(),
            "blockNumber": hex(self.number),
            "blockHash": "0x" + self.hash.hex(),
            "logIndex": hex(index),
            "transactionHash": "0x" + keccak256(repr((self.hash, index)).encode()).hex(),
            "removed": False,
        }


class FakeChain:
    """Blocks with random transfers. As an Rpc it answers a follower's questions, and may move between two of them."""

    shown = "http://fake"

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.blocks = [FakeBlock(0, 0, bytes(32), ())]
        self.restless = 0.0
        """How likely the chain moves before an answer."""
        self.most_undone = 5
        self.silent = 0.0
        self.asked: list[str] = []

    def grow(self, count: int = 1) -> None:
        """Add blocks, some with transfers."""
        for _ in range(count):
            parent, transfers = self.blocks[-1], self.random.choice([(), (), (1,), (2, 3), (5, 7, 11)])
            salt = self.random.getrandbits(32)
            self.blocks.append(FakeBlock(parent.number + 1, salt, parent.hash, transfers))

    def reorganise(self, depth: int, count: int) -> None:
        """Drop the newest blocks and add others."""
        kept = max(1, len(self.blocks) - depth)
        del self.blocks[kept:]
        self.grow(count)

    def move(self) -> None:
        """Grow, or rewrite a few blocks."""
        if self.random.random() < 0.5:
            self.grow(self.random.randint(1, 3))
        else:
            depth = self.random.randint(1, self.most_undone)
            self.reorganise(depth, self.random.randint(0, depth + 2))

    def transfers(self) -> list[int]:
        """A naive reading of the whole chain."""
        return [value for block in self.blocks for value in block.transfers]

    def ask(self, method: str, params: list[Any]) -> Any:
        """As Rpc.ask."""
        self.asked.append(method)
        if self.random.random() < self.silent:
            raise ChainUnavailable(self.shown, "silent")
        if self.random.random() < self.restless:
            self.move()
        return getattr(self, method)(*params)

    def eth_chainId(self) -> str:  # noqa: N802 - the standard's name, as below
        return "0x7a69"

    def eth_getBlockByNumber(self, which: str, full: bool) -> dict[str, Any] | None:  # noqa: N802
        number = len(self.blocks) - 1 if which == "latest" else int(which, 16)
        return self.blocks[number].header if number < len(self.blocks) else None

    def eth_getBlockByHash(self, wanted: str, full: bool) -> dict[str, Any] | None:  # noqa: N802
        return next((block.header for block in self.blocks if block.header["hash"] == wanted), None)

    def eth_getLogs(self, query: dict[str, Any]) -> list[dict[str, Any]]:  # noqa: N802
        if query["address"] != [TOKEN.address]:
            raise TransactionRefused(-32000, "another contract")
        if "blockHash" in query:
            return [log for block in self.blocks if block.header["hash"] == query["blockHash"] for log in block.logs]
        first, last = int(query["fromBlock"], 16), int(query["toBlock"], 16)
        return [log for block in self.blocks[first : last + 1] for log in block.logs]
