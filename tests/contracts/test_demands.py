"""Demands for data: who may ask for what, which leaves a later block draws, serving them, silence, and the bonds."""

from collections.abc import Sequence
from dataclasses import astuple, replace
from typing import Any

import pytest

from incentives.artifacts import load_artifact
from incentives.chain import Contract
from incentives.demands import LEAVES, Side, Wanted, opened_words, wanted_of
from incentives.errors import Reverted
from incentives.models import Models
from incentives.signing import split_signature
from incentives.stands import NEW, Clocks
from sharding.hashing import keccak256
from sharding.span import Span
from tests.conftest import ask
from tests.contracts.disputed import FIRST, LAST, SALT, Case, case, terms
from tests.contracts.test_verdicts import refused
from tests.contracts.world import (
    ANSWER,
    ARBITERS,
    BOND,
    DELAY,
    DESCENT,
    EPOCH,
    FOREVER,
    GRAVE,
    MAX_FEE,
    MIN_STAKE,
    PEER,
    PROOF,
    UNBONDING,
    World,
    dev,
    hot,
    next_addresses,
    shipped,
)  # fmt: skip
from verification.trace.tree import Leaf, Tree, leaf_mask, position_key, receipt_root

OWNER, DEMANDER, OTHER, STRANGER = dev(1), dev(2), dev(3), dev(9)
SIGNER = hot("signer")
STAKE = 10 * MIN_STAKE
GAS = 2_000_000
KV_HEADS, HIDDEN_PIECES = 2, 2


def some_leaves(indexes: Sequence[int], tree: Tree) -> list[Leaf]:
    """Leaves with any content: a demand asks for nothing else than what was signed."""
    return [Leaf(leaf_mask(position_key(SALT, k >> 32), tree, k), k, keccak256(b"%d" % k)) for k in indexes]


@pytest.fixture(scope="module")
def made(deployed: World) -> Case:
    """A stage in the middle of a model, and its receipt over four positions."""
    models = Models(
        deployed.chain, Contract(deployed.view(deployed.demands, "demandTerms")[0], load_artifact("Models"))
    )
    return case(deployed, models, OWNER.address, Span(1, 2), hidden_size=150, num_blocks=3)


@pytest.fixture
def arena(world: World) -> World:
    world.join(OWNER, SIGNER, STAKE)
    world.bring_bonds(world.demands, DEMANDER, OTHER)
    return world


def signed(made: Case, side: Side) -> tuple[Case, list[Leaf]]:
    """The same with leaves under one of its roots."""
    positions = range(FIRST, LAST)
    if side is Side.KEPT:
        spec = made.layout.spec
        pieces = 2 * spec.num_kv_heads * -(-spec.head_dim // 128)
        indexes = [p << 32 | 1 << 16 | k for p in positions for k in range(pieces)]
    else:
        indexes = [p << 32 | k for p in positions for k in range(HIDDEN_PIECES)]
    found = some_leaves(indexes, Tree.KEPT if side is Side.KEPT else Tree.ROW)
    name = {Side.IN: "in_root", Side.OUT: "out_root", Side.KEPT: "kv_root"}[side]
    return replace(made, receipt=replace(made.receipt, **{name: receipt_root(found)})), found


def words(world: World, made: Case, side: Side, signer: Any = SIGNER) -> tuple[Any, ...]:
    signature = split_signature(signer.sign_digest(made.receipt.digest(world.domain(world.court))))
    stage = made.route.stages[made.receipt.stage]
    return world.demands, "demand", astuple(made.receipt), *signature, terms(made.route), astuple(stage), side


def demanded(world: World, made: Case, side: Side = Side.OUT, who: Any = DEMANDER) -> Wanted:
    return wanted_of(world.send(who, *words(world, made, side), gas=GAS))


def mine(world: World, blocks: int) -> None:
    for _ in range(blocks):
        ask(world.url, "evm_mine")


def drawn(world: World, wanted: Wanted, who: Any = STRANGER) -> list[int]:
    """The indexes, which the contract names alike."""
    mine(world, 1)
    world.send(who, world.demands, "draw", wanted.id(), gas=GAS)
    beacon = beacon_of(world, wanted)
    indexes = wanted.drawn(beacon)
    told = [world.view(world.demands, "drawn", astuple(wanted), beacon, k) for k in range(LEAVES)]
    assert indexes == told
    return indexes


def beacon_of(world: World, wanted: Wanted) -> int:
    return int(world.view(world.demands, "demandOf", wanted.id())[0])


def funds(world: World, who: Any) -> tuple[int, int]:
    return tuple(world.view(world.demands, "fundsOf", who.address))


def conserved(world: World) -> bool:
    """The balance is free funds, bonds that are out, and what waits to be burnt."""
    known = [funds(world, who) for who in (OWNER, DEMANDER, OTHER)]
    burning = world.view(world.demands, "fundsOf", GRAVE)[0]
    return world.balance(world.demands.address) == sum(free + out * BOND for free, out in known) + burning


def now_is(world: World, timestamp: int) -> None:
    world.next_block_at(timestamp)
    ask(world.url, "evm_mine")


@pytest.mark.parametrize("side", Side)
def test_drawn_leaves_are_shown_and_the_bond_pays_for_it(arena: World, made: Case, side: Side) -> None:
    """By anybody; half of the bond is the node's, half is burnt; the node keeps its stake."""
    receipt, found = signed(made, side)
    wanted = demanded(arena, receipt, side)
    indexes = drawn(arena, wanted)
    assert set(indexes) <= {leaf.index for leaf in found}
    sent = arena.send(STRANGER, arena.demands, "serve", astuple(wanted), opened_words(found, indexes))
    assert [(event.name, event.args["node"]) for event in sent.logs] == [("Served", OWNER.address)]
    assert (funds(arena, DEMANDER), funds(arena, OWNER)) == ((9 * BOND, 0), (BOND // 2, 0))
    assert conserved(arena)
    assert arena.stake(OWNER)[0] == STAKE
    assert arena.refusal(STRANGER, arena.demands, "close", astuple(wanted)) == ("DemandNotOpen", (wanted.id(),))
    assert arena.refusal(DEMANDER, *words(arena, receipt, side)) == ("DemandKnown", (wanted.id(),))
    demanded(arena, receipt, side, OTHER)


def test_tokens_are_one_leaf_of_each_position_where_the_model_begins(arena: World, made: Case) -> None:
    """What a first stage takes in: a prompt's tokens, then those that were chosen."""
    assert demanded(arena, made, Side.IN).pieces == demanded(arena, made, Side.OUT).pieces == HIDDEN_PIECES
    first = replace(made, receipt=replace(made.receipt, stage=0))
    assert demanded(arena, first, Side.IN).pieces == 1
    kept = demanded(arena, first, Side.KEPT)
    assert (kept.start, kept.blocks, kept.first, kept.last) == (0, 1, FIRST, LAST)


def test_a_last_stage_is_not_asked_for_tokens_that_nobody_asked_it_for(arena: World, made: Case) -> None:
    """A prompt's positions have none, and an honest node cannot show what is not there. Its inputs, keys and values are."""
    stages = made.route.stages[0], replace(made.route.stages[1], end=made.layout.spec.num_blocks)
    route = replace(made.route, stages=stages)
    digest = route.digest(arena.domain(arena.court))
    last = replace(made, route=route, receipt=replace(made.receipt, route=digest))
    assert arena.refusal(DEMANDER, *words(arena, last, Side.OUT)) == ("TokensNotKnown", ())
    assert funds(arena, DEMANDER) == (10 * BOND, 0)
    assert demanded(arena, last, Side.IN).pieces == HIDDEN_PIECES
    kept = demanded(arena, last, Side.KEPT)
    assert (kept.start, kept.blocks) == (1, made.layout.spec.num_blocks - 1)


def test_silence_costs_a_twentieth_and_returns_the_bond(arena: World, made: Case) -> None:
    """At the last second the leaves may still be shown, one later not. A second silence of the day costs nothing more."""
    receipt, found = signed(made, Side.OUT)
    wanted, other = demanded(arena, receipt), demanded(arena, receipt, who=OTHER)
    indexes = drawn(arena, wanted)
    drawn(arena, other)
    end = arena.view(arena.demands, "demandOf", wanted.id())[2]
    now_is(arena, end - 1)
    assert arena.refusal(STRANGER, arena.demands, "close", astuple(wanted)) == ("ClockRunning", (end,))
    later = arena.view(arena.demands, "demandOf", other.id())[2]
    now_is(arena, later + 1)
    late = "serve", astuple(wanted), opened_words(found, indexes)
    assert arena.refusal(OWNER, arena.demands, *late) == ("ClockRunOut", (end,))
    sent = arena.send(STRANGER, arena.demands, "close", astuple(wanted))
    assert [(event.name, event.args["taken"]) for event in sent.logs] == [("Unserved", STAKE // 20)]
    assert arena.view(arena.stakes, "owedTo", DEMANDER.address) == STAKE // 20 * 3 // 10
    assert arena.send(STRANGER, arena.demands, "close", astuple(other)).logs[0].args["taken"] == 0
    assert funds(arena, DEMANDER) == funds(arena, OTHER) == (10 * BOND, 0)
    assert arena.stake(OWNER)[0] == STAKE - STAKE // 20
    assert conserved(arena)


def test_leaves_are_shown_at_the_last_second(arena: World, made: Case) -> None:
    """The clock's end belongs to the node."""
    receipt, found = signed(made, Side.OUT)
    wanted = demanded(arena, receipt)
    indexes = drawn(arena, wanted)
    arena.next_block_at(arena.view(arena.demands, "demandOf", wanted.id())[2])
    arena.send(OWNER, arena.demands, "serve", astuple(wanted), opened_words(found, indexes), gas=GAS)


def test_only_the_drawn_leaves_under_the_signed_root_count(arena: World, made: Case) -> None:
    """Others, other content, other paths, too few or many, and one that is longer than leaves are."""
    receipt, found = signed(made, Side.OUT)
    wanted = demanded(arena, receipt)
    indexes = drawn(arena, wanted)
    good = opened_words(found, indexes)
    mask, elements, path = good[0]
    other = next(leaf.index for leaf in found if leaf.index != indexes[0])
    for bad in (
        opened_words(found, [other, *indexes[1:]]), [(PEER, elements, path), *good[1:]], [(mask, PEER, path), *good[1:]],
        [(mask, elements, path[1:]), *good[1:]], good[:-1], [*good, good[0]], [], [(mask, bytes(1025), path), *good[1:]],
    ):  # fmt: skip
        assert arena.refusal(OWNER, arena.demands, "serve", astuple(wanted), bad) == ("LeavesNotHeld", ())


def test_nobody_knows_the_leaves_before_a_later_block(arena: World, made: Case) -> None:
    """The block after the demand draws; its hash is known in the one after that, once."""
    wanted = demanded(arena, made)
    drawn_by = arena.view(arena.demands, "demandOf", wanted.id())[1]
    call = arena.demands, "draw", wanted.id()
    with pytest.raises(Reverted) as caught:
        arena.send(STRANGER, *call, gas=GAS)
    assert (caught.value.name, tuple(caught.value.arguments)) == ("DrawTooEarly", (drawn_by,))
    serving = arena.demands, "serve", astuple(wanted), []
    assert arena.refusal(OWNER, *serving) == ("DemandNotDrawn", (wanted.id(),))
    sent = arena.send(STRANGER, *call, gas=GAS)
    (event,) = sent.logs
    block = ask(arena.url, "eth_getBlockByNumber", hex(drawn_by), False)
    assert event.args["beacon"] == int(block["hash"], 16) % 2**128 | 1
    assert arena.refusal(STRANGER, *call) == ("DemandDrawn", (wanted.id(),))


def test_a_missed_draw_is_made_by_a_later_block(arena: World, made: Case) -> None:
    """Whose hash nobody knows yet: at 256 blocks it still counts, one later it does not."""
    wanted, second = demanded(arena, made), demanded(arena, made, Side.IN)
    first_by, second_by = (arena.view(arena.demands, "demandOf", each.id())[1] for each in (wanted, second))
    mine(arena, second_by + 256 - arena.chain.head().number - 1)
    deadline = arena.view(arena.demands, "demandOf", wanted.id())[2]
    assert first_by == second_by - 1
    assert arena.send(STRANGER, arena.demands, "draw", second.id(), gas=GAS).logs[0].name == "Drawn"
    missed = arena.send(STRANGER, arena.demands, "draw", wanted.id(), gas=GAS)
    assert (missed.logs[0].name, missed.logs[0].args["drawnBy"]) == ("DrawMissed", missed.block + 1)
    assert arena.view(arena.demands, "demandOf", wanted.id()) == [0, missed.block + 1, deadline]


def test_a_demand_that_nobody_draws_lapses_at_the_demanders_cost(arena: World, made: Case) -> None:
    """At the last second it can still be drawn, one later it can only be closed."""
    wanted, other = demanded(arena, made), demanded(arena, made, who=OTHER)
    end = arena.view(arena.demands, "demandOf", wanted.id())[2]
    mine(arena, 1)
    arena.next_block_at(end)
    arena.send(STRANGER, arena.demands, "draw", other.id(), gas=GAS)
    now_is(arena, end + 1)
    assert arena.refusal(STRANGER, arena.demands, "draw", wanted.id()) == ("ClockRunOut", (end,))
    assert arena.send(STRANGER, arena.demands, "close", astuple(wanted)).logs[0].name == "Lapsed"
    assert (funds(arena, DEMANDER), funds(arena, OWNER)) == ((9 * BOND, 0), (BOND // 2, 0))
    assert arena.stake(OWNER)[0] == STAKE
    assert conserved(arena)


def test_demands_end_a_while_after_the_route(arena: World, made: Case) -> None:
    """At the last second they are heard, one later not."""
    end = made.route.expiry + DELAY
    arena.next_block_at(end)
    demanded(arena, made)
    now_is(arena, end + 1)
    assert arena.refusal(OTHER, *words(arena, made, Side.OUT)) == ("DemandTooLate", (end,))


def test_only_a_signed_receipt_of_the_route_can_be_named(arena: World, made: Case) -> None:
    """In its place of it, by that stage's key, in the exact profile, about some position, of a registered model."""
    good = list(words(arena, made, Side.OUT))
    empty = replace(made, receipt=replace(made.receipt, last=FIRST))
    assert arena.refusal(DEMANDER, *words(arena, empty, Side.OUT)) == ("ReceiptEmpty", ())
    other = [*good[5][:9], 17, *good[5][10:]]
    assert arena.refusal(DEMANDER, *good[:5], other, *good[6:]) == ("RouteNotOpened", ())
    assert arena.refusal(DEMANDER, *good[:6], astuple(made.route.stages[0]), Side.OUT) == ("RouteNotOpened", ())
    stranger = hot("stranger")
    refusal = arena.refusal(DEMANDER, *words(arena, made, Side.OUT, stranger))
    assert refusal == ("SignerUnknown", (stranger.address,))
    arena.join(OTHER, hot("other"), STAKE)
    assert arena.refusal(DEMANDER, *words(arena, made, Side.OUT, hot("other"))) == ("NotOnRoute", (OTHER.address,))
    assert arena.refusal(DEMANDER, *good[:3], bytes(32), bytes(32), *good[5:]) == ("SignatureInvalid", ())
    for field, name in (("profile", "ProfileNotExact"), ("manifest", "ModelUnknown")):
        route = replace(made.route, **{field: PEER})
        receipt = replace(made.receipt, route=route.digest(arena.domain(arena.court)))
        foreign = words(arena, replace(made, route=route, receipt=receipt), Side.OUT)
        assert arena.refusal(DEMANDER, *foreign) == (name, (PEER,))


def test_a_convicted_node_is_asked_no_more_on_that_route(arena: World, made: Case) -> None:
    """There is nothing left to find out."""
    arena.send(DEMANDER, arena.token, "approve", arena.disputes.address, FOREVER)
    arena.send(DEMANDER, arena.disputes, "deposit", BOND)
    sent = arena.send(DEMANDER, arena.disputes, "challenge", *made.challenge(arena, SIGNER))
    arena.pass_time(ANSWER + 1)
    about = *made.facts(arena, OWNER.address, DEMANDER.address), NEW.after(sent.logs, Clocks(PROOF, DESCENT)).words
    arena.send(STRANGER, arena.disputes, "close", about)
    assert arena.refusal(DEMANDER, *words(arena, made, Side.OUT))[0] == "NodeConvicted"


def test_spam_of_demands_is_bounded_by_its_authors_bonds(arena: World, made: Case) -> None:
    """Each takes one that is there; sixty-four at a time, of one author, and others are not counted with them."""
    arena.send(DEMANDER, arena.demands, "withdraw", 9 * BOND + 1)
    assert arena.refusal(DEMANDER, *words(arena, made, Side.OUT)) == ("BondShort", (BOND - 1, BOND))
    assert arena.refusal(DEMANDER, arena.demands, "withdraw", BOND) == ("BondShort", (BOND - 1, BOND))
    arena.send(DEMANDER, arena.demands, "deposit", 70 * BOND)
    for chunk in range(64):
        demanded(arena, replace(made, receipt=replace(made.receipt, chunk=chunk)))
    last = replace(made, receipt=replace(made.receipt, chunk=64))
    assert arena.refusal(DEMANDER, *words(arena, last, Side.OUT)) == ("TooManyChallenges", (64,))
    demanded(arena, last, who=OTHER)
    assert conserved(arena)


def test_what_was_never_demanded_has_no_acts(arena: World, made: Case) -> None:
    """None of them."""
    wanted = replace(demanded(arena, made), demander=OTHER.address)
    calls = ("draw", wanted.id()), ("serve", astuple(wanted), []), ("close", astuple(wanted))
    for call in calls:
        assert arena.refusal(STRANGER, arena.demands, *call) == ("DemandNotOpen", (wanted.id(),))


def test_stake_does_not_leave_while_a_demand_is_open(arena: World, made: Case) -> None:
    """Until its draw and its answer are over."""
    arena.send(OWNER, arena.stakes, "exit", STAKE)
    demanded(arena, made)
    until = arena.chain.head().timestamp + 2 * ANSWER
    assert arena.view(arena.stakes, "heldUntil", OWNER.address) == until


def test_demands_that_the_court_does_not_hear_are_not_deployed(arena: World) -> None:
    """Another contract is its arbiter already; the money is a token that is there."""
    models = arena.view(arena.demands, "demandTerms")[0]
    assert refused(arena, "Demands", arena.court.address, models, (BOND, 1, 1))[0] == "CourtForeign"


@pytest.mark.parametrize("terms", [(0, 1, 1), (1, 1, 0), (1, UNBONDING - 2, 1)])
def test_demands_whose_terms_do_not_work_are_not_deployed(
    deployed: World, chain_snapshot: str, terms: tuple[int, ...]
) -> None:
    """No bond, no clock, or stake that could leave before they end; one second less is fine."""
    chain, models = deployed.chain, deployed.view(deployed.demands, "demandTerms")[0]
    for fits in (False, True):
        court_at, demands_at, *others = next_addresses(chain, 1 + ARBITERS, after=1)
        stakes = chain.deploy(
            dev(0), shipped("Stakes"), deployed.token.address, court_at, MIN_STAKE, UNBONDING, MAX_FEE
        ).contract
        court = chain.deploy(dev(0), shipped("Court"), stakes.address, (*others, demands_at), (1, EPOCH)).contract
        if fits:
            chain.deploy(dev(0), shipped("Demands"), court.address, models, (1, UNBONDING - 3, 1))
        else:
            found = refused(deployed, "Demands", court.address, models, terms)
            assert found == ("TermsInvalid", (sum(terms[1:]) + terms[2], UNBONDING))
