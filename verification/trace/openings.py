"""Several leaves of one tree with what their paths do not share: contracts/src/lib/Paths.sol's programs, and its twin."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

from sharding.hashing import keccak256

MAX_LEAVES = 8
"""Opened together at most, and the height of the stack."""
MAX_NODES = 64
"""Climbed by one byte of a program at most."""
TAKE, JOIN = 0, 255


@dataclass(frozen=True, slots=True)
class Opening:
    """program: a byte each, 0 takes the next leaf on a stack, 255 joins the two topmost nodes, n climbs n siblings."""

    siblings: tuple[bytes, ...]
    program: bytes


@dataclass(slots=True)
class _Writer:
    siblings: list[bytes] = field(default_factory=list)
    program: bytearray = field(default_factory=bytearray)

    def climb(self, sibling: bytes) -> None:
        self.siblings.append(sibling)
        if self.program[-1] in (TAKE, JOIN):
            self.program.append(0)
        self.program[-1] += 1


class HashTree:
    """All nodes of sharding/merkle.py's tree over leaves' hashes. Raises ValueError where there are none."""

    def __init__(self, leaves: Sequence[bytes]) -> None:
        if not leaves:
            raise ValueError("a tree without leaves has nothing to open")
        self._levels = [list(leaves)]
        while len(self._levels[-1]) > 1:
            level = self._levels[-1]
            pairs = [_pair(level[i], level[i + 1]) for i in range(0, len(level) - 1, 2)]
            self._levels.append(pairs + level[-1:] if len(level) % 2 else pairs)

    @classmethod
    def of_levels(cls, levels: Sequence[Sequence[bytes]]) -> Self:
        """One whose nodes are known by other means: only what is opened has to be right."""
        made = cls.__new__(cls)
        made._levels = [list(level) for level in levels]
        return made

    def replaced(self, index: int, leaf: bytes) -> Self:
        """The tree with another leaf's hash in one place."""
        changed = type(self).__new__(type(self))
        changed._levels = [list(level) for level in self._levels]
        for depth, level in enumerate(changed._levels):
            level[index >> depth] = leaf
            first, second = index >> depth & ~1, index >> depth | 1
            leaf = _pair(level[first], level[second]) if second < len(level) else level[first]
        return changed

    @property
    def root(self) -> bytes:
        return self._levels[-1][0]

    @property
    def size(self) -> int:
        """How many leaves."""
        return len(self._levels[0])

    @property
    def height(self) -> int:
        """Of the root above the leaves."""
        return len(self._levels) - 1

    def level(self, height: int) -> Sequence[bytes]:
        """The nodes so many levels above the leaves. Raises IndexError above the root."""
        return self._levels[height]

    def open(self, indexes: Sequence[int]) -> Opening:
        """Raises ValueError unless they are one to MAX_LEAVES of the tree's leaves in rising order."""
        size = len(self._levels[0])
        if not 0 < len(indexes) <= MAX_LEAVES or sorted(set(indexes)) != list(indexes):
            raise ValueError(f"{len(indexes)} leaves: 1 to {MAX_LEAVES} different ones in rising order can be opened")
        if indexes[0] < 0 or indexes[-1] >= size:
            raise ValueError(f"leaves {indexes[0]} to {indexes[-1]} of {size}")
        writer = _Writer()
        self._visit(writer, len(self._levels) - 1, 0, indexes)
        return Opening(tuple(writer.siblings), bytes(writer.program))

    def _visit(self, writer: _Writer, level: int, node: int, indexes: Sequence[int]) -> None:
        """Leave the node on the stack; the leaves that are opened lie below it."""
        if level == 0:
            writer.program.append(TAKE)
            return
        below, children = self._levels[level - 1], (2 * node, 2 * node + 1)
        parts = [[index for index in indexes if index >> (level - 1) == child] for child in children]
        for child, part in zip(children, parts, strict=True):
            if part:
                self._visit(writer, level - 1, child, part)
        if all(parts):
            writer.program.append(JOIN)
        elif (other := children[1] if parts[0] else children[0]) < len(below):
            writer.climb(below[other])


def opened_root(leaves: Sequence[bytes], opening: Opening) -> bytes | None:
    """The root that the leaves' hashes lead to; None for a program that does not use each leaf and sibling once."""
    stack: list[bytes] = []
    waiting, siblings = list(leaves), list(opening.siblings)
    for action in opening.program:
        if action == TAKE:
            if not waiting or len(stack) == MAX_LEAVES:
                return None
            stack.append(waiting.pop(0))
        elif action == JOIN:
            if len(stack) < 2:
                return None
            last = stack.pop()
            stack[-1] = _pair(stack[-1], last)
        else:
            if not stack or action > min(len(siblings), MAX_NODES):
                return None
            for sibling in siblings[:action]:
                stack[-1] = _pair(stack[-1], sibling)
            del siblings[:action]
    return stack[0] if len(stack) == 1 and not waiting and not siblings else None


def _pair(one: bytes, other: bytes) -> bytes:
    return keccak256(min(one, other) + max(one, other))
