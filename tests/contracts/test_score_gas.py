"""What reliability costs: whole transactions, in the steady state unless "first" is said."""

import random

import pytest

from incentives.epochs import Evidence, build
from incentives.score_challenges import Case, find_challenge
from incentives.score_tree import NO_POSTING, Posting, ScoreTable
from incentives.scores import ONE, Masses
from tests.contracts.score_world import CLOCKS, DEMANDER, OWNERS, REWARD, STRANGER, Play, ScoreWorld, changed
from tests.contracts.world import MIN_STAKE, UNBONDING, dev, shipped
from verification.addresses import Address, address_bytes, to_address

NODES = 100
BUDGET = {
    "post, first": 76_500,
    "post": 45_000,
    "enrol, first": 80_000,
    "demand, first": 115_000,
    "show 100 leaves": 284_000,
    "challenge a leaf, first": 127_500,
    "challenge a leaf": 93_500,
    "claim a reward, first": 68_000,
    "direct, first": 2_400_000,
    "direct": 640_000,
}
FIRST = OWNERS[0]


def _check(spent: dict[str, int]) -> None:
    over = {name: (gas, BUDGET[name]) for name, gas in spent.items() if gas > BUDGET[name]}
    assert not over, f"over budget (spent, allowed): {over}"
    slack = {name: (gas, BUDGET[name]) for name, gas in spent.items() if gas < 0.95 * BUDGET[name]}
    assert not slack, f"budgets that would hide a change (spent, allowed): {slack}"


def _nodes() -> list[Address]:
    dice = random.Random(9)
    return [to_address(dice.randbytes(20)) for _ in range(NODES)]


def _table(play: Play, epoch: int) -> ScoreTable:
    """A hundred nodes; what the contract has enrolled does not matter where nobody challenges."""
    stakes = dict.fromkeys(_nodes(), 10**21)
    evidence = {node: Evidence(100 * ONE, 0, 9_000) for node in stakes}
    return build(stakes, None, [evidence], play.end(epoch), CLOCKS)


def _post(play: Play, spent: dict[str, int], name: str) -> tuple[Posting, ScoreTable]:
    epoch = play.epoch
    play.mine_at(play.end(epoch))
    table = _table(play, epoch)
    play.at(play.end(epoch) + 60)
    sent = play.scored.send(FIRST, "post", epoch, table.root, table.total, FIRST.address)
    spent[name] = sent.gas_used
    base = sent.logs[0].args["base"]
    return Posting(epoch, base, play.end(epoch) + 60, FIRST.address, table.total, table.root), table


def test_a_hundred_nodes_by_root_stay_within_the_budget(play: Play) -> None:
    """A root, its leaves on demand, its reward: with slots that the ring has used before."""
    spent: dict[str, int] = {}
    world = play.scored.world
    spent["enrol, first"] = play.scored.send(STRANGER, "enrol", OWNERS[1].address).gas_used
    _post(play, spent, "post, first")
    for _ in range(8):
        posting, table = _post(play, spent, "post")
    spent["demand, first"] = play.scored.send(DEMANDER, "demand", posting.words).gas_used
    spent["show 100 leaves"] = play.scored.send(STRANGER, "show", posting.words, table.rows).gas_used
    world.send(dev(0), world.token, "transfer", play.scored.scores.address, REWARD)
    play.mine_at(posting.posted_at + 60 + CLOCKS.activation)
    spent["claim a reward, first"] = play.scored.send(STRANGER, "claimReward", posting.words).gas_used
    _check(spent)


@pytest.mark.parametrize("name", ["challenge a leaf, first", "challenge a leaf"])
def test_a_wrong_leaf_among_a_hundred_is_cheap_to_prove(play: Play, name: str) -> None:
    """The slash and the finder's fee included; "first" where nobody was ever slashed, and the finder owns nothing yet."""
    if name == "challenge a leaf":
        world = play.scored.world
        world.send(STRANGER, world.court, "slashPoster", OWNERS[1].address, STRANGER.address)
    stakes = dict.fromkeys(_nodes(), 10**21) | {FIRST.address: 300}
    play.enrol(FIRST)
    epoch = play.epoch
    play.mine_at(play.end(epoch))
    honest = build(stakes, None, [{}], play.end(epoch), CLOCKS)
    index = next(i for i, leaf in enumerate(honest.leaves) if leaf.node == FIRST.address)
    lying = changed(honest, index, masses=Masses(5 * ONE, 0))
    posting = play.post(epoch, lying, FIRST, total=honest.total)
    case = Case(posting, honest, play.end(epoch), CLOCKS, NO_POSTING, None)
    challenge = find_challenge(case, lying)
    assert challenge is not None
    words = challenge.words(*play.commit(STRANGER, posting))
    _check({name: play.scored.send(STRANGER, challenge.function, *words).gas_used})


@pytest.fixture
def direct(play: Play) -> ScoreWorld:
    """A Reliability whose court is a plain account, so that only the report itself is measured."""
    world, court = play.scored.world, dev(8).address
    arguments = world.token.address, court, MIN_STAKE, UNBONDING, 0
    stakes = world.chain.deploy(STRANGER, shipped("Stakes"), *arguments).contract
    arguments = stakes.address, court, court, CLOCKS.words, world.chain.head().timestamp, 5, 1, 0
    return ScoreWorld(world, world.chain.deploy(STRANGER, shipped("Reliability"), *arguments).contract)


def test_a_hundred_nodes_directly_stay_within_the_budget(direct: ScoreWorld) -> None:
    """6,400 gas for each node, all in one report."""
    evidence = (100 * ONE).to_bytes(4, "big") + bytes(2) + (9_000).to_bytes(2, "big")
    rows = b"".join(address_bytes(node) + evidence for node in _nodes())
    spent = {}
    for name in ("direct, first", "direct"):
        spent[name] = direct.send(dev(8), "report", rows).gas_used
        direct.world.pass_time(CLOCKS.epoch)
    _check(spent)
    assert spent["direct"] <= 6_400 * NODES


def test_the_contract_fits_into_a_block_and_a_chain(play: Play) -> None:
    """24,576 bytes of code are the most that a chain accepts."""
    assert 0 < len(play.scored.world.chain.code(play.scored.scores.address)) < 23_000
