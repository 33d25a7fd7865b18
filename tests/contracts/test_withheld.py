"""The attack of withheld data: a liar posts a root and gives nothing out, and is convicted by what it had to open."""

from dataclasses import astuple
from typing import Any

import pytest

from incentives.artifacts import load_artifact
from incentives.chain import Contract
from incentives.disputes import Facts
from incentives.models import Models
from incentives.stands import NEW, Clocks, Turn
from sharding.merkle import merkle_leaf
from sharding.span import Span
from tests.contracts.descending import CHALLENGER, GAS, OWNER, SIGNER, STAKE, prepare
from tests.contracts.disputed import Case, case
from tests.contracts.world import DESCENT, PROOF, ZERO, World
from verification.trace.descent import Where, children, known_tree, own_tree, packed_leaves, pick, root_of
from verification.trace.evidence import element_proof
from verification.trace.openings import HashTree
from verification.trace.posted import LeafTree, PostedTrace
from verification.trace.tree import Leaf

PREFIX = "1.qkv.sums", 3, 1
CLOCKS = Clocks(PROOF, DESCENT)
NUMBER = 2**96 - 1


class Defender:
    """Opens what it is asked for, out of a tree that nobody else has."""

    def __init__(self, made: Case) -> None:
        self.data = [leaf.data for leaf in made.posted.tree.leaves]
        self.tree = HashTree([merkle_leaf(data) for data in self.data])

    def move(self, where: Where) -> tuple[str, Any]:
        if where.is_last:
            return "show", packed_leaves(self.data[where.first : where.first + where.count])
        return "open", children(self.tree, where)


@pytest.mark.parametrize("late", [True, False])
def test_withheld_data_is_fought_for_and_the_lie_in_it_convicts(world: World, late: bool) -> None:
    """The challenger has its own trace and the moves of the node; the proof is the ordinary one."""
    prepare(world)
    judge = Contract(world.view(world.disputes, "disputeTerms")[0], load_artifact("Judge"))
    models = Models(world.chain, Contract(world.view(judge, "parts")[0], load_artifact("Models")))
    honest = case(world, models, OWNER.address, Span(1, 2), None, hidden_size=150, num_blocks=3)
    defender = Defender(honest.spoilt(honest.spot(*PREFIX)))
    challenge = honest.challenge(world, SIGNER, number=NUMBER, asks=not late)
    stand = NEW.after(world.send(CHALLENGER, world.disputes, "challenge", *challenge).logs, CLOCKS)
    facts, matter, dispute = _names(world, honest.named(world, OWNER.address, CHALLENGER.address, NUMBER))
    top = root_of(len(defender.data))
    opened = [] if late else children(defender.tree, top)
    sent = world.send(OWNER, world.disputes, "answer", (*facts, stand.words), defender.tree.root, top.leaves, opened)
    stand = stand.after(sent.logs, CLOCKS)
    if late:
        stand = stand.after(world.send(CHALLENGER, world.disputes, "ask", NUMBER, matter, stand.words).logs, CLOCKS)
    own = own_tree([leaf.data for leaf in honest.posted.tree.leaves], top.leaves)
    seen, shown = [(top, opened)] if opened else [], b""
    while stand.turn is not Turn.SHOWN:
        if stand.turn is Turn.PICKING:
            picked = pick(own, *seen[-1])
            assert picked is not None
            call = CHALLENGER, world.disputes, "pick", NUMBER, stand.about(matter), stand.play, *astuple(picked)
        else:
            fn, words = defender.move(stand.where)
            call = OWNER, world.disputes, fn, dispute, stand.about(matter), stand.play, words
            if fn == "show":
                shown = words
            seen += [(stand.where, words)] if fn == "open" else []
        stand = stand.after(world.send(*call, gas=GAS).logs, CLOCKS)
    leaves = _with_shown(honest, stand.where.first, shown)
    if stand.where.height:
        seen.append(
            (stand.where, [merkle_leaf(leaf.data) for leaf in leaves[stand.where.first :][: stand.where.count]])
        )
    assert leaves != list(honest.posted.tree.leaves)
    known = PostedTrace(honest.layout, LeafTree(leaves, known_tree(own, seen)))
    proof = element_proof(known, honest.spot(*PREFIX), honest.material).data
    world.send(CHALLENGER, world.disputes, "proveProduct", (*facts, stand.words), proof, ZERO, gas=GAS)
    assert world.stake(OWNER)[0] == STAKE * 7 // 10


def _names(world: World, named: Facts) -> tuple[tuple[Any, ...], bytes, bytes]:
    """Name and words, hash, name: Python's are the contract's."""
    assert named.id() == bytes(world.view(world.disputes, "idOf", CHALLENGER.address, NUMBER))
    assert named.matter() == bytes(world.view(world.disputes, "matterOf", named.words))
    return (named.id(), named.words), named.matter(), named.id()


def _with_shown(honest: Case, first: int, shown: bytes) -> list[Leaf]:
    """One's own leaves, those that were shown in their places."""
    leaves = list(honest.posted.tree.leaves)
    while shown:
        length = int.from_bytes(shown[:2], "big")
        data, shown = shown[2 : 2 + length], shown[2 + length :]
        leaves[first] = Leaf(data[:32], int.from_bytes(data[32:40], "big"), data[40:])
        first += 1
    return leaves
