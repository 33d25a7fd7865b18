"""Channels: the payees let the payer go before the clock has run out, and nobody else can."""

from collections.abc import Sequence
from dataclasses import astuple
from typing import Any

import pytest

from incentives.signing import Signer, split_signature
from incentives.vouchers import ChannelKey, Release
from tests.contracts.world import CLOSE_DELAY, GAS, POOL, RECLAIMED, WORK, World, dev, hot, only_event, word
from verification.typed_data import Domain

PAYER, OTHER, STRANGER = dev(1), dev(2), dev(9)
SIGNER = hot("client")
NODES = tuple(hot(f"node {i}") for i in range(3))
WORDS = tuple(word(node.address, weight) for node, weight in zip(NODES, (5_000, 3_000, 2_000), strict=True))
INVALID = ("SignatureInvalid", ())


@pytest.fixture
def key(world: World) -> ChannelKey:
    """An open channel with 100 locked and 30 settled."""
    key = world.channel(PAYER, SIGNER, WORDS, 100)
    world.send(STRANGER, world.channels, "settle", *world.voucher(SIGNER, key, 30))
    return key


def consented(
    world: World,
    key: ChannelKey,
    *,
    by: Sequence[Signer] = NODES,
    settled: int = 30,
    deadline: int = 2**40 - 1,
    domain: Domain | None = None,
) -> tuple[Any, ...]:
    """The arguments of `release`."""
    domain = domain or world.domain(world.channels)
    digest = Release(key.id(domain), settled, deadline).digest(domain)
    signatures = [split_signature(signer.sign_digest(digest)) for signer in by]
    return astuple(key), list(WORDS), settled, deadline, signatures


def test_all_payees_together_end_a_channel_at_once(world: World, key: ChannelKey) -> None:
    """The rest is free balance, what is settled stays in the pot; no clock had to start."""
    sent = world.send(PAYER, world.channels, "release", *consented(world, key))
    channel = key.id(world.domain(world.channels))
    assert only_event(sent) == ("Reclaimed", {"channel": channel, "payer": PAYER.address, "amount": 70})
    assert world.channel_state(key) == (30, 30, RECLAIMED)
    assert world.view(world.channels, "freeOf", PAYER.address) == 70
    world.ripen()
    world.send(STRANGER, world.channels, "collect", list(WORDS), 0)
    assert world.balance(NODES[0].address) == 15


def test_a_closing_channel_need_not_wait_for_its_clock(world: World, key: ChannelKey) -> None:
    """The payees may consent after the payer has asked."""
    world.send(PAYER, world.channels, "close", astuple(key))
    world.send(PAYER, world.channels, "release", *consented(world, key))
    assert world.channel_state(key) == (30, 30, RECLAIMED)


def test_a_released_channel_is_dead_for_ever(world: World, key: ChannelKey) -> None:
    """No voucher, no money, no second release with the same signatures."""
    held, release = world.voucher(SIGNER, key, 90), consented(world, key)
    world.send(PAYER, world.channels, "release", *release)
    dead = ("ChannelClosed", (key.id(world.domain(world.channels)),))
    assert world.refusal(PAYER, world.channels, "release", *release) == dead
    assert world.refusal(STRANGER, world.channels, "settle", *held) == dead
    assert world.refusal(PAYER, world.channels, "depositAndOpen", astuple(key), 1) == dead
    assert world.view(world.channels, "freeOf", PAYER.address) == 70


def test_the_payer_and_one_payee_cannot_take_what_is_owed_to_the_others(world: World, key: ChannelKey) -> None:
    """A payer may run a stage itself: its signature in the others' places is worth nothing, whichever stage it is."""
    for place in range(3):
        by = [*NODES[:place], NODES[(place + 1) % 3], *NODES[place + 1 :]]
        assert world.refusal(PAYER, world.channels, "release", *consented(world, key, by=by)) == INVALID
    assert world.refusal(PAYER, world.channels, "release", *consented(world, key, by=[PAYER] * 3)) == INVALID
    world.send(STRANGER, world.channels, "settle", *world.voucher(SIGNER, key, 100))
    assert world.view(world.channels, "potOf", key.payees) == 100


def test_each_payee_signs_once_and_in_its_place(world: World, key: ChannelKey) -> None:
    """Neither fewer signatures nor more, nor in another order."""
    for count in (0, 2):
        refused = world.refusal(PAYER, world.channels, "release", *consented(world, key, by=NODES[:count]))
        assert refused == ("ConsentsMissing", (count, 3))
    more = consented(world, key, by=[*NODES, NODES[0]])
    assert world.refusal(PAYER, world.channels, "release", *more) == ("ConsentsMissing", (4, 3))
    assert world.refusal(PAYER, world.channels, "release", *consented(world, key, by=NODES[::-1])) == INVALID


def test_the_audit_pool_is_not_asked_and_all_others_are(world: World) -> None:
    """A contract has no key. Wherever its word stands, and however often, the others sign in their order."""
    first, second = NODES[:2]
    words = [word(POOL, 100), word(first.address, 6_000), word(POOL, 150), word(second.address, 3_750)]
    key = world.channel(PAYER, SIGNER, words, 100)
    for by, refused in (
        ([second, first], INVALID), ([first], ("ConsentsMissing", (1, 2))), ([PAYER, first, PAYER, second], INVALID),
        ([first, second, PAYER], ("ConsentsMissing", (3, 2))), ([], ("ConsentsMissing", (0, 2))),
    ):  # fmt: skip
        key_words, _, *rest = consented(world, key, by=by, settled=0)
        assert world.refusal(PAYER, world.channels, "release", key_words, words, *rest) == refused
    key_words, _, *rest = consented(world, key, by=[first, second], settled=0)
    world.send(PAYER, world.channels, "release", key_words, words, *rest)
    assert world.channel_state(key) == (0, 0, RECLAIMED)


def test_only_the_channels_own_payees_are_asked(world: World, key: ChannelKey) -> None:
    """Words of the payer's choice do not fit the hash in the key."""
    key_words, words, settled, deadline, signatures = consented(world, key, by=[STRANGER])
    for others in ([word(STRANGER.address, 10_000)], words[:1], words[::-1], []):
        call = key_words, others, settled, deadline, signatures
        name, (expected, _) = world.refusal(PAYER, world.channels, "release", *call)
        assert (name, expected) == ("PayeesWrong", key.payees)


def test_only_the_payer_uses_a_consent(world: World, key: ChannelKey) -> None:
    """Nobody else can end a session under way, not even a payee."""
    release = consented(world, key)
    assert world.refusal(OTHER, world.channels, "release", *release) == ("NotPayer", (OTHER.address,))


def test_a_settlement_takes_the_consent_back(world: World, key: ChannelKey) -> None:
    """The payees signed for what was settled, not a unit more or less."""
    for settled in (29, 31):
        refused = world.refusal(PAYER, world.channels, "release", *consented(world, key, settled=settled))
        assert refused == ("ReleaseStale", (30, settled))
    release = consented(world, key)
    world.send(STRANGER, world.channels, "settle", *world.voucher(SIGNER, key, 31))
    assert world.refusal(PAYER, world.channels, "release", *release) == ("ReleaseStale", (31, 30))


def test_a_consent_counts_until_its_last_second(world: World, key: ChannelKey) -> None:
    """In that second it does, one later it does not."""
    deadline = world.chain.head().timestamp + CLOSE_DELAY
    release = consented(world, key, deadline=deadline)
    other = world.channel(PAYER, SIGNER, WORDS, 50, salt=WORK)
    world.next_block_at(deadline)
    world.send(PAYER, world.channels, "release", *release, gas=GAS)
    late = consented(world, other, settled=0, deadline=deadline)
    world.next_block_at(deadline + 1)
    world.refusal(PAYER, world.channels, "release", *late, gas=GAS)  # asked why, the chain repeats it a block earlier
    assert world.chain.head().timestamp == deadline + 1
    assert world.refusal(PAYER, world.channels, "release", *late) == ("ReleaseExpired", (deadline,))


def test_a_consent_is_good_for_one_channel_of_one_contract_on_one_chain(world: World, key: ChannelKey) -> None:
    """And for the numbers that were signed."""
    for domain in (Domain(1, world.channels.address), Domain(31337, world.stakes.address)):
        assert world.refusal(PAYER, world.channels, "release", *consented(world, key, domain=domain)) == INVALID
    twin = world.channel(PAYER, SIGNER, WORDS, 100, salt=WORK)
    world.send(STRANGER, world.channels, "settle", *world.voucher(SIGNER, twin, 30))
    _, *rest = consented(world, key)
    assert world.refusal(PAYER, world.channels, "release", astuple(twin), *rest) == INVALID
    words, signatures = rest[0], rest[3]
    assert world.refusal(PAYER, world.channels, "release", astuple(key), words, 30, 2**40 - 2, signatures) == INVALID


def test_a_voucher_is_no_consent(world: World, key: ChannelKey) -> None:
    """Two kinds of message, two type hashes, whatever numbers they hold."""
    domain = world.domain(world.channels)
    voucher = world.voucher(NODES[0], key, 30)
    alone = world.channel(PAYER, NODES[0], [word(NODES[0].address, 10_000)], 100)
    arguments = astuple(alone), [word(NODES[0].address, 10_000)], 0, 2**40 - 1, [voucher[3:]]
    assert world.refusal(PAYER, world.channels, "release", *arguments) == INVALID
    digest = Release(alone.id(domain), 30, 2**40 - 1).digest(domain)
    forged = (astuple(alone), 30, WORK, *split_signature(NODES[0].sign_digest(digest)))
    assert world.refusal(STRANGER, world.channels, "settle", *forged) == INVALID


def test_nothing_is_released_that_was_never_opened(world: World, key: ChannelKey) -> None:
    """Even with all signatures."""
    never = world.channel(PAYER, SIGNER, WORDS, salt=WORK)
    unknown = ("ChannelUnknown", (never.id(world.domain(world.channels)),))
    assert world.refusal(PAYER, world.channels, "release", *consented(world, never, settled=0)) == unknown
