"""Channels: nothing is paid before it is ripe. Windows and the numbers kept short, against their twin in Python."""

import random

import pytest

from incentives import maturing
from incentives.chain import Contract
from sharding.hashing import keccak256
from tests.contracts.world import MATURITY, World, dev, double, hot, word

PAYER, STRANGER = dev(1), dev(9)
SIGNER, NODE = hot("client"), hot("node 0").address
WORDS = [word(NODE, 10_000)]
POT = keccak256(b"".join(WORDS))
SEVERAL = 500


@pytest.fixture
def probe(world: World) -> Contract:
    """The libraries, for many numbers at once."""
    return world.chain.deploy(dev(0), double("MaturingProbe")).contract


def settle_at(world: World, second: int, cumulative: int) -> None:
    """In the block of that second."""
    key = world.channel(PAYER, SIGNER, WORDS)
    world.next_block_at(second)
    world.send(STRANGER, world.channels, "settle", *world.voucher(SIGNER, key, cumulative))


def next_window(world: World) -> int:
    """Its first second, with room before it."""
    return (world.chain.head().timestamp // MATURITY + 2) * MATURITY


@pytest.mark.parametrize("second", [0, MATURITY - 1])
def test_what_is_settled_is_ripe_two_windows_later(world: World, second: int) -> None:
    """Settled in the first or the last second of a window: one second before the window after the next it is not there yet."""
    world.channel(PAYER, SIGNER, WORDS, 100)
    start = next_window(world)
    settle_at(world, start + second, 100)
    world.next_block_at(start + 2 * MATURITY - 1)
    assert world.refusal(STRANGER, world.channels, "collect", WORDS, 0, gas=10**6) == ("NothingToCollect", (POT, 0))
    assert world.ripe(POT) == 0
    world.next_block_at(start + 2 * MATURITY)
    world.send(STRANGER, world.channels, "collect", WORDS, 0, gas=10**6)
    assert world.balance(NODE) == 100
    assert world.ripe(POT) == 100


def test_each_windows_money_ripens_by_itself(world: World) -> None:
    """A busy pot: what is settled later does not keep back what came before; each part is paid once."""
    world.channel(PAYER, SIGNER, WORDS, 10**6)
    start = next_window(world)
    for step, (cumulative, ripe) in enumerate(((10, 0), (210, 0), (3_210, 10), (3_211, 210), (3_212, 3_210))):
        settle_at(world, start + step * MATURITY + 5, cumulative)
        assert world.ripe(POT) == ripe
        if ripe:
            world.send(STRANGER, world.channels, "collect", WORDS, 0)
        assert world.balance(NODE) == ripe
    world.ripen()
    world.send(STRANGER, world.channels, "collect", WORDS, 0)
    assert world.balance(NODE) == 3_212


def test_who_collects_late_loses_nothing(world: World) -> None:
    """However many windows have passed, and with a settlement just before."""
    world.channel(PAYER, SIGNER, WORDS, 10**6)
    start = next_window(world)
    settle_at(world, start, 500)
    settle_at(world, start + 9 * MATURITY, 501)
    world.send(STRANGER, world.channels, "collect", WORDS, 0)
    assert world.balance(NODE) == 500


def test_a_batch_waits_as_well(world: World) -> None:
    """What is not ripe is left out of it, what is goes."""
    other = [word(NODE, 4_000), word(NODE, 6_000)]
    for words, salt in ((WORDS, b"1" * 32), (other, b"2" * 32)):
        key = world.channel(PAYER, SIGNER, words, 100, salt)
        world.send(STRANGER, world.channels, "settle", *world.voucher(SIGNER, key, 100))
        if words is WORDS:
            world.ripen()
    shares = [(other, [0, 1]), (WORDS, [0])]
    world.send(STRANGER, world.channels, "collectMany", NODE, shares)
    assert world.balance(NODE) == 100
    assert world.refusal(STRANGER, world.channels, "collectMany", NODE, shares) == ("NothingInBatch", ())
    assert (world.view(world.channels, "maturity"), world.view(world.channels, "court")) == (
        MATURITY,
        world.verdicts.address,
    )


def numbers(dice: random.Random, bits: int) -> int:
    """Of every length alike; now and then all ones or a power of two."""
    length = dice.randrange(bits + 1)
    return dice.choice((dice.getrandbits(length), 2**length - 1, min(2**length, 2**bits - 1)))


def test_short_numbers_are_those_of_the_twin_and_keep_their_order(world: World, probe: Contract) -> None:
    """Below, or above, by less than promised; exact where promised; what is larger is never less."""
    dice = random.Random(7)
    values = sorted(
        {*(numbers(dice, 112) for _ in range(SEVERAL)), 0, 1, 2**16, 2**16 + 1, 2**57 - 1, 2**57, 2**112 - 1}
    )
    rows = world.view(probe, "short", values)
    for value, (down, below, up, above) in zip(values, rows, strict=True):
        assert (down, up) == (maturing.floor_short(value), maturing.ceil_short(value))
        assert (below, above) == (maturing.expand(down), maturing.expand(up))
        assert down < 2**64
        assert up < 2**23
        assert 0 <= value - below <= (0 if value < 2**57 else value >> 56)
        assert 0 <= above - value <= (0 if value <= 2**16 else value >> 15)
    for column in (1, 3):
        assert [row[column] for row in rows] == sorted(row[column] for row in rows)


def test_pots_and_channels_are_those_of_the_twin(world: World, probe: Contract) -> None:
    """Random words, whatever the window: the same one, the next, later, and after the numbers begin anew."""
    dice = random.Random(8)
    pots, amounts, windows = [], [], []
    for _ in range(SEVERAL):
        total, last = numbers(dice, 111), dice.getrandbits(16)
        begun = numbers(dice, max(0, total.bit_length() - 1))
        shorts = maturing.floor_short(begun) << 64 | maturing.floor_short(begun // 2)
        pots.append(total << 144 | last << 128 | shorts)
        amounts.append(numbers(dice, 111))
        windows.append(last + dice.choice((0, 1, 2, 3, 2**16 - 1, 2**16, 2**16 + 1)))
    filled, totals, ripe = world.view(probe, "pots", pots, amounts, windows)
    for at, pot in enumerate(pots):
        assert filled[at] == maturing.pot_plus(pot, amounts[at], windows[at])
        assert (totals[at], ripe[at]) == (maturing.pot_total(pot), maturing.pot_ripe(pot, windows[at]))
    ages = [dice.getrandbits(2) << 62 | (pot >> 128 & 0xFFFF) << 46 | dice.getrandbits(46) for pot in pots]
    settled = [amount & 2**96 - 1 for amount in amounts]
    moved, old = world.view(probe, "channels", ages, settled, windows)
    for at, word_ in enumerate(ages):
        assert moved[at] == maturing.ages_moved(word_, settled[at], windows[at])
        assert old[at] == maturing.ages_ripe(word_, settled[at], windows[at])
    assert world.view(probe, "marked", ages[0], 2) == [ages[0] & 2**62 - 1 | 2 << 62, 2]


def test_a_pot_is_full_at_its_last_unit(world: World, probe: Contract) -> None:
    """Up to 2^112 - 1 in all, which no token reaches; one more panics and would change nothing."""
    full = (maturing.MAX_POT - 5) << 144
    filled, _, _ = world.view(probe, "pots", [full], [5], [0])
    assert filled == [maturing.MAX_POT << 144] == [maturing.pot_plus(full, 5, 0)]
    assert world.refusal(STRANGER, probe, "pots", [full], [6], [0])[0] == "Panic"
    with pytest.raises(OverflowError):
        maturing.pot_plus(full, 6, 0)


def test_money_is_ripe_one_to_two_windows_after_it_was_settled() -> None:
    """The twin alone, second by second, with settlements in every window."""
    pot, ages, maturity, settled = 0, 0, 5, 0
    log: list[tuple[int, int]] = []
    dice = random.Random(9)
    for second in range(400):
        window = maturing.window_of(second, maturity)
        latest = sum(amount for at, amount in log if second - at >= 2 * maturity)
        earliest = sum(amount for at, amount in log if second - at > maturity)
        assert latest <= maturing.pot_ripe(pot, window) <= earliest
        assert maturing.ages_ripe(ages, settled, window) >= maturing.pot_ripe(pot, window)
        assert latest <= maturing.ages_ripe(ages, settled, window) or settled == 0
        if dice.random() < 0.3:
            amount = dice.randrange(1, 100)
            ages, pot = maturing.ages_moved(ages, settled, window), maturing.pot_plus(pot, amount, window)
            settled += amount
            log.append((second, amount))
