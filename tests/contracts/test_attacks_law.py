"""Honest nodes against whoever knows the judge's code: proofs that say less than they should."""

import struct
from dataclasses import replace

import pytest

from incentives.artifacts import load_artifact
from incentives.chain import Contract
from incentives.errors import ChainError
from incentives.models import Models
from incentives.stands import NEW
from sharding.sampling import SamplingParams
from sharding.span import Span
from tests.conftest import ask
from tests.contracts.descending import (
    CHALLENGER,
    CLOCKS,
    OWNER,
    SIGNER,
    STAKE,
    STRANGER,
    Fight,
    leaves,
    prepare,
)  # fmt: skip
from tests.contracts.disputed import Case, case
from tests.contracts.judging import NODE, Bench, refused
from tests.contracts.world import ANSWER, ZERO, World
from verification.trace.evidence import DRAW
from verification.trace.field_numbers import number_of

CUT = SamplingParams(temperature=1.5, top_k=140, top_p=0.9, seed=12)


@pytest.fixture(scope="session")
def drawing(bench: Bench) -> Case:
    """An honest last block whose token is drawn."""
    return case(bench[0], bench[2], NODE, Span(1, 2), CUT, vocab_size=300)


def unbacked(made: Case, name: str, index: int, draw: bytes) -> bytes:
    """One leaf of the trace as the field's first, with a draw and without the roots that it would be checked by."""
    (leaf,), opening = made.posted.tree.open([index])
    _, field = number_of(name)
    head = struct.pack(">BBIIIB", DRAW, field, 0, 0, 0, 1) + struct.pack(">H", len(leaf.data)) + leaf.data
    paths = bytes([len(opening.program)]) + opening.program + bytes([len(opening.siblings)])
    return head + paths + b"".join(opening.siblings) + b"\0" + draw


def test_a_draw_that_no_sampler_backs_proves_nothing(bench: Bench, drawing: Case) -> None:
    """Else the honest trace of a drawn token is judged as if the likeliest had been asked for: other fields, other places."""
    first = drawing.layout.leaf_of("order", 0, 0)  # where a greedy trace has the field "best"
    for draw in (bytes(40), drawing.material.draw):
        assert refused(bench, drawing, unbacked(drawing, "best", first, draw)) == "LeavesNotHeld"


def test_what_only_a_drawn_token_has_is_not_judged_without_its_draw(bench: Bench, drawing: Case) -> None:
    """Left out, the same honest trace would be taken for one of the likeliest token."""
    first = drawing.layout.leaf_of("order", 0, 0)
    proof = bytearray(unbacked(drawing, "best", first, b""))
    proof[0] = 0
    assert refused(bench, drawing, bytes(proof)) == "PlaceInvalid"


def test_a_span_past_the_models_end_has_no_trace(bench: Bench, drawing: Case) -> None:
    """Whatever a route calls a stage's blocks: the proof of a right element of the last block says nothing there."""
    proof = drawing.proof(drawing.spot("1.middle")).data
    blocks = drawing.layout.spec.num_blocks
    assert refused(bench, replace(drawing, span=Span(1, blocks + 1)), proof) == "PlaceInvalid"


def test_nobody_is_convicted_by_a_draw_of_the_challengers(world: World) -> None:
    """From the challenge to the proof: the honest last stage keeps its stake."""
    prepare(world)
    judge = Contract(world.view(world.disputes, "disputeTerms")[0], load_artifact("Judge"))
    models = Models(world.chain, Contract(world.view(judge, "parts")[0], load_artifact("Models")))
    made = case(world, models, OWNER.address, Span(1, 2), CUT, vocab_size=300)
    sent = world.send(CHALLENGER, world.disputes, "challenge", *made.challenge(world, SIGNER))
    facts, stand = made.facts(world, OWNER.address, CHALLENGER.address), NEW.after(sent.logs, CLOCKS)
    sent = world.send(OWNER, world.disputes, "answer", (*facts, stand.words), made.root, len(made.leaves), [])
    proof = unbacked(made, "best", made.layout.leaf_of("order", 0, 0), bytes(40))
    call = world.disputes, "proveElement", (*facts, stand.after(sent.logs, CLOCKS).words), proof, ZERO
    assert world.refusal(CHALLENGER, *call) == ("LeavesNotHeld", ())
    assert world.stake(OWNER)[0] == STAKE


def test_no_shortage_of_gas_convicts_without_taking_stake(world: World) -> None:
    """A slash that fails is no error; whoever gives too little gas for it has too little for the rest as well."""
    fight = Fight(prepare(world), leaves(1), leaves(1)).challenge()
    world.pass_time(ANSWER + 1)
    kept = {stake_after(world, fight, limit) for limit in range(60_000, 300_000, 2_000)}
    assert kept == {STAKE * 7 // 10, None}


def stake_after(world: World, fight: Fight, limit: int) -> int | None:
    """What closing with that much gas leaves to the node; None where it fails as a whole."""
    taken = ask(world.url, "evm_snapshot")
    try:
        world.send(STRANGER, *fight.call("close"), gas=limit)
        return world.stake(OWNER)[0]
    except ChainError:
        return None
    finally:
        ask(world.url, "evm_revert", taken)
