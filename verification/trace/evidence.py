"""Opening the leaves that show an element of a posted trace wrong, as the Judge contract reads them."""

import struct
from dataclasses import dataclass, field

from verification.trace.field_numbers import number_of
from verification.trace.layout import Ref, Source, Spot, TraceLayout
from verification.trace.operands import template_of
from verification.trace.operations import PIECE, pieces
from verification.trace.posted import LeafTree, PostedTrace
from verification.trace.signed_places import kept_index, output_index, signed_place
from verification.trace.sources import noise_tree
from verification.trace.tree import Leaf
from verification.trace.weights_tree import PieceProof, WeightsTree

ABORTED, SIGNED, DRAW, ROOTS = 1, 2, 4, 8
"""Marks of a proof's first byte."""


@dataclass(frozen=True, slots=True)
class Roots:
    """What a receipt and its route say: a dispute keeps their hash."""

    entered: bytes
    kept: bytes
    output: bytes
    sampler: bytes

    @property
    def words(self) -> bytes:
        return self.entered + self.kept + self.output + self.sampler


@dataclass(frozen=True, slots=True)
class Material:
    """What a challenger holds besides the posted trace. kept: by receipts of the stage, the dispute's own first.

    draw: verification.routes.sampler_opening, empty where no token is drawn.
    """

    weights: WeightsTree
    roots: Roots
    entered: LeafTree
    output: LeafTree
    kept: tuple[LeafTree, ...]
    draw: bytes = b""


@dataclass(frozen=True, slots=True)
class ElementProof:
    """data: the argument of proveElement; receipt: whose kvRoot it needs, 0 the dispute's own, as in Material.kept."""

    data: bytes
    receipt: int = 0


class _Missing(Exception):
    """An operand that is not there: the trace is wrong, and nothing behind it has to be opened."""


@dataclass(slots=True)
class _Writer:
    """Gathers what a step opens, in the order in which the contract reads it."""

    posted: PostedTrace
    material: Material
    indexes: set[int] = field(default_factory=set)
    found: list[bytes] = field(default_factory=list)
    last: object = None
    signed: bytes = b""
    receipt: int = 0
    needs_roots: bool = False

    @property
    def layout(self) -> TraceLayout:
        return self.posted.layout

    def read(self, ref: Ref) -> None:
        """Raises _Missing."""
        row = self._number(ref.row, ref)
        start = self._number(ref.start, ref)
        if ref.source is Source.TRACE:
            self.numbers(Spot(self.layout.field(ref.name), row, start), ref.count)
        elif ref.source is Source.WEIGHTS:
            self._weight(ref.name, row, start)
        elif ref.source is Source.NOISE:
            leaves, tree = noise_tree()
            index = start // PIECE
            self.found.append(_piece(1, leaves[index][8:], 4, len(leaves) * PIECE, tree.open([index]).siblings, ()))
            self.last = None
        elif ref.source is Source.INPUT:
            self.sign(self.material.entered, self.layout.place.position << 32 | start // PIECE)
        else:
            self._kept(ref, row, start)

    def numbers(self, spot: Spot, count: int = 1) -> int:
        """The first of them. Raises _Missing for a leaf of another length, KeyError where there is none."""
        self.indexes.add(self.layout.leaf_of(spot.field.name, spot.row, spot.column))
        found = self.posted.numbers(spot, count)
        if found is None:
            raise _Missing
        return int(found[0])

    def _number(self, number: int | Ref, ref: Ref) -> int:
        if isinstance(number, int):
            return number
        if isinstance(number.row, Ref) or isinstance(number.start, Ref):
            raise ValueError("rules look up by one element, never by a chain of them")
        found = self.numbers(Spot(self.layout.field(number.name), number.row, number.start))
        if not 0 <= found < self._limit(ref):
            raise _Missing
        return found

    def _limit(self, ref: Ref) -> int:
        if ref.source is Source.TRACE:
            return self.layout.field(ref.name).width
        return len(noise_tree()[0]) * PIECE if ref.source is Source.NOISE else self.layout.spec.vocab_size

    def _weight(self, name: str, row: int, start: int) -> None:
        index = row * pieces(self.material.weights.places[name].width) + start // PIECE
        if self.last != (name, index):
            self.found.append(_weight_piece(self.material.weights.prove(name, index)))
            self.last = name, index

    def _kept(self, ref: Ref, row: int, start: int) -> None:
        spec = self.layout.spec
        position, head = divmod(row, 2 * spec.num_kv_heads)
        index = kept_index(position, int(ref.name.split(".")[0]), head * pieces(spec.head_dim) + start // PIECE)
        self.receipt = next(k for k, tree in enumerate(self.material.kept) if index in tree)
        self.sign(self.material.kept[self.receipt], index)
        self.needs_roots = self.receipt == 0

    def sign(self, tree: LeafTree, index: int) -> None:
        """Raises KeyError where nobody signed such a leaf."""
        (leaf,), opening = tree.open([index])
        self.signed = _sized(leaf.data) + bytes([len(opening.siblings)]) + b"".join(opening.siblings)
        self.needs_roots = True

    def written(self, spot: Spot, drawn: bool) -> ElementProof:
        aborted = self.posted.is_aborted(spot)
        leaves, opening = self.posted.tree.open(sorted(self.indexes | {self.posted.index_of(spot)}))
        marks = ABORTED * aborted + SIGNED * bool(self.signed) + DRAW * drawn + ROOTS * (drawn or self.needs_roots)
        block, number = number_of(spot.field.name)
        parts = (
            struct.pack(">BBIIIB", marks, number, block, spot.row, spot.column, len(leaves)),
            *(_sized(leaf.data) for leaf in leaves),
            bytes([len(opening.program)]) + opening.program,
            bytes([len(opening.siblings)]) + b"".join(opening.siblings),
            bytes([len(self.found)]) + b"".join(self.found),
            self.signed,
            self.material.draw if drawn else b"",
            self.material.roots.words if drawn or self.needs_roots else b"",
        )
        return ElementProof(b"".join(parts), self.receipt)


def element_proof(posted: PostedTrace, spot: Spot, material: Material) -> ElementProof:
    """For an element that is not what its operands say, or that a leaf of a wrong length or an Abort leaf stands for.

    Raises KeyError where a leaf that is needed was withheld.
    """
    writer = _Writer(posted, material)
    template = template_of(posted.layout, spot)
    try:
        if not posted.is_aborted(spot):
            writer.numbers(spot)
        for each in (*template.scalars, template.left, template.right):
            if isinstance(each, Ref):
                writer.read(each)
    except _Missing:
        pass
    return writer.written(spot, is_choice(spot))


def signed_proof(posted: PostedTrace, spot: Spot, material: Material) -> ElementProof:
    """For an element of the trace's end, or of its own keys and values, that was signed otherwise; any one for an Abort leaf.

    Raises KeyError where a leaf that is needed was withheld.
    """
    writer = _Writer(posted, material)
    if posted.is_aborted(spot):
        writer.sign(material.output, output_index(posted.layout.place.position, 0))
    else:
        place = signed_place(posted.layout, spot)
        writer.sign(material.output if place.under_output else material.kept[0], place.index)
    return writer.written(spot, is_choice(spot))


def is_choice(spot: Spot) -> bool:
    """Whether the place of an element depends on how the token is drawn."""
    return number_of(spot.field.name)[1] > number_of("head.y")[1]


def pair(place: int, left: Leaf, left_path: list[bytes], right: Leaf, right_path: list[bytes]) -> tuple[object, ...]:
    """The argument of proveTwice: two leaves of one index, mask and elements of each."""
    return place, left.mask + left.elements, left_path, right.mask + right.elements, right_path


def _weight_piece(proof: PieceProof) -> bytes:
    place = proof.place
    return _piece(place.rows, proof.data[8:], place.size, place.width, proof.in_tensor, proof.in_weights)


def _piece(
    rows: int, elements: bytes, size: int, width: int, in_tensor: tuple[bytes, ...], in_weights: tuple[bytes, ...]
) -> bytes:
    counts = bytes([len(in_tensor), len(in_weights)])
    return struct.pack(">IIB", rows, width, size) + _sized(elements) + counts + b"".join((*in_tensor, *in_weights))


def _sized(data: bytes) -> bytes:
    return struct.pack(">H", len(data)) + data
