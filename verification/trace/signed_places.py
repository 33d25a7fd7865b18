"""Which elements of a trace a receipt's roots say again: its end under outRoot, its own keys and values under kvRoot."""

from collections.abc import Iterator
from dataclasses import dataclass

from verification.trace.layout import Spot, TraceLayout
from verification.trace.operations import PIECE, pieces


@dataclass(frozen=True, slots=True)
class SignedPlace:
    """index: of the leaf, under outRoot or else kvRoot; element: which of the leaf's."""

    under_output: bool
    index: int
    element: int


def signed_place(layout: TraceLayout, spot: Spot) -> SignedPlace:
    """Of one of signed_spots."""
    position, spec = layout.place.position, layout.spec
    if is_output(layout, spot):
        return SignedPlace(True, output_index(position, spot.column // PIECE), spot.column % PIECE)
    block, _, what = spot.field.name.partition(".")
    piece = (spot.row - spec.num_heads) * pieces(spec.head_dim) + spot.column // PIECE
    element = 0 if what == "heads.exponent" else 1 + spot.column % PIECE
    return SignedPlace(False, kept_index(position, int(block), piece), element)


def signed_spots(layout: TraceLayout) -> Iterator[Spot]:
    """All of them, in the order of the trace."""
    for field in layout.fields:
        is_kept = field.name.endswith((".heads", ".heads.exponent"))
        if is_kept or is_output(layout, Spot(field, 0, 0)):
            for row in range(layout.spec.num_heads if is_kept else 0, field.rows):
                yield from (Spot(field, row, column) for column in range(field.width))


def is_output(layout: TraceLayout, spot: Spot) -> bool:
    """Whether the field is what outRoot is about; a trace that ends with keys and values has none."""
    return spot.field == layout.output and not spot.field.name.endswith(".heads")


def output_index(position: int, piece: int) -> int:
    return position << 32 | piece


def kept_index(position: int, block: int, piece: int) -> int:
    return position << 32 | block << 16 | piece
