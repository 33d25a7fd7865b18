"""The table of scores of one epoch: its leaves, root and proofs, as contracts/src/lib/ScoreLeaves.sol reads them.

The leaves' tickets are a partition of [0, total) in the order of the nodes, so one tree holds the scores and the lottery.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise

from incentives.errors import ScoreTableError
from incentives.scores import Masses
from sharding.hashing import keccak256
from sharding.merkle import merkle_proof, merkle_root
from verification.addresses import Address, address_bytes, to_address
from verification.typed_data import address_word, uint_word

NOBODY = to_address(bytes(20))
ROW_BYTES = 42
MAX_LEAVES = 3_000
"""Pools of transactions take 131,072 bytes in one, and all leaves must be shown in one. Source: go-ethereum's txMaxSize."""
MAX_QOS = 10_000

LeafWords = tuple[Address, int, int, int, int, int, int]
GapWords = tuple[LeafWords, list[bytes], LeafWords, list[bytes]]
PostingWords = tuple[int, int, int, Address, int, bytes]


@dataclass(frozen=True, slots=True)
class Leaf:
    """One node: tickets [stake_from, stake_to), masses that are true at the time `as_of`, quality in ten-thousandths."""

    node: Address
    stake_from: int
    stake_to: int
    masses: Masses
    qos: int
    as_of: int

    @property
    def width(self) -> int:
        return self.stake_to - self.stake_from

    @property
    def words(self) -> LeafWords:
        """As the contract takes it."""
        return (self.node, self.stake_from, self.stake_to, self.masses.a, self.masses.b, self.qos, self.as_of)

    @property
    def data(self) -> bytes:
        """What is hashed twice: seven words."""
        widths = (96, 96, 32, 32, 16, 40)
        numbers = (uint_word("leaf", n, bits) for n, bits in zip(self.words[1:], widths, strict=True))
        return address_word(self.node) + b"".join(numbers)

    @property
    def row(self) -> bytes:
        """As the leaves are shown: address, width, a, b, quality; the rest follows from the place."""
        masses = self.masses.a.to_bytes(4, "big") + self.masses.b.to_bytes(4, "big")
        return address_bytes(self.node) + self.width.to_bytes(12, "big") + masses + self.qos.to_bytes(2, "big")


EDGE = Leaf(NOBODY, 0, 0, Masses(), 0, 0)
"""Stands for the end of a table on either side of a gap."""


@dataclass(frozen=True, slots=True)
class Proven:
    """A leaf and the way from it to the root."""

    leaf: Leaf
    proof: tuple[bytes, ...] = ()

    @property
    def words(self) -> tuple[LeafWords, list[bytes]]:
        return self.leaf.words, list(self.proof)


@dataclass(frozen=True, slots=True)
class Gap:
    """Two leaves with nothing between, or one leaf as `below` where the contract asks for a node's leaf or its absence."""

    below: Proven = field(default_factory=lambda: Proven(EDGE))
    above: Proven = field(default_factory=lambda: Proven(EDGE))

    @property
    def words(self) -> GapWords:
        return (*self.below.words, *self.above.words)


@dataclass(frozen=True, slots=True)
class Posting:
    """One posted root, as the contract's event tells it. base: the epoch that it continues, 0 for none."""

    epoch: int
    base: int
    posted_at: int
    poster: Address
    total: int
    root: bytes

    @property
    def words(self) -> PostingWords:
        return (self.epoch, self.base, self.posted_at, self.poster, self.total, self.root)

    @property
    def data(self) -> bytes:
        """As the contract encodes it: six words."""
        numbers = ((self.epoch, 24), (self.base, 24), (self.posted_at, 40))
        head = b"".join(uint_word("posting", number, bits) for number, bits in numbers)
        return head + address_word(self.poster) + uint_word("posting", self.total, 96) + self.root


NO_POSTING = Posting(0, 0, 0, NOBODY, 0, bytes(32))


@dataclass(frozen=True)
class ScoreTable:
    """Leaves in some order, sound or not: whoever lies also makes a tree."""

    leaves: tuple[Leaf, ...]

    @cached_property
    def _data(self) -> list[bytes]:
        return [leaf.data for leaf in self.leaves]

    @cached_property
    def _keys(self) -> list[bytes]:
        return [address_bytes(leaf.node) for leaf in self.leaves]

    @cached_property
    def root(self) -> bytes:
        return merkle_root(self._data)

    @property
    def total(self) -> int:
        """The number of tickets of a sound table."""
        return self.leaves[-1].stake_to if self.leaves else 0

    @property
    def rows(self) -> bytes:
        """All leaves, as the contract wants them shown."""
        return b"".join(leaf.row for leaf in self.leaves)

    def proven(self, index: int) -> Proven:
        """Leaf number `index` with its proof. Raises: IndexError."""
        return Proven(self.leaves[index], tuple(merkle_proof(self._data, index)))

    def find(self, node: Address) -> Proven | None:
        """The node's leaf in a sound table; None where it has none."""
        index = bisect_left(self._keys, address_bytes(node))
        return self.proven(index) if index < len(self.leaves) and self.leaves[index].node == node else None

    def gap(self, node: Address) -> Gap:
        """The leaves in a sound table between which the node would be; as `below` its own where it has one."""
        above = bisect_right(self._keys, address_bytes(node))
        lower = self.proven(above - 1) if above else Proven(EDGE)
        return Gap(lower, self.proven(above) if above < len(self.leaves) else Proven(EDGE))

    def holder(self, ticket: int) -> Proven:
        """Whose ticket it is, in a sound table. Raises: ScoreTableError outside [0, total)."""
        if not 0 <= ticket < self.total:
            raise ScoreTableError(f"ticket {ticket} of {self.total}: draw one below the total")
        return self.proven(bisect_right([leaf.stake_from for leaf in self.leaves], ticket) - 1)


@dataclass(frozen=True, slots=True)
class Entry:
    """What a leaf says, without its place."""

    stake: int
    masses: Masses
    qos: int


def table_of(entries: Mapping[Address, Entry], as_of: int) -> ScoreTable:
    """The sound table of these nodes. Raises: ScoreTableError for too many of them, or one without a ticket."""
    if len(entries) > MAX_LEAVES:
        raise ScoreTableError(f"{len(entries)} leaves, at most {MAX_LEAVES} can be shown to the contract")
    leaves, below = list[Leaf](), 0
    for node in sorted(entries, key=address_bytes):
        entry = entries[node]
        if entry.stake <= 0:
            raise ScoreTableError(f"{node} has no stake: leave it out")
        leaves.append(Leaf(node, below, below + entry.stake, entry.masses, entry.qos, as_of))
        below += entry.stake
    return ScoreTable(tuple(leaves))


def parse_rows(rows: bytes, as_of: int) -> ScoreTable:
    """The leaves that somebody has shown; soundness is for the reader to check. Raises: ScoreTableError for cut rows."""
    if len(rows) % ROW_BYTES or len(rows) > MAX_LEAVES * ROW_BYTES:
        raise ScoreTableError(f"{len(rows)} bytes are not up to {MAX_LEAVES} rows of {ROW_BYTES}")
    leaves, below = list[Leaf](), 0
    for at in range(0, len(rows), ROW_BYTES):
        row = rows[at : at + ROW_BYTES]
        width, a, b, qos = (int.from_bytes(row[i:j], "big") for i, j in ((20, 32), (32, 36), (36, 40), (40, 42)))
        leaves.append(Leaf(to_address(row[:20]), below, below + width, Masses(a, b), qos, as_of))
        below += width
    return ScoreTable(tuple(leaves))


def drawn_ticket(base: Posting, epoch: int) -> int:
    """The ticket that posts the root of `epoch` after that of `base`: keccak(root, epoch) mod total."""
    if base.total <= 0:
        raise ScoreTableError("there is nothing to draw from: anybody may post the first root")
    return int.from_bytes(keccak256(base.root + epoch.to_bytes(32, "big")), "big") % base.total


def conflict(x: Leaf, y: Leaf) -> bool:
    """Whether no sound table holds both leaves."""
    if x.node == y.node:
        return x != y
    low, high = (x, y) if address_bytes(x.node) < address_bytes(y.node) else (y, x)
    return low.stake_to > high.stake_from


def first_conflict(leaves: Sequence[Leaf]) -> tuple[int, int] | None:
    """The places of two neighbours, in the order of nodes, that no sound table holds both."""
    order = sorted(range(len(leaves)), key=lambda i: (address_bytes(leaves[i].node), leaves[i].stake_from))
    return next(((i, j) for i, j in pairwise(order) if conflict(leaves[i], leaves[j])), None)
