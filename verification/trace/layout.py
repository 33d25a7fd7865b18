"""From a leaf's index to its operation and operands, and back: a pure function of the model's numbers, span and position."""

from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum, auto

from sharding.spec import ModelSpec
from verification.trace.fields import Field, Place, fields_of, visible
from verification.trace.operations import PIECE, Operation, pieces


class Source(Enum):
    """Whose leaves an operand lies in."""

    TRACE = auto()
    WEIGHTS = auto()
    """The manifest's tensors, as rows: the first dimension, and all others as one."""
    INPUT = auto()
    """The position's leaves under the receipt's inRoot: its row, or its token."""
    KEPT = auto()
    """Signed rows of keys and values under kvRoot; row: 2 x key/value heads of each position, keys before values."""
    NOISE = auto()
    """The Gumbel table of the profile."""


@dataclass(frozen=True, slots=True)
class Ref:
    """count elements of one row, never across two leaves. Where row or start is a Ref, its element is the number."""

    source: Source
    name: str
    row: "int | Ref"
    start: "int | Ref"
    count: int = 1


Number = int | Ref


@dataclass(frozen=True, slots=True)
class Template:
    """A Step whose numbers are still to be read."""

    operation: Operation
    scalars: tuple[Number, ...]
    left: Ref | None = None
    right: Ref | None = None


@dataclass(frozen=True, slots=True)
class Spot:
    """One element of a trace."""

    field: Field
    row: int
    column: int


class TraceLayout:
    """Raises SpanError for a span outside the model."""

    def __init__(self, spec: ModelSpec, place: Place) -> None:
        self.spec, self.place = spec, place
        self.fields = fields_of(spec, place)
        self.seen = visible(spec, place.position)
        self._by_name: Mapping[str, Field] = {each.name: each for each in self.fields}
        self._firsts = [each.first for each in self.fields]

    @property
    def leaves(self) -> int:
        return self.fields[-1].first + self.fields[-1].leaves

    @property
    def output(self) -> Field:
        """The field that the receipt's outRoot is about, or the last block's heads where no token is asked for."""
        return self.fields[-1]

    def field(self, name: str) -> Field:
        return self._by_name[name]

    def has(self, name: str) -> bool:
        return name in self._by_name

    def spot(self, leaf: int, element: int = 0) -> Spot:
        """Raises IndexError for a leaf or an element that the trace does not have."""
        if not 0 <= leaf < self.leaves:
            raise IndexError(f"leaf {leaf} of {self.leaves}")
        found = self.fields[bisect_right(self._firsts, leaf) - 1]
        row, piece = divmod(leaf - found.first, pieces(found.width))
        if not 0 <= element < min(PIECE, found.width - piece * PIECE):
            raise IndexError(f"element {element} of leaf {leaf}")
        return Spot(found, row, piece * PIECE + element)

    def leaf_of(self, name: str, row: int, column: int) -> int:
        """The leaf that holds an element."""
        found = self._by_name[name]
        return found.first + row * pieces(found.width) + column // PIECE

    # What the rules of operands.py are made of.

    def one(self, name: str, row: int, column: Number) -> Ref:
        return Ref(Source.TRACE, name, row, column)

    def last(self, name: str, row: int) -> Ref:
        """The whole row's prefix value."""
        return self.one(name, row, self._by_name[name].width - 1)

    def piece(self, name: str, row: int, index: int) -> Ref:
        start = index * PIECE
        return Ref(Source.TRACE, name, row, start, min(PIECE, self._by_name[name].width - start))

    def holding(self, sources: tuple[str, ...], row: int) -> str:
        """The first of the fields that has the row: heads are rotated, or come straight from their projection."""
        return next(name for name in sources if row < self._by_name[name].rows)


def weights(name: str, row: Number, start: Number, count: int = 1) -> Ref:
    return Ref(Source.WEIGHTS, name, row, start, count)


Rule = Callable[[TraceLayout, Spot], Template]
