"""Disputes in the exact profile: challenge, answer, proof of one element, and the clocks that end each of them."""

from dataclasses import astuple, replace
from typing import Any

import pytest
from eth_abi import encode

from incentives.artifacts import load_artifact
from incentives.chain import Contract
from incentives.models import Models
from incentives.signing import split_signature
from incentives.stands import NEW, Clocks, Stand, Turn
from sharding.hashing import keccak256
from sharding.span import Span
from tests.conftest import ask
from tests.contracts.disputed import EXPIRES_IN, LAST, POSITION, Case, case
from tests.contracts.world import (
    ANSWER,
    BOND,
    DELAY,
    DESCENT,
    GRAVE,
    MAX_FEE,
    MIN_STAKE,
    PEER,
    PROOF,
    UNBONDING,
    ZERO,
    World,
    dev,
    hot,
)  # fmt: skip
from verification.addresses import to_address
from verification.trace.evidence import pair
from verification.trace.posted import LeafTree
from verification.typed_data import Domain

OWNER, CHALLENGER, OTHER, STRANGER = dev(1), dev(2), dev(3), dev(9)
SIGNER = hot("signer")
CLOCKS = Clocks(PROOF, DESCENT)
Words = tuple[Any, ...]
STAKE = 10 * MIN_STAKE
PREFIX = "1.qkv.sums", 3, 1
GAS = 2_000_000


@pytest.fixture
def played(world: World) -> tuple[World, Case]:
    """A node with stake, two challengers with funds, and an honest receipt of the node."""
    world.join(OWNER, SIGNER, STAKE)
    world.bring_bonds(world.disputes, CHALLENGER, OTHER)
    judge = Contract(world.view(world.disputes, "disputeTerms")[0], load_artifact("Judge"))
    models = Models(world.chain, Contract(world.view(judge, "parts")[0], load_artifact("Models")))
    return world, case(world, models, OWNER.address, Span(1, 2), None, hidden_size=150, num_blocks=3)


def challenged(world: World, made: Case, who: Any = CHALLENGER) -> Words:
    """Facts and stand of a dispute that has been opened."""
    sent = world.send(who, world.disputes, "challenge", *made.challenge(world, SIGNER))
    assert sent.logs[0].args["node"] == OWNER.address
    return *made.facts(world, OWNER.address, who.address), NEW.after(sent.logs, CLOCKS).words


def answer(world: World, made: Case, about: Words) -> Words:
    """What the dispute is about when the node has posted its root."""
    *facts, stand = about
    sent = world.send(OWNER, world.disputes, "answer", about, made.root, len(made.leaves), [])
    return *facts, stand_of(stand).after(sent.logs, CLOCKS).words


def stand_of(words: Words) -> Stand:
    """From the words that it travels as."""
    root, (node, clocks, step) = words
    player = to_address((clocks >> 96).to_bytes(20, "big"))
    times = clocks >> 48 & 2**48 - 1, clocks & 2**48 - 1, step >> 144
    return Stand(
        root, node, player, *times, step >> 80 & 2**64 - 1, step >> 16 & 2**64 - 1, step >> 8 & 255, Turn(step & 255)
    )


def answered(world: World, made: Case, who: Any = CHALLENGER) -> Words:
    return answer(world, made, challenged(world, made, who))


def dot(made: Case, about: Words, finder: str = ZERO) -> Words:
    return "proveProduct", about, made.proof(made.spot(*PREFIX)).data, finder


def now_is(world: World, timestamp: int) -> None:
    """The newest block's time: what is refused from here on is refused at that second, too."""
    world.next_block_at(timestamp)
    ask(world.url, "evm_mine")


def funds(world: World, who: Any) -> tuple[int, int]:
    return tuple(world.view(world.disputes, "fundsOf", who.address))


def won(world: World, who: Any) -> tuple[int, int]:
    """The funds of who has won its dispute of number 0 with one bond, which lies there."""
    kept = world.view(world.disputes, "keptOf", world.view(world.disputes, "idOf", who.address, 0))
    assert int.from_bytes(kept, "big") == 2
    return funds(world, who)


def test_one_wrong_product_convicts(played: tuple[World, Case]) -> None:
    """Three tenths are taken, the fee is the challenger's whoever brings the proof, and the bond stays with the number."""
    world, honest = played
    made = honest.spoilt(honest.spot(*PREFIX))
    about = answered(world, made)
    sent = world.send(STRANGER, world.disputes, *dot(made, about))
    assert [(each.name, each.args["taken"]) for each in sent.logs] == [("Upheld", STAKE * 3 // 10)]
    assert world.stake(OWNER)[0] == STAKE * 7 // 10
    assert world.view(world.stakes, "owedTo", CHALLENGER.address) == min(STAKE * 9 // 100, MAX_FEE)
    assert won(world, CHALLENGER) == (9 * BOND, 1)
    assert world.refusal(STRANGER, world.disputes, *dot(made, about))[0] == "DisputeNotOpen"


def test_an_honest_trace_is_acquitted(played: tuple[World, Case]) -> None:
    """No proof holds; after the clock half the bond pays the defender, half is burnt; then the stake is free."""
    world, made = played
    about = answered(world, made)
    assert world.refusal(STRANGER, world.disputes, *dot(made, about)) == ("NothingWrong", ())
    for call, data in (
        ("proveElement", made.proof(made.spot("row")).data),
        ("proveSigned", made.signed(made.spot("1.output"))),
    ):
        assert world.refusal(STRANGER, world.disputes, call, about, data, ZERO) == ("NothingWrong", ())
    world.pass_time(PROOF + 1)
    world.send(STRANGER, world.disputes, "close", about)
    assert funds(world, CHALLENGER) == (9 * BOND, 0)
    assert funds(world, OWNER) == (BOND // 2, 0)
    world.send(STRANGER, world.disputes, "burn")
    assert world.balance(GRAVE) == BOND - BOND // 2
    world.send(OWNER, world.disputes, "withdraw", BOND // 2)
    assert world.balance(world.disputes.address) == 19 * BOND
    assert world.stake(OWNER)[0] == STAKE
    world.send(OTHER, world.disputes, "challenge", *made.challenge(world, SIGNER))


def test_a_number_names_one_open_dispute_and_can_be_taken_again(played: tuple[World, Case]) -> None:
    """Of one challenger; another's are its own. What was said of the former dispute counts for nothing in the next one."""
    world, made = played
    about, name = challenged(world, made), made.facts(world, OWNER.address, CHALLENGER.address)[0]
    other = made.challenge(world, SIGNER, POSITION + 1)
    assert world.refusal(CHALLENGER, world.disputes, "challenge", *other) == ("DisputeKnown", (name,))
    world.send(OTHER, world.disputes, "challenge", *other)
    about = answer(world, made, about)
    world.pass_time(PROOF + 1)
    world.send(STRANGER, world.disputes, "close", about)
    assert world.refusal(STRANGER, world.disputes, "close", about) == ("DisputeNotOpen", (name,))
    sent = world.send(CHALLENGER, world.disputes, "challenge", *other)
    assert world.refusal(STRANGER, world.disputes, "close", about) == ("StandStale", (name,))
    stand = stand_of(about[2]).after(sent.logs, CLOCKS)
    assert (stand.turn, stand.root, stand.proofs) == (Turn.OPEN, bytes(32), 0)
    wrong_facts = name, about[1], stand.words
    assert world.refusal(OWNER, world.disputes, "answer", wrong_facts, made.root, 9, []) == ("StandStale", (name,))


def test_silence_costs_what_a_proven_lie_costs(played: tuple[World, Case]) -> None:
    """At the last second an answer counts, and nothing can be closed; one later it is the other way round."""
    world, made = played
    about = challenged(world, made)
    opened = world.chain.head().timestamp
    now_is(world, opened + ANSWER + 1)
    refused = world.refusal(OWNER, world.disputes, "answer", about, made.root, len(made.leaves), [])
    assert refused == ("ClockRunOut", (opened + ANSWER,))
    sent = world.send(STRANGER, world.disputes, "close", about)
    assert sent.logs[0].args["taken"] == STAKE * 3 // 10
    assert won(world, CHALLENGER) == (9 * BOND, 1)


def test_the_last_second_of_the_answer_is_the_defenders(played: tuple[World, Case]) -> None:
    """By the owner, or by a key of the node; once; not by anybody else; and not with zero."""
    world, made = played
    about = challenged(world, made)
    opened = world.chain.head().timestamp
    call = world.disputes, "answer", about
    assert world.refusal(STRANGER, *call, made.root, len(made.leaves), []) == ("NotDefender", (STRANGER.address,))
    assert world.refusal(OWNER, *call, bytes(32), 5, []) == ("RootMissing", ())
    assert world.refusal(CHALLENGER, world.disputes, *dot(made, about))[0] == "DisputeNotAnswered"
    now_is(world, opened + ANSWER - 1)
    assert world.refusal(STRANGER, world.disputes, "close", about) == ("ClockRunning", (opened + ANSWER,))
    world.next_block_at(opened + ANSWER)
    sent = world.chain.send(OWNER, *call, made.root, len(made.leaves), [], gas=GAS)
    posted = made.root, len(made.leaves), []
    assert world.refusal(OWNER, *call, *posted)[0] == "StandStale"
    *facts, stand = about
    then = stand_of(stand).after(sent.logs, CLOCKS).words
    assert world.refusal(OWNER, world.disputes, "answer", (*facts, then), *posted)[0] == "DisputeAnswered"


def test_the_last_second_of_the_proof_is_the_challengers(played: tuple[World, Case]) -> None:
    """One later the dispute can only be closed."""
    world, honest = played
    made = honest.spoilt(honest.spot(*PREFIX))
    about = answered(world, made)
    end = world.chain.head().timestamp + PROOF
    world.next_block_at(end)
    assert world.refusal(STRANGER, world.disputes, "close", about, gas=GAS) == ("ClockRunning", (end,))
    now_is(world, end + 1)
    assert world.refusal(CHALLENGER, world.disputes, *dot(made, about)) == ("ClockRunOut", (end,))


def test_a_proof_in_the_last_second_convicts(played: tuple[World, Case]) -> None:
    """The clock's end belongs to it."""
    world, honest = played
    made = honest.spoilt(honest.spot(*PREFIX))
    about = answered(world, made)
    world.next_block_at(world.chain.head().timestamp + PROOF)
    world.send(CHALLENGER, world.disputes, *dot(made, about), gas=GAS)
    assert world.stake(OWNER)[0] == STAKE * 7 // 10


def test_a_trace_that_begins_otherwise_convicts(played: tuple[World, Case]) -> None:
    """Than the receipt's inRoot says: the row's elements are copies."""
    world, honest = played
    made = honest.spoilt(honest.spot("row", 0, 130))
    about = answered(world, made)
    world.send(STRANGER, world.disputes, "proveElement", about, made.proof(made.spot("row", 0, 130)).data, ZERO)
    assert world.stake(OWNER)[0] == STAKE * 7 // 10


@pytest.mark.parametrize("name", ["1.output", "1.heads", "1.heads.exponent"])
def test_a_trace_that_is_not_what_was_signed_convicts(played: tuple[World, Case], name: str) -> None:
    """The row that comes out, keys, values."""
    world, honest = played
    spot = honest.spot(name, 0 if name == "1.output" else 5)
    made = honest.spoilt(spot)
    about = answered(world, made)
    world.send(STRANGER, world.disputes, "proveSigned", about, made.signed(spot), ZERO)
    assert world.stake(OWNER)[0] == STAKE * 7 // 10


def copied(world: World, made: Case, about: Words, who: Any = SIGNER) -> list[Any]:
    """The arguments of proveCopy for a key of the chunk before."""
    signature = split_signature(who.sign_digest(made.earlier.digest(world.domain(world.court))))
    proof = made.proof(made.spot("1.keys", 1, 2))
    assert proof.receipt == 1
    return [about, proof.data, astuple(made.receipt), astuple(made.earlier), *signature, ZERO]


def test_a_copy_of_an_earlier_key_is_held_against_the_earlier_receipt(played: tuple[World, Case]) -> None:
    """Which the node signed for the same stage of the same route; the honest copy stands."""
    world, honest = played
    about = answered(world, honest)
    words = copied(world, honest, about)
    assert world.refusal(STRANGER, world.disputes, "proveCopy", *words) == ("NothingWrong", ())
    other = replace(honest.earlier, stage=7)
    for place, value in (
        (2, astuple(honest.earlier)),
        (3, astuple(other)),
        (3, astuple(replace(honest.earlier, route=PEER))),
    ):
        wrong = [*words[:place], value, *words[place + 1 :]]
        assert world.refusal(STRANGER, world.disputes, "proveCopy", *wrong) == ("ReceiptForeign", ())
    foreign = copied(world, honest, about, hot("stranger"))
    assert world.refusal(STRANGER, world.disputes, "proveCopy", *foreign) == ("ReceiptForeign", ())
    malleated = [*words[:5], b"\xff" * 32, ZERO]
    assert world.refusal(STRANGER, world.disputes, "proveCopy", *malleated)[0] == "SignatureInvalid"


def test_a_false_copy_of_an_earlier_key_convicts(played: tuple[World, Case]) -> None:
    """A key that was signed four positions before, and copied otherwise."""
    world, honest = played
    made = honest.spoilt(honest.spot("1.keys", 1, 2))
    about = answered(world, made)
    world.send(STRANGER, world.disputes, "proveCopy", *copied(world, made, about))
    assert world.stake(OWNER)[0] == STAKE * 7 // 10


def test_two_leaves_of_one_index_convict(played: tuple[World, Case]) -> None:
    """One of them is a lie."""
    world, honest = played
    leaves = [*honest.posted.tree.leaves]
    tree = LeafTree([*leaves, replace(leaves[5], elements=bytes(8))])
    made = replace(honest, posted=replace(honest.posted, tree=tree))
    about = answered(world, made)
    proof = pair(5, leaves[5], tree.path(5), tree.leaves[-1], tree.path(len(leaves)))
    world.send(STRANGER, world.disputes, "proveTwice", about, proof, ZERO)
    assert world.stake(OWNER)[0] == STAKE * 7 // 10


def test_a_route_convicts_once_and_no_other_challenger_loses_by_it(played: tuple[World, Case]) -> None:
    """Whoever was in time keeps the bond; who comes later is told."""
    world, honest = played
    made = honest.spoilt(honest.spot(*PREFIX))
    about, others = answered(world, made), answered(world, made, OTHER)
    world.send(STRANGER, world.disputes, *dot(made, about))
    sent = world.send(STRANGER, world.disputes, *dot(made, others))
    assert (sent.logs[0].name, sent.logs[0].args["taken"]) == ("Upheld", 0)
    assert won(world, OTHER) == (9 * BOND, 1)
    assert world.stake(OWNER)[0] == STAKE * 7 // 10
    late = made.challenge(world, SIGNER, POSITION - 1)
    assert world.refusal(OTHER, world.disputes, "challenge", *late)[0] == "NodeConvicted"


@pytest.mark.parametrize(
    ("later", "taken"), [(30 * 86_400, STAKE * 7 // 10), (30 * 86_400 + 1, STAKE * 7 // 10 * 3 // 10)]
)
def test_a_second_fault_within_thirty_days_costs_everything(played: tuple[World, Case], later: int, taken: int) -> None:
    """At the last second of them; one later it counts as a first one."""
    world, honest = played
    made = honest.spoilt(honest.spot(*PREFIX))
    about = answered(world, made)
    world.send(STRANGER, world.disputes, *dot(made, about))
    convicted = world.chain.head().timestamp
    route = replace(made.route, nonce=PEER, expiry=convicted + later)
    receipt = replace(made.receipt, route=route.digest(world.domain(world.court)))
    second = replace(made, route=route, receipt=receipt)
    world.next_block_at(convicted + later - 20)
    sent = world.send(CHALLENGER, world.disputes, "challenge", *second.challenge(world, SIGNER), gas=GAS)
    about = *second.facts(world, OWNER.address, CHALLENGER.address), NEW.after(sent.logs, CLOCKS).words
    about = answer(world, second, about)
    world.next_block_at(convicted + later)
    sent = world.send(STRANGER, world.disputes, *dot(second, about), gas=GAS)
    assert sent.logs[0].args["taken"] == taken


def test_stake_does_not_leave_while_a_dispute_is_open(played: tuple[World, Case]) -> None:
    """However long the exit is over; bounded by the clocks, whoever closes or does not."""
    world, made = played
    world.send(OWNER, world.stakes, "exit", STAKE)
    route = replace(made.route, expiry=world.chain.head().timestamp + UNBONDING)
    made = replace(made, route=route, receipt=replace(made.receipt, route=route.digest(world.domain(world.court))))
    world.pass_time(UNBONDING)
    about = challenged(world, made)
    until = world.chain.head().timestamp + ANSWER + 2 * (PROOF + DESCENT)
    assert world.view(world.stakes, "heldUntil", OWNER.address) == until
    assert world.refusal(OWNER, world.stakes, "withdraw") == ("StakeHeld", (until,))
    about = answer(world, made, about)
    world.next_block_at(until)
    assert world.refusal(OWNER, world.stakes, "withdraw", gas=GAS) == ("StakeHeld", (until,))
    world.next_block_at(until + 1)
    world.send(OWNER, world.stakes, "withdraw", gas=GAS)
    assert world.stake(OWNER)[:3] == (0, SIGNER.address, 0)
    world.send(STRANGER, world.disputes, "close", about)
    assert funds(world, CHALLENGER) == (9 * BOND, 0)


def test_only_the_court_holds_stake(world: World) -> None:
    """Nobody freezes another's."""
    assert world.refusal(STRANGER, world.stakes, "hold", OWNER.address, 5) == ("NotCourt", (STRANGER.address,))


def test_challenges_end_a_while_after_the_route(played: tuple[World, Case]) -> None:
    """At the last second they are heard, one later not."""
    world, made = played
    end = made.route.expiry + DELAY
    now_is(world, end + 1)
    words = made.challenge(world, SIGNER)
    assert world.refusal(CHALLENGER, world.disputes, "challenge", *words) == ("ChallengeTooLate", (end,))


def test_the_last_second_for_a_challenge_counts(played: tuple[World, Case]) -> None:
    """The route's expiry and the delay."""
    world, made = played
    world.next_block_at(made.route.expiry + DELAY)
    world.send(CHALLENGER, world.disputes, "challenge", *made.challenge(world, SIGNER), gas=GAS)


def test_a_challenge_names_a_position_of_the_receipt(played: tuple[World, Case]) -> None:
    """One before the first, or the one behind the last, is not."""
    world, made = played
    for position in (made.receipt.first - 1, LAST):
        words = made.challenge(world, SIGNER, position)
        assert world.refusal(CHALLENGER, world.disputes, "challenge", *words) == ("PositionInvalid", (position,))
    for position in (made.receipt.first, LAST - 1):
        world.send(CHALLENGER, world.disputes, "challenge", *made.challenge(world, SIGNER, position, number=position))


def test_the_route_has_to_be_the_one_that_was_signed(played: tuple[World, Case]) -> None:
    """Any other field, another stage, a stage of another place, another chain's or contract's digest."""
    world, made = played
    good = list(made.challenge(world, SIGNER))
    for place, value in (
        (0, bytes(32)),
        (2, 1),
        (4, good[3][4][::-1]),
        (5, bytes(32)),
        (9, 17),
        (11, made.route.expiry + 1),
    ):
        other = [*good[3][:place], value, *good[3][place + 1 :]]
        words = [*good[:3], other, *good[4:]]
        assert world.refusal(CHALLENGER, world.disputes, "challenge", *words) == ("RouteNotOpened", ())
    node, start, end, ask = good[4]
    for stage in ((STRANGER.address, start, end, ask), (node, 0, end, ask), (node, start, end - 1, ask)):
        words = [*good[:4], stage, *good[5:]]
        assert world.refusal(CHALLENGER, world.disputes, "challenge", *words) == ("RouteNotOpened", ())
    for domain in (Domain(1, world.court.address), Domain(31337, world.stakes.address)):
        foreign = replace(made, receipt=replace(made.receipt, route=made.route.digest(domain)))
        words = foreign.challenge(world, SIGNER)
        assert world.refusal(CHALLENGER, world.disputes, "challenge", *words) == ("RouteNotOpened", ())


def test_only_the_stages_own_key_and_the_exact_profile_count(played: tuple[World, Case]) -> None:
    """A stranger's signature accuses nobody."""
    world, made = played
    stranger = hot("stranger")
    words = made.challenge(world, stranger)
    assert world.refusal(CHALLENGER, world.disputes, "challenge", *words) == ("SignerUnknown", (stranger.address,))
    world.join(OTHER, hot("other"), STAKE)
    words = made.challenge(world, hot("other"))
    assert world.refusal(CHALLENGER, world.disputes, "challenge", *words) == ("NotOnRoute", (OTHER.address,))
    route = replace(made.route, profile=PEER)
    other = replace(made, route=route, receipt=replace(made.receipt, route=route.digest(world.domain(world.court))))
    words = other.challenge(world, SIGNER)
    assert world.refusal(CHALLENGER, world.disputes, "challenge", *words) == ("ProfileNotExact", (PEER,))


def test_a_challenge_takes_a_bond_that_is_there(played: tuple[World, Case]) -> None:
    """With exactly one it goes, with one unit less not; nobody withdraws what a challenge holds."""
    world, made = played
    words = made.challenge(world, SIGNER)
    world.send(CHALLENGER, world.disputes, "withdraw", 9 * BOND + 1)
    assert world.refusal(CHALLENGER, world.disputes, "challenge", *words) == ("BondShort", (BOND - 1, BOND))
    world.send(CHALLENGER, world.disputes, "deposit", 1)
    world.send(CHALLENGER, world.disputes, "challenge", *words)
    assert funds(world, CHALLENGER) == (0, 1)
    assert world.refusal(CHALLENGER, world.disputes, "withdraw", 1) == ("BondShort", (0, 1))


def test_a_node_without_stake_keeps_no_dispute_open(played: tuple[World, Case]) -> None:
    """It has lost all to another proof meanwhile: the challenger keeps its bond all the same."""
    world, made = played
    about = challenged(world, made)
    signed: list[Any] = []
    for root in (PEER, bytes(32)):
        receipt = replace(made.receipt, chunk=9, out_root=root)
        words = replace(made, receipt=receipt).challenge(world, SIGNER)
        signed += words[:3]
    world.send(STRANGER, world.court, "proveEquivocation", *signed, ZERO)
    world.pass_time(ANSWER + 1)
    assert world.send(STRANGER, world.disputes, "close", about).logs[0].args["taken"] == 0
    assert won(world, CHALLENGER) == (9 * BOND, 1)


def test_a_copied_proof_pays_the_challenger(played: tuple[World, Case]) -> None:
    """Only who has committed to that very proof before is paid instead."""
    world, honest = played
    made = honest.spoilt(honest.spot(*PREFIX))
    about = answered(world, made)
    assert world.refusal(STRANGER, world.disputes, *dot(made, about, STRANGER.address))[0] == "CommitmentNotRipe"
    world.send(OTHER, world.disputes, "commit", keccak256(PEER))
    world.send(STRANGER, world.disputes, *dot(made, about))
    assert world.view(world.stakes, "owedTo", STRANGER.address) == 0
    assert world.view(world.stakes, "owedTo", CHALLENGER.address) > 0


def test_facts_of_no_dispute_are_refused(played: tuple[World, Case]) -> None:
    """By every act."""
    world, made = played
    about = *made.facts(world, OWNER.address, CHALLENGER.address), NEW.words
    for call in (("answer", about, made.root, 9, []), dot(made, about), ("close", about)):
        assert world.refusal(OWNER, world.disputes, *call)[0] == "DisputeNotOpen"
    assert EXPIRES_IN < UNBONDING


def test_who_committed_to_the_very_proof_is_paid_for_it(played: tuple[World, Case]) -> None:
    """Instead of the challenger, who keeps its bond all the same."""
    world, honest = played
    made = honest.spoilt(honest.spot(*PREFIX))
    about = answered(world, made)
    evidence = keccak256(encode(["bytes32", "bytes"], [about[0], made.proof(made.spot(*PREFIX)).data]))
    commitment = keccak256(encode(["address", "bytes32"], [OTHER.address, evidence]))
    world.send(OTHER, world.disputes, "commit", commitment)
    world.pass_time(1)
    world.send(STRANGER, world.disputes, *dot(made, about, OTHER.address))
    assert world.view(world.stakes, "owedTo", OTHER.address) == min(STAKE * 9 // 100, MAX_FEE)
    assert world.view(world.stakes, "owedTo", CHALLENGER.address) == 0
    assert won(world, CHALLENGER) == (9 * BOND, 1)


def proofs(world: World, made: Case, about: Words, finder: str = ZERO) -> list[tuple[Any, ...]]:
    """One call of each function that proves; honest ones, which prove nothing."""
    leaf, path = made.posted.tree.leaves[5], made.posted.tree.path(5)
    product, element = made.proof(made.spot(*PREFIX)).data, made.proof(made.spot("1.middle")).data
    return [
        ("proveProduct", about, product, finder),
        ("proveElement", about, element, finder),
        ("proveSigned", about, made.signed(made.spot("1.output")), finder),
        ("proveTwice", about, pair(5, leaf, path, leaf, path), finder),
        ("proveCopy", *copied(world, made, about)[:-1], finder),
    ]


def test_every_proof_wants_an_answered_dispute_in_time(played: tuple[World, Case]) -> None:
    """And something that is wrong."""
    world, made = played
    about: Words = *made.facts(world, OWNER.address, CHALLENGER.address), NEW.words
    for call in proofs(world, made, about):
        assert world.refusal(STRANGER, world.disputes, *call)[0] == "DisputeNotOpen"
    about = challenged(world, made)
    for call in proofs(world, made, about):
        assert world.refusal(STRANGER, world.disputes, *call)[0] == "DisputeNotAnswered"
    stale, about = about, answer(world, made, about)
    for call in proofs(world, made, stale):
        assert world.refusal(STRANGER, world.disputes, *call)[0] == "StandStale"
    for call in proofs(world, made, about):
        assert world.refusal(STRANGER, world.disputes, *call) == ("NothingWrong", ())
    now_is(world, world.chain.head().timestamp + PROOF + 1)
    for call in proofs(world, made, about):
        assert world.refusal(STRANGER, world.disputes, *call)[0] == "ClockRunOut"


def test_a_finder_without_a_commitment_is_refused_by_every_proof(played: tuple[World, Case]) -> None:
    """However right the proof is."""
    world, honest = played
    made = honest
    for name, row, column in (PREFIX, ("1.keys", 1, 2), ("1.middle", 0, 0), ("1.output", 0, 0)):
        made = made.spoilt(made.spot(name, row, column))
    leaves = [*made.posted.tree.leaves]
    tree = LeafTree([*leaves, replace(leaves[5], elements=bytes(8))])
    made = replace(made, posted=replace(made.posted, tree=tree))
    about = answered(world, made)
    twice = pair(5, leaves[5], tree.path(5), tree.leaves[-1], tree.path(len(leaves)))
    for call in proofs(world, made, about, OTHER.address):
        name, *words = call
        if name == "proveTwice":
            words[1] = twice
        assert world.refusal(STRANGER, world.disputes, name, *words)[0] == "CommitmentNotRipe"


def test_a_challenger_has_at_most_64_challenges_open(played: tuple[World, Case]) -> None:
    """The 64th is taken, the next one not; another challenger's are not counted with them."""
    world, made = played
    world.send(CHALLENGER, world.disputes, "deposit", 60 * BOND)
    for chunk in range(64):
        other = replace(made, receipt=replace(made.receipt, chunk=chunk))
        world.send(CHALLENGER, world.disputes, "challenge", *other.challenge(world, SIGNER, number=chunk), gas=GAS)
    assert funds(world, CHALLENGER) == (6 * BOND, 64)
    words = replace(made, receipt=replace(made.receipt, chunk=64)).challenge(world, SIGNER, number=64)
    assert world.refusal(CHALLENGER, world.disputes, "challenge", *words) == ("TooManyChallenges", (64,))
    world.send(OTHER, world.disputes, "challenge", *words)
