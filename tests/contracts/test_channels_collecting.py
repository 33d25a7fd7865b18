"""Channels: how a pot is shared."""

from collections.abc import Sequence

from tests.contracts.world import WORK, ZERO, World, dev, hot, only_event, word

PAYER, STRANGER = dev(1), dev(9)
SIGNER = hot("client")
NODES = tuple(hot(f"node {i}").address for i in range(4))


def _settled(world: World, words: Sequence[bytes], amount: int) -> bytes:
    """Pays `amount` into the pot of the words, and lets it ripen; returns their hash."""
    key = world.channel(PAYER, SIGNER, words, amount, salt=amount.to_bytes(32, "big"))
    world.send(STRANGER, world.channels, "settle", *world.voucher(SIGNER, key, amount))
    world.ripen()
    return key.payees


def test_each_payee_gets_its_weight_and_anybody_may_trigger_it(world: World) -> None:
    """The money goes to the word's address, whoever asks; the records and the event agree."""
    words = [word(NODES[0], 2_500), word(NODES[1], 7_500)]
    payees = _settled(world, words, 1_000)
    sent = world.send(STRANGER, world.channels, "collect", words, 1)
    assert only_event(sent) == ("Collected", {"payees": payees, "payee": NODES[1], "index": 1, "amount": 750})
    assert (world.balance(NODES[0]), world.balance(NODES[1])) == (0, 750)
    assert world.view(world.channels, "drawnOf", payees, 1) == 750
    world.send(STRANGER, world.channels, "collect", words, 0)
    assert world.balance(NODES[0]) == 250
    assert world.balance(world.channels.address) == 0


def test_nothing_is_collected_twice(world: World) -> None:
    """Only what was settled since; an unknown pot holds nothing."""
    words = [word(NODES[0], 5_000), word(NODES[1], 5_000)]
    payees = _settled(world, words, 1_000)
    world.send(STRANGER, world.channels, "collect", words, 0)
    assert world.refusal(STRANGER, world.channels, "collect", words, 0) == ("NothingToCollect", (payees, 0))
    for settled, drawn in ((12, 506), (14, 513)):
        _settled(world, words, settled)
        sent = world.send(STRANGER, world.channels, "collect", words, 0)
        assert sent.logs[0].args["amount"] == settled // 2
        assert world.view(world.channels, "drawnOf", payees, 0) == drawn == world.balance(NODES[0])
        assert world.refusal(STRANGER, world.channels, "collect", words, 0) == ("NothingToCollect", (payees, 0))
    name, _ = world.refusal(STRANGER, world.channels, "collect", words[::-1], 0)
    assert name == "NothingToCollect"


def test_one_address_under_two_indices_is_two_payees(world: World) -> None:
    """It gets both shares, each once."""
    words = [word(NODES[0], 4_000), word(NODES[0], 6_000)]
    _settled(world, words, 100)
    for index in (0, 1):
        world.send(STRANGER, world.channels, "collect", words, index)
    assert world.balance(NODES[0]) == 100
    for index in (0, 1):
        assert world.refusal(STRANGER, world.channels, "collect", words, index)[0] == "NothingToCollect"


def test_shares_are_rounded_down_and_the_dust_is_paid_later(world: World) -> None:
    """The shares never exceed the pot; less than one unit per payee waits in it."""
    words = [word(node, weight) for node, weight in zip(NODES[:3], (3_333, 3_333, 3_334), strict=True)]
    payees = _settled(world, words, 2)
    assert world.refusal(STRANGER, world.channels, "collect", words, 0) == ("NothingToCollect", (payees, 0))
    _settled(world, words, 9_998)
    for index in range(3):
        world.send(STRANGER, world.channels, "collect", words, index)
    assert [world.balance(node) for node in NODES[:3]] == [3_333, 3_333, 3_334]
    assert world.balance(world.channels.address) == 0


def test_weights_must_be_ten_thousand_together(world: World) -> None:
    """Otherwise the shares of one pot would be paid from the others'; the money in such a pot stays there."""
    for weights in ((5_000, 4_999), (5_000, 5_001), (10_000, 1), (0, 0), (2**96 - 1, 10_001), (2**96 - 1, 2**96 - 1)):
        words = [word(NODES[0], weights[0]), word(NODES[1], weights[1])]
        _settled(world, words, 100 + weights[1] % 97)
        for index in (0, 1):
            refused = world.refusal(STRANGER, world.channels, "collect", words, index)
            assert refused == ("PayeesInvalid", (sum(weights),))


def test_unknown_payees_are_refused(world: World) -> None:
    """Past the end, far past it, and of no words at all."""
    words = [word(NODES[0], 10_000)]
    _settled(world, words, 100)
    for index in (1, 2**256 - 1):
        assert world.refusal(STRANGER, world.channels, "collect", words, index) == ("PayeeUnknown", (index, 1))
    assert world.refusal(STRANGER, world.channels, "collect", [], 0) == ("PayeeUnknown", (0, 0))


def test_words_that_were_not_paid_get_nothing(world: World) -> None:
    """Changing an address, a weight or the order leads to another, empty pot."""
    words = [word(NODES[0], 5_000), word(NODES[1], 5_000)]
    _settled(world, words, 100)
    for others in ([word(STRANGER.address, 5_000), words[1]], [word(STRANGER.address, 10_000)], words[::-1]):
        assert world.refusal(STRANGER, world.channels, "collect", others, 0)[0] == "NothingToCollect"


def test_a_payee_without_weight_or_address_harms_only_itself(world: World) -> None:
    """The others collect as ever."""
    words = [word(NODES[0], 0), word(ZERO, 5_000), word(NODES[1], 5_000)]
    payees = _settled(world, words, 100)
    assert world.refusal(STRANGER, world.channels, "collect", words, 0) == ("NothingToCollect", (payees, 0))
    assert world.refusal(STRANGER, world.channels, "collect", words, 1) == ("TransferFailed", (ZERO, 50))
    world.send(STRANGER, world.channels, "collect", words, 2)
    assert world.balance(NODES[1]) == 50


def test_the_whole_of_the_greatest_pot_is_collected(world: World) -> None:
    """No product of pot and weight overflows."""
    world.give(PAYER, 2**97)
    words = [word(NODES[0], 10_000)]
    for salt in (WORK, WORK[::-1]):
        key = world.channel(PAYER, SIGNER, words, 2**96 - 1, salt)
        world.send(STRANGER, world.channels, "settle", *world.voucher(SIGNER, key, 2**96 - 1))
    world.ripen()
    world.send(STRANGER, world.channels, "collect", words, 0)
    assert world.balance(NODES[0]) == 2**97 - 2


def test_256_payees_share_a_pot(world: World) -> None:
    """As many as a route may have; the last one is paid like the first."""
    words = [word(hot(f"one of many {i}").address, 39 + (i < 16)) for i in range(256)]
    _settled(world, words, 10_000)
    for index, amount in ((0, 40), (255, 39)):
        assert world.send(STRANGER, world.channels, "collect", words, index).logs[0].args["amount"] == amount
