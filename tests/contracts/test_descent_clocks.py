"""The clocks of a descent on both sides, what silence costs, and where every bond is."""

from collections.abc import Callable
from typing import Any

import pytest

from incentives.stands import Turn
from tests.conftest import ask
from tests.contracts.descending import (
    CHALLENGER,
    OTHER,
    OWNER,
    STAKE,
    STRANGER,
    Fight,
    leaf,
    leaves,
    prepare,
)
from tests.contracts.world import ANSWER, BOND, DESCENT, GRAVE, PROOF, ZERO, World

COUNT, WRONG = 700, 500
"""Two steps of five levels."""


@pytest.fixture
def arena(world: World) -> World:
    return prepare(world)


def fight_in(arena: World, who: Any = CHALLENGER, chunk: int = 0) -> Fight:
    return Fight(arena, leaves(COUNT, **{f"at{WRONG}": leaf(WRONG, b"wrong")}), leaves(COUNT), who, chunk)


def now_is(world: World, timestamp: int) -> None:
    world.next_block_at(timestamp)
    ask(world.url, "evm_mine")


def funds(world: World, who: Any) -> tuple[int, int]:
    return tuple(world.view(world.disputes, "fundsOf", who.address))


def everything(world: World) -> int:
    """All free funds, all bonds that are out, and what waits to be burnt."""
    known = [funds(world, who) for who in (OWNER, CHALLENGER, OTHER, STRANGER)]
    burning = world.view(world.disputes, "fundsOf", GRAVE)[0]
    return sum(free + out * BOND for free, out in known) + burning


Step = Callable[[Fight], Any]
DEFENDERS: dict[str, Step] = {
    "answer": lambda f: f.challenge(asks=True),
    "open, asked late": lambda f: f.challenge().answer().ask(),
    "open": lambda f: f.challenge(asks=True).answer().pick(),
    "show": lambda f: f.challenge(asks=True).answer().to_leaf(),
}
CHALLENGERS: dict[str, Step] = {
    "ask": lambda f: f.challenge().answer(),
    "pick": lambda f: f.challenge(asks=True).answer(),
    "pick again": lambda f: f.challenge(asks=True).answer().pick().open(),
    "prove": lambda f: f.challenge(asks=True).answer().to_leaf().show(),
}


def move(fight: Fight) -> None:
    """What the side does whose turn it is."""
    turn = fight.stand.turn
    if turn is Turn.ASKED:
        fight.answer()
    elif turn is Turn.PICKING:
        fight.pick()
    elif turn is Turn.ANSWERED:
        fight.ask()
    elif fight.stand.height:
        fight.open()
    else:
        fight.show()


@pytest.mark.parametrize("step", DEFENDERS)
def test_a_node_that_is_silent_at_any_step_loses_what_a_liar_loses(arena: World, step: str) -> None:
    """At its last second it may still move, one later not; then anybody ends it, and no bond is lost."""
    fight = fight_in(arena)
    DEFENDERS[step](fight)
    end = fight.stand.deadline
    now_is(arena, end - 1)
    assert fight.refused(STRANGER, "close") == ("ClockRunning", (end,))
    now_is(arena, end + 1)
    if fight.stand.turn is Turn.ASKED:
        refused = fight.refused(OWNER, "answer", fight.tree.root, COUNT, [])
    else:
        refused = fight.refused(OWNER, "open" if fight.stand.height else "show", [] if fight.stand.height else b"")
    assert refused == ("ClockRunOut", (end,))
    sent = fight.act(STRANGER, "close")
    assert (sent.logs[0].name, sent.logs[0].args["taken"]) == ("Upheld", STAKE * 3 // 10)
    assert funds(arena, CHALLENGER) == (8 * BOND, 2)
    arena.send(CHALLENGER, arena.disputes, "unbond", fight.chunk)
    assert funds(arena, CHALLENGER) == (10 * BOND, 0)
    assert arena.balance(arena.disputes.address) == everything(arena) == 20 * BOND


@pytest.mark.parametrize("step", CHALLENGERS)
def test_a_challenger_that_is_silent_at_any_step_loses_its_bonds(arena: World, step: str) -> None:
    """Half of them pay the node; but not before the time for everybody's proofs is over."""
    fight = fight_in(arena)
    CHALLENGERS[step](fight)
    end, bonds = fight.stand.deadline, 1 if step == "ask" else 2
    now_is(arena, end + 1)
    if step != "prove":
        call = ("ask",) if step == "ask" else ("pick", 0, bytes(32), [])
        assert fight.refused(CHALLENGER, *call) == ("ClockRunOut", (end,))
    if end < fight.stand.proofs:
        assert fight.refused(STRANGER, "close") == ("ClockRunning", (fight.stand.proofs,))
        now_is(arena, fight.stand.proofs + 1)
    assert fight.act(STRANGER, "close").logs[0].name == "Acquitted"
    assert funds(arena, CHALLENGER) == ((10 - bonds) * BOND, 0)
    assert funds(arena, OWNER) == (bonds * BOND // 2, 0)
    assert arena.balance(arena.disputes.address) == everything(arena) == 20 * BOND
    assert arena.stake(OWNER)[0] == STAKE


@pytest.mark.parametrize("step", [*DEFENDERS, "ask", "pick", "pick again"])
def test_the_last_second_belongs_to_who_has_to_move(arena: World, step: str) -> None:
    """On both sides, at every step."""
    fight = fight_in(arena)
    (DEFENDERS | CHALLENGERS)[step](fight)
    before = fight.stand
    arena.next_block_at(before.deadline)
    move(fight)
    assert fight.stand != before


def test_each_side_has_one_clock_for_all_its_moves(arena: World) -> None:
    """What one uses is gone for its next move, and nothing of the other's."""
    fight = fight_in(arena).challenge(asks=True).answer()
    begun = fight.stand.deadline - DESCENT
    arena.next_block_at(begun + 30)
    fight.pick()
    assert (fight.stand.deadline, fight.stand.rest) == (begun + 30 + DESCENT, DESCENT - 30)
    arena.next_block_at(begun + 40)
    fight.open()
    assert (fight.stand.deadline, fight.stand.rest) == (begun + 40 + DESCENT - 30, DESCENT - 10)
    end = begun + 40 + DESCENT - 30
    now_is(arena, end + 1)
    assert fight.refused(CHALLENGER, "pick", 0, bytes(32), []) == ("ClockRunOut", (end,))


def test_a_posted_root_is_open_to_everybodys_proofs_all_the_time(arena: World) -> None:
    """Whoever's turn it is, and although the challenger, a friend of the liar's, lets its own clock run out."""
    data = [*leaves(COUNT), leaf(5, b"twin")]
    turns: list[Step] = [
        lambda f: f.challenge().answer(), lambda f: f.challenge(asks=True).answer(),
        lambda f: f.challenge(asks=True).answer().pick(), lambda f: f.challenge(asks=True).answer().to_leaf(),
    ]  # fmt: skip
    for chunk, play in enumerate(turns):
        fight = Fight(arena, data, leaves(COUNT + 1), chunk=chunk)
        play(fight)
        paths = [list(fight.tree.open([k]).siblings) for k in (5, COUNT)]
        pair = 5, data[5][:32] + data[5][40:], paths[0], data[COUNT][:32] + data[COUNT][40:], paths[1]
        if chunk == 1:
            now_is(arena, fight.stand.deadline + 1)
        if chunk == len(turns) - 1:
            fight.act(STRANGER, "proveTwice", pair, ZERO)
            assert arena.stake(OWNER)[0] == STAKE * 7 // 10
        else:
            arena.view(*fight.call("proveTwice", pair, ZERO))


def test_a_dispute_ends_by_its_clocks_whatever_happens(arena: World) -> None:
    """The longest way: every move at its last second. The stake is held that long where it is leaving."""
    arena.send(OWNER, arena.stakes, "exit", STAKE)
    begun = arena.chain.head().timestamp
    fight = fight_in(arena)
    arena.next_block_at(begun + 10)
    fight.challenge()
    opened = begun + 10
    until = opened + ANSWER + 2 * (PROOF + DESCENT)
    assert arena.view(arena.stakes, "heldUntil", OWNER.address) == until
    for _ in range(8):
        arena.next_block_at(fight.stand.deadline)
        if fight.stand.turn in (Turn.OPEN, Turn.ASKED):
            fight.answer()
        else:
            move(fight)
        if fight.stand.turn in (Turn.PICKING, Turn.OPENING) and fight.stand.rest == 0:
            break
    assert fight.stand.deadline + PROOF <= until
    now_is(arena, max(fight.stand.deadline, fight.stand.proofs) + 1)
    fight.act(STRANGER, "close")


def test_spam_of_disputes_costs_its_author_and_pays_the_node(arena: World) -> None:
    """Many at once, some with descents, none going on: each ends for itself, and nothing of the node's is lost."""
    fights = []
    for chunk in range(6):
        fights.append(fight_in(arena, (CHALLENGER, OTHER)[chunk % 2], chunk).challenge(asks=chunk < 3).answer())
    assert funds(arena, CHALLENGER)[1] + funds(arena, OTHER)[1] == 9
    now_is(arena, max(max(f.stand.deadline, f.stand.proofs) for f in fights) + 1)
    for fight in fights:
        assert fight.act(STRANGER, "close").logs[0].name == "Acquitted"
    assert funds(arena, OWNER) == (sum(n * BOND // 2 for n in (2, 2, 2, 1, 1, 1)), 0)
    assert arena.balance(arena.disputes.address) == everything(arena) == 20 * BOND
    assert arena.stake(OWNER)[0] == STAKE
    arena.send(STRANGER, arena.disputes, "burn")
    assert arena.balance(arena.disputes.address) == everything(arena)


def test_many_challengers_descend_at_once(arena: World) -> None:
    """Each in a dispute of its own, with clocks and bonds of its own; the first conviction saves all bonds."""
    first, second = fight_in(arena), fight_in(arena, OTHER)
    first.challenge(asks=True).answer().to_leaf()
    second.challenge().answer().ask().open()
    now_is(arena, first.stand.deadline + 1)
    first.act(STRANGER, "close")
    assert arena.stake(OWNER)[0] == STAKE * 7 // 10
    now_is(arena, max(second.stand.deadline, second.stand.proofs) + 1)
    sent = second.act(STRANGER, "close")
    assert (sent.logs[0].name, sent.logs[0].args["taken"]) == ("Upheld", 0)
    assert funds(arena, CHALLENGER) == funds(arena, OTHER) == (8 * BOND, 2)
