"""Withheld traces: from the posted root to one leaf, honest and lying, over trees of every shape."""

from random import Random

import pytest

from incentives.stands import Turn
from sharding.merkle import merkle_leaf
from tests.contracts.descending import CHALLENGER, OTHER, OWNER, SIGNER, STRANGER, Fight, leaf, leaves, prepare
from tests.contracts.world import BOND, PEER, World
from verification.trace.descent import ordered_path, packed_leaves
from verification.trace.openings import HashTree

ABORT = 1 << 63


@pytest.fixture
def arena(world: World) -> World:
    return prepare(world)


def shown(*data: bytes) -> bytes:
    return packed_leaves(data)


@pytest.mark.parametrize("count", [1, 2, 15, 16, 17, 33, 255, 256, 257, 1025, Random(7).randint(300, 900)])
@pytest.mark.parametrize("asks", [True, False])
def test_a_liar_comes_to_its_leaf(arena: World, count: int, asks: bool) -> None:
    """Asked with the challenge or after the answer; the last leaf is the wrong one, or one in the middle."""
    wrong = count - 1 if asks else count // 2
    fight = Fight(arena, leaves(count, **{f"at{wrong}": leaf(wrong, b"wrong")}), leaves(count))
    fight.challenge(asks=asks).answer()
    if not asks:
        fight.ask()
    fight.to_leaf()
    assert (fight.stand.turn, fight.stand.place, fight.stand.height) == (Turn.OPENING, wrong, 0)
    fight.show()
    assert fight.stand.turn is Turn.SHOWN
    assert fight.refused(CHALLENGER, "ask") == ("TurnOther", (Turn.SHOWN,))


def test_only_the_nodes_under_the_one_in_question_can_be_opened(arena: World) -> None:
    """One too few, one too many, none, those of another node, a wrong one, and those of the root again."""
    fight = Fight(arena, leaves(300, at299=leaf(299, b"wrong")), leaves(300)).challenge(asks=True).answer()
    first = fight.seen[0][1]
    fight.pick()
    where = fight.stand.where
    good = list(fight.tree.level(where.level)[where.first : where.first + where.count])
    before = list(fight.tree.level(where.level)[where.first - where.count : where.first])
    for nodes in ([], good[:-1], [*good, good[-1]], before, [*good[:-1], PEER], first):
        assert fight.refused(OWNER, "open", nodes) == ("NodesForeign", ())
    assert fight.refused(OWNER, "show", shown(fight.data[0])) == ("LeafForeign", ())
    fight.act(OWNER, "open", good)


def test_an_answer_opens_what_it_was_asked_for_and_nothing_else(arena: World) -> None:
    """Nodes that are missing, foreign, or not asked for; a tree of one leaf has none."""
    fight = Fight(arena, leaves(40), leaves(40)).challenge(asks=True)
    root, good = fight.tree.root, list(fight.tree.level(1))
    for nodes in ([], good[1:], good[::-1] + good):
        assert fight.refused(OWNER, "answer", root, 40, nodes) == ("NodesForeign", ())
    for count in (0, 2**40 + 1):
        assert fight.refused(OWNER, "answer", root, count, good) == ("LeavesInvalid", (count,))
    assert fight.refused(OWNER, "answer", root, 1, good) == ("NodesForeign", ())
    quiet = Fight(arena, leaves(40), leaves(40), OTHER).challenge()
    assert quiet.refused(OWNER, "answer", root, 40, good) == ("NodesForeign", ())


def test_a_leaf_has_to_state_the_place_that_the_descent_led_to(arena: World) -> None:
    """Sorted pairs let a liar open two leaves, or two halves of its tree, in the other order; then it can show neither."""
    lie = leaves(32, at20=leaf(20, b"wrong"))
    others = lie[16:] + lie[:16], [*lie[:20], lie[21], lie[20], *lie[22:]]
    for chunk, (data, place) in enumerate(zip(others, (0, 20), strict=True)):
        fight = Fight(arena, data, leaves(32), chunk=chunk).challenge(asks=True).answer().to_leaf()
        assert fight.tree.root == HashTree([merkle_leaf(one) for one in lie]).root
        assert fight.stand.place == place
        for one in (data[place], lie[place], data[place][:39]):
            assert fight.refused(OWNER, "show", shown(one)) == ("LeafForeign", ())
        for words in (b"", b"\0", b"\0\x30" + data[place], shown(data[place]) + b"\0"):
            assert fight.refused(OWNER, "show", words) == ("LeafForeign", ())


@pytest.mark.parametrize("count", [16, 33, 40, 700])
def test_the_last_leaves_can_be_shown_together(arena: World, count: int) -> None:
    """Instead of their hashes, a pick and one of them: all of them, in their places, and nothing else."""
    wrong = count - 2
    fight = Fight(arena, leaves(count, **{f"at{wrong}": leaf(wrong, b"wrong")}), leaves(count))
    if count == 16:  # one step: the answer opens the leaves' hashes, unless the tree is asked for later
        fight.challenge().answer().ask()
    else:
        fight.challenge(asks=True).answer()
    where = fight.to_show().stand.where
    last = fight.data[where.first : where.first + where.count]
    assert where.height > 0
    for bad in (
        last[:-1],
        [*last, last[0]],
        [last[1], last[0], *last[2:]],
        [*last[:-1], leaf(count)],
        last[1:],
        [last[0]],
    ):
        assert fight.refused(OWNER, "show", shown(*bad)) == ("LeafForeign", ())
    fight.show()
    assert fight.stand.turn is Turn.SHOWN


@pytest.mark.parametrize(("length", "fits"), [(39, False), (40, True), (1064, True), (1065, False)])
def test_a_leaf_is_no_longer_than_leaves_are(arena: World, length: int, fits: bool) -> None:
    """Else nobody could afford to show it wrong; what is too short states no index."""
    odd = (leaf(0) + bytes(1064))[:length]
    fight = Fight(arena, [odd], leaves(1)).challenge(asks=True).answer()
    if fits:
        fight.show()
    else:
        assert fight.refused(OWNER, "show", shown(odd)) == ("LeafForeign", ())


@pytest.mark.parametrize(("place", "fits"), [(19, True), (18, False)])
def test_only_the_last_leaf_says_that_there_is_no_value(arena: World, place: int, fits: bool) -> None:
    """A trace ends there: anywhere else such a leaf cannot be shown."""
    stop = PEER + (place | ABORT).to_bytes(8, "big") + b"\0\1"
    fight = Fight(arena, leaves(20, **{f"at{place}": stop}), leaves(25)).challenge(asks=True).answer().to_leaf()
    assert fight.stand.place == place
    if fits:
        fight.show()
    else:
        assert fight.refused(OWNER, "show", shown(stop)) == ("LeafForeign", ())


@pytest.mark.parametrize("declared", [16, 18, 32])
def test_a_false_number_of_leaves_has_another_shape(arena: World, declared: int) -> None:
    """The nodes of the tree over seventeen are too many or too few on every level; the liar stays silent."""
    fight = Fight(arena, leaves(17), leaves(17)).challenge(asks=True)
    for height in range(fight.tree.height + 1):
        nodes = list(fight.tree.level(height))
        assert fight.refused(OWNER, "answer", fight.tree.root, declared, nodes) == ("NodesForeign", ())


def test_a_tree_that_is_higher_than_its_number_of_leaves_ends_too_soon(arena: World) -> None:
    """Seventeen leaves pass for thirty-three as far as the first nodes, which should be pairs and are the leaves."""
    fight = Fight(arena, leaves(17), leaves(33, at0=leaf(0, b"own")), declared=33).challenge(asks=True)
    nodes = list(fight.tree.level(0))
    fight.act(OWNER, "answer", fight.tree.root, 33, nodes)
    fight.act(CHALLENGER, "pick", 0, nodes[0], ordered_path(nodes, 0))
    for height in range(3):
        for count in (1, 2, 4, 8):
            assert fight.refused(OWNER, "open", list(fight.tree.level(height))[:count]) == ("NodesForeign", ())
    for data in (fight.data[:1], fight.data[:2]):
        assert fight.refused(OWNER, "show", shown(*data)) == ("LeafForeign", ())


def test_leaves_are_shown_at_the_last_step_only(arena: World) -> None:
    """A tree of 32 leaves that passes for one of 2,048: its leaves lie where nodes should, and cannot be shown from there."""
    fight = Fight(arena, leaves(32), leaves(2048, at0=leaf(0, b"own")), declared=2048).challenge().answer().ask()
    assert fight.refused(OWNER, "show", shown(*fight.data)) == ("LeafForeign", ())
    fight.act(OWNER, "open", list(fight.tree.level(0)))


def test_a_leaf_is_not_opened_in_place_of_being_shown(arena: World) -> None:
    """It would be the challenger's turn again, and again."""
    fight = Fight(arena, leaves(2, at1=leaf(1, b"wrong")), leaves(2)).challenge(asks=True).answer().to_leaf()
    assert fight.stand.height == 0
    assert fight.refused(OWNER, "open", [fight.stand.node]) == ("NodesForeign", ())
    assert fight.refused(OWNER, "open", []) == ("NodesForeign", ())
    fight.show()


def test_an_inner_node_does_not_pass_for_a_leaf(arena: World) -> None:
    """Nor the other way round: leaves are hashed twice."""
    fight = Fight(arena, leaves(2), leaves(1), declared=1).challenge(asks=True).answer(nodes=[])
    below = fight.tree.level(0)
    for one in (below[0] + below[1], below[1] + below[0]):
        assert fight.refused(OWNER, "show", shown(one)) == ("LeafForeign", ())


def test_a_pick_names_one_of_the_opened_nodes_in_its_place(arena: World) -> None:
    """Another's place, a place behind the last, a node that is not there, a path that is too short or too long."""
    fight = Fight(arena, leaves(40), leaves(40, at3=leaf(3, b"own"))).challenge(asks=True).answer()
    nodes = fight.seen[0][1]
    count, good = len(nodes), (0, nodes[0], ordered_path(nodes, 0))
    for bad in (
        (1, nodes[0], good[2]), (count, nodes[0], good[2]), (2**63, nodes[0], good[2]), (0, PEER, good[2]),
        (0, nodes[0], good[2][1:]), (0, nodes[0], [*good[2], PEER]), (0, nodes[0], good[2][::-1]), (0, nodes[0], []),
    ):  # fmt: skip
        assert fight.refused(CHALLENGER, "pick", *bad) == ("PickForeign", ()), bad
    fight.act(CHALLENGER, "pick", *good)


def test_everybody_moves_in_turn_and_for_oneself(arena: World) -> None:
    """Nobody opens another's tree, which could be put in another order; nobody picks for the challenger."""
    fight = Fight(arena, leaves(300), leaves(300, at7=leaf(7, b"own"))).challenge()
    assert fight.refused(CHALLENGER, "ask") == ("TurnOther", (Turn.OPEN,))
    fight.answer()
    assert fight.refused(STRANGER, "ask")[0] == "DisputeNotOpen"
    assert fight.refused(OWNER, "open", []) == ("TurnOther", (Turn.ANSWERED,))
    assert fight.refused(OWNER, "show", b"") == ("TurnOther", (Turn.ANSWERED,))
    assert fight.refused(CHALLENGER, "pick", 0, PEER, []) == ("TurnOther", (Turn.ANSWERED,))
    fight.ask()
    nodes = list(fight.tree.level(fight.stand.where.level))
    for who in (CHALLENGER, STRANGER):
        assert fight.refused(who, "open", nodes) == ("NotDefender", (who.address,))
        assert fight.refused(who, "show", b"") == ("NotDefender", (who.address,))
    stale = fight.stand
    fight.open()
    picked = 0, nodes[0], ordered_path(nodes, 0)
    for who in (OWNER, STRANGER):
        assert fight.refused(who, "pick", *picked)[0] == "DisputeNotOpen"
    assert fight.refused(OWNER, "open", nodes) == ("TurnOther", (Turn.PICKING,))
    fight.stand, now = stale, fight.stand
    for who, fn, words in (
        (OWNER, "open", (nodes,)), (OWNER, "show", (b"",)), (CHALLENGER, "pick", picked), (CHALLENGER, "ask", ()),
        (STRANGER, "close", ()),
    ):  # fmt: skip
        assert fight.refused(who, fn, *words) == ("StandStale", (fight.facts.id(),))
    fight.stand = now
    fight.pick()


def test_the_key_that_answered_plays_on(arena: World) -> None:
    """The node's own account does not, once its key has: one player, one order."""
    arena.chain.transfer_native(OWNER, SIGNER.address, 10**18)
    fight = Fight(arena, leaves(2), leaves(2, at1=leaf(1, b"own"))).challenge(asks=True).answer(SIGNER).to_leaf()
    assert fight.refused(OWNER, "show", shown(fight.data[1])) == ("NotDefender", (OWNER.address,))
    fight.act(SIGNER, "show", shown(fight.data[1]))


def test_a_descent_costs_a_second_bond(arena: World) -> None:
    """Whenever it is asked for; a bond that is not there is refused, and so is a sixty-fifth."""
    funds = arena.disputes, "fundsOf", CHALLENGER.address
    Fight(arena, leaves(2), leaves(2)).challenge(asks=True)
    assert arena.view(*funds) == [8 * BOND, 2]
    late = Fight(arena, leaves(2), leaves(2), chunk=1).challenge().answer()
    assert arena.view(*funds) == [7 * BOND, 3]
    arena.send(CHALLENGER, arena.disputes, "withdraw", 6 * BOND + 1)
    assert late.refused(CHALLENGER, "ask") == ("BondShort", (BOND - 1, BOND))
    arena.send(CHALLENGER, arena.disputes, "deposit", 1)
    late.ask()
    assert arena.view(*funds) == [0, 4]
    with pytest.raises(AssertionError):
        assert late.refused(CHALLENGER, "ask")[0] == "BondShort"
