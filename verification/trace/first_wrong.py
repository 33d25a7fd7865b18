"""Where a posted trace goes wrong first, and with which proof it is shown."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from verification.trace.layout import Spot
from verification.trace.operations import PIECE
from verification.trace.posted import LeafTree, PostedTrace
from verification.trace.signed_places import output_index, signed_place, signed_spots
from verification.trace.tree import ABORT_BIT, Leaf


class Fault(Enum):
    """The function of the disputes that judges it."""

    PRODUCT = "proveProduct"
    ELEMENT = "proveElement"
    """Or proveCopy, where the proof says so."""
    SIGNED = "proveSigned"
    TWICE = "proveTwice"
    WITHHELD = ""
    """A leaf is not there: nothing can be opened, it has to be demanded."""


@dataclass(frozen=True, slots=True)
class Finding:
    """spot: the element; index: of its leaf."""

    fault: Fault
    index: int
    spot: Spot


def first_wrong(posted: PostedTrace, own: Sequence[Leaf], output: LeafTree, kept: LeafTree) -> Finding | None:
    """The earliest leaf that differs from one's own trace; None where the posted trace is right and what was signed, too.

    own: the honest trace's leaves; output, kept: the leaves that the node signed as outRoot and kvRoot of its receipt.
    An element of the earliest wrong leaf has right operands, so that its proof holds. Masks are not compared.
    """
    twice = _twice(posted.tree)
    if twice is not None:
        return Finding(Fault.TWICE, twice, posted.layout.spot(twice & ~ABORT_BIT))
    for leaf in own:
        found = _differs(posted, leaf)
        if found is not None:
            return found
    return _signed_otherwise(posted, output, kept)


def fault_of(spot: Spot, aborted: bool) -> Fault:
    """Whether the cheaper judge takes it: a prefix of a block's product, whose predecessor lies in the same leaf."""
    is_sum = spot.field.name.endswith((".qkv.sums", ".o.sums", ".gate_up.sums", ".down.sums"))
    is_near = spot.column == 0 or spot.column % PIECE != 0
    return Fault.PRODUCT if is_sum and is_near and not aborted else Fault.ELEMENT


def _twice(tree: LeafTree) -> int | None:
    seen = set()
    for leaf in tree.leaves:
        if leaf.index in seen:
            return leaf.index
        seen.add(leaf.index)
    return None


def _differs(posted: PostedTrace, own: Leaf) -> Finding | None:
    """Where the leaf in the place of one's own says something else."""
    index, is_stop = own.index & ~ABORT_BIT, bool(own.index & ABORT_BIT)
    layout = posted.layout
    if index not in posted.tree:
        if index | ABORT_BIT not in posted.tree:
            return Finding(Fault.WITHHELD, index, layout.spot(index))
        theirs = posted.tree.leaf(index | ABORT_BIT)
        if is_stop and theirs.elements == own.elements:
            return None
        return Finding(Fault.ELEMENT, theirs.index, layout.spot(index, _stop(posted, theirs)))
    theirs = posted.tree.leaf(index)
    if is_stop:  # they go on with a number where there is none
        spot = layout.spot(index, own.elements[0])
        return Finding(fault_of(spot, aborted=False), index, spot)
    if theirs.elements == own.elements:
        return None
    spot = layout.spot(index, _element(theirs, own, layout.spot(index).field.size))
    return Finding(fault_of(spot, aborted=False), index, spot)


def _stop(posted: PostedTrace, leaf: Leaf) -> int:
    """The element that an Abort leaf names; the first one where the leaf has no such element."""
    first = posted.layout.spot(leaf.index & ~ABORT_BIT)
    named = leaf.elements[0] if leaf.elements else 0
    return named if named < min(PIECE, first.field.width - first.column) else 0


def _element(theirs: Leaf, own: Leaf, size: int) -> int:
    """The first element that differs; the first of all in a leaf of another length."""
    if len(theirs.elements) != len(own.elements):
        return 0
    return next(k for k, (a, b) in enumerate(zip(theirs.elements, own.elements, strict=True)) if a != b) // size


def _signed_otherwise(posted: PostedTrace, output: LeafTree, kept: LeafTree) -> Finding | None:
    """A right trace, and other things signed; a leaf that was not signed at all is for a demand, not for a proof."""
    layout = posted.layout
    stop = next((leaf for leaf in posted.tree.leaves if leaf.index & ABORT_BIT), None)
    if stop is not None and output_index(layout.place.position, 0) in output:
        return Finding(Fault.SIGNED, stop.index, layout.spot(stop.index & ~ABORT_BIT, _stop(posted, stop)))
    for spot in signed_spots(layout):
        index = layout.leaf_of(spot.field.name, spot.row, spot.column)
        place = signed_place(layout, spot)
        tree = output if place.under_output else kept
        if (
            index in posted.tree
            and place.index in tree
            and _other_number(posted, spot, tree.leaf(place.index), place.element)
        ):
            return Finding(Fault.SIGNED, index, spot)
    return None


def _other_number(posted: PostedTrace, spot: Spot, signed: Leaf, element: int) -> bool:
    size, own = spot.field.size, posted.numbers(spot)
    number = signed.elements[element * size : (element + 1) * size]
    return own is None or len(number) != size or int.from_bytes(number, "little", signed=True) != int(own[0])
