"""Stakes: one exit bucket, its clock, cancelling, withdrawing, coming back."""

import pytest

from tests.contracts.world import GAS, MIN_STAKE, PEER, UNBONDING, World, dev, hot, only_event

OWNER, STRANGER = dev(1), dev(9)
SIGNER = hot("signer")
STAKE = 10 * MIN_STAKE


@pytest.fixture
def joined(world: World) -> World:
    """The suite, with one node that has ten times the minimum."""
    world.join(OWNER, SIGNER, STAKE)
    return world


def _exit_at(world: World) -> int:
    return world.stake(OWNER)[3]


def test_an_exit_moves_stake_into_the_bucket_and_starts_the_clock(joined: World) -> None:
    """No money moves yet."""
    sent = joined.send(OWNER, joined.stakes, "exit", 300)
    exit_at = joined.chain.head().timestamp + UNBONDING
    assert joined.stake(OWNER)[:4] == (STAKE - 300, SIGNER.address, 300, exit_at)
    assert joined.balance(joined.stakes.address) == STAKE
    assert only_event(sent) == ("ExitStarted", {"node": OWNER.address, "amount": 300, "exitAt": exit_at})


def test_a_second_exit_restarts_the_clock_for_all(joined: World) -> None:
    """There is one bucket, so no ladder of early exits can be built."""
    joined.send(OWNER, joined.stakes, "exit", 300)
    first = _exit_at(joined)
    joined.pass_time(UNBONDING - 1)
    joined.send(OWNER, joined.stakes, "exit", 1)
    assert joined.stake(OWNER)[2] == 301
    assert _exit_at(joined) >= first + UNBONDING - 1


def test_an_exit_leaves_nothing_or_at_least_the_minimum(joined: World) -> None:
    """Between zero and the minimum nobody stays voluntarily."""
    refused = ("StakeTooLow", (MIN_STAKE - 1, MIN_STAKE))
    assert joined.refusal(OWNER, joined.stakes, "exit", STAKE - MIN_STAKE + 1) == refused
    assert joined.refusal(OWNER, joined.stakes, "exit", STAKE - 1) == ("StakeTooLow", (1, MIN_STAKE))
    joined.send(OWNER, joined.stakes, "exit", STAKE - MIN_STAKE)
    joined.send(OWNER, joined.stakes, "exit", MIN_STAKE)
    assert joined.stake(OWNER)[:3] == (0, SIGNER.address, STAKE)


def test_impossible_exits_are_refused(joined: World) -> None:
    """Nothing, more than everything, somebody without stake."""
    assert joined.refusal(OWNER, joined.stakes, "exit", 0) == ("AmountZero", ())
    assert joined.refusal(OWNER, joined.stakes, "exit", STAKE + 1) == ("StakeShort", (STAKE, STAKE + 1))
    assert joined.refusal(STRANGER, joined.stakes, "exit", 1) == ("NotJoined", (STRANGER.address,))


def test_the_withdrawal_waits_to_the_very_second(joined: World) -> None:
    """One second early is refused, at the time itself the money comes."""
    before = joined.balance(OWNER.address)
    joined.send(OWNER, joined.stakes, "exit", STAKE)
    exit_at = _exit_at(joined)
    joined.next_block_at(exit_at - 1)
    assert joined.refusal(OWNER, joined.stakes, "withdraw", gas=GAS) == ("ExitNotReady", (exit_at,))
    assert joined.chain.head().timestamp == exit_at - 1
    joined.next_block_at(exit_at)
    sent = joined.send(OWNER, joined.stakes, "withdraw", gas=GAS)
    assert only_event(sent) == ("Withdrawn", {"node": OWNER.address, "amount": STAKE})
    assert joined.balance(OWNER.address) == before + STAKE
    assert joined.stake(OWNER)[:4] == (0, SIGNER.address, 0, 0)


def test_nothing_is_withdrawn_twice_or_by_a_stranger(joined: World) -> None:
    """The bucket is empty afterwards, and everybody's own to begin with."""
    assert joined.refusal(OWNER, joined.stakes, "withdraw") == ("NothingExiting", (OWNER.address,))
    joined.send(OWNER, joined.stakes, "exit", STAKE)
    joined.pass_time(UNBONDING)
    assert joined.refusal(STRANGER, joined.stakes, "withdraw") == ("NothingExiting", (STRANGER.address,))
    joined.send(OWNER, joined.stakes, "withdraw")
    assert joined.refusal(OWNER, joined.stakes, "withdraw") == ("NothingExiting", (OWNER.address,))


def test_cancelling_bonds_everything_again(joined: World) -> None:
    """Even after the clock has run out, while nothing was withdrawn."""
    joined.send(OWNER, joined.stakes, "exit", STAKE)
    joined.pass_time(UNBONDING)
    sent = joined.send(OWNER, joined.stakes, "cancelExit")
    assert only_event(sent) == ("ExitCancelled", {"node": OWNER.address, "amount": STAKE})
    assert joined.stake(OWNER)[:4] == (STAKE, SIGNER.address, 0, 0)
    assert joined.refusal(OWNER, joined.stakes, "cancelExit") == ("NothingExiting", (OWNER.address,))


def test_while_all_stake_leaves_the_node_can_do_nothing_else(joined: World) -> None:
    """It does not serve, rotate or join anew; it cancels or waits."""
    joined.send(OWNER, joined.stakes, "exit", STAKE)
    gone = ("NotJoined", (OWNER.address,))
    consent = joined.consent(OWNER, SIGNER)
    assert joined.refusal(OWNER, joined.stakes, "announce", OWNER.address, PEER, 0, 1, 1, "x") == gone
    assert joined.refusal(OWNER, joined.stakes, "addStake", 1) == gone
    assert joined.refusal(OWNER, joined.stakes, "rotate", SIGNER.address, PEER, *consent) == gone
    call = joined.stakes, "join", STAKE, SIGNER.address, PEER, *consent
    assert joined.refusal(OWNER, *call) == ("ExitPending", (_exit_at(joined),))


def test_who_left_altogether_may_come_back_with_the_same_signer(joined: World) -> None:
    """The binding was never given up; the date of joining is the new one."""
    joined.send(OWNER, joined.stakes, "exit", STAKE)
    joined.pass_time(UNBONDING)
    joined.send(OWNER, joined.stakes, "withdraw")
    joined.join(OWNER, SIGNER, MIN_STAKE)
    now = joined.chain.head().timestamp
    assert joined.stake(OWNER) == (MIN_STAKE, SIGNER.address, 0, 0, now)
    assert joined.balance(joined.stakes.address) == MIN_STAKE


def test_cancelling_more_than_fits_panics_and_loses_nothing(world: World) -> None:
    """The bucket can still be withdrawn."""
    world.give(OWNER, 2**97)
    world.join(OWNER, SIGNER, 2**96 - 1)
    world.send(OWNER, world.stakes, "exit", MIN_STAKE)
    world.send(OWNER, world.stakes, "addStake", MIN_STAKE)
    assert world.refusal(OWNER, world.stakes, "cancelExit") == ("Panic", (0x11,))
    world.pass_time(UNBONDING)
    world.send(OWNER, world.stakes, "withdraw")
    assert world.balance(world.stakes.address) == 2**96 - 1
