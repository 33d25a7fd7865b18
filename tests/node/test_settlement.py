"""Settlement: one transaction for all stages where it can be, everybody paid, no channel in the way of another."""

import time
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import pytest

from incentives.chain_types import Sent
from incentives.channels import ChannelState
from incentives.client_errors import KeyReused
from incentives.errors import ChainUnavailable, Reverted, TransactionRefused
from incentives.payees import payees_for, payees_hash
from incentives.signing import Signer
from incentives.vouchers import SignedVoucher
from node.ledger import Ledger
from node.settlement import FORGET_SECONDS, MAX_BATCH, MAX_FORGOTTEN, Settled, Settlement, owed_on
from node.store import Store
from node.transactions import Wishes
from tests.node.money_fakes import (
    BATCH,
    DOMAIN,
    NODES,
    PAYEES,
    FakeChannels,
    fake_network,
    make_key,
    make_voucher,
    open_held,
)

CHANNEL = make_key().id(DOMAIN)
OTHER = make_key(2).id(DOMAIN)
DOWN = ChainUnavailable("http://chain.test", "down")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """An empty store."""
    opened = Store(tmp_path)
    yield opened
    opened.close()


@pytest.fixture
def ledger(store: Store) -> Ledger:
    """An empty ledger."""
    return Ledger(store)


@pytest.fixture
def channels() -> FakeChannels:
    """A contract with two channels of the client, 1,000 locked in each."""
    contract = FakeChannels()
    contract.lock(CHANNEL, 1000)
    contract.lock(OTHER, 1000)
    return contract


def settlement(channels: FakeChannels, ledger: Ledger, minimum: int = 1, busy: Collection[bytes] = ()) -> Settlement:
    """The money side of the first node; `busy` are the channels with a running session."""
    return Settlement(fake_network(channels), ledger, NODES[0], lambda channel: channel in busy, minimum)


def hold(ledger: Ledger, cumulative: int, stage: int = 0, salt: int = 1) -> None:
    """Put a voucher on the node's disk."""
    open_held(ledger, stage, salt)
    ledger.hold_voucher(make_voucher(cumulative, make_key(salt)))


def kinds(done: list[Settled]) -> list[tuple[str, int]]:
    """What was done, without the hashes."""
    return [(each.kind, each.amount) for each in done]


def test_voucher_becomes_money(ledger: Ledger, channels: FakeChannels) -> None:
    """The first stage settles all, then takes its half; the record names the transactions."""
    hold(ledger, 400)

    done = settlement(channels, ledger).round()

    assert kinds(done) == [("settle", 400), ("collect", 200)]
    assert [(each.channel, each.gas_used, each.tx_hash) for each in done] == [
        (CHANNEL, 60_000, b"\x51" * 32),
        (CHANNEL, 50_000, b"\xc0" * 32),
    ]


def test_nothing_to_do_costs_nothing(ledger: Ledger, channels: FakeChannels) -> None:
    """Without a voucher, and after everything was paid, no transaction is sent."""
    side = settlement(channels, ledger)
    open_held(ledger)
    assert side.round() == []

    ledger.hold_voucher(make_voucher(400))
    side.round()
    channels.calls.clear()

    assert side.round() == []
    assert channels.calls == []


def test_only_what_is_new_is_settled(ledger: Ledger, channels: FakeChannels) -> None:
    """A voucher is cumulative; its round pays the difference."""
    side = settlement(channels, ledger)
    hold(ledger, 400)
    side.round()

    ledger.hold_voucher(make_voucher(460))

    assert kinds(side.round()) == [("settle", 60), ("collect", 30)]


@pytest.mark.parametrize("stage", [0, 1, 2])
def test_stage_waits_its_turn(ledger: Ledger, channels: FakeChannels, stage: int) -> None:
    """As many rounds as its index; then it settles by itself."""
    side = settlement(channels, ledger)
    hold(ledger, 400, stage)

    for _ in range(stage):
        assert side.round() == []

    assert [kind for kind, _ in kinds(side.round())] == ["settle", "collect"]


def test_waiting_stage_finds_it_done(ledger: Ledger, channels: FakeChannels) -> None:
    """Settled by another, it only collects: one settlement pays all."""
    side = settlement(channels, ledger)
    hold(ledger, 400, stage=2)
    assert side.round() == []
    channels.settle(NODES[1], make_voucher(400))

    assert kinds(side.round()) == [("collect", 80)]
    assert channels.calls == ["settle", "collect"]


def test_wait_begins_anew_whenever_somebody_settles(ledger: Ledger, channels: FakeChannels) -> None:
    """While vouchers keep coming and an earlier stage keeps settling, a later one never pays for it."""
    side = settlement(channels, ledger)
    hold(ledger, 100, stage=1)
    for cumulative in range(100, 600, 100):
        ledger.hold_voucher(make_voucher(cumulative + 50))
        assert "settle" not in [kind for kind, _ in kinds(side.round())]
        channels.settle(NODES[0], make_voucher(cumulative))

    assert [kind for kind, _ in kinds(side.round())] == ["collect"]
    assert [kind for kind, _ in kinds(side.round())] == ["settle", "collect"]


def test_channel_with_a_session_is_left_to_grow(ledger: Ledger, channels: FakeChannels) -> None:
    """Its next voucher would make the settlement a waste; other channels and the pot are not kept waiting."""
    busy = {CHANNEL}
    side = settlement(channels, ledger, busy=busy)
    hold(ledger, 400)
    hold(ledger, 300, salt=2)

    assert kinds(side.round()) == [("settle", 300), ("collect", 150)]
    busy.clear()
    assert kinds(side.round()) == [("settle", 400), ("collect", 200)]


def test_turns_are_counted_from_the_end_of_the_session(ledger: Ledger, channels: FakeChannels) -> None:
    """Else every stage's turn would come at once when a long session ends."""
    busy = {CHANNEL}
    side = settlement(channels, ledger, busy=busy)
    hold(ledger, 400, stage=1)
    for _ in range(5):
        assert side.round() == []

    busy.clear()

    assert side.round() == []
    assert kinds(side.round()) == [("settle", 400), ("collect", 120)]


@pytest.mark.parametrize(("at_once", "closes_at"), [(True, 0), (False, 12345)])
def test_session_does_not_hold_up_what_is_urgent(
    ledger: Ledger, channels: FakeChannels, at_once: bool, closes_at: int
) -> None:
    """A payer cannot keep a closing channel's money back by keeping a session open."""
    hold(ledger, 400)
    channels.lock(CHANNEL, 1000, closes_at)

    done = settlement(channels, ledger, busy={CHANNEL}).round(at_once=at_once)

    assert kinds(done) == [("settle", 400), ("collect", 200)]


def test_at_once_waits_for_nobody(ledger: Ledger, channels: FakeChannels) -> None:
    """An operator who asks for the money gets it in this round."""
    hold(ledger, 400, stage=2)

    assert kinds(settlement(channels, ledger).round(at_once=True)) == [("settle", 400), ("collect", 80)]


def test_closing_channel_waits_for_nobody(ledger: Ledger, channels: FakeChannels) -> None:
    """The payer's clock runs: a turn waited for could be too late."""
    hold(ledger, 400, stage=2)
    channels.lock(CHANNEL, 1000, closes_at=12345)

    assert kinds(settlement(channels, ledger).round()) == [("settle", 400), ("collect", 80)]


def test_pot_of_two_channels_is_collected_once_after_both(ledger: Ledger, channels: FakeChannels) -> None:
    """Both channels pay the same payees; one collection takes both shares."""
    hold(ledger, 400)
    hold(ledger, 300, salt=2)

    done = settlement(channels, ledger).round()

    assert kinds(done) == [("settle", 400), ("settle", 300), ("collect", 350)]


def test_pots_of_different_payees_are_collected_each(ledger: Ledger, channels: FakeChannels) -> None:
    """Other shares, another pot."""
    alone = payees_for([(NODES[0].address, 1)])
    key = make_key(3, alone)
    open_held(ledger, 0, 3, alone)
    channels.lock(key.id(DOMAIN), 1000)
    ledger.hold_voucher(make_voucher(100, key))
    hold(ledger, 400)

    collected = {each.amount for each in settlement(channels, ledger).round() if each.kind == "collect"}

    assert collected == {100, 200}


def test_all_that_is_due_is_settled_in_one_transaction(ledger: Ledger, channels: FakeChannels) -> None:
    """Each channel has its record, and the parts of the gas are the whole of it."""
    hold(ledger, 400)
    hold(ledger, 300, salt=2)

    done = settlement(channels, ledger).round()

    assert channels.calls == ["settleMany", "collect"]
    assert [(each.channel, each.tx_hash) for each in done[:2]] == [(CHANNEL, BATCH), (OTHER, BATCH)]
    assert [each.gas_used for each in done] == [30_001, 30_000, 50_000]


def test_what_a_batch_left_out_is_not_reported(ledger: Ledger, channels: FakeChannels) -> None:
    """Another stage settled one of the channels between the look at it and the transaction."""
    hold(ledger, 400)
    hold(ledger, 300, salt=2)
    settle_many = channels.settle_many

    def late(sender: Signer, vouchers: Sequence[SignedVoucher], key: str | None = None) -> Sent:
        channels.settle(NODES[1], vouchers[0])
        return settle_many(sender, vouchers)

    channels.settle_many = late  # type: ignore[method-assign]

    assert kinds(settlement(channels, ledger).round()) == [("settle", 300), ("collect", 350)]


def test_a_batch_that_was_settled_by_another_costs_nothing(
    ledger: Ledger, channels: FakeChannels, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither together nor one by one; the shares are collected all the same."""
    hold(ledger, 400)
    hold(ledger, 300, salt=2)

    def too_late(sender: Signer, vouchers: Sequence[SignedVoucher], key: str | None = None) -> Sent:
        for voucher in vouchers:
            channels.settle(NODES[1], voucher)
        raise Reverted("NothingInBatch")

    channels.settle_many = too_late  # type: ignore[method-assign]

    assert kinds(settlement(channels, ledger).round()) == [("collect", 350)]
    assert channels.calls == ["settle", "settle", "collect"]  # the other stage's, and this one's share
    assert "VoucherStale" in caplog.text


@pytest.mark.parametrize(("count", "transactions"), [(MAX_BATCH, 1), (MAX_BATCH + 1, 2)])
def test_a_batch_has_a_limit(ledger: Ledger, channels: FakeChannels, count: int, transactions: int) -> None:
    """At it one transaction, past it another for the rest."""
    for salt in range(1, count + 1):
        channels.lock(make_key(salt).id(DOMAIN), 1000)
        hold(ledger, 10, salt=salt)

    done = settlement(channels, ledger).round()

    assert sum(call.startswith("settle") for call in channels.calls) == transactions
    assert kinds(done) == [("settle", 10)] * count + [("collect", 5 * count)]


@pytest.mark.parametrize(("refused", "calls"), [(False, ["collectMany"]), (True, ["collect"] * 3)])
def test_a_nodes_shares_are_collected_in_one_transfer(
    ledger: Ledger, channels: FakeChannels, refused: bool, calls: list[str]
) -> None:
    """Its two places in one pot and the one in another; should the contract refuse that, each alone."""
    twice = payees_for([(NODES[place].address, weight) for place, weight in ((0, 4), (1, 4), (0, 2))])
    channels.refuses_batches = refused
    for payees, salt in ((twice, 7), (PAYEES, 1)):
        key = make_key(salt, payees)
        channels.lock(key.id(DOMAIN), 1000)
        open_held(ledger, 0, salt, payees)
        ledger.hold_voucher(make_voucher(500, key))

    done = settlement(channels, ledger).round(at_once=True)

    assert kinds(done)[2:] == [("collect", 200), ("collect", 100), ("collect", 250)]
    assert channels.calls[1:] == calls
    assert sum(each.gas_used for each in done[2:]) == (150_000 if refused else 50_001)


def test_reverting_channel_does_not_stop_the_others(
    ledger: Ledger, channels: FakeChannels, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged with its reason; the other is settled and the shared pot collected."""
    hold(ledger, 400)
    hold(ledger, 300, salt=2)
    channels.failing[CHANNEL] = Reverted("VoucherStale", (400, 400))

    done = settlement(channels, ledger).round()

    assert kinds(done) == [("settle", 300), ("collect", 150)]
    assert CHANNEL.hex() in caplog.text
    assert "VoucherStale(400, 400)" in caplog.text


def test_reverted_settlement_is_tried_again(ledger: Ledger, channels: FakeChannels) -> None:
    """The voucher is still on disk."""
    side = settlement(channels, ledger)
    hold(ledger, 400)
    channels.failing[CHANNEL] = Reverted("Odd")
    assert side.round() == []

    channels.failing.clear()

    assert kinds(side.round()) == [("settle", 400), ("collect", 200)]


@pytest.mark.parametrize("error", [DOWN, TransactionRefused(-32000, "insufficient funds")])
def test_trouble_with_the_chain_ends_the_round(ledger: Ledger, channels: FakeChannels, error: Exception) -> None:
    """What is not one channel's fault would meet every other as well."""
    hold(ledger, 400)
    channels.failing[CHANNEL] = error  # type: ignore[assignment]

    with pytest.raises(type(error)):
        settlement(channels, ledger).round()


def test_reclaimed_channel_is_left_alone(
    ledger: Ledger, channels: FakeChannels, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing can be settled on it ever again: neither sent nor complained of in every round."""
    hold(ledger, 400)
    channels.reclaim(CHANNEL)

    assert settlement(channels, ledger).round(at_once=True) == []
    assert channels.calls == []
    assert caplog.text == ""


def test_channel_that_the_chain_does_not_know_is_left_alone(ledger: Ledger) -> None:
    """A local chain that began anew has none of the old channels."""
    hold(ledger, 400)
    channels = FakeChannels()

    assert settlement(channels, ledger).round(at_once=True) == []


@pytest.mark.parametrize(("minimum", "done"), [(200, ["settle", "collect"]), (201, [])])
def test_small_share_is_left_to_grow(ledger: Ledger, channels: FakeChannels, minimum: int, done: list[str]) -> None:
    """At the minimum it is worth its gas, below it is not; when the operator says now, it is."""
    hold(ledger, 400)
    money = settlement(channels, ledger, minimum)

    assert [kind for kind, _ in kinds(money.round())] == done
    assert kinds(money.round(at_once=True)) == ([] if done else [("settle", 400), ("collect", 200)])


@pytest.mark.parametrize(("cumulative", "owed"), [(0, 0), (99, 0), (100, 0), (101, 1), (1000, 900), (1001, 0)])
def test_owed_is_what_a_voucher_can_still_claim(
    ledger: Ledger, channels: FakeChannels, cumulative: int, owed: int
) -> None:
    """More than was settled, and no more than is locked."""
    channels.settle(NODES[1], make_voucher(100))
    hold(ledger, cumulative)

    assert owed_on(ledger.held(CHANNEL), channels.state(CHANNEL)) == owed


def test_a_node_that_is_two_stages_collects_both_shares(ledger: Ledger, channels: FakeChannels) -> None:
    """One voucher, one settlement, and each index of its own; the share between the two is somebody else's."""
    payees = payees_for([(NODES[place].address, weight) for place, weight in ((0, 4), (1, 4), (0, 2))])
    key = make_key(7, payees)
    channels.lock(key.id(DOMAIN), 1000)
    open_held(ledger, 2, 7, payees)
    ledger.hold_voucher(make_voucher(500, key))

    done = settlement(channels, ledger).round(at_once=True)

    assert kinds(done) == [("settle", 500), ("collect", 200), ("collect", 100)]
    assert channels.collectable(payees, 1) == 200


@pytest.mark.parametrize(("minimum", "settles"), [(60, True), (61, False)])
def test_both_shares_count_for_what_is_worth_a_transaction(
    ledger: Ledger, channels: FakeChannels, minimum: int, settles: bool
) -> None:
    """40 and 20 of a hundred are 60."""
    payees = payees_for([(NODES[place].address, weight) for place, weight in ((0, 4), (1, 4), (0, 2))])
    key = make_key(7, payees)
    channels.lock(key.id(DOMAIN), 1000)
    open_held(ledger, 0, 7, payees)
    ledger.hold_voucher(make_voucher(100, key))

    assert bool(settlement(channels, ledger, minimum).round()) is settles


def test_transactions_are_named_by_what_they_are_for(ledger: Ledger, channels: FakeChannels) -> None:
    """A settlement by channel and amount, a collection by its place and how often; a batch by all that is in it."""
    pots = payees_hash(PAYEES).hex()
    one = Settlement(fake_network(channels), ledger, NODES[0], wishes=Wishes(lambda _name: None))
    hold(ledger, 400)
    one.round(at_once=True)
    assert channels.keys == [f"settle-{CHANNEL.hex()}-400-1", f"collect-{pots}-0-1"]
    ledger.hold_voucher(make_voucher(500))
    hold(ledger, 300, salt=2)
    one.round(at_once=True)
    batch, again = channels.keys[2:]
    assert batch is not None
    assert batch.startswith("settle-")
    assert CHANNEL.hex() not in batch
    assert again == f"collect-{pots}-0-1"
    settlement(channels, ledger).round(at_once=True)
    ledger.hold_voucher(make_voucher(510))
    settlement(channels, ledger).round(at_once=True)
    assert channels.keys[4:] == [None, None]


def test_what_is_not_ripe_is_collected_in_a_later_round(channels: FakeChannels, ledger: Ledger) -> None:
    """Settled at once; a round without anything ripe sends nothing, the one after takes what has become so."""
    held = open_held(ledger)
    ledger.hold_voucher(make_voucher(400))
    channels.unripe[held.key.payees] = 400
    money = settlement(channels, ledger)
    assert kinds(money.round()) == [("settle", 400)]
    assert kinds(money.round()) == []
    channels.unripe[held.key.payees] = 100
    assert kinds(money.round()) == [("collect", 150)]
    channels.unripe.clear()
    assert kinds(money.round()) == [("collect", 50)]
    assert channels.calls == ["settle", "collect", "collect"]


def test_a_name_that_was_used_for_something_else_holds_up_nobody(ledger: Ledger, channels: FakeChannels) -> None:
    """A payer that signs one amount twice, to a node whose disk was restored in between, harms its own channel alone."""
    hold(ledger, 400)
    hold(ledger, 300, salt=2)
    channels.failing[CHANNEL] = KeyReused("settle-1")

    assert kinds(settlement(channels, ledger).round(at_once=True)) == [("settle", 300), ("collect", 150)]


def test_a_settled_channel_is_looked_at_ever_less_often(ledger: Ledger, channels: FakeChannels) -> None:
    """In rounds 1, 2, 4, 8, 16, 32, and then every 17th; a new voucher is seen at once, and so is an old one by command."""
    side = settlement(channels, ledger)
    hold(ledger, 400)
    side.round()
    channels.asked.clear()
    channels.pots_asked = 0
    looked = []
    for number in range(1, 51):
        before = len(channels.asked)
        side.round()
        looked += [number] * (len(channels.asked) - before)
    assert looked == [1, 2, 4, 8, 16, 32, 49]
    assert channels.pots_asked == len(looked)

    side.round(at_once=True)
    assert len(channels.asked) == 8
    ledger.hold_voucher(make_voucher(450))
    assert kinds(side.round()) == [("settle", 50), ("collect", 25)]


def test_a_channel_that_comes_late_is_settled(ledger: Ledger, channels: FakeChannels) -> None:
    """Its vouchers were good all the time."""
    open_held(ledger, salt=1, unseen_since=int(time.time()))
    ledger.hold_voucher(make_voucher(400))
    late = FakeChannels()
    side = settlement(late, ledger)
    for _ in range(5):
        assert side.round() == []
    late.lock(CHANNEL, 1000)

    assert [kind for _ in range(4) for kind in kinds(side.round())] == [("settle", 400), ("collect", 200)]


def test_what_a_session_pays_at_its_end_is_settled_with_the_rest(
    ledger: Ledger, channels: FakeChannels, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ended while the round asked the chain: one settlement, and not one for each of its last vouchers."""
    hold(ledger, 400)
    running = [CHANNEL]
    side, asked = settlement(channels, ledger, busy=running), channels.state

    def ending(channel: bytes) -> ChannelState:
        if running:
            ledger.hold_voucher(make_voucher(500))
            running.clear()
        return asked(channel)

    monkeypatch.setattr(channels, "state", ending)
    assert kinds(side.round()) == [("settle", 500), ("collect", 250)]
    assert channels.calls == ["settle", "collect"]


@pytest.mark.parametrize(("age", "left"), [(FORGET_SECONDS - 60, 1), (FORGET_SECONDS + 60, 0)])
def test_vouchers_on_a_channel_that_never_comes_go(ledger: Ledger, age: int, left: int) -> None:
    """A free balance that is trusted costs no gas; what it leaves on a node's disk is gone after a day."""
    open_held(ledger, unseen_since=int(time.time()) - age)
    ledger.hold_voucher(make_voucher(400))

    settlement(FakeChannels(), ledger).round()

    assert len(ledger.all_held()) == left


@pytest.mark.parametrize("kept", ["known", "busy", "down"])
def test_no_voucher_goes_that_may_be_worth_something(ledger: Ledger, kept: str) -> None:
    """The chain knows the channel, whatever it holds; or a session runs on it; or nobody can say."""
    open_held(ledger, unseen_since=int(time.time()) - 2 * FORGET_SECONDS)  # without a voucher: only forgetting asks
    channels = FakeChannels(down=DOWN if kept == "down" else None)
    if kept == "known":
        channels.lock(CHANNEL, 10)

    assert settlement(channels, ledger, busy=[CHANNEL] if kept == "busy" else ()).round() == []

    assert ledger.held(CHANNEL).is_unseen == (kept != "known")


def test_a_channel_that_was_seen_once_outlives_a_false_answer(ledger: Ledger, channels: FakeChannels) -> None:
    """Which costs a round, and not what it holds."""
    open_held(ledger, unseen_since=int(time.time()) - 2 * FORGET_SECONDS)
    ledger.hold_voucher(make_voucher(400))
    side = settlement(channels, ledger, minimum=10**6)  # too little to be settled yet
    side.round()
    assert not ledger.held(CHANNEL).is_unseen
    channels.states.clear()
    side.round()
    channels.lock(CHANNEL, 1000)

    assert kinds(settlement(channels, ledger).round()) == [("settle", 400), ("collect", 200)]


def test_what_is_forgotten_takes_no_memory(ledger: Ledger) -> None:
    """Nor is a channel of that name left alone, should it come back."""
    open_held(ledger, unseen_since=1)
    ledger.hold_voucher(make_voucher(400))
    side = settlement(FakeChannels(), ledger)

    side.round()

    assert ledger.all_held() == []
    assert side._looks._idle == {}


def test_trouble_with_forgetting_hides_nothing_that_was_done(
    ledger: Ledger, channels: FakeChannels, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It comes last, and again in the next round."""
    hold(ledger, 400)

    def down(_self: Ledger, _before: int) -> list[bytes]:
        raise DOWN

    monkeypatch.setattr(Ledger, "unseen", down)
    assert kinds(settlement(channels, ledger).round()) == [("settle", 400), ("collect", 200)]


def test_forgetting_asks_a_bounded_number_of_questions(ledger: Ledger) -> None:
    """A node that comes back after a week of that serves its clients first."""
    for salt in range(1, MAX_FORGOTTEN + 3):
        open_held(ledger, salt=salt, unseen_since=1)
    channels = FakeChannels()
    side = settlement(channels, ledger)

    for left in (2, 0):
        side.round()
        assert len(ledger.unseen(2)) == left
    assert len(channels.asked) == MAX_FORGOTTEN + 2
