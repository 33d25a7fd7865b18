"""What somebody would try who wants another's money, and where it is shown to fail.

replay on another chain        test_channels_settling::test_a_voucher_is_good_on_one_chain_and_one_contract
                               test_court::test_signatures_for_another_court_or_chain_prove_nothing
                               test_signatures::test_after_a_fork_the_domain_is_the_new_chains
replay on another contract     test_stakes_joining::test_a_signer_must_consent_to_this_owner_and_this_peer
                               test_attacks::test_what_one_suite_was_promised_is_nothing_to_its_twin
replay on another route        test_channels_settling::test_a_voucher_is_good_for_one_channel
                               test_court::test_receipts_for_different_slots_are_no_fault
malleated signature            test_signatures::test_a_high_s_is_refused_and_the_highest_low_one_is_not
                               test_signatures::test_the_court_hears_no_high_s
                               test_signatures::test_a_permit_has_one_form_too
zero signature, zero signer    test_signatures::test_broken_signatures_are_refused_everywhere
                               test_stakes_joining::test_the_zero_address_cannot_become_a_signer
permit taken by a front-runner test_stakes_joining::test_a_permit_spent_by_somebody_else_does_not_stop_the_join
                               test_channels_funding::test_a_copied_permit_does_not_stop_the_deposit
voucher or proof front-run     test_attacks::test_an_older_voucher_brought_first_costs_nobody_anything
                               test_attacks::test_whoever_copies_a_proof_gains_nothing
reentrant token                test_odd_tokens::test_no_transfer_lets_anybody_in_again
                               test_odd_tokens::test_no_function_that_transfers_can_be_entered
                               test_attacks::test_doors_without_a_lock_have_nothing_left_behind_them
token with a fee               test_odd_tokens::test_what_arrives_must_be_exactly_what_was_sent
                               test_refusals::test_a_tax_is_noticed_by_every_door
token that answers false       test_odd_tokens::test_a_transfer_that_did_not_happen_undoes_the_call
exit, then slash               test_stakes_slashing::test_an_exit_shelters_nothing
                               test_court::test_stake_is_liable_until_the_withdrawal_itself
slash after the withdrawal     test_court::test_after_the_withdrawal_there_is_nothing_to_take_until_the_node_returns
leaving a guilty key behind    test_court::test_rotation_is_no_escape
double collect                 test_channels_collecting::test_nothing_is_collected_twice
                               test_channels_collecting::test_one_address_under_two_indices_is_two_payees
overspending, Sybil route      test_attacks::test_a_client_cannot_pay_its_own_route_with_what_it_locked_for_another
taking another's pot           test_channels_collecting::test_words_that_were_not_paid_get_nothing
                               test_channels_collecting::test_weights_must_be_ten_thousand_together
double refund                  test_channels_refunds::test_no_session_is_refunded_twice
                               test_channels_refunds::test_two_sessions_together_give_no_more_than_the_channel_paid
refund of more than was paid   test_channels_refunds::test_no_more_than_was_settled_comes_back
refund of another's money      test_channels_refunds::test_another_channel_on_the_same_pot_gets_nothing_of_it
                               test_channels_refunds::test_who_comes_last_gets_as_much_as_who_comes_first
a slash starved of gas         test_verdicts::test_no_gas_limit_lets_a_verdict_through_without_its_slash
a root held back an epoch      test_score_posting::test_a_root_that_is_mined_an_epoch_late_is_not_taken_for_the_next_epochs
denouncing oneself             test_channels_refunds::test_a_node_that_denounces_itself_gets_its_own_money
hiding from a refund           test_channels_refunds::test_settling_again_in_the_next_window_hides_nothing
paid before it was checked     test_channels_maturing::test_a_batch_waits_as_well
race for the window's end      test_channels_maturing::test_what_is_settled_is_ripe_two_windows_later
                               test_channels_refunds::test_what_is_ripe_stays_the_nodes
dust                           test_channels_collecting::test_shares_are_rounded_down_and_the_dust_is_paid_later
                               test_attacks::test_the_smallest_payments_give_nobody_more_than_its_share
                               test_stakes_slashing::test_a_slash_rounds_up_and_stops_at_the_whole
overflow at the edges          test_stakes_joining::test_the_greatest_stake_fits_and_one_more_does_not
                               test_stakes_leaving::test_cancelling_more_than_fits_panics_and_loses_nothing
                               test_stakes_slashing::test_the_greatest_stake_is_slashed_without_overflow
                               test_channels_funding::test_the_lock_holds_96_bits_and_no_more
                               test_channels_collecting::test_the_whole_of_the_greatest_pot_is_collected
race for the stake's deadline  test_stakes_leaving::test_the_withdrawal_waits_to_the_very_second
                               test_attacks::test_at_the_second_of_the_withdrawal_the_first_to_come_wins
race for the channel's         test_channels_closing::test_the_rest_comes_back_to_the_very_second
                               test_attacks::test_at_the_second_of_the_reclaim_the_first_to_come_wins
                               test_channels_closing::test_vouchers_settle_until_the_reclaim_itself
race for the permit's          test_token::test_a_permit_ends_with_its_deadline
a draw that nobody committed to
                               test_attacks_law::test_a_draw_that_no_sampler_backs_proves_nothing
                               test_attacks_law::test_nobody_is_convicted_by_a_draw_of_the_challengers
a verdict short of gas         test_attacks_law::test_no_shortage_of_gas_convicts_without_taking_stake
"""

import re
from dataclasses import astuple, replace
from pathlib import Path
from typing import Any

from web3 import Web3

from incentives.artifacts import load_artifact
from incentives.signing import split_signature
from sharding.hashing import keccak256
from tests.contracts.test_odd_tokens import odd_world  # noqa: F401 - a fixture
from tests.contracts.world import (
    CLOSE_DELAY,
    GAS,
    GRAVE,
    MATURITY,
    MIN_STAKE,
    PEER,
    POOL,
    ZERO,
    World,
    deploy_judged,
    dev,
    hot,
    word,
)
from verification.receipts import Receipt

CLIENT, NODE, STRANGER = dev(1), dev(2), dev(9)
SIGNER = hot("signer")
HONEST = [word(hot("honest").address, 10_000)]
SYBIL = [word(CLIENT.address, 10_000)]


def _free(world: World, who: Any) -> int:
    return int(world.view(world.channels, "freeOf", who.address))


def _proof(world: World) -> tuple[Any, ...]:
    signed: tuple[Any, ...] = ()
    for root in (b"\1", b"\2"):
        receipt = Receipt(PEER, 0, 0, 0, 16, PEER, PEER, PEER, root * 32)
        signature = SIGNER.sign_digest(receipt.digest(world.domain(world.court)))
        signed += (astuple(receipt), *split_signature(signature))
    return (world.court, "proveEquivocation", *signed, ZERO)


def test_what_one_suite_was_promised_is_nothing_to_its_twin(world: World) -> None:
    """The same code over the same token on the same chain: consents, vouchers and receipts stay where they belong."""
    stakes, court, *_ = deploy_judged(world.chain, world.token)
    terms = world.token.address, CLOSE_DELAY, MATURITY, world.verdicts.address, POOL
    channels = world.chain.deploy(dev(0), load_artifact("Channels"), *terms).contract
    twin = replace(world, stakes=stakes, court=court, channels=channels)
    for spender in (stakes, channels):
        world.send(NODE, world.token, "approve", spender.address, 10**6)
    consent = world.consent(NODE, SIGNER)
    call = stakes, "join", MIN_STAKE, SIGNER.address, PEER, *consent
    assert world.refusal(NODE, *call) == ("SignatureInvalid", ())
    twin.join(NODE, SIGNER)
    proof = (court, *_proof(world)[1:])  # the receipts were signed for the first court
    assert world.refusal(STRANGER, *proof)[0] == "NotEquivocation"
    key = world.channel(NODE, SIGNER, HONEST, 100)
    twin.channel(NODE, SIGNER, HONEST, 100)
    held = world.voucher(SIGNER, key, 50)
    assert world.refusal(STRANGER, channels, "settle", *held) == ("SignatureInvalid", ())
    world.send(STRANGER, world.channels, "settle", *held)


def test_an_older_voucher_brought_first_costs_nobody_anything(world: World) -> None:
    """Each later voucher says everything the earlier ones said."""
    key = world.channel(CLIENT, SIGNER, HONEST, 100)
    older, newest = world.voucher(SIGNER, key, 30), world.voucher(SIGNER, key, 90)
    world.send(STRANGER, world.channels, "settle", *older)
    world.send(NODE, world.channels, "settle", *newest)
    assert world.refusal(STRANGER, world.channels, "settle", *older) == ("VoucherStale", (90, 30))
    assert world.view(world.channels, "potOf", key.payees) == 90


def test_whoever_copies_a_proof_gains_nothing(world: World) -> None:
    """There is no reward to take; the second bearer finds nothing left."""
    world.join(NODE, SIGNER, MIN_STAKE)
    proof, before = _proof(world), world.balance(STRANGER.address)
    world.send(STRANGER, *proof)
    assert world.balance(STRANGER.address) == before
    assert world.refusal(CLIENT, *proof) == ("NothingToSlash", (NODE.address,))


def test_doors_without_a_lock_have_nothing_left_behind_them(odd_world: World, chain_snapshot: str) -> None:  # noqa: F811
    """Those that move no token need no lock: what is being paid out has left the books before the token is called.

    The token is its own customer: it takes 8 out, twice, and in the middle of each transfer tries to lock some of the
    rest. More than the rest is refused; all of the rest is not, and then the second withdrawal finds nothing.
    """
    token, channels = odd_world.token, odd_world.channels
    key = (token.address, SIGNER.address, keccak256(b"".join(HONEST)), PEER)

    def encoded(fn: str, *args: Any) -> bytes:
        return bytes.fromhex(Web3().eth.contract(abi=channels.artifact.abi).encode_abi(fn, list(args))[2:])

    odd_world.send(dev(0), token, "mint", token.address, 20)
    odd_world.send(STRANGER, token, "actTwice", channels.address, encoded("deposit", 10))
    withdrawals = token, "actTwice", channels.address, encoded("withdraw", 8)
    odd_world.send(dev(0), token, "arm", channels.address, encoded("open", key, 12))
    assert odd_world.refusal(STRANGER, *withdrawals)[0] == "Error"
    odd_world.send(dev(0), token, "arm", channels.address, encoded("open", key, 13))
    odd_world.send(STRANGER, *withdrawals)
    assert odd_world.view(token, "entered") is False
    assert odd_world.view(channels, "freeOf", token.address) == 4 == odd_world.balance(channels.address)


def test_a_client_cannot_pay_its_own_route_with_what_it_locked_for_another(world: World) -> None:
    """However many vouchers it signs to itself, and however early they are brought: the honest one settles in full."""
    world.send(CLIENT, world.channels, "deposit", 100)
    honest = world.channel(CLIENT, SIGNER, HONEST)
    sybil = world.channel(CLIENT, SIGNER, SYBIL)
    world.send(CLIENT, world.channels, "open", astuple(honest), 80)
    held = world.voucher(SIGNER, honest, 80)
    refused = world.refusal(CLIENT, world.channels, "open", astuple(sybil), 21)
    assert refused == ("FundsShort", (20, 21))
    world.send(CLIENT, world.channels, "open", astuple(sybil), 20)
    over = world.voucher(SIGNER, sybil, 21)
    assert world.refusal(CLIENT, world.channels, "settle", *over) == ("VoucherExceedsLock", (20, 21))
    world.send(CLIENT, world.channels, "settle", *world.voucher(SIGNER, sybil, 20))
    world.ripen()
    world.send(CLIENT, world.channels, "collect", SYBIL, 0)
    assert world.refusal(CLIENT, world.channels, "withdraw", 1) == ("FundsShort", (0, 1))
    world.send(CLIENT, world.channels, "close", astuple(honest))
    world.send(STRANGER, world.channels, "settle", *held)
    world.ripen()
    world.send(STRANGER, world.channels, "collect", HONEST, 0)
    assert world.balance(hot("honest").address) == 80


def test_the_smallest_payments_give_nobody_more_than_its_share(world: World) -> None:
    """Unit by unit, with every payee asking after each: the sum is that of one payment."""
    weights = (3_333, 3_333, 3_334)
    nodes = [hot(f"dust {i}").address for i in range(3)]
    words = [word(node, weight) for node, weight in zip(nodes, weights, strict=True)]
    key = world.channel(CLIENT, SIGNER, words, 7)
    for paid in range(1, 8):
        world.send(STRANGER, world.channels, "settle", *world.voucher(SIGNER, key, paid))
        world.ripen()
        for index, weight in enumerate(weights):
            due = paid * weight // 10_000
            if due > world.balance(nodes[index]):
                world.send(STRANGER, world.channels, "collect", words, index)
            assert world.balance(nodes[index]) == due
    assert world.balance(world.channels.address) == 7 - 2 - 2 - 2


def test_at_the_second_of_the_withdrawal_the_first_to_come_wins(world: World) -> None:
    """A proof in that very second takes all; a withdrawal in it leaves nothing to take."""
    world.join(NODE, SIGNER, MIN_STAKE)
    world.send(NODE, world.stakes, "exit", MIN_STAKE)
    exit_at, grave = world.stake(NODE)[3], world.view(world.stakes, "owedTo", GRAVE)
    world.next_block_at(exit_at)
    world.send(STRANGER, *_proof(world), gas=GAS)
    assert world.view(world.stakes, "owedTo", GRAVE) == grave + MIN_STAKE
    assert world.refusal(NODE, world.stakes, "withdraw") == ("NothingExiting", (NODE.address,))
    world.join(NODE, SIGNER, MIN_STAKE)
    world.send(NODE, world.stakes, "exit", MIN_STAKE)
    world.next_block_at(world.stake(NODE)[3])
    world.send(NODE, world.stakes, "withdraw", gas=GAS)
    assert world.refusal(STRANGER, *_proof(world)) == ("NothingToSlash", (NODE.address,))


def test_at_the_second_of_the_reclaim_the_first_to_come_wins(world: World) -> None:
    """A voucher in that very second counts; after a reclaim in it none does."""
    for salt, payees_first in ((b"\1" * 32, True), (b"\2" * 32, False)):
        key = world.channel(CLIENT, SIGNER, HONEST, 100, salt=salt)
        held, free = world.voucher(SIGNER, key, 60), _free(world, CLIENT)
        world.send(CLIENT, world.channels, "close", astuple(key))
        world.next_block_at(world.channel_state(key)[2])
        if payees_first:
            world.send(STRANGER, world.channels, "settle", *held, gas=GAS)
        world.send(CLIENT, world.channels, "reclaim", astuple(key), gas=GAS)
        assert _free(world, CLIENT) == free + (40 if payees_first else 100)
        assert world.refusal(STRANGER, world.channels, "settle", *held)[0] == "ChannelClosed"


def test_every_test_that_is_named_above_exists() -> None:
    """A list of defences is worth nothing once one of them was renamed away."""
    named = re.findall(r"(test_\w+)::(test_\w+)", __doc__ or "")
    assert len(named) > 30
    for file, function in named:
        assert f"\ndef {function}(" in (Path(__file__).parent / f"{file}.py").read_text(), f"{file}::{function}"
