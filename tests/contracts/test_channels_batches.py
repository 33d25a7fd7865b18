"""Channels: many vouchers in one settlement, many pots in one collection, and no row that spoils the others."""

from collections.abc import Sequence
from dataclasses import astuple
from typing import Any

import pytest

from incentives.vouchers import ChannelKey
from sharding.hashing import keccak256
from tests.contracts.world import CLOSE_DELAY, PEER, WORK, ZERO, World, batched, dev, hot, plain_event, word
from verification.typed_data import Domain

PAYER, OTHER, STRANGER = dev(1), dev(2), dev(9)
SIGNER = hot("client")
NODES = tuple(hot(f"node {i}").address for i in range(3))
WORDS = [word(NODES[0], 6_000), word(NODES[1], 4_000)]
TWICE = [word(NODES[0], 2_000), word(NODES[1], 5_000), word(NODES[0], 3_000)]
INVALID = ("SignatureInvalid", ())
NOTHING = ("NothingInBatch", ())


def opened(world: World, salt: int, words: Sequence[bytes] = WORDS, amount: int = 100) -> ChannelKey:
    """A channel with `amount` locked."""
    return world.channel(PAYER, SIGNER, words, amount, salt.to_bytes(32, "big"))


def settled_amounts(world: World, keys: Sequence[ChannelKey]) -> list[int]:
    """What is settled on each."""
    return [world.channel_state(key)[1] for key in keys]


def filled(world: World, words: Sequence[bytes], amount: int) -> bytes:
    """Pays `amount` into the pot of the words, and lets it ripen; returns their hash."""
    key = world.channel(PAYER, SIGNER, words, amount, salt=amount.to_bytes(32, "big"))
    world.send(STRANGER, world.channels, "settle", *world.voucher(SIGNER, key, amount))
    world.ripen()
    return key.payees


def test_a_batch_does_what_its_vouchers_would_do_one_by_one(world: World) -> None:
    """Channels of one pot and of another, one of them twice; one event for each."""
    keys = [opened(world, 1), opened(world, 2), opened(world, 3, TWICE)]
    amounts = [(0, 10), (1, 100), (2, 7), (0, 11)]
    rows = [world.voucher(SIGNER, keys[index], amount) for index, amount in amounts]
    assert len(batched(rows)) == 3
    sent = world.send(STRANGER, world.channels, "settleMany", batched(rows))
    domain = world.domain(world.channels)
    assert [plain_event(event) for event in sent.logs] == [
        (
            "Settled",
            {"channel": keys[at].id(domain), "payees": keys[at].payees, "cumulative": amount, "work": WORK},
        )
        for at, amount in amounts
    ]
    assert settled_amounts(world, keys) == [11, 100, 7]
    assert world.view(world.channels, "potOf", keys[0].payees) == 111
    assert world.view(world.channels, "potOf", keys[2].payees) == 7


def test_a_stale_row_and_one_past_the_lock_are_left_out(world: World) -> None:
    """At the limits, and one past each of them; the good rows before and after them count."""
    keys = [opened(world, salt) for salt in range(6)]
    for key in keys[1:4]:
        world.send(STRANGER, world.channels, "settle", *world.voucher(SIGNER, key, 50))
    amounts = (1, 49, 50, 51, 100, 101)
    rows = [world.voucher(SIGNER, key, amount) for key, amount in zip(keys, amounts, strict=True)]
    sent = world.send(STRANGER, world.channels, "settleMany", batched(rows))
    assert len(sent.logs) == 3
    assert settled_amounts(world, keys) == [1, 50, 50, 51, 100, 0]
    assert world.view(world.channels, "potOf", keys[0].payees) == sum((1, 50, 50, 51, 100))


def test_a_channel_that_ended_or_never_was_spoils_no_batch(world: World) -> None:
    """A payer could reclaim right before the batch; a voucher of zero is never anything but stale."""
    good, dead, never = opened(world, 1), opened(world, 2), opened(world, 3, amount=0)
    world.send(STRANGER, world.channels, "settle", *world.voucher(SIGNER, dead, 30))
    world.send(PAYER, world.channels, "close", astuple(dead))
    world.pass_time(CLOSE_DELAY)
    world.send(PAYER, world.channels, "reclaim", astuple(dead))
    rows = [world.voucher(SIGNER, key, amount) for key, amount in ((dead, 90), (dead, 30), (never, 1), (never, 0))]
    world.send(STRANGER, world.channels, "settleMany", batched([*rows, world.voucher(SIGNER, good, 5)]))
    assert settled_amounts(world, (good, dead, never)) == [5, 30, 0]


def test_a_route_without_anything_new_spoils_neither_those_before_nor_those_after_it(world: World) -> None:
    """Its pot stays what it was, wherever in the batch it stands."""
    stale, others = opened(world, 1), [opened(world, salt, TWICE) for salt in (2, 3)]
    world.send(STRANGER, world.channels, "settle", *world.voucher(SIGNER, stale, 50))
    old = world.voucher(SIGNER, stale, 50)
    for rows in ([world.voucher(SIGNER, others[0], 5), old], [old, world.voucher(SIGNER, others[1], 6)]):
        world.send(STRANGER, world.channels, "settleMany", batched(rows))
    assert settled_amounts(world, [stale, *others]) == [50, 5, 6]
    assert world.view(world.channels, "potOf", stale.payees) == 50
    assert world.view(world.channels, "potOf", others[0].payees) == 11


def test_a_closing_channel_is_settled_in_a_batch_as_well(world: World) -> None:
    """Until the reclaim itself."""
    key = opened(world, 1)
    world.send(PAYER, world.channels, "close", astuple(key))
    world.pass_time(CLOSE_DELAY)
    world.send(STRANGER, world.channels, "settleMany", batched([world.voucher(SIGNER, key, 60)]))
    assert settled_amounts(world, [key]) == [60]


def test_a_bad_signature_undoes_the_whole_batch(world: World) -> None:
    """Another's, one over other numbers, of another chain or contract, or of another channel: the sender could have seen it."""
    good, bad = opened(world, 1), opened(world, 2)
    key, amount, work, r, vs = world.voucher(SIGNER, bad, 10)
    foreign = [Domain(1, world.channels.address), Domain(31337, world.court.address)]
    for forged in (
        world.voucher(STRANGER, bad, 10),
        (key, amount + 1, work, r, vs),
        (key, amount, PEER, r, vs),
        (astuple(opened(world, 3)), amount, work, r, vs),
        *(world.voucher(SIGNER, bad, 10, domain) for domain in foreign),
    ):
        rows = [world.voucher(SIGNER, good, 10), forged]
        assert world.refusal(STRANGER, world.channels, "settleMany", batched(rows)) == INVALID
    assert settled_amounts(world, (good, bad)) == [0, 0]


def test_a_batch_that_moves_nothing_is_refused(world: World) -> None:
    """So that who comes second finds out before paying for it; no rows are none that move anything."""
    key = opened(world, 1)
    voucher = world.voucher(SIGNER, key, 10)
    world.send(STRANGER, world.channels, "settleMany", batched([voucher, voucher]))
    assert world.refusal(STRANGER, world.channels, "settleMany", batched([voucher, voucher])) == NOTHING
    assert world.refusal(STRANGER, world.channels, "settleMany", []) == NOTHING
    assert world.refusal(STRANGER, world.channels, "settleMany", [(key.payees, [])]) == NOTHING


def test_a_payees_pots_are_collected_in_one_transfer(world: World) -> None:
    """Two pots, and two places in one of them; each place has its event, the others' money stays."""
    first, second = filled(world, WORDS, 1_000), filled(world, TWICE, 100)
    shares = [(WORDS, [0]), (TWICE, [0, 2])]
    sent = world.send(STRANGER, world.channels, "collectMany", NODES[0], shares)
    assert [plain_event(event) for event in sent.logs] == [
        ("Collected", {"payees": payees, "payee": NODES[0], "index": index, "amount": amount})
        for payees, index, amount in ((first, 0, 600), (second, 0, 20), (second, 2, 30))
    ]
    assert world.balance(NODES[0]) == 650
    assert world.balance(world.channels.address) == 450
    world.send(STRANGER, world.channels, "collectMany", NODES[1], [(WORDS, [1]), (TWICE, [1])])
    assert world.balance(world.channels.address) == 0


def test_places_without_anything_new_are_left_out(world: World) -> None:
    """Anybody may collect for a payee, and must not spoil its batch by it; not even a place named twice does."""
    filled(world, WORDS, 1_000)
    filled(world, TWICE, 100)
    world.send(STRANGER, world.channels, "collect", WORDS, 0)
    shares = [(WORDS, [0]), (TWICE, [2, 2, 0])]
    sent = world.send(STRANGER, world.channels, "collectMany", NODES[0], shares)
    assert [event.args["amount"] for event in sent.logs] == [30, 20]
    assert world.balance(NODES[0]) == 650
    assert world.refusal(STRANGER, world.channels, "collectMany", NODES[0], shares) == NOTHING


@pytest.mark.parametrize("shares", [[], [(WORDS, [])]])
def test_no_places_are_nothing_to_collect(world: World, shares: list[Any]) -> None:
    """Neither without pots nor without indexes."""
    filled(world, WORDS, 1_000)
    refused = world.refusal(STRANGER, world.channels, "collectMany", NODES[0], shares)
    assert refused == NOTHING


def test_one_transfer_pays_one_account(world: World) -> None:
    """Another's place refuses the batch, also that of nobody; whoever asks, nobody gets what is not his."""
    filled(world, WORDS, 1_000)
    nobody = [word(ZERO, 5_000), word(NODES[0], 5_000)]
    filled(world, nobody, 500)
    for payee, shares, other in (
        (NODES[0], [(WORDS, [0, 1])], NODES[1]),
        (STRANGER.address, [(WORDS, [0])], NODES[0]),
        (NODES[0], [(WORDS, [0]), (nobody, [0])], ZERO),
    ):
        refused = world.refusal(STRANGER, world.channels, "collectMany", payee, shares)
        assert refused == ("PayeeDiffers", (payee, other))
    assert world.balance(world.channels.address) == 1_500


def test_unsound_words_and_unknown_places_refuse_a_collection(world: World) -> None:
    """As they do one by one: it is the sender's own mistake."""
    filled(world, WORDS, 1_000)
    for weight, total in ((4_001, 10_001), (3_999, 9_999)):
        unsound = [WORDS[0], word(NODES[1], weight)]
        filled(world, unsound, 500 + weight)
        refused = world.refusal(STRANGER, world.channels, "collectMany", NODES[0], [(WORDS, [0]), (unsound, [0])])
        assert refused == ("PayeesInvalid", (total,))
    for index in (2, 2**256 - 1):
        refused = world.refusal(STRANGER, world.channels, "collectMany", NODES[0], [(WORDS, [0, index])])
        assert refused == ("PayeeUnknown", (index, 2))


def test_words_that_were_not_paid_add_nothing(world: World) -> None:
    """Changing an address, a weight or the order leads to another, empty pot."""
    filled(world, WORDS, 1_000)
    others = [[word(STRANGER.address, 10_000)], [word(STRANGER.address, 6_000), WORDS[1]]]
    shares = [(words, [0]) for words in others]
    refused = world.refusal(STRANGER, world.channels, "collectMany", STRANGER.address, shares)
    assert refused == NOTHING
    swapped = keccak256(b"".join(WORDS[::-1]))
    assert world.view(world.channels, "potOf", swapped) == 0
