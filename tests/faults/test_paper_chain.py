"""The chain on paper: money moves and is refused as in the contracts, and none comes from nowhere."""

import pytest

from incentives.errors import ChainUnavailable, Reverted
from incentives.vouchers import sign_voucher
from tests.faults.paper_chain import PARAMS, WEALTH, PaperChannels
from tests.node.money_fakes import CLIENT, NODES, PAYEES, WORK, make_key

KEY = make_key()


@pytest.fixture
def channels() -> PaperChannels:
    """Nobody has a channel."""
    return PaperChannels()


def test_funding_takes_the_free_balance_if_that_is_enough_and_else_the_wallet(channels: PaperChannels) -> None:
    """As the wrapper does it; the sum over wallet, free and locked stays."""
    channel = KEY.id(channels.domain)
    channels.deposit(CLIENT, 100)
    channels.fund(CLIENT, KEY, 60)
    assert (channels.free_of(CLIENT.address), channels.state(channel).locked) == (40, 60)

    channels.fund(CLIENT, KEY, 50)
    assert (channels.free_of(CLIENT.address), channels.state(channel).locked) == (40, 110)
    assert channels.wallets[CLIENT.address] + 40 + 110 == WEALTH


def test_more_than_there_is_is_refused_and_changes_nothing(channels: PaperChannels) -> None:
    """All of it may be taken, one more not: of the wallet, of the free balance."""
    channels.deposit(CLIENT, WEALTH)
    with pytest.raises(Reverted, match="ERC20InsufficientBalance"):
        channels.deposit(CLIENT, 1)
    with pytest.raises(Reverted, match="InsufficientFree"):
        channels.open(CLIENT, KEY, WEALTH + 1)
    channels.open(CLIENT, KEY, WEALTH)

    assert channels.free_of(CLIENT.address) == 0


def test_a_settled_voucher_is_collected_by_its_payees_and_not_twice(channels: PaperChannels) -> None:
    """The parts of 100 by weights of 5, 3 and 2."""
    channels.fund(CLIENT, KEY, 100)
    channels.settle(NODES[0], sign_voucher(CLIENT, channels.domain, KEY, 100, WORK))

    assert [channels.collectable(PAYEES, index) for index in range(3)] == [50, 30, 20]
    channels.collect(NODES[0], PAYEES, 0)
    with pytest.raises(Reverted, match="NothingToCollect"):
        channels.collect(NODES[0], PAYEES, 0)


def test_a_closing_channel_takes_no_more_money_and_says_when_it_ends(channels: PaperChannels) -> None:
    """The clock is the delay of the suite."""
    channels.fund(CLIENT, KEY, 10)
    channels.close(CLIENT, KEY)

    assert channels.state(KEY.id(channels.domain)).closes_at > PARAMS.close_delay_s
    with pytest.raises(Reverted, match="ChannelClosing"):
        channels.fund(CLIENT, KEY, 1)


def test_a_chain_that_is_down_answers_nothing(channels: PaperChannels) -> None:
    """By the error that a real one's silence has; up again, it knows what it knew."""
    channels.fund(CLIENT, KEY, 10)
    channels.clock.down = True
    for ask in (lambda: channels.state(KEY.id(channels.domain)), lambda: channels.free_of("0x1"), channels.clock.head):
        with pytest.raises(ChainUnavailable):
            ask()
    channels.clock.down = False

    assert channels.state(KEY.id(channels.domain)).locked == 10
