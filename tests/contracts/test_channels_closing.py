"""Channels: the way back for money that no voucher has claimed."""

from dataclasses import astuple

import pytest

from incentives.vouchers import ChannelKey
from tests.contracts.world import (
    CLOSE_DELAY,
    GAS,
    RECLAIMED,
    WORK,
    World,
    dev,
    hot,
    only_event,
    word,
)

PAYER, OTHER, STRANGER = dev(1), dev(2), dev(9)
SIGNER = hot("client")
WORDS = (word(dev(3).address, 10_000),)


@pytest.fixture
def key(world: World) -> ChannelKey:
    """An open channel with 100 locked and 30 settled."""
    key = world.channel(PAYER, SIGNER, WORDS, 100)
    world.send(STRANGER, world.channels, "settle", *world.voucher(SIGNER, key, 30))
    return key


def _reclaim(world: World, key: ChannelKey) -> None:
    world.send(PAYER, world.channels, "close", astuple(key))
    world.pass_time(CLOSE_DELAY)
    world.send(PAYER, world.channels, "reclaim", astuple(key))


def test_closing_starts_a_clock_and_takes_nothing(world: World, key: ChannelKey) -> None:
    """The payees have the delay to settle what they hold."""
    sent = world.send(PAYER, world.channels, "close", astuple(key))
    closes_at = world.chain.head().timestamp + CLOSE_DELAY
    channel = key.id(world.domain(world.channels))
    assert only_event(sent) == ("CloseStarted", {"channel": channel, "closesAt": closes_at})
    assert world.channel_state(key) == (100, 30, closes_at)


def test_the_rest_comes_back_to_the_very_second(world: World, key: ChannelKey) -> None:
    """One second early is refused; then what is not settled becomes free balance again."""
    world.send(PAYER, world.channels, "close", astuple(key))
    closes_at = world.channel_state(key)[2]
    world.next_block_at(closes_at - 1)
    refused = world.refusal(PAYER, world.channels, "reclaim", astuple(key), gas=GAS)
    assert refused == ("CloseNotReady", (closes_at,))
    world.next_block_at(closes_at)
    sent = world.send(PAYER, world.channels, "reclaim", astuple(key), gas=GAS)
    channel = key.id(world.domain(world.channels))
    assert only_event(sent) == ("Reclaimed", {"channel": channel, "payer": PAYER.address, "amount": 70})
    assert world.channel_state(key) == (30, 30, RECLAIMED)
    assert world.view(world.channels, "freeOf", PAYER.address) == 70
    assert world.view(world.channels, "potOf", key.payees) == 30


def test_vouchers_settle_until_the_reclaim_itself(world: World, key: ChannelKey) -> None:
    """However long after the clock has run out; the payer gets only what is then left."""
    world.send(PAYER, world.channels, "close", astuple(key))
    world.send(STRANGER, world.channels, "settle", *world.voucher(SIGNER, key, 40))
    world.pass_time(10 * CLOSE_DELAY)
    world.send(STRANGER, world.channels, "settle", *world.voucher(SIGNER, key, 95))
    world.send(PAYER, world.channels, "reclaim", astuple(key))
    assert world.view(world.channels, "freeOf", PAYER.address) == 5
    assert world.view(world.channels, "potOf", key.payees) == 95


def test_a_reclaimed_channel_is_dead_for_ever(world: World, key: ChannelKey) -> None:
    """No voucher, old or new, no money and no second reclaim; the pot stays collectable."""
    held = world.voucher(SIGNER, key, 90)
    _reclaim(world, key)
    dead = ("ChannelClosed", (key.id(world.domain(world.channels)),))
    assert world.refusal(STRANGER, world.channels, "settle", *held) == dead
    assert world.refusal(STRANGER, world.channels, "settle", *world.voucher(SIGNER, key, 30)) == dead
    for call in (("close",), ("reclaim",)):
        assert world.refusal(PAYER, world.channels, *call, astuple(key)) == dead
    for fn in ("open", "depositAndOpen"):
        assert world.refusal(PAYER, world.channels, fn, astuple(key), 50) == dead
    world.ripen()
    world.send(STRANGER, world.channels, "collect", list(WORDS), 0)


def test_a_channel_reclaimed_before_any_settlement_is_just_as_dead(world: World) -> None:
    """The mark survives although nothing was ever settled; another salt starts afresh, without the old voucher."""
    key = world.channel(PAYER, SIGNER, WORDS, 100, salt=WORK)
    held = world.voucher(SIGNER, key, 90)
    _reclaim(world, key)
    assert world.channel_state(key) == (0, 0, RECLAIMED)
    assert world.refusal(PAYER, world.channels, "open", astuple(key), 100)[0] == "ChannelClosed"
    fresh = world.channel(PAYER, SIGNER, WORDS, 100, salt=WORK[::-1])
    assert world.refusal(STRANGER, world.channels, "settle", astuple(fresh), *held[1:]) == ("SignatureInvalid", ())


def test_a_closing_channel_takes_no_more_money_and_no_second_clock(world: World, key: ChannelKey) -> None:
    """Closing cannot be undone, nor its clock moved."""
    world.send(PAYER, world.channels, "close", astuple(key))
    closing = ("ChannelClosing", (world.channel_state(key)[2],))
    assert world.refusal(PAYER, world.channels, "depositAndOpen", astuple(key), 1) == closing
    assert world.refusal(PAYER, world.channels, "close", astuple(key)) == closing


def test_only_the_payer_closes_and_reclaims(world: World, key: ChannelKey) -> None:
    """Neither a payee nor a stranger can cut a channel short."""
    for fn in ("close", "reclaim"):
        assert world.refusal(OTHER, world.channels, fn, astuple(key)) == ("NotPayer", (OTHER.address,))


def test_nothing_is_reclaimed_before_closing_or_from_nowhere(world: World, key: ChannelKey) -> None:
    """Each mistake has its name."""
    channel = key.id(world.domain(world.channels))
    assert world.refusal(PAYER, world.channels, "reclaim", astuple(key)) == ("ChannelNotClosing", (channel,))
    never = world.channel(PAYER, SIGNER, WORDS, salt=WORK)
    unknown = ("ChannelUnknown", (never.id(world.domain(world.channels)),))
    for fn in ("close", "reclaim"):
        assert world.refusal(PAYER, world.channels, fn, astuple(never)) == unknown


def test_a_fully_settled_channel_is_reclaimed_with_nothing(world: World, key: ChannelKey) -> None:
    """There is still a way to end it."""
    world.send(STRANGER, world.channels, "settle", *world.voucher(SIGNER, key, 100))
    _reclaim(world, key)
    assert world.view(world.channels, "freeOf", PAYER.address) == 0
    assert world.channel_state(key) == (100, 100, RECLAIMED)
