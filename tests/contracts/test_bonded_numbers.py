"""Bonds of won disputes stay with their numbers: they serve the next one there, and their challenger alone takes them back."""

from typing import Any

import pytest

from incentives.disputes import Facts
from incentives.errors import Reverted
from incentives.stands import Turn
from sharding.hashing import keccak256
from tests.contracts.descending import CHALLENGER, OTHER, OWNER, STRANGER, Fight, leaf, leaves, prepare
from tests.contracts.test_descent_clocks import everything, funds
from tests.contracts.world import ANSWER, BOND, PROOF, ZERO, World

TWIN = [*leaves(3), leaf(1, b"twin")]
"""Two leaves of one index."""


@pytest.fixture
def arena(world: World) -> World:
    return prepare(world)


def fight_of(arena: World, session: int, who: Any = CHALLENGER, number: int = 0) -> Fight:
    """On a route of its own: each can convict."""
    return Fight(arena, leaves(3), leaves(3), who, number, keccak256(session.to_bytes(4, "big")))


def won(arena: World, session: int, *, asks: bool = False, who: Any = CHALLENGER, number: int = 0) -> Fight:
    """By the node's silence."""
    fight = fight_of(arena, session, who, number).challenge(asks=asks)
    arena.pass_time(ANSWER + 1)
    fight.act(STRANGER, "close")
    return fight


def lies_at(arena: World, name: Facts) -> int:
    """What the contract keeps of a number whose dispute is over: one, and the bonds there."""
    return int.from_bytes(arena.view(arena.disputes, "keptOf", name.id()), "big")


def unbond(arena: World, number: int = 0, who: Any = CHALLENGER) -> tuple[Any, ...]:
    return who, arena.disputes, "unbond", number


def test_a_bond_that_was_won_serves_the_next_dispute_of_its_number(arena: World) -> None:
    """Nothing goes through the purse, which may be empty; another number finds nothing there."""
    won(arena, 1)
    arena.send(CHALLENGER, arena.disputes, "withdraw", 9 * BOND)
    assert funds(arena, CHALLENGER) == (0, 1)
    again, other = fight_of(arena, 2), fight_of(arena, 2, number=1)
    with pytest.raises(Reverted, match="BondShort"):
        other.challenge()
    again.challenge()
    assert funds(arena, CHALLENGER) == (0, 1)
    assert arena.balance(arena.disputes.address) == everything(arena) == 11 * BOND


def test_the_purse_makes_up_for_what_is_missing_and_gets_what_is_left_over(arena: World) -> None:
    """From none to two bonds, from two to one, from one to two, and a second one asked for in between."""
    won(arena, 1, asks=True)
    assert funds(arena, CHALLENGER) == (8 * BOND, 2)
    assert lies_at(arena, won(arena, 2).facts) == 2
    assert funds(arena, CHALLENGER) == (9 * BOND, 1)
    assert lies_at(arena, won(arena, 3, asks=True).facts) == 3
    assert funds(arena, CHALLENGER) == (8 * BOND, 2)
    late = fight_of(arena, 4).challenge()
    assert funds(arena, CHALLENGER) == (9 * BOND, 1)
    late.answer().ask()
    assert funds(arena, CHALLENGER) == (8 * BOND, 2)
    assert arena.balance(arena.disputes.address) == everything(arena) == 20 * BOND


def test_a_second_bond_is_of_the_purse_alone(arena: World) -> None:
    """Those that lie with other numbers of the challenger's pay for nothing here."""
    won(arena, 1, asks=True, number=1)
    arena.send(CHALLENGER, arena.disputes, "withdraw", 7 * BOND)
    fight = fight_of(arena, 2).challenge().answer()
    assert fight.refused(CHALLENGER, "ask") == ("BondShort", (0, BOND))


@pytest.mark.parametrize("asks", [False, True])
def test_bonds_are_taken_back_once(arena: World, asks: bool) -> None:
    """By their challenger; then they are as free as any, and the number can be taken with bonds of the purse."""
    fight, bonds = won(arena, 1, asks=asks), 1 + asks
    sent = arena.send(*unbond(arena))
    assert [(each.name, each.args["id"], each.args["bonds"]) for each in sent.logs] == [
        ("Unbonded", fight.facts.id(), bonds)
    ]
    assert funds(arena, CHALLENGER) == (10 * BOND, 0)
    assert arena.refusal(*unbond(arena)) == ("NothingBonded", (fight.facts.id(),))
    arena.send(CHALLENGER, arena.disputes, "withdraw", 10 * BOND)
    assert arena.balance(arena.disputes.address) == everything(arena) == 10 * BOND
    arena.send(CHALLENGER, arena.disputes, "deposit", BOND)
    fight_of(arena, 2).challenge()
    assert funds(arena, CHALLENGER) == (0, 1)


@pytest.mark.parametrize("turn", [Turn.OPEN, Turn.ASKED, Turn.ANSWERED, Turn.PICKING, Turn.OPENING, Turn.SHOWN])
def test_the_bonds_of_an_open_dispute_stay_where_they_are(arena: World, turn: Turn) -> None:
    """At every turn, whether they come from the purse or lay there before."""
    for session, wins in ((1, False), (3, True)):
        if wins:
            won(arena, 2)
        fight = Fight(arena, [leaf(0), leaf(1, b"lie"), leaf(2)], leaves(3), session=keccak256(bytes([session])))
        fight.challenge(asks=turn not in (Turn.OPEN, Turn.ANSWERED))
        if turn not in (Turn.OPEN, Turn.ASKED):
            fight.answer()
        if turn in (Turn.OPENING, Turn.SHOWN):
            fight.pick()
        if turn is Turn.SHOWN:
            fight.show()
        assert fight.stand.turn is turn
        assert arena.refusal(*unbond(arena)) == ("DisputeKnown", (fight.facts.id(),))
        arena.pass_time(2 * ANSWER + 2 * PROOF)
        fight.act(STRANGER, "close")
    assert arena.balance(arena.disputes.address) == everything(arena) == 20 * BOND


def test_nothing_lies_with_a_number_that_never_was_or_that_lost(arena: World) -> None:
    """A lost dispute forfeits what it had, also where that lay there from one that was won."""
    fight = fight_of(arena, 2)
    assert arena.refusal(*unbond(arena)) == ("NothingBonded", (fight.facts.id(),))
    won(arena, 1)
    fight.challenge().answer()
    arena.pass_time(PROOF + 1)
    fight.act(STRANGER, "close")
    assert lies_at(arena, fight.facts) == 1
    assert funds(arena, CHALLENGER) == (9 * BOND, 0)
    assert funds(arena, OWNER) == (BOND // 2, 0)
    assert arena.refusal(*unbond(arena)) == ("NothingBonded", (fight.facts.id(),))
    assert arena.balance(arena.disputes.address) == everything(arena) == 20 * BOND


def test_a_lost_descent_forfeits_both_bonds_wherever_they_came_from(arena: World) -> None:
    """One lay there, one was of the purse."""
    won(arena, 1)
    fight = fight_of(arena, 2).challenge(asks=True).answer()
    arena.pass_time(2 * PROOF)
    fight.act(STRANGER, "close")
    assert (funds(arena, CHALLENGER), lies_at(arena, fight.facts)) == ((8 * BOND, 0), 1)
    assert arena.balance(arena.disputes.address) == everything(arena) == 20 * BOND


def test_nobody_takes_or_uses_what_lies_with_anothers_number(arena: World) -> None:
    """Numbers are each challenger's own: the same one of another names another place."""
    mine = won(arena, 1)
    theirs = fight_of(arena, 2, OTHER)
    for who in (OTHER, STRANGER, OWNER):
        assert arena.refusal(*unbond(arena, who=who))[0] == "NothingBonded"
    theirs.challenge()
    assert funds(arena, OTHER) == (9 * BOND, 1)
    assert (lies_at(arena, mine.facts), funds(arena, CHALLENGER)) == (2, (9 * BOND, 1))
    assert arena.refusal(*unbond(arena, who=OTHER)) == ("DisputeKnown", (theirs.facts.id(),))
    arena.send(*unbond(arena))
    assert funds(arena, CHALLENGER) == (10 * BOND, 0)


def test_a_strangers_proof_leaves_the_bond_once(arena: World) -> None:
    """Neither the proof again nor the close makes another of it, nor does the next dispute of the same number."""
    fight = Fight(arena, TWIN, leaves(4)).challenge().answer()
    paths = [list(fight.tree.open([k]).siblings) for k in (1, 3)]
    pair = 1, TWIN[1][:32] + TWIN[1][40:], paths[0], TWIN[3][:32] + TWIN[3][40:], paths[1]
    fight.act(STRANGER, "proveTwice", pair, ZERO)
    assert (funds(arena, CHALLENGER), lies_at(arena, fight.facts)) == ((9 * BOND, 1), 2)
    assert fight.refused(STRANGER, "proveTwice", pair, ZERO)[0] == "DisputeNotOpen"
    arena.pass_time(2 * PROOF)
    assert fight.refused(STRANGER, "close")[0] == "DisputeNotOpen"
    again = fight_of(arena, 2).challenge()
    assert fight.refused(STRANGER, "proveTwice", pair, ZERO)[0] == "StandStale"
    arena.pass_time(ANSWER + 1)
    again.act(STRANGER, "close")
    arena.send(*unbond(arena))
    assert funds(arena, CHALLENGER) == (10 * BOND, 0)
    assert arena.balance(arena.disputes.address) == everything(arena) == 20 * BOND


def test_bonds_that_lie_with_numbers_count_with_the_others(arena: World) -> None:
    """Of 64: a number that has its bond can be taken all the same, for as many as lie there; one that is free counts no more."""
    arena.send(CHALLENGER, arena.disputes, "deposit", 60 * BOND)
    won(arena, 1)
    won(arena, 2, number=1)
    for number in range(2, 64):
        fight_of(arena, 3, number=number).challenge()
    assert funds(arena, CHALLENGER) == (6 * BOND, 64)
    for number, asks in ((64, False), (0, True)):
        with pytest.raises(Reverted, match="TooManyChallenges"):
            fight_of(arena, 3, number=number).challenge(asks=asks)
    fight_of(arena, 3).challenge()
    arena.send(*unbond(arena, 1))
    assert funds(arena, CHALLENGER) == (7 * BOND, 63)
    fight_of(arena, 3, number=64).challenge()
    assert funds(arena, CHALLENGER) == (6 * BOND, 64)
