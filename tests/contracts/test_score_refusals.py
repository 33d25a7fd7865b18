"""Refusals of Reliability at its edges: the end of all epochs, roots that count, proofs too long, tokens that misbehave."""

from dataclasses import replace
from typing import Any

import pytest
from web3 import Web3

from incentives.artifacts import error_name, selector
from incentives.chain import Contract
from incentives.errors import Reverted
from incentives.score_tree import NO_POSTING, Gap, Leaf, Posting, Proven, ScoreTable
from incentives.scores import Masses
from sharding.hashing import keccak256
from tests.contracts.reverts import LEDGER
from tests.contracts.score_world import BOND, CAPACITY, CLOCKS, OWNERS, STRANGER, UNPAID, Play, ScoreWorld
from tests.contracts.world import FOREVER, UNBONDING, deploy_lenient, dev, double, hot, saying, shipped
from verification.addresses import to_address

FIRST, SECOND, THIRD, _ = OWNERS
ROOT = keccak256(b"root")
LONG = [ROOT] * 65
HIGHEST = to_address("0x" + "f" * 40)
TOO_LONG = ("ProofTooLong", (65, 64))
LAST_EPOCH = 2**24 - 1
LYING, TAXING, REFUSING = 3, 4, 2


@pytest.fixture
def posted(play: Play) -> tuple[Play, Posting, ScoreTable]:
    """A root that counts, and a second one that may be challenged, posted while only the drawn node may."""
    play.enrol(FIRST, SECOND, THIRD)
    epoch = play.epoch
    play.mine_at(play.end(epoch))
    play.settle(epoch)
    play.mine_at(play.end(epoch + 1))
    table = play.honest(epoch + 1)
    return play, play.post(epoch + 1, table, after=20), table


def _calls(play: Play, posting: Posting, table: ScoreTable) -> dict[str, tuple[Any, ...]]:
    """One call of each kind of challenge."""
    first, second = table.proven(0).words, table.proven(1).words
    before = play.standing.gap(table.leaves[0].node).words
    return {
        "challengeTotal": (posting.words,),
        "challengeDraw": (posting.words, play.base.words, *play.standing.proven(0).words),
        "challengeOrder": (posting.words, *first, *second),
        "challengeOmission": (posting.words, hot("nobody").address, table.gap(hot("nobody").address).words),
        "challengeLeaf": (posting.words, *first, play.base.words, before),
    }


def test_no_kind_of_challenge_reaches_a_root_that_counts(posted: tuple[Play, Posting, ScoreTable]) -> None:
    """From its first second on."""
    play, posting, table = posted
    play.mine_at(posting.posted_at + CLOCKS.activation)
    for fn, arguments in _calls(play, posting, table).items():
        assert play.scored.refusal(STRANGER, fn, *arguments, *UNPAID) == ("TooLate", (posting.epoch,)), fn


def test_no_kind_of_challenge_takes_an_endless_proof(posted: tuple[Play, Posting, ScoreTable]) -> None:
    """No table has so many leaves; a proof of 64 is read, and leads nowhere."""
    play, posting, table = posted
    leaf, other = table.leaves[0].words, table.leaves[1].words
    invalid = ("LeafInvalid", (table.leaves[0].node,))
    for proof, expected in ((LONG, TOO_LONG), (LONG[:64], invalid)):
        gap = table.leaves[0].words, proof, table.leaves[1].words, LONG[:1]
        calls: dict[str, tuple[Any, ...]] = {
            "challengeDraw": (posting.words, play.base.words, leaf, proof),
            "challengeOrder": (posting.words, leaf, proof, other, []),
            "challengeOmission": (posting.words, HIGHEST, gap),
            "challengeLeaf": (posting.words, leaf, proof, play.base.words, gap),
        }
        for fn, arguments in calls.items():
            assert play.scored.refusal(STRANGER, fn, *arguments, *UNPAID) == expected, fn


def test_a_drawn_leaf_is_of_the_root_that_is_continued(posted: tuple[Play, Posting, ScoreTable]) -> None:
    """Of no other one."""
    play, posting, _ = posted
    arguments = play.standing.proven(0).words
    foreign = play.scored.refusal(STRANGER, "challengeDraw", posting.words, NO_POSTING.words, *arguments, *UNPAID)
    assert foreign == ("BaseForeign", (play.base.epoch,))


def test_a_holder_is_read_from_the_root_that_serves(posted: tuple[Play, Posting, ScoreTable]) -> None:
    """Not from one that waits; with a proof that leads to it, and is one."""
    play, posting, table = posted
    waiting = play.scored.refusal(STRANGER, "holderOf", posting.words, 0, *table.proven(0).words)
    assert waiting == ("EpochInactive", (posting.epoch,))
    leaf = play.standing.leaves[0]
    for proof, expected in ((LONG, TOO_LONG), ([], ("LeafInvalid", (leaf.node,)))):
        assert play.scored.refusal(STRANGER, "holderOf", play.base.words, 0, leaf.words, proof) == expected


@pytest.fixture
def brief(play: Play) -> tuple[Play, Contract]:
    """A Reliability of short epochs beside the other one, and its last root with a demand open."""
    world = play.scored.world
    clocks, genesis = (5, 1, 2, 1, 1, 840), world.chain.head().timestamp
    arguments = world.stakes.address, world.court.address, world.court.address, clocks, genesis, CAPACITY, BOND, 0
    scores = world.chain.deploy(STRANGER, shipped("Reliability"), *arguments).contract
    world.send(dev(5), world.token, "approve", scores.address, FOREVER)
    return replace(play, scored=ScoreWorld(world, scores)), scores


def test_after_the_last_epoch_nothing_is_judged_any_more(brief: tuple[Play, Contract]) -> None:
    """Whatever is asked says so; a root that was demanded can still be rejected by its clock."""
    play, _ = brief
    epoch = LAST_EPOCH - 1
    leaf = Leaf(FIRST.address, 0, 1, Masses(), 0, play.end(epoch))
    table = ScoreTable((leaf,))
    play.at(play.end(epoch))
    (event,) = play.scored.send(FIRST, "post", epoch, table.root, 1, FIRST.address).logs
    posting = Posting(epoch, 0, event.args["postedAt"], FIRST.address, 1, table.root)
    play.at(posting.posted_at)
    play.scored.send(dev(5), "demand", posting.words)
    play.mine_at(play.end(LAST_EPOCH))
    over = ("EpochsOver", ())
    gap = Gap(Proven(leaf)).words
    challenges: dict[str, tuple[Any, ...]] = {
        "challengeTotal": (posting.words,),
        "challengeDraw": (posting.words, NO_POSTING.words, leaf.words, []),
        "challengeOrder": (posting.words, leaf.words, [], leaf.words, []),
        "challengeOmission": (posting.words, SECOND.address, gap),
        "challengeLeaf": (posting.words, leaf.words, [], NO_POSTING.words, gap),
    }
    calls = {fn: (*arguments, *UNPAID) for fn, arguments in challenges.items()}
    calls |= {"post": (LAST_EPOCH, ROOT, 1, FIRST.address), "enrol": (FIRST.address,)}
    for fn, arguments in calls.items():
        assert play.scored.refusal(STRANGER, fn, *arguments) == over, fn
    with pytest.raises(Reverted, match="EpochsOver"):
        play.scored.view("currentEpoch")
    play.scored.send(STRANGER, "expire", posting.words)
    assert play.scored.world.stake(FIRST)[0] == 0


def test_a_report_that_is_no_rows_is_refused_to_the_court_itself(play: Play) -> None:
    """Here the court is a plain account."""
    world, court = play.scored.world, dev(8)
    arguments = world.token.address, court.address, 1, UNBONDING, 0
    stakes = world.chain.deploy(STRANGER, shipped("Stakes"), *arguments).contract
    terms = CLOCKS.words, world.chain.head().timestamp, CAPACITY, 1, 0
    arguments = stakes.address, court.address, court.address, *terms
    scores = world.chain.deploy(STRANGER, shipped("Reliability"), *arguments).contract
    for length in (0, 27, 28 * 129):
        assert world.refusal(court, scores, "report", bytes(length), gas=10**6) == ("ReportInvalid", (length,))


def test_a_token_that_is_gone_is_no_money_for_scores(play: Play) -> None:
    """Stakes could not be deployed so; what answers like them is caught here."""
    chain, court = play.scored.world.chain, play.scored.world.court.address
    number = 5_000  # the unbonding time and the token's address at once
    terms = CLOCKS.words, chain.head().timestamp, CAPACITY, 1, 0
    with pytest.raises(Reverted) as caught:
        chain.deploy(dev(0), shipped("Reliability"), saying(chain, number), court, court, *terms)
    assert (caught.value.name, caught.value.arguments) == ("TokenMissing", ("0x" + number.to_bytes(20, "big").hex(),))


@pytest.fixture
def odd(play: Play) -> tuple[Play, Posting, ScoreTable]:
    """A network of one node over a token that does what it is told, and a root that waits."""
    world = play.scored.world
    chain = world.chain
    token = chain.deploy(dev(0), double("OddToken")).contract
    stakes, court = deploy_lenient(chain, token, "ScoreCourt")
    world.send(dev(0), court, "bind", stakes.address)
    terms = CLOCKS.words, chain.head().timestamp, CAPACITY, BOND, 0
    scores = chain.deploy(dev(0), shipped("Reliability"), stakes.address, court.address, court.address, *terms).contract
    moved = replace(world, token=token, stakes=stakes, court=court)
    world.send(dev(0), token, "mint", FIRST.address, 10**9)
    moved.join(FIRST, hot(FIRST.address), 300)
    fresh = Play(ScoreWorld(moved, scores))
    fresh.enrol(FIRST)
    epoch = fresh.epoch
    fresh.mine_at(fresh.end(epoch))
    table = fresh.honest(epoch)
    return fresh, fresh.post(epoch, table), table


def test_a_bond_that_does_not_arrive_whole_demands_nothing(odd: tuple[Play, Posting, ScoreTable]) -> None:
    """A token that takes a fee, or moves nothing and says it did."""
    play, posting, _ = odd
    world = play.scored.world
    for mode, received in ((TAXING, BOND - BOND // 100), (LYING, 0)):
        world.send(dev(0), world.token, "misbehave", mode)
        assert play.scored.refusal(FIRST, "demand", posting.words) == ("TransferInexact", (received, BOND))


def test_a_credit_that_cannot_be_sent_stays(odd: tuple[Play, Posting, ScoreTable]) -> None:
    """Until the token moves again."""
    play, posting, table = odd
    world = play.scored.world
    play.scored.send(FIRST, "demand", posting.words)
    play.scored.send(FIRST, "show", posting.words, table.rows)
    world.send(dev(0), world.token, "misbehave", REFUSING)
    assert play.scored.refusal(FIRST, "withdraw")[0] == "TransferFailed"
    world.send(dev(0), world.token, "misbehave", 0)
    play.scored.send(FIRST, "withdraw")
    assert play.scored.view("creditOf", FIRST.address) == 0


@pytest.mark.parametrize("entered", ["demand", "withdraw"])
@pytest.mark.parametrize("called", ["demand", "withdraw"])
def test_no_transfer_lets_the_token_in_again(odd: tuple[Play, Posting, ScoreTable], called: str, entered: str) -> None:
    """Neither while a bond is taken nor while a credit is paid."""
    play, posting, table = odd
    arguments: dict[str, tuple[Any, ...]] = {"demand": (posting.words,), "withdraw": ()}
    if called == "withdraw":
        play.scored.send(FIRST, "demand", posting.words)
        play.scored.send(FIRST, "show", posting.words, table.rows)
    world, scores = play.scored.world, play.scored.scores
    codec = Web3().eth.contract(abi=scores.artifact.abi)
    data = bytes.fromhex(str(codec.encode_abi(entered, list(arguments[entered]))).removeprefix("0x"))
    world.send(dev(0), world.token, "arm", scores.address, data)
    play.scored.send(FIRST, called, *arguments[called])
    answer = world.view(world.token, "answer")
    assert (world.view(world.token, "entered"), answer) == (False, selector("Reentrancy()"))
    LEDGER.note(scores.name, entered, error_name(answer) or "")  # the token kept the refusal to itself
