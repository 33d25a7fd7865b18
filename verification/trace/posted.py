"""Trees whose leaves have been posted or signed, ready to be opened by the leaves' own indexes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sharding.exact.reference import Ints
from sharding.merkle import merkle_leaf
from verification.trace.layout import Spot, TraceLayout
from verification.trace.openings import HashTree, Opening
from verification.trace.operations import PIECE
from verification.trace.tree import ABORT_BIT, Leaf, decode


class LeafTree:
    """Leaves in the order of their tree. Of two with one index the first is found. Raises ValueError where there are none."""

    def __init__(self, leaves: Sequence[Leaf], tree: HashTree | None = None) -> None:
        self.leaves = leaves
        self._tree = HashTree([merkle_leaf(leaf.data) for leaf in leaves]) if tree is None else tree
        self._places = {leaf.index: place for place, leaf in reversed(list(enumerate(leaves)))}

    @property
    def root(self) -> bytes:
        return self._tree.root

    def __contains__(self, index: int) -> bool:
        return index in self._places

    def leaf(self, index: int) -> Leaf:
        """Raises KeyError."""
        return self.leaves[self._places[index]]

    def open(self, indexes: Sequence[int]) -> tuple[list[Leaf], Opening]:
        """The leaves in the order of the opening's program. Raises KeyError; ValueError for more than can be opened."""
        places = sorted(self._places[index] for index in set(indexes))
        return [self.leaves[place] for place in places], self._tree.open(places)

    def path(self, place: int) -> list[bytes]:
        """The siblings of the leaf in that place of the tree."""
        return list(self._tree.open([place]).siblings)

    def replaced(self, place: int, leaf: Leaf) -> "LeafTree":
        """The same tree with another leaf in that place."""
        changed = [*self.leaves]
        changed[place] = leaf
        return LeafTree(changed, self._tree.replaced(place, merkle_leaf(leaf.data)))


@dataclass(frozen=True, slots=True)
class PostedTrace:
    """A trace as it was posted, leaf by leaf, with the layout that it should follow."""

    layout: TraceLayout
    tree: LeafTree

    @property
    def root(self) -> bytes:
        return self.tree.root

    def with_leaf(self, index: int, elements: bytes) -> "PostedTrace":
        """The same with other elements in a leaf."""
        place = next(k for k, leaf in enumerate(self.tree.leaves) if leaf.index == index)
        return replace(self, tree=self.tree.replaced(place, replace(self.tree.leaves[place], elements=elements)))

    def index_of(self, spot: Spot) -> int:
        """Of the leaf that holds an element, or of the Abort leaf in its place. Raises KeyError where neither is there."""
        index = self.layout.leaf_of(spot.field.name, spot.row, spot.column)
        found = index if index in self.tree else index | ABORT_BIT
        return self.tree.leaf(found).index

    def is_aborted(self, spot: Spot) -> bool:
        return bool(self.index_of(spot) & ABORT_BIT)

    def numbers(self, spot: Spot, count: int = 1) -> Ints | None:
        """Elements from the spot on, of one leaf; None where the leaf has another length than the layout says."""
        leaf = self.tree.leaf(self.layout.leaf_of(spot.field.name, spot.row, spot.column))
        length = min(PIECE, spot.field.width - spot.column // PIECE * PIECE)
        if len(leaf.elements) != length * spot.field.size:
            return None
        within = spot.column % PIECE
        return decode(leaf.elements, spot.field.size)[within : within + count]
