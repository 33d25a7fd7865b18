"""Fighting for a trace that was posted and not given out: from its root down to the first leaf that is not one's own.

contracts/src/lib/Descending.sol's twin, and the moves of both sides. The defender opens the nodes some levels below the one
in question, the challenger picks the first that is not in the tree of its own trace, until a leaf has to be shown.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sharding.hashing import HASH_BYTES, keccak256
from sharding.merkle import merkle_leaf
from verification.errors import MalformedRecord
from verification.trace.openings import HashTree

STEP = 5
"""Levels at a time: 32 nodes. The last step has what is left, for leaves cost far more than nodes."""
MAX_DECLARED = 1 << 22
"""Leaves that a challenger builds a tree over: more than any model of ours has; who declares more is told by its count."""
_NO_LEAF = bytes(HASH_BYTES)


@dataclass(frozen=True, slots=True)
class Where:
    """A node of a tree over so many leaves: number `place` of the level `height`, leaves being level 0."""

    leaves: int
    height: int
    place: int = 0

    @property
    def step(self) -> int:
        """How many levels below it are opened together."""
        return min(self.height, STEP)

    @property
    def level(self) -> int:
        """Of the nodes that are opened."""
        return self.height - self.step

    @property
    def first(self) -> int:
        """Number of the first of them in their level."""
        return self.place << self.step

    @property
    def count(self) -> int:
        """How many there are."""
        return min(1 << self.step, width_of(self.leaves, self.level) - self.first)

    @property
    def is_last(self) -> bool:
        """Whether what is opened next are leaves, or it is one: they can be shown then."""
        return self.level == 0

    def picked(self, child: int) -> "Where":
        return Where(self.leaves, self.level, self.first + child)


@dataclass(frozen=True, slots=True)
class Picked:
    """The arguments of `pick`: number, hash, and path in the ordered tree over what was opened."""

    child: int
    node: bytes
    siblings: list[bytes]


def width_of(leaves: int, level: int) -> int:
    """Nodes of a level; an odd one rises alone."""
    return (leaves + (1 << level) - 1) >> level


def root_of(leaves: int) -> Where:
    """Raises ValueError where there are none."""
    if leaves < 1:
        raise ValueError(f"a tree over {leaves} leaves has no root")
    return Where(leaves, (leaves - 1).bit_length())


def children(tree: HashTree, where: Where) -> list[bytes]:
    """What a defender opens: the nodes below one of its tree. Raises IndexError for a node that is not in it."""
    level = tree.level(where.level)
    found = list(level[where.first : where.first + where.count])
    if len(found) != where.count:
        raise IndexError(f"node {where.place} of level {where.height} of another tree")
    return found


def own_tree(leaves: Sequence[bytes], declared: int) -> HashTree:
    """A challenger's: over the data of its own leaves, cut or filled up to the number that the defender has declared.

    Raises ValueError for a number past MAX_DECLARED.
    """
    if not 0 < declared <= MAX_DECLARED:
        raise ValueError(f"{declared} leaves: 1 to {MAX_DECLARED} can be compared")
    hashes = [merkle_leaf(data) for data in leaves[:declared]]
    return HashTree(hashes + [_NO_LEAF] * (declared - len(hashes)))


def first_difference(opened: Sequence[bytes], own: Sequence[bytes]) -> int | None:
    """The first of the opened nodes that is not the own one; None where all are. Raises ValueError for other counts."""
    return next((k for k, (one, other) in enumerate(zip(opened, own, strict=True)) if one != other), None)


def pick(tree: HashTree, where: Where, opened: Sequence[bytes]) -> Picked | None:
    """A challenger's move. None where everything opened is its own: it has nothing to say then."""
    child = first_difference(opened, children(tree, where))
    return None if child is None else Picked(child, opened[child], ordered_path(opened, child))


def known_tree(own: HashTree, seen: Sequence[tuple[Where, Sequence[bytes]]]) -> HashTree:
    """The defender's tree as far as a challenger knows it after a descent: its own nodes, and all that were opened.

    What lies left of the picked leaf is the own, what lies right of it was opened: enough to open the leaf and any before it.
    """
    levels = [list(own.level(height)) for height in range(root_of(own.size).height + 1)]
    for where, nodes in seen:
        part = HashTree(nodes)
        for up in range(where.step + 1):
            first = where.place << (where.step - up)
            found = part.level(min(up, part.height))
            levels[where.level + up][first : first + len(found)] = found
    return HashTree.of_levels(levels)


def packed_leaves(leaves: Sequence[bytes]) -> bytes:
    """The data of leaves as they are shown: each behind two bytes with its length. Raises OverflowError past 65,535."""
    return b"".join(len(data).to_bytes(2, "big") + data for data in leaves)


def unpacked_leaves(packed: bytes) -> list[bytes]:
    """The contrary. Raises MalformedRecord for bytes that end within a leaf."""
    leaves = []
    while packed:
        end = 2 + int.from_bytes(packed[:2], "big")
        if len(packed) < max(2, end):
            raise MalformedRecord("leaves", "they end within one of them")
        leaves.append(packed[2:end])
        packed = packed[end:]
    return leaves


def ordered_root(nodes: Sequence[bytes]) -> bytes:
    """Over pairs as they stand, so that places are bound. Raises IndexError where there are none."""
    level = list(nodes)
    while len(level) > 1:
        level = _above(level)
    return level[0]


def ordered_path(nodes: Sequence[bytes], place: int) -> list[bytes]:
    """The siblings up to ordered_root. Raises IndexError for a place that is not there."""
    if not 0 <= place < len(nodes):
        raise IndexError(f"node {place} of {len(nodes)}")
    level, path = list(nodes), []
    while len(level) > 1:
        if place ^ 1 < len(level):
            path.append(level[place ^ 1])
        level, place = _above(level), place // 2
    return path


def _above(level: list[bytes]) -> list[bytes]:
    pairs = [keccak256(level[i] + level[i + 1]) for i in range(0, len(level) - 1, 2)]
    return pairs + level[-1:] if len(level) % 2 else pairs
