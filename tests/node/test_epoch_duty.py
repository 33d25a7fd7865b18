"""The duty of nodes about scores: roots are posted and come to count, lies are caught, and nobody has to remember anything."""

import logging
from dataclasses import replace

import pytest

from incentives.chain import Web3Chain
from incentives.chain_types import Contract, Event
from incentives.errors import ChainUnavailable, Reverted, TransactionRefused
from incentives.evidence import WorkEvidence
from incentives.payees import POOL_BPS, WHOLE_BPS, share_of
from incentives.reliability import Reliability, RootState
from incentives.score_tree import Posting, ScoreTable, drawn_ticket
from incentives.scores import ONE as UNIT
from incentives.scores import Masses, credit_of
from incentives.units import ONE
from node.epoch_credit import EpochCredit
from node.epoch_duty import MAX_TRIES, ChainClock
from node.money_view import pay_owner
from tests.incentives.suite import PEER
from tests.node.epoch_nodes import CLIENT, CLOCKS, DutyNet, DutyNode, bring_up

SOON = CLOCKS.exclusive // 4 + 1
"""Seconds after an epoch's end: nobody posts or judges before, since a chain may take its last blocks back."""


@pytest.fixture(scope="module")
def brought_up(chain_url: str) -> DutyNet:
    return bring_up(chain_url)


@pytest.fixture
def net(brought_up: DutyNet, chain_snapshot: str) -> DutyNet:
    """Three nodes that have joined; what the test does to the chain is undone."""
    return brought_up.as_new()


@pytest.fixture
def second(net: DutyNet) -> DutyNet:
    """All are in the table, one has credit, the first root counts, and the next epoch has just ended."""
    net.look()
    net.pay(net.nodes[0], ONE)
    epoch = net.epoch
    net.at(-150, epoch)
    net.look()
    _post_first(net, epoch)
    net.at(SOON, epoch + 1)
    return net


def _post_first(net: DutyNet, epoch: int) -> Posting:
    """The first root of all: whoever is first in the order of the epoch posts it."""
    for after in (0, 40, 80, 120):
        net.at(after, epoch)
        if any("post" in done for done in net.look().values()):
            net.at(after + CLOCKS.activation + 5, epoch)
            return net.nodes[0].duty.history.refresh().standing[epoch]
    raise AssertionError("nobody has posted")


def _drawn(net: DutyNet) -> DutyNode:
    """Who posts the root of the epoch that has ended."""
    history = net.nodes[0].duty.history
    history.refresh()
    epoch = net.epoch - 1
    base = history.serving(history.end_of(epoch))
    assert base is not None
    table = history.table(base)
    assert table is not None
    owner = table.holder(drawn_ticket(base, epoch)).leaf.node
    return next(node for node in net.nodes if node.owner.address == owner)


def _honest(net: DutyNet, node: DutyNode) -> ScoreTable:
    """What belongs into the epoch that has ended, as the node works it out."""
    history = node.duty.history
    history.refresh()
    epoch = net.epoch - 1
    base = history.serving(history.end_of(epoch))
    assert base is not None
    assert history.table(base) is not None
    honest = history.honest(epoch, base)
    assert honest is not None
    return honest


def _lying(net: DutyNet, node: DutyNode, after: int = 1) -> tuple[Posting, ScoreTable]:
    """The node's process is replaced by one that gives it a better score than it has; posted when it is its turn."""
    history, honest = node.duty.history, _honest(net, node)
    place = next(at for at, leaf in enumerate(honest.leaves) if leaf.node == node.owner.address)
    lie = replace(honest.leaves[place], masses=Masses(1_000 * UNIT, 0))
    table = ScoreTable((*honest.leaves[:place], lie, *honest.leaves[place + 1 :]))
    return history.scores.post(node.signer, net.epoch - 1, table, node.owner.address), table


def test_nodes_put_themselves_into_the_table_and_claim_for_their_work(net: DutyNet) -> None:
    """Each its own stake, once; credit in the middle of the epoch, once, from channels that pay the pool only."""
    assert net.look() == {0: ["enrol"], 1: ["enrol"], 2: ["enrol"]}
    assert net.look() == {0: [], 1: [], 2: []}
    net.pay(net.nodes[0], ONE // 500)
    net.pay(net.nodes[1], ONE // 500, pool=0)
    epoch = net.epoch
    net.at(-CLOCKS.epoch // 2 - 10, epoch)
    assert net.look() == {0: [], 1: [], 2: []}
    net.at(-CLOCKS.epoch // 2 + 10, epoch)
    assert net.look() == {0: ["claim"], 1: [], 2: []}
    assert net.look() == {0: [], 1: [], 2: []}
    assert net.restarted(0).look() == []
    history = net.nodes[1].duty.history
    history.refresh()
    assert history.now.evidence[epoch][net.nodes[0].owner.address].credit == 2 * UNIT * 9_750 // 10_000
    assert set(history.now.stakes()) == {node.owner.address for node in net.nodes}


def test_a_root_is_posted_counts_and_gives_a_score(net: DutyNet) -> None:
    """The first one, by one node; the others find nothing wrong with it."""
    net.look()
    net.pay(net.nodes[2], ONE // 250)
    epoch = net.epoch
    net.at(-150, epoch)
    net.look()
    posting = _post_first(net, epoch)
    assert net.look() == {0: [], 1: [], 2: []}
    history = net.nodes[0].duty.history
    assert history.serving(history.end_of(epoch) + CLOCKS.epoch) == posting
    table = history.table(posting)
    assert table is not None
    leaf = table.find(net.nodes[2].owner.address)
    assert leaf is not None
    assert leaf.leaf.masses == Masses(4 * UNIT * 9_750 // 10_000, 0)
    assert leaf.leaf.masses.published > 0
    assert history.scores.published(posting, leaf).score == leaf.leaf.masses.published


def test_the_drawn_node_posts_at_once_and_the_others_wait(second: DutyNet) -> None:
    """Where it is silent, another one posts when everybody may; the root continues the one before."""
    drawn, epoch = _drawn(second), second.epoch - 1
    silent = [node.look() for node in second.nodes if node is not drawn]
    assert silent == [[], []]
    for edge in (-5, 0, 8):  # a block may be dated a little before it takes a transaction
        second.at(CLOCKS.exclusive + edge, epoch)
        assert [node.look() for node in second.nodes if node is not drawn] == [[], []]
    for after in (60, 100, 140, 180):
        second.at(after, epoch)
        if any("post" in done for done in second.look(drawn).values()):
            break
    history = drawn.duty.history
    posting = history.refresh().standing[epoch]
    assert posting.poster != drawn.owner.address
    assert posting.base == epoch - 1
    assert drawn.look() == []
    assert all(second.stake(node) for node in second.nodes)


def test_who_is_not_shown_all_logs_posts_nothing(second: DutyNet, monkeypatch: pytest.MonkeyPatch) -> None:
    """The contracts' state says more than the logs of such an endpoint; on their word alone an honest stake would be gone."""
    _drawn(second).look()
    epoch = second.epoch
    second.pay(second.nodes[0], ONE, salt=PEER)
    second.at(-150, epoch)
    assert "claim" in second.nodes[0].look()
    second.at(SOON, epoch)
    complete = Web3Chain.all_events
    drawn = second.restarted(second.nodes.index(_drawn(second)))

    def leaky(self: Web3Chain, contract: Contract, from_block: int) -> list[Event]:
        return [each for each in complete(self, contract, from_block) if each.args.get("epoch") != epoch]

    monkeypatch.setattr("incentives.score_history.MAY_CHANGE_BLOCKS", 0)
    with monkeypatch.context() as patch:
        patch.setattr(Web3Chain, "all_events", leaky)
        assert drawn.look() == []
    assert drawn.look() == ["post"]
    second.look()
    assert second.stake(drawn) > 0


def test_the_drawn_nodes_root_is_taken_by_the_others(second: DutyNet) -> None:
    """At the first second; a node that starts anew agrees, from the chain alone."""
    drawn, epoch = _drawn(second), second.epoch - 1
    assert drawn.look() == ["post"]
    for place in range(3):
        second.restarted(place)
    assert second.look() == {0: [], 1: [], 2: []}
    second.at(SOON + CLOCKS.activation + 10, epoch)
    posting = second.nodes[0].duty.history.refresh().standing[epoch]
    assert second.nodes[0].duty.history.serving(second.network.chain.head().timestamp) == posting
    assert posting.poster == drawn.owner.address


def test_a_liar_who_hides_the_leaves_is_slashed_and_the_next_root_counts(second: DutyNet) -> None:
    """A watcher demands them and has its bond back; the liar's stake is gone, and somebody else posts in time."""
    liar, epoch = _drawn(second), second.epoch - 1
    _lying(second, liar)
    watchers = [node for node in second.nodes if node is not liar]
    assert [node.look() for node in watchers] == [["demand"], []]
    bonds = second.network.token.balance_of(watchers[0].signer.address)
    second.at(60, epoch)
    assert watchers[1].look()[:1] == ["expire"]
    assert second.stake(liar) == 0
    assert [second.network.stakes.owed_to(node.signer.address) > 0 for node in watchers] == [True, False]
    for after in (100, 130, 160, 190):
        second.at(after, epoch)
        for node in watchers:
            node.look()
    posting = watchers[0].duty.history.refresh().standing[epoch]
    assert posting.poster in {node.owner.address for node in watchers}
    assert second.network.token.balance_of(watchers[0].signer.address) > bonds
    second.at(CLOCKS.epoch - 10, epoch)
    assert [node.look() for node in watchers] == [[], []]
    history = watchers[1].duty.history
    assert history.serving(second.network.chain.head().timestamp) == posting


def test_a_liar_who_shows_the_leaves_is_caught_by_the_wrong_one(second: DutyNet) -> None:
    """They are in the log, and each watcher finds the leaf by itself."""
    liar, epoch = _drawn(second), second.epoch - 1
    posting, table = _lying(second, liar)
    watchers = [node for node in second.nodes if node is not liar]
    assert watchers[0].look() == ["demand"]
    liar.duty.history.scores.show(liar.signer, posting, table)
    assert watchers[1].look() == ["commit"]
    second.at(SOON + 20, epoch)
    assert watchers[1].look() == ["challengeLeaf"]
    assert second.stake(liar) == 0
    assert epoch not in watchers[0].duty.history.refresh().standing
    fees = second.network.stakes.owed_to(watchers[1].signer.address)
    assert fees > 0
    before = second.network.token.balance_of(watchers[1].signer.address)
    assert "pay out" in watchers[1].look()
    assert second.network.token.balance_of(watchers[1].signer.address) == before + fees


def test_who_posts_out_of_turn_is_caught_without_any_leaf(second: DutyNet) -> None:
    """The right root, too early, by another node than the drawn one."""
    drawn = _drawn(second)
    thief = next(node for node in second.nodes if node is not drawn)
    thief.duty.history.scores.post(thief.signer, second.epoch - 1, _honest(second, thief), thief.owner.address)
    assert drawn.look() == ["commit"]
    second.at(SOON + 20, second.epoch - 1)
    assert drawn.look() == ["challengeDraw"]
    assert second.stake(thief) == 0
    assert drawn.look()[:1] == ["post"]


@pytest.fixture
def robbed(second: DutyNet) -> tuple[DutyNet, DutyNode, DutyNode]:
    """The right root, too early, by another node than the drawn one, who knows it and is the only one to look; and the thief."""
    drawn = _drawn(second)
    thief = next(node for node in second.nodes if node is not drawn)
    thief.duty.history.scores.post(thief.signer, second.epoch - 1, _honest(second, thief), thief.owner.address)
    return second, drawn, thief


TOO_LATE = SOON + CLOCKS.activation - 20
"""Less is left than a commitment needs: two looks and some time for transactions."""


def _paid(net: DutyNet, node: DutyNode) -> bool:
    return net.network.stakes.owed_to(node.signer.address) > 0


def test_a_finder_commits_waits_for_a_later_block_and_is_paid(robbed: tuple[DutyNet, DutyNode, DutyNode]) -> None:
    """Once the commitment is there it is used, however little time is left."""
    net, drawn, thief = robbed
    assert [drawn.look() for _ in range(3)] == [["commit"], [], []]
    assert net.stake(thief) > 0
    net.at(TOO_LATE, net.epoch - 1)
    assert drawn.look() == ["challengeDraw"]
    assert (net.stake(thief), _paid(net, drawn)) == (0, True)


def test_with_too_little_time_a_lie_is_proven_at_once_for_nobodys_fee(
    robbed: tuple[DutyNet, DutyNode, DutyNode],
) -> None:
    """No lie comes to count because somebody wants to be paid."""
    net, drawn, thief = robbed
    net.at(TOO_LATE, net.epoch - 1)
    assert drawn.look() == ["challengeDraw"]
    assert (net.stake(thief), _paid(net, drawn)) == (0, False)


def test_where_the_chain_stands_still_a_finder_does_not_wait_too_long(
    robbed: tuple[DutyNet, DutyNode, DutyNode],
) -> None:
    """No look is spared while a commitment gets old; where no block is younger than it, nobody is paid."""
    net, drawn, thief = robbed
    passed = [0.0]
    drawn = net.restarted(net.nodes.index(drawn), ChainClock(lambda: passed[0]))
    assert [drawn.look_if_new() for _ in range(3)] == [["commit"], [], []]
    passed[0] = CLOCKS.activation - 20.0
    assert drawn.look_if_new() == ["challengeDraw"]
    assert (net.stake(thief), _paid(net, drawn)) == (0, False)


def test_a_node_that_starts_again_commits_anew(robbed: tuple[DutyNet, DutyNode, DutyNode]) -> None:
    """What it had committed to is lost with its salt; it is paid all the same."""
    net, drawn, thief = robbed
    assert drawn.look() == ["commit"]
    again = net.restarted(net.nodes.index(drawn))
    assert again.look() == ["commit"]
    net.at(SOON + 20, net.epoch - 1)
    assert again.look() == ["challengeDraw"]
    assert (net.stake(thief), _paid(net, again)) == (0, True)


def test_a_commitment_that_cannot_be_made_saves_no_liar(
    robbed: tuple[DutyNet, DutyNode, DutyNode], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is tried a few times, and then there is the proof without it."""
    net, drawn, thief = robbed
    tries: list[bytes] = []

    def commit(_: Reliability, __: object, commitment: bytes) -> None:
        tries.append(commitment)
        raise TransactionRefused(-32000, "insufficient funds")

    monkeypatch.setattr(Reliability, "commit", commit)
    assert [drawn.look() for _ in range(MAX_TRIES + 2)] == [[]] * (MAX_TRIES + 2)
    assert (len(tries), len(set(tries))) == (MAX_TRIES, 1)
    net.at(TOO_LATE, net.epoch - 1)
    assert drawn.look() == ["challengeDraw"]
    assert (net.stake(thief), _paid(net, drawn)) == (0, False)


def test_a_commitment_that_the_chain_does_not_know_saves_no_liar(
    robbed: tuple[DutyNet, DutyNode, DutyNode], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Too old, or its block was taken back: the proof goes out without it in the same look."""
    net, drawn, thief = robbed
    monkeypatch.setattr(Reliability, "committed_at", lambda *_: 1)
    assert drawn.look() == ["challengeDraw"]
    assert (net.stake(thief), _paid(net, drawn)) == (0, False)


def test_what_is_wrong_with_a_paid_proof_itself_is_said(
    robbed: tuple[DutyNet, DutyNode, DutyNode], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is not sent a second time without the finder."""
    net, drawn, _ = robbed
    caplog.set_level(logging.INFO)
    assert drawn.look() == ["commit"]
    net.at(SOON + 20, net.epoch - 1)
    sent: list[tuple[object, ...]] = []

    def challenge(_: Reliability, *words: object) -> None:
        sent.append(words)
        raise Reverted("NothingWrong", ())

    monkeypatch.setattr(Reliability, "challenge", challenge)
    assert drawn.look() == []
    assert len(sent) == 1
    assert "challengeDraw: " in caplog.text


def test_a_bond_that_is_back_already_saves_no_liar(second: DutyNet) -> None:
    """Whoever had it given back: at the next look the root falls, and the fee is still the demander's."""
    liar, epoch = _drawn(second), second.epoch - 1
    _lying(second, liar)
    watchers = [node for node in second.nodes if node is not liar]
    assert watchers[0].look() == ["demand"]
    second.at(60, epoch)
    liar.duty.history.scores.recover(liar.signer, epoch)
    assert "expire" in watchers[1].look()
    assert (second.stake(liar), _paid(second, watchers[0]), _paid(second, watchers[1])) == (0, True, False)


def test_demanded_leaves_are_shown(second: DutyNet) -> None:
    """By the poster at once, or by another node when half the time is over; who asked in vain pays for it."""
    drawn, epoch = _drawn(second), second.epoch - 1
    assert drawn.look() == ["post"]
    others = [node for node in second.nodes if node is not drawn]
    network, scores = second.network, drawn.duty.history.scores
    posting = drawn.duty.history.refresh().standing[epoch]
    bond = network.deployment.params.scores.demand_bond
    network.token.ensure_allowance(CLIENT, scores.contract.address, bond)
    network.chain.send(CLIENT, scores.contract, "demand", posting.words)
    assert others[0].look() == []
    second.at(SOON + CLOCKS.response - 10, epoch)
    assert others[0].look() == ["show"]
    assert drawn.look() == []
    assert scores.ring(epoch).state is RootState.SHOWN
    assert scores.credit_of(others[0].signer.address) == bond
    assert others[0].look() == ["withdraw"]


def test_the_pools_shares_are_collected_where_they_are_together_worth_a_reward(net: DutyNet) -> None:
    """Two pots of half a reward each: one alone is worth no transaction, both are one."""
    net.look()
    node, token, reward = net.nodes[0], net.network.token, net.network.deployment.params.scores.reward
    net.pay(node, reward * 5_000 // POOL_BPS)
    epoch = net.epoch
    net.at(-150, epoch)
    assert "collect" not in node.look()
    net.pay(node, reward * 5_000 // POOL_BPS, bytes([1]) * 32, POOL_BPS + 1)
    net.at(-150, epoch + 1)
    before = token.balance_of(net.network.pool)
    assert node.look().count("collect") == 1
    assert reward <= token.balance_of(net.network.pool) - before < 2 * reward


def test_what_is_next_to_nothing_is_not_collected_for_the_pool(net: DutyNet, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever pays crumbs by many different payees does not have a node burn its gas: the richest pots, in one transaction."""
    monkeypatch.setattr("node.epoch_credit.MAX_CLAIMS", 2)
    net.look()
    node, reward, epoch = net.nodes[0], net.network.deployment.params.scores.reward, net.epoch
    for crumb in range(3):
        net.pay(node, 40, bytes([9, crumb]) + bytes(30), POOL_BPS + 10 + crumb)
    net.pay(node, reward * 5_000 // POOL_BPS + 100)
    net.pay(node, reward * 5_000 // POOL_BPS + 100, bytes([1]) * 32, POOL_BPS + 1)
    net.at(-150, epoch + 2)
    assert node.look().count("collect") == 1
    assert net.network.token.balance_of(net.network.pool) >= reward


def test_payments_of_next_to_nothing_keep_no_node_from_its_credit(
    net: DutyNet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They come first on the disk, and more of them than what is tried: none is claimed, and what is worth it is."""
    monkeypatch.setattr("node.epoch_credit.MAX_CLAIMS", 2)
    net.look()
    node = net.nodes[0]
    for number in range(2 * MAX_TRIES + 1):
        net.pay(node, 2, number.to_bytes(32, "big"))
    epoch = net.epoch
    net.pay(node, ONE, bytes([255]) * 32)
    net.at(-150, epoch)
    assert node.look().count("claim") == 1
    node.duty.history.refresh()
    rule = net.network.deployment.params.scores.rule
    fee = share_of(ONE, WHOLE_BPS - POOL_BPS)
    expected = credit_of(fee, rule.fee_unit, rule.cap)
    assert node.duty.history.now.evidence[epoch][node.owner.address].credit == expected > 0


def test_what_is_past_a_payers_cap_waits_for_the_next_epoch(net: DutyNet) -> None:
    """It would give nothing now, whatever it has cost the payer."""
    net.look()
    node, rule = net.nodes[0], net.network.deployment.params.scores.rule
    full = rule.fee_unit * (rule.cap // UNIT) * 2
    claimed = [net.pay(node, full, bytes([number]) * 32) for number in (1, 2)]
    work = WorkEvidence(net.network.chain, net.network.deployment)
    epoch = net.epoch
    for done in (1, 2):
        net.at(-150, epoch)
        assert node.look().count("claim") == 1
        assert [work.counted(each.channel, node.owner.address).settled for each in claimed].count(full) == done
        epoch += 1
        net.at(1, epoch - 1)


def test_a_node_that_cannot_read_its_own_affairs_still_looks_at_roots(
    second: DutyNet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Roots have to be posted and leaves to be shown in time: nothing that fails may come before."""
    drawn, epoch = _drawn(second), second.epoch - 1

    def fails(*_: object) -> None:
        raise ChainUnavailable("http://chain.test", "429 too many requests")

    monkeypatch.setattr(EpochCredit, "due", fails)
    with pytest.raises(ChainUnavailable):
        drawn.duty.look()
    assert drawn.duty.history.scores.ring(epoch).state is RootState.POSTED


def test_a_poster_is_paid_from_what_channels_pay_to_the_pool(second: DutyNet) -> None:
    """Once the pool's shares have been collected; before that it is refused, and not asked without end."""
    drawn, epoch = _drawn(second), second.epoch - 1
    assert drawn.look() == ["post"]
    second.at(SOON + CLOCKS.activation + 10, epoch)
    for _ in range(MAX_TRIES + 2):
        assert "reward" not in drawn.look()
    reward = second.network.deployment.params.scores.reward
    second.pay(drawn, 100 * ONE, salt=bytes([1]) * 32)
    second.at(-100, epoch + 1)
    done = drawn.look()
    assert "collect" in done
    second.at(1, epoch + 1)
    second.look()
    assert (earned := drawn.duty.history.scores.credit_of(drawn.owner.address)) >= reward
    before = second.network.token.balance_of(drawn.owner.address)
    pay_owner(second.network, drawn.owner)
    assert second.network.token.balance_of(drawn.owner.address) == before + earned
    with pytest.raises(Reverted, match="NothingExiting"):
        pay_owner(second.network, drawn.owner)


def test_a_node_without_money_for_a_bond_says_so_and_goes_on(second: DutyNet, caplog: pytest.LogCaptureFixture) -> None:
    """It cannot demand; whoever can does."""
    liar = _drawn(second)
    _lying(second, liar)
    poor, rich = (node for node in second.nodes if node is not liar)
    token = second.network.token
    token.transfer(poor.signer, CLIENT.address, token.balance_of(poor.signer.address))
    assert poor.look() == []
    assert "send it some" in caplog.text
    assert rich.look() == ["demand"]


def test_the_chains_clock_goes_on_between_its_blocks() -> None:
    """From when a block was first seen; never before its time."""
    passed = [0.0]
    clock = ChainClock(lambda: passed[0])
    assert clock.now(b"a", 100) == 100
    passed[0] = 7.9
    assert clock.now(b"a", 100) == 107
    assert clock.now(b"b", 103) == 103
    passed[0] = 9.0
    assert clock.now(b"b", 103) == 104
