"""Reads the logs of contracts block by block along parent links, and undoes what a re-org took back.

Far behind the head, where nothing is rewritten any more, logs are read in ranges; the last `depth` blocks are read one
by one, their logs by block hash. Each step is one transaction of the store, so a crash between two loses nothing and
repeats nothing.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from incentives.abi import decode_log
from incentives.chain_types import Block, Contract, Event
from incentives.client_errors import ReorgTooDeep, StaleChain
from incentives.endpoints import BoundEndpoint, EndpointPool
from incentives.errors import TransactionRefused, UnexpectedAnswer
from incentives.follower_store import FollowerStore, Journal
from incentives.rpc_values import HASH_BYTES, data, fields, quantity
from verification.addresses import to_address
from verification.errors import MalformedAddress

RANGE_BLOCKS = 2_000
MAX_BLOCKS = 500
"""How many single blocks one call reads at most."""


class Deriver(Protocol):
    """What is made of events. A pure function of its arguments: a block may be undone and applied again."""

    def __call__(self, block: Block, events: Sequence[Event], state: Journal) -> None:
        """Apply the events of one block, in their order; called for blocks that have some."""
        ...


@dataclass(frozen=True, slots=True)
class Progress:
    """What one call of `advance` did."""

    cursor: Block | None
    undone: int
    """Blocks that the chain took back."""
    at_head: bool
    """Whether everything that the endpoint has is read."""


@dataclass(frozen=True, slots=True)
class _Linked:
    block: Block
    parent: bytes


class LogFollower:
    """Follows some contracts from a block on. One thread at a time."""

    def __init__(
        self, pool: EndpointPool, store: FollowerStore, contracts: Sequence[Contract], start: int, derive: Deriver
    ) -> None:
        self._pool, self._store, self._start, self._derive = pool, store, start, derive
        self._artifacts = {contract.address: contract.artifact for contract in contracts}

    def advance(self, max_blocks: int = MAX_BLOCKS) -> Progress:
        """Undo what is no longer in the chain, then read on, up to the head or for `max_blocks`.

        All of it is asked of one endpoint. Raises: ReorgTooDeep after dropping everything, StaleChain for an endpoint
        that has less than was read and undone can be, and as EndpointPool.ask.
        """
        chain = self._pool.bound()
        try:
            return self._advance(chain, max_blocks)
        except (UnexpectedAnswer, StaleChain):
            chain.endpoint.fail()  # the next call asks another one
            raise

    def _advance(self, chain: BoundEndpoint, max_blocks: int) -> Progress:
        head = self._head(chain)
        if head.number < self._start:
            return self._before_the_start(chain, head)
        undone = self._undo(chain, head)
        at_head = self._catch_up(chain, head) or self._walk(chain, max_blocks)
        return Progress(self._store.newest(), undone, at_head)

    def _before_the_start(self, chain: BoundEndpoint, head: Block) -> Progress:
        if self._store.newest() is not None:
            raise StaleChain(chain.url, f"its newest block {head.number} is before {self._start}, where reading began")
        return Progress(None, 0, True)

    def _undo(self, chain: BoundEndpoint, head: Block) -> int:
        """Go back to the newest block that the chain still has; give the number of blocks undone."""
        newest = kept = self._store.newest()
        if newest is None or newest.hash == head.hash:
            return 0
        while kept is not None and self._hash_at(chain, kept.number) != kept.hash:
            kept = self._store.before(kept.number)
        if kept is None:
            self._check_deep(chain, head, newest)
            return newest.number - self._start + 1
        if kept.number < newest.number:
            self._store.undo_after(kept.number)
        return newest.number - kept.number

    def _check_deep(self, chain: BoundEndpoint, head: Block, newest: Block) -> None:
        """No block kept is in the chain any more: begin anew, unless the endpoint only lags."""
        oldest = self._store.oldest()
        if oldest is not None and oldest.number == self._start:
            self._store.wipe()  # even the first block is another one; all of it was still undoable
            return
        lags = oldest is not None and head.number < oldest.number
        if lags and self._hash_at(chain, self._start) == self._store.anchor():
            raise StaleChain(chain.url, f"it has {head.number} blocks, {newest.number} were read before")
        self._store.wipe()
        raise ReorgTooDeep(newest.number, self._store.depth)

    def _catch_up(self, chain: BoundEndpoint, head: Block) -> bool:
        """Read ranges while the head is far. Always gives False: the last blocks remain to be read one by one."""
        size = RANGE_BLOCKS
        while (first := self._next()) + 2 * self._store.depth < head.number:
            try:
                self._read_range(chain, first, min(first + size - 1, head.number - self._store.depth))
            except TransactionRefused:  # many nodes limit the blocks or the logs of one question
                if size == 1:
                    raise
                size //= 2
        return False

    def _read_range(self, chain: BoundEndpoint, first: int, last: int) -> None:
        until = self._block(chain, last)
        query = {"fromBlock": hex(first), "toBlock": hex(last)}
        found = self._events(chain, query)
        numbers = sorted({event.block for event in found})
        blocks = [self._block(chain, number) for number in numbers]
        if any(not first <= number <= last for number in numbers) or self._hash_at(chain, last) != until.hash:
            raise UnexpectedAnswer(chain.url, f"the logs of blocks {first} to {last} do not belong to one chain")

        def change(state: Journal) -> None:
            for block in blocks:
                self._derive(block, [event for event in found if event.block == block.number], state)

        self._store.apply_final(until, change, self._anchor(chain))

    def _walk(self, chain: BoundEndpoint, max_blocks: int) -> bool:
        """Read block after block; give whether the end was reached. A broken link ends it: the chain moved meanwhile."""
        for _ in range(max_blocks):
            newest = self._store.newest()
            linked = self._find(chain, self._next())
            if linked is None:
                return True
            if newest is not None and linked.parent != newest.hash:
                return self._moved(chain, newest)
            if not self._read_block(chain, linked.block):
                return self._moved(chain, linked.block)
        return False

    def _moved(self, chain: BoundEndpoint, gone: Block) -> bool:
        """Always gives False: the chain dropped a block meanwhile. Raises: UnexpectedAnswer where the endpoint has it all the
        same: it contradicts itself, and would keep its reader for ever."""
        if self._hash_at(chain, gone.number) == gone.hash:
            raise UnexpectedAnswer(chain.url, f"it has block {gone.number}, and does not know or continue it")
        return False

    def _read_block(self, chain: BoundEndpoint, block: Block) -> bool:
        """Apply one block; give False when the endpoint dropped it while it was read."""
        events = self._events(chain, {"blockHash": "0x" + block.hash.hex()})
        if any(event.block != block.number for event in events):
            raise UnexpectedAnswer(chain.url, f"logs of other blocks were given for block {block.number}")
        if not events and chain.ask("eth_getBlockByHash", ["0x" + block.hash.hex(), False]) is None:
            return False  # some nodes answer with no logs for a block that they do not know

        def change(state: Journal) -> None:
            if events:
                self._derive(block, events, state)

        self._store.apply(block, change, self._anchor(chain, block))
        return True

    def _events(self, chain: BoundEndpoint, query: Mapping[str, str]) -> list[Event]:
        """The decoded events of a query in the chain's order. One that cannot be decoded hides no other."""
        logs = chain.ask("eth_getLogs", [{"address": list(self._artifacts), **query}])
        if not isinstance(logs, list):
            raise UnexpectedAnswer(chain.url, f"the logs are {logs!r}"[:200])
        wanted = query.get("blockHash")
        parsed = [_parsed(chain.url, log, wanted) for log in logs]
        if any(log["address"] not in self._artifacts for log in parsed):
            raise UnexpectedAnswer(chain.url, "logs of a contract that was not asked for")
        decoded = (decode_log(self._artifacts[log["address"]], log) for log in parsed)
        return sorted(_known(decoded), key=lambda event: (event.block, event.log_index))

    def _next(self) -> int:
        newest = self._store.newest()
        return self._start if newest is None else newest.number + 1

    def _anchor(self, chain: BoundEndpoint, block: Block | None = None) -> bytes:
        """The hash of the first block of all: kept, just read, or asked for."""
        if (kept := self._store.anchor()) is not None:
            return kept
        if block is not None and block.number == self._start:
            return block.hash
        return self._block(chain, self._start).hash

    def _head(self, chain: BoundEndpoint) -> Block:
        return _linked(chain.url, chain.ask("eth_getBlockByNumber", ["latest", False])).block

    def _find(self, chain: BoundEndpoint, number: int) -> _Linked | None:
        answer = chain.ask("eth_getBlockByNumber", [hex(number), False])
        if answer is None:
            return None
        linked = _linked(chain.url, answer)
        if linked.block.number != number:
            raise UnexpectedAnswer(chain.url, f"block {linked.block.number} was given for {number}")
        return linked

    def _block(self, chain: BoundEndpoint, number: int) -> Block:
        linked = self._find(chain, number)
        if linked is None:
            raise UnexpectedAnswer(chain.url, f"block {number} is missing before the newest one")
        return linked.block

    def _hash_at(self, chain: BoundEndpoint, number: int) -> bytes | None:
        linked = self._find(chain, number)
        return None if linked is None else linked.block.hash


def _linked(url: str, answer: object) -> _Linked:
    block = fields(url, "the block", answer)
    number, timestamp = (quantity(url, name, block.get(name)) for name in ("number", "timestamp"))
    own, parent = (data(url, name, block.get(name), HASH_BYTES) for name in ("hash", "parentHash"))
    return _Linked(Block(number, timestamp, own), parent)


def _parsed(url: str, answer: object, block_hash: str | None) -> dict[str, Any]:
    """A log with Python's values. Raises: UnexpectedAnswer, also for a log of another block or one taken back."""
    log = fields(url, "a log", answer)
    own = data(url, "the log's block", log.get("blockHash"), HASH_BYTES)
    if log.get("removed") is True or block_hash not in (None, "0x" + own.hex()):
        raise UnexpectedAnswer(url, "a log of another block was given")
    topics = log.get("topics")
    if not isinstance(topics, list):
        raise UnexpectedAnswer(url, f"the topics are {topics!r}"[:200])
    try:
        address = to_address(str(log.get("address")))
    except MalformedAddress as error:
        raise UnexpectedAnswer(url, str(error)) from error
    return {
        "address": address,
        "topics": [data(url, "a topic", topic, HASH_BYTES) for topic in topics],
        "data": data(url, "the log's data", log.get("data")),
        "blockNumber": quantity(url, "the log's block", log.get("blockNumber")),
        "logIndex": quantity(url, "the log's index", log.get("logIndex")),
        "transactionHash": data(url, "the log's transaction", log.get("transactionHash"), HASH_BYTES),
    }


def _known(events: Iterable[Event | None]) -> list[Event]:
    return [event for event in events if event is not None]
