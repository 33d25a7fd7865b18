"""Descents: whatever is wrong in a trace, and however its tree is opened, the first wrong leaf is found or nothing is shown."""

from random import Random

import pytest

from sharding.merkle import merkle_leaf, merkle_root
from verification.errors import MalformedRecord
from verification.trace.descent import (
    MAX_DECLARED,
    Where,
    children,
    first_difference,
    known_tree,
    ordered_path,
    ordered_root,
    own_tree,
    packed_leaves,
    pick,
    root_of,
    unpacked_leaves,
    width_of,
)
from verification.trace.openings import HashTree

SIZES = [1, 2, 3, 15, 16, 17, 31, 32, 33, 255, 256, 257, 1023, 1024, 1025]


def leaves(count: int, seed: int = 1) -> list[bytes]:
    dice = Random(seed)
    return [k.to_bytes(8, "big") + dice.randbytes(8) for k in range(count)]


def tree_of(data: list[bytes]) -> HashTree:
    return HashTree([merkle_leaf(one) for one in data])


def descended(defender: HashTree, own: HashTree, count: int) -> int | None:
    """Where both sides' moves lead to; None where the challenger finds nothing."""
    where = root_of(count)
    while where.height:
        picked = pick(own, where, children(defender, where))
        if picked is None:
            return None
        where = where.picked(picked.child)
    return where.place


@pytest.mark.parametrize("count", [*SIZES, *(Random(5).randint(2, 3000) for _ in range(5))])
def test_the_first_wrong_leaf_is_found(count: int) -> None:
    """Of one or of several."""
    dice, right = Random(count), leaves(count)
    for wrong in {0, count - 1, count // 2, dice.randrange(count)}:
        lie = list(right)
        for place in (wrong, dice.randrange(wrong, count)):
            lie[place] = b"wrong" + right[place]
        assert descended(tree_of(lie), own_tree(right, count), count) == (wrong if count > 1 else 0)


@pytest.mark.parametrize("count", SIZES[1:])
def test_who_has_the_same_trace_finds_nothing(count: int) -> None:
    """An honest node's."""
    right = leaves(count)
    assert descended(tree_of(right), own_tree(right, count), count) is None


@pytest.mark.parametrize("count", SIZES)
def test_what_is_opened_leads_to_the_node(count: int) -> None:
    """Under every node that a descent can come to, by the tree's own rule."""
    tree, todo = tree_of(leaves(count)), [root_of(count)]
    while todo:
        where = todo.pop()
        if where.height:
            opened = children(tree, where)
            assert HashTree(opened).root == tree.level(where.height)[where.place]
            assert [tree.level(where.level)[where.first + k] for k in range(where.count)] == opened
            assert len(opened) == where.count <= 32
            todo += [where.picked(k) for k in {0, len(opened) // 2, len(opened) - 1}]
        else:
            assert where.place < count


@pytest.mark.parametrize(
    ("height", "steps"), [(0, []), (4, [4]), (5, [5]), (6, [5, 1]), (18, [5, 5, 5, 3]), (21, [5, 5, 5, 5, 1])]
)
def test_five_levels_are_taken_at_a_time_and_the_rest_last(height: int, steps: list[int]) -> None:
    """Thirty-two nodes, and as few leaves as can be."""
    where, found = Where(1 << height, height), []
    while where.height:
        found.append(where.step)
        where = where.picked(0)
    assert found == steps


def test_places_are_bound_by_the_ordered_root() -> None:
    """Sorted pairs let two leaves change places; these do not."""
    nodes = [merkle_leaf(one) for one in leaves(13)]
    swapped = [nodes[1], nodes[0], *nodes[2:]]
    assert HashTree(nodes).root == HashTree(swapped).root
    assert ordered_root(nodes) != ordered_root(swapped)
    assert len(ordered_path(nodes, 12)) == 2, "the odd one rises alone"
    for place in (-1, 13):
        with pytest.raises(IndexError):
            ordered_path(nodes, place)


def test_a_false_number_of_leaves_is_met_at_its_end() -> None:
    """Whoever declares more has leaves there that nobody else has; whoever declares less is compared with as many."""
    right = leaves(20)
    longer = [*right, b"more"]
    assert descended(tree_of(longer), own_tree(right, 21), 21) == 20
    assert own_tree(right, 19).root == merkle_root(right[:19])
    stopped = [*right[:18], b"an Abort"]
    assert descended(tree_of(stopped), own_tree(right, 19), 19) == 18


@pytest.mark.parametrize("count", [2, 17, 40, 100, 1025])
def test_after_a_descent_the_leaf_and_all_before_it_can_be_opened(count: int) -> None:
    """From one's own nodes and from those that were opened, although everything behind the leaf is another's."""
    right = leaves(count)
    for wrong in {0, count // 3, count - 1}:
        lie = right[:wrong] + leaves(count, 2)[wrong:]
        theirs, own, where, seen = tree_of(lie), own_tree(right, count), root_of(count), []
        while where.height:
            seen.append((where, children(theirs, where)))
            picked = pick(own, where, seen[-1][1])
            assert picked is not None
            where = where.picked(picked.child)
        known = known_tree(own, seen)
        assert where.place == wrong
        for opened in {(wrong,), (0, wrong), (wrong // 2, wrong)}:
            places = sorted(set(opened))
            assert known.open(places) == theirs.open(places)


def test_what_cannot_be_compared_is_an_error() -> None:
    """Other counts, other trees, no leaves, and too many."""
    tree = tree_of(leaves(40))
    with pytest.raises(ValueError, match="zip"):
        first_difference(children(tree, root_of(40)), [])
    with pytest.raises(IndexError):
        children(tree_of(leaves(20)), Where(40, 3, 4))
    with pytest.raises(ValueError, match="no root"):
        root_of(0)
    for count in (0, MAX_DECLARED + 1):
        with pytest.raises(ValueError, match="can be compared"):
            own_tree([], count)
    assert width_of(MAX_DECLARED, 22) == 1


def test_shown_leaves_come_apart_as_they_were_packed() -> None:
    """Of any length, none among them; what ends within a leaf, or within its length, is malformed."""
    for leaves in ([], [b""], [b"", b"x" * 65_535, b"y"], [bytes(40)]):
        assert unpacked_leaves(packed_leaves(leaves)) == leaves
    whole = packed_leaves([b"one", b"three"])
    for cut in range(len(whole)):
        if cut not in (0, 5):
            with pytest.raises(MalformedRecord, match="leaves"):
                unpacked_leaves(whole[:cut])
