"""Money on its way from a payer to the nodes."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace

import pytest

from incentives.channels import RECLAIMED_AT, Channels, ChannelState, PayeeShare
from incentives.errors import InvalidSignature, PayeesError, Reverted
from incentives.payees import Payee
from incentives.token import PermitUnsupported, Token
from incentives.units import ONE
from incentives.vouchers import SignedVoucher, sign_voucher
from tests.incentives.suite import (
    OWNER,
    PARAMS,
    PAYER,
    STRANGER,
    WORK,
    Suite,
    channel_key,
    two_payees,
)

KEY = channel_key()


def voucher(suite: Suite, cumulative: int) -> SignedVoucher:
    """PAYER's promise on the channel of this file."""
    return sign_voucher(PAYER, suite.channels.domain, KEY, cumulative, WORK)


def state(suite: Suite) -> ChannelState:
    """The channel of this file."""
    return suite.channels.state(KEY.id(suite.channels.domain))


def test_a_channel_is_opened_in_one_transaction(suite: Suite) -> None:
    """Approved by signature."""
    nonce = suite.chain.nonce(PAYER.address)
    suite.channels.deposit_and_open(PAYER, KEY, 10 * ONE)
    assert suite.chain.nonce(PAYER.address) == nonce + 1
    assert state(suite) == ChannelState(10 * ONE, 0, 0)
    assert state(suite).is_open
    assert suite.token.balance_of(PAYER.address) == 990 * ONE


def test_a_token_without_permits_is_approved_first(suite: Suite, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two transactions, the same channel; an allowance that is there is used."""

    def none(token: Token, *_: object) -> None:
        raise PermitUnsupported(token.address)

    monkeypatch.setattr(Token, "sign_permit", none)
    nonce = suite.chain.nonce(PAYER.address)
    suite.channels.deposit_and_open(PAYER, KEY, ONE)
    assert suite.chain.nonce(PAYER.address) == nonce + 2
    suite.token.approve(PAYER, suite.channels.contract.address, 5 * ONE)
    suite.channels.deposit_and_open(PAYER, KEY, 2 * ONE)
    assert suite.chain.nonce(PAYER.address) == nonce + 4
    assert state(suite).locked == 3 * ONE


def test_free_balance_is_deposited_locked_and_withdrawn(suite: Suite) -> None:
    """And no more than is there."""
    suite.channels.deposit(PAYER, 5)
    suite.channels.open(PAYER, KEY, 2)
    assert suite.channels.free_of(PAYER.address) == 3
    with pytest.raises(Reverted, match=r"FundsShort\(3, 4\)"):
        suite.channels.withdraw(PAYER, 4)
    suite.channels.withdraw(PAYER, 3)
    assert suite.channels.free_of(PAYER.address) == 0
    assert suite.token.balance_of(PAYER.address) == 1_000 * ONE - 2


def test_funding_takes_the_free_balance_where_it_suffices(suite: Suite) -> None:
    """Else all of it comes from the account, in one transaction."""
    suite.channels.deposit(PAYER, 5)
    suite.channels.fund(PAYER, KEY, 5)
    assert (suite.channels.free_of(PAYER.address), state(suite).locked) == (0, 5)
    suite.channels.deposit(PAYER, 5)
    suite.channels.fund(PAYER, KEY, 6)
    assert (suite.channels.free_of(PAYER.address), state(suite).locked) == (5, 11)


def side_by_side(suite: Suite, act: Callable[[Channels], object]) -> None:
    """Two clients of one account in one process, each with its own view of the contracts."""
    with ThreadPoolExecutor(2) as threads:
        views = [Channels(suite.chain, suite.deployment) for _ in range(2)]
        for done in [threads.submit(act, view) for view in views]:
            done.result()


def wait_for_the_other(monkeypatch: pytest.MonkeyPatch, owner: type, name: str) -> None:
    """After a look at the account its other user gets the time to take the same look, if it can."""
    both, look = threading.Barrier(2), getattr(owner, name)

    def looks_and_waits(self: object, *args: object) -> object:
        seen = look(self, *args)
        with suppress(threading.BrokenBarrierError):
            both.wait(0.1)
        return seen

    monkeypatch.setattr(owner, name, looks_and_waits)


def test_two_clients_of_one_account_sign_their_permits_one_after_the_other(
    suite: Suite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two with one number would be one too many for the chain."""
    wait_for_the_other(monkeypatch, Token, "sign_permit")
    side_by_side(suite, lambda channels: channels.deposit_and_open(PAYER, KEY, 3))
    side_by_side(suite, lambda channels: channels.deposit(PAYER, 2))
    assert (state(suite).locked, suite.channels.free_of(PAYER.address)) == (6, 4)


def test_two_clients_of_one_account_do_not_count_on_the_same_free_balance(
    suite: Suite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is enough for one channel: the other is paid from the account."""
    suite.channels.deposit(PAYER, 5)
    wait_for_the_other(monkeypatch, Channels, "free_of")
    side_by_side(suite, lambda channels: channels.fund(PAYER, KEY, 5))
    assert state(suite).locked == 10
    assert suite.token.balance_of(PAYER.address) == 1_000 * ONE - 10


def test_one_voucher_pays_all_payees(suite: Suite) -> None:
    """Anybody settles, anybody collects; the payees get their shares."""
    suite.channels.deposit_and_open(PAYER, KEY, 1_000)
    suite.channels.settle(STRANGER, voucher(suite, 100))
    suite.channels.settle(STRANGER, voucher(suite, 401))
    payees, owner_before = two_payees(), suite.token.balance_of(OWNER.address)
    assert [suite.channels.share(payees, index) for index in (0, 1)] == [PayeeShare(300, 0, 0), PayeeShare(100, 0, 0)]
    assert [suite.channels.share(payees, index).ripening for index in (0, 1)] == [300, 100]
    suite.ripen()
    assert [suite.channels.collectable(payees, index) for index in (0, 1)] == [300, 100]
    for index in (0, 1):
        suite.channels.collect(PAYER, payees, index)
        assert suite.channels.collectable(payees, index) == 0
    assert suite.token.balance_of(OWNER.address) == owner_before + 300
    assert suite.token.balance_of(STRANGER.address) == 100
    assert (state(suite).settled, state(suite).unsettled) == (401, 599)
    with pytest.raises(Reverted, match="NothingToCollect"):
        suite.channels.collect(PAYER, payees, 0)


def test_a_voucher_settles_once_within_the_lock_and_with_its_signature(suite: Suite) -> None:
    """Each refusal by its name."""
    suite.channels.deposit_and_open(PAYER, KEY, 1_000)
    suite.channels.settle(STRANGER, voucher(suite, 1_000))
    with pytest.raises(Reverted, match="VoucherStale"):
        suite.channels.settle(STRANGER, voucher(suite, 1_000))
    with pytest.raises(Reverted, match="VoucherExceedsLock"):
        suite.channels.settle(STRANGER, voucher(suite, 1_001))
    with pytest.raises(InvalidSignature):
        suite.channels.settle(STRANGER, replace(voucher(suite, 1), signature=b""))
    suite.channels.deposit_and_open(PAYER, KEY, 1)
    forged = replace(voucher(suite, 1_001), signature=STRANGER.sign_digest(WORK))
    with pytest.raises(Reverted, match="SignatureInvalid"):
        suite.channels.settle(STRANGER, forged)


def test_what_no_voucher_claims_in_time_comes_back(suite: Suite) -> None:
    """Vouchers settle until the very end, and never after it."""
    suite.channels.deposit_and_open(PAYER, KEY, 1_000)
    suite.channels.close(PAYER, KEY)
    closing = state(suite)
    assert closing.closes_at == suite.chain.head().timestamp + PARAMS.close_delay_s
    assert not closing.is_open
    with pytest.raises(Reverted, match="CloseNotReady"):
        suite.channels.reclaim(PAYER, KEY)
    suite.wait(PARAMS.close_delay_s)
    suite.channels.settle(STRANGER, voucher(suite, 300))
    suite.channels.reclaim(PAYER, KEY)
    assert suite.channels.free_of(PAYER.address) == 700
    ended = state(suite)
    assert (ended.reclaimed, ended.closes_at, ended.unsettled) == (True, RECLAIMED_AT, 0)
    for act in (
        lambda: suite.channels.settle(STRANGER, voucher(suite, 301)),
        lambda: suite.channels.deposit_and_open(PAYER, KEY, 1),
    ):
        with pytest.raises(Reverted, match="ChannelClosed"):
            act()


def test_only_its_payer_closes_a_channel(suite: Suite) -> None:
    """A node cannot be cut off by a stranger."""
    suite.channels.deposit_and_open(PAYER, KEY, 1)
    with pytest.raises(Reverted, match="NotPayer"):
        suite.channels.close(STRANGER, KEY)


def test_an_unknown_channel_has_nothing(suite: Suite) -> None:
    """Zeros; settling on it is refused."""
    assert state(suite) == ChannelState(0, 0, 0)
    assert not state(suite).is_open
    with pytest.raises(Reverted, match="ChannelUnknown"):
        suite.channels.settle(STRANGER, voucher(suite, 1))


def test_payees_that_could_not_collect_are_refused_before_the_chain_is_asked(suite: Suite) -> None:
    """And an index past the last payee by the contract."""
    with pytest.raises(PayeesError):
        suite.channels.collect(PAYER, [Payee(OWNER.address, 9_999)], 0)
    with pytest.raises(PayeesError):
        suite.channels.collectable([Payee(OWNER.address, 9_999)], 0)
    with pytest.raises(Reverted, match=r"PayeeUnknown\(2, 2\)"):
        suite.channels.collect(PAYER, two_payees(), 2)
