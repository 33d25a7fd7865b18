"""Tables of scores that are not the honest one, each in its own way."""

from collections.abc import Callable
from dataclasses import replace

from incentives.score_tree import Leaf, ScoreTable
from incentives.scores import ONE, Masses
from tests.contracts.score_world import changed
from tests.contracts.world import dev

NOBODY_ENROLLED = dev(8).address
Lie = Callable[[ScoreTable, int], ScoreTable]
"""Of the honest table and the place of a leaf in it."""


def _credit(table: ScoreTable, at: int) -> ScoreTable:
    """Some work that nobody paid for."""
    masses = table.leaves[at].masses
    return changed(table, at, masses=Masses(masses.a + ONE, masses.b))


def _fault(table: ScoreTable, at: int) -> ScoreTable:
    """A fault that nobody found."""
    masses = table.leaves[at].masses
    return changed(table, at, masses=Masses(masses.a, masses.b + 50 * ONE))


def _rounded(table: ScoreTable, at: int) -> ScoreTable:
    """The least unit more than there is."""
    masses = table.leaves[at].masses
    return changed(table, at, masses=Masses(masses.a + 1, masses.b))


def _measured(table: ScoreTable, at: int) -> ScoreTable:
    """Quality, which nothing on the chain measures."""
    return changed(table, at, qos=table.leaves[at].qos ^ 9_000)


def _dated(table: ScoreTable, at: int) -> ScoreTable:
    return changed(table, at, as_of=table.leaves[at].as_of + 1)


def _moved(table: ScoreTable, at: int) -> ScoreTable:
    """A ticket of the next leaf; the last one takes it where there is none."""
    if at + 1 == len(table.leaves):
        return changed(table, at, stake_to=table.total + 1)
    grown = changed(table, at, stake_to=table.leaves[at].stake_to + 1)
    return changed(grown, at + 1, stake_from=table.leaves[at + 1].stake_from + 1)


def _invented(table: ScoreTable, _: int) -> ScoreTable:
    """Somebody who is not enrolled has the last ticket, in the order of the nodes."""
    rows = [(leaf.node, leaf.width, leaf) for leaf in table.leaves]
    last, width, leaf = rows[-1]
    rows[-1] = last, width - 1, leaf
    stranger = Leaf(NOBODY_ENROLLED, 0, 1, Masses(), 0, leaf.as_of)
    return _lined_up([replace(row, stake_to=row.stake_from + width) for _, width, row in rows] + [stranger])


def _left_out(table: ScoreTable, at: int) -> ScoreTable:
    """One leaf is not there, and its tickets are nobody's."""
    return _lined_up([leaf for k, leaf in enumerate(table.leaves) if k != at])


def _robbed(table: ScoreTable, at: int) -> ScoreTable:
    """One leaf is not there, and its tickets are a neighbour's."""
    leaves, gone = [leaf for k, leaf in enumerate(table.leaves) if k != at], table.leaves[at]
    if leaves:
        heir = max(at - 1, 0)
        leaves[heir] = replace(leaves[heir], stake_to=leaves[heir].stake_to + gone.width)
    return _lined_up(leaves)


def _lined_up(leaves: list[Leaf]) -> ScoreTable:
    """In the order of the nodes, each leaf's tickets behind those before it."""
    found, below = list[Leaf](), 0
    for leaf in sorted(leaves, key=lambda each: int(each.node, 16)):
        found.append(replace(leaf, stake_from=below, stake_to=below + leaf.width))
        below += leaf.width
    return ScoreTable(tuple(found))


def _overlapping(table: ScoreTable, at: int) -> ScoreTable:
    """A ticket has two holders; the first leaf is moved by one where there is none before it."""
    leaf = table.leaves[at]
    if at:
        return changed(table, at, stake_from=leaf.stake_from - 1)
    return changed(table, at, stake_from=leaf.stake_from + 1, stake_to=leaf.stake_to + 1)


def _twice(table: ScoreTable, at: int) -> ScoreTable:
    """A better leaf of the node lies behind the last one."""
    return ScoreTable((*table.leaves, replace(table.leaves[at], masses=Masses(2**32 - 1, 0))))


def _empty(table: ScoreTable, _: int) -> ScoreTable:
    """A leaf of no ticket lies behind the last one."""
    end, as_of = table.total, table.leaves[0].as_of
    return ScoreTable((*table.leaves, Leaf(NOBODY_ENROLLED, end, end, Masses(), 0, as_of)))


SMOOTH: dict[str, Lie] = {
    "credit": _credit, "fault": _fault, "rounded": _rounded, "measured": _measured, "dated": _dated, "invented": _invented,
}  # fmt: skip
"""The tickets are a partition in the order of the nodes: if nobody refutes it, an honest table can continue it."""
ROUGH: dict[str, Lie] = {
    "moved": _moved, "left out": _left_out, "robbed": _robbed, "overlapping": _overlapping, "twice": _twice, "empty": _empty,
}  # fmt: skip
LIES = SMOOTH | ROUGH
