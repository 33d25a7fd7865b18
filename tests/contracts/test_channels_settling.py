"""Channels: what a voucher does, and where it does nothing."""

from dataclasses import astuple, replace

import pytest

from incentives.vouchers import ChannelKey
from sharding.hashing import keccak256
from tests.contracts.world import PEER, WORK, World, dev, hot, only_event, word
from verification.typed_data import Domain

PAYER, STRANGER = dev(1), dev(9)
SIGNER = hot("client")
WORDS = (word(dev(3).address, 6_000), word(dev(4).address, 4_000))
SWAPPED = WORDS[::-1]
INVALID = ("SignatureInvalid", ())


@pytest.fixture
def key(world: World) -> ChannelKey:
    """An open channel with 100 locked."""
    return world.channel(PAYER, SIGNER, WORDS, 100)


def test_anybody_may_settle_and_the_pot_grows_by_the_difference(world: World, key: ChannelKey) -> None:
    """No money moves; the event says what was paid for."""
    channel = key.id(world.domain(world.channels))
    for cumulative in (30, 31, 100):
        sent = world.send(STRANGER, world.channels, "settle", *world.voucher(SIGNER, key, cumulative))
        assert only_event(sent) == (
            "Settled",
            {"channel": channel, "payees": key.payees, "cumulative": cumulative, "work": WORK},
        )
        assert world.channel_state(key) == (100, cumulative, 0)
        assert world.view(world.channels, "potOf", key.payees) == cumulative
    assert world.balance(world.channels.address) == 100


def test_an_old_voucher_changes_nothing(world: World, key: ChannelKey) -> None:
    """Neither the same amount again, nor a lower one, nor zero."""
    assert world.refusal(STRANGER, world.channels, "settle", *world.voucher(SIGNER, key, 0)) == ("VoucherStale", (0, 0))
    world.send(STRANGER, world.channels, "settle", *world.voucher(SIGNER, key, 50))
    for cumulative in (50, 49, 0):
        call = world.channels, "settle", *world.voucher(SIGNER, key, cumulative)
        assert world.refusal(STRANGER, *call) == ("VoucherStale", (50, cumulative))


def test_a_voucher_pays_no_more_than_is_locked(world: World, key: ChannelKey) -> None:
    """All of it, not one unit more; a top-up makes the same voucher good."""
    voucher = world.voucher(SIGNER, key, 101)
    assert world.refusal(STRANGER, world.channels, "settle", *voucher) == ("VoucherExceedsLock", (100, 101))
    highest = world.voucher(SIGNER, key, 2**96 - 1)
    assert world.refusal(STRANGER, world.channels, "settle", *highest) == ("VoucherExceedsLock", (100, 2**96 - 1))
    world.send(PAYER, world.channels, "depositAndOpen", astuple(key), 1)
    world.send(STRANGER, world.channels, "settle", *voucher)
    assert world.channel_state(key) == (101, 101, 0)


def test_only_the_channels_signer_can_pay(world: World, key: ChannelKey) -> None:
    """Not the payer itself, not a stranger, and nothing signed by the right key over other numbers."""
    for forger in (PAYER, STRANGER):
        assert world.refusal(STRANGER, world.channels, "settle", *world.voucher(forger, key, 10)) == INVALID
    key_words, _, _, r, vs = world.voucher(SIGNER, key, 10)
    assert world.refusal(STRANGER, world.channels, "settle", key_words, 11, WORK, r, vs) == INVALID
    assert world.refusal(STRANGER, world.channels, "settle", key_words, 10, PEER, r, vs) == INVALID


def test_a_voucher_is_good_on_one_chain_and_one_contract(world: World, key: ChannelKey) -> None:
    """The domain is part of both the channel's id and the voucher."""
    for domain in (Domain(1, world.channels.address), Domain(31337, world.stakes.address)):
        assert world.refusal(STRANGER, world.channels, "settle", *world.voucher(SIGNER, key, 10, domain)) == INVALID


def test_a_voucher_is_good_for_one_channel(world: World, key: ChannelKey) -> None:
    """Other payees, another order of them, another salt: each is another channel, which refuses the signature."""
    _, cumulative, work, r, vs = world.voucher(SIGNER, key, 10)
    for other in (
        world.channel(PAYER, SIGNER, SWAPPED, 100),
        world.channel(PAYER, SIGNER, WORDS[:1], 100),
        world.channel(PAYER, SIGNER, WORDS, 100, salt=WORK),
        world.channel(dev(2), SIGNER, WORDS, 100),
    ):
        assert world.refusal(STRANGER, world.channels, "settle", astuple(other), cumulative, work, r, vs) == INVALID


def test_a_channel_that_was_never_opened_is_unknown(world: World, key: ChannelKey) -> None:
    """Also the open one under another signer, to which a forger would have the key."""
    forger = hot("forger")
    other = replace(key, signer=forger.address)
    call = world.channels, "settle", *world.voucher(forger, other, 10)
    assert world.refusal(STRANGER, *call) == ("ChannelUnknown", (other.id(world.domain(world.channels)),))


def test_channels_with_the_same_payees_share_one_pot(world: World, key: ChannelKey) -> None:
    """Many clients of one route are one collection for its nodes."""
    second = world.channel(dev(2), hot("second client"), WORDS, 50)
    world.send(STRANGER, world.channels, "settle", *world.voucher(SIGNER, key, 40))
    world.send(STRANGER, world.channels, "settle", *world.voucher(hot("second client"), second, 50))
    assert world.view(world.channels, "potOf", keccak256(b"".join(WORDS))) == 90


def test_the_greatest_voucher_settles(world: World) -> None:
    """2^96 - 1 in one step; the pot may grow beyond."""
    world.give(PAYER, 2**97)
    for salt in (PEER, WORK):
        key = world.channel(PAYER, SIGNER, SWAPPED, 2**96 - 1, salt)
        world.send(STRANGER, world.channels, "settle", *world.voucher(SIGNER, key, 2**96 - 1))
    assert world.view(world.channels, "potOf", key.payees) == 2**97 - 2
