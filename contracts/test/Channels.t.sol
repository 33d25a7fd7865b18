// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ChannelKey, Channels} from "../src/Channels.sol";
import {ChannelTerms, PaidWork} from "../src/lib/ChannelTerms.sol";
import {Payees} from "../src/lib/Payees.sol";
import {RouteTerms} from "../src/lib/RouteTerms.sol";
import {Signatures} from "../src/lib/Signatures.sol";
import {IToken, Transfers} from "../src/lib/Transfers.sol";
import {AnyVerdicts} from "../src/test/AnyVerdicts.sol";
import {Token} from "../src/test/Token.sol";
import {Suite} from "./Suite.sol";

/// @title Channels: each function, each of its refusals, and what must hold for every number
contract ChannelsTest is Suite {
    Token internal token;
    Channels internal channels;
    AnyVerdicts internal verdicts;
    ChannelKey internal key;
    bytes32 internal id;
    bytes32[] internal payees;

    address internal payer = actor(1);
    address internal stranger = actor(9);

    function setUp() public {
        token = new Token(SUPPLY);
        (channels, verdicts) = deployChannels(IToken(address(token)));
        for (uint256 i = 1; i <= 2; ++i) {
            fund(token, actor(i), address(channels), 2e29);
        }
        payees = [word(actor(5), 2_500), word(actor(6), 7_499), word(actor(7), 1)];
        key = channelKey(1, payees, 0);
        id = channels.channelId(key);
    }

    function lock(uint96 amount) internal {
        vm.prank(payer);
        channels.depositAndOpen(key, amount);
    }

    function settle(uint96 cumulative) internal {
        (bytes32 r, bytes32 vs) = voucher(channels, 1, key, cumulative);
        channels.settle(key, cumulative, WORK, r, vs);
    }

    function notSettled(uint96 cumulative, bytes memory reason) internal {
        (bytes32 r, bytes32 vs) = voucher(channels, 1, key, cumulative);
        vm.expectRevert(reason);
        channels.settle(key, cumulative, WORK, r, vs);
    }

    function close() internal {
        vm.prank(payer);
        channels.close(key);
    }

    function reclaim() internal {
        close();
        vm.warp(block.timestamp + CLOSE_DELAY);
        vm.prank(payer);
        channels.reclaim(key);
    }

    function test_wiring_that_cannot_work_is_refused() public {
        string memory name = "Channels.sol:Channels";
        bytes memory missing = abi.encodeWithSelector(Transfers.TokenMissing.selector, stranger);
        unbuilt(name, abi.encode(stranger, CLOSE_DELAY, MATURITY, verdicts, POOL), missing);
        uint40[2] memory times = [0, uint40(365 days + 1)];
        for (uint256 i = 0; i < 2; ++i) {
            bytes memory invalid = abi.encodeWithSelector(ChannelTerms.CloseDelayInvalid.selector, times[i]);
            unbuilt(name, abi.encode(token, times[i], MATURITY, verdicts, POOL), invalid);
            invalid = abi.encodeWithSelector(ChannelTerms.MaturityInvalid.selector, times[i]);
            unbuilt(name, abi.encode(token, CLOSE_DELAY, times[i], verdicts, POOL), invalid);
        }
        bytes memory nobody = abi.encodeWithSelector(ChannelTerms.CourtMissing.selector, stranger);
        unbuilt(name, abi.encode(token, CLOSE_DELAY, MATURITY, stranger, POOL), nobody);
        new Channels(IToken(address(token)), 365 days, 365 days, verdicts, POOL);
    }

    function testFuzz_what_is_deposited_can_be_withdrawn_and_no_more(uint96 amount, uint96 wanted) public {
        amount = uint96(bound(amount, 1, type(uint96).max));
        wanted = uint96(bound(wanted, 1, type(uint96).max));
        vm.prank(payer);
        channels.deposit(amount);
        bool short = wanted > amount;
        if (short) refused(payer, abi.encodeWithSelector(ChannelTerms.FundsShort.selector, amount, wanted));
        else vm.prank(payer);
        channels.withdraw(wanted);
        uint256 rest = short ? amount : amount - wanted;
        assert(channels.freeOf(payer) == rest && token.balanceOf(address(channels)) == rest);
        assert(token.balanceOf(payer) == 2e29 - rest);
    }

    function test_nothing_is_neither_deposited_nor_locked_nor_withdrawn() public {
        refused(payer, ChannelTerms.AmountZero.selector);
        channels.deposit(0);
        refused(payer, ChannelTerms.AmountZero.selector);
        channels.withdraw(0);
        refused(payer, ChannelTerms.AmountZero.selector);
        channels.open(key, 0);
        refused(payer, ChannelTerms.AmountZero.selector);
        channels.depositAndOpen(key, 0);
    }

    function test_money_that_does_not_come_is_not_counted() public {
        refused(stranger, abi.encodeWithSelector(Transfers.TransferFailed.selector, address(channels), 5));
        channels.deposit(5);
        ChannelKey memory poor = channelKey(9, payees, 0);
        refused(stranger, abi.encodeWithSelector(Transfers.TransferFailed.selector, address(channels), 5));
        channels.depositAndOpen(poor, 5);
    }

    function testFuzz_an_opening_takes_free_balance_and_no_more(uint96 free, uint96 amount) public {
        free = uint96(bound(free, 1, type(uint96).max));
        amount = uint96(bound(amount, 1, type(uint96).max));
        vm.prank(payer);
        channels.deposit(free);
        bool short = amount > free;
        if (short) refused(payer, abi.encodeWithSelector(ChannelTerms.FundsShort.selector, free, amount));
        else vm.prank(payer);
        channels.open(key, amount);
        (uint96 locked, uint96 settled, uint40 closesAt) = channels.channel(id);
        assert(locked == (short ? 0 : amount) && settled == 0 && closesAt == 0);
        assert(channels.freeOf(payer) == free - locked);
    }

    function test_only_the_payer_opens_and_a_signer_is_needed() public {
        refused(actor(2), abi.encodeWithSelector(ChannelTerms.NotPayer.selector, actor(2)));
        channels.depositAndOpen(key, 5);
        refused(actor(2), abi.encodeWithSelector(ChannelTerms.NotPayer.selector, actor(2)));
        channels.close(key);
        refused(actor(2), abi.encodeWithSelector(ChannelTerms.NotPayer.selector, actor(2)));
        channels.reclaim(key);
        key.signer = address(0);
        refused(payer, ChannelTerms.SignerMissing.selector);
        channels.depositAndOpen(key, 5);
    }

    function test_permits_replace_the_approval_used_before_or_not() public {
        token.transfer(actor(3), 15);
        ChannelKey memory own = channelKey(3, payees, 0);
        (uint8 v, bytes32 r, bytes32 s) = permitted(token, 3, address(channels), 5, 1e9);
        vm.prank(actor(3));
        channels.depositWithPermit(5, 1e9, v, r, s);
        (v, r, s) = permitted(token, 3, address(channels), 4, 1e9);
        vm.prank(actor(3));
        channels.depositAndOpenWithPermit(own, 4, 1e9, v, r, s);
        (v, r, s) = permitted(token, 3, address(channels), 6, 1e9);
        token.permit(actor(3), address(channels), 6, 1e9, v, r, s);
        vm.prank(actor(3));
        channels.depositAndOpenWithPermit(own, 6, 1e9, v, r, s);
        (uint96 locked,,) = channels.channel(channels.channelId(own));
        assert(channels.freeOf(actor(3)) == 5 && locked == 10 && token.balanceOf(actor(3)) == 0);
    }

    /// @dev I4, I5: a voucher above what is settled and within the lock settles, every other is refused.
    function testFuzz_a_voucher_settles_if_and_only_if_it_is_within_the_lock(uint96 locked, uint96 first, uint96 next)
        public
    {
        lock(locked = uint96(bound(locked, 2, type(uint96).max)));
        settle(first = uint96(bound(first, 1, locked)));
        bool good = next > first && next <= locked;
        if (good) settle(next);
        else if (next <= first) notSettled(next, abi.encodeWithSelector(ChannelTerms.VoucherStale.selector, first, next));
        else notSettled(next, abi.encodeWithSelector(ChannelTerms.VoucherExceedsLock.selector, locked, next));
        (uint96 still, uint96 settled,) = channels.channel(id);
        assert(still == locked && settled == (good ? next : first) && channels.potOf(key.payees) == settled);
    }

    function testFuzz_no_other_key_or_number_pays(uint256 forger, uint96 signed, bytes32 work) public {
        lock(1e9);
        signed = uint96(bound(signed, 1, 1e9));
        forger = bound(forger, 1, 1e40);
        vm.assume(vm.addr(forger) != key.signer && signed != 500 && work != WORK);
        (bytes32 r, bytes32 vs) = compact(forger, channels.voucherDigest(id, 500, WORK));
        vm.expectRevert(abi.encodePacked(Signatures.SignatureInvalid.selector));
        channels.settle(key, 500, WORK, r, vs);
        (r, vs) = voucher(channels, 1, key, signed);
        vm.expectRevert(abi.encodePacked(Signatures.SignatureInvalid.selector));
        channels.settle(key, 500, WORK, r, vs);
        (r, vs) = compact(hotKey(1, 0), channels.voucherDigest(id, 500, work));
        vm.expectRevert(abi.encodePacked(Signatures.SignatureInvalid.selector));
        channels.settle(key, 500, WORK, r, vs);
    }

    /// @dev I7: what was signed for one chain, contract or channel is worth nothing on another.
    function testFuzz_a_voucher_is_good_once(uint64 chain, uint256 salt) public {
        vm.assume(chain != HOME && chain != 0 && salt != 0);
        lock(1000);
        (bytes32 r, bytes32 vs) = voucher(channels, 1, key, 500);
        (Channels twin,) = deployChannels(IToken(address(token)));
        vm.prank(payer);
        token.approve(address(twin), 1000);
        vm.prank(payer);
        twin.depositAndOpen(key, 1000);
        vm.expectRevert(abi.encodePacked(Signatures.SignatureInvalid.selector));
        twin.settle(key, 500, WORK, r, vs);
        ChannelKey memory other = key;
        other.salt = bytes32(salt);
        vm.prank(payer);
        channels.depositAndOpen(other, 1000);
        vm.expectRevert(abi.encodePacked(Signatures.SignatureInvalid.selector));
        channels.settle(other, 500, WORK, r, vs);
        vm.chainId(chain);
        bytes32 abroad = channels.channelId(key);
        vm.expectRevert(abi.encodeWithSelector(ChannelTerms.ChannelUnknown.selector, abroad));
        channels.settle(key, 500, WORK, r, vs);
        vm.chainId(HOME);
        channels.settle(key, 500, WORK, r, vs);
        notSettled(500, abi.encodeWithSelector(ChannelTerms.VoucherStale.selector, 500, 500));
    }

    function testFuzz_the_order_of_payees_is_part_of_the_channel(uint96 a, uint96 b) public view {
        bytes32[] memory words = new bytes32[](2);
        (words[0], words[1]) = (word(actor(5), a), word(actor(6), b));
        bytes32 first = channels.channelId(channelKey(1, words, 0));
        (words[0], words[1]) = (words[1], words[0]);
        assert(first != channels.channelId(channelKey(1, words, 0)));
    }

    function test_unknown_channels_do_nothing() public {
        bytes memory unknown = abi.encodeWithSelector(ChannelTerms.ChannelUnknown.selector, id);
        notSettled(1, unknown);
        refused(payer, unknown);
        channels.close(key);
        refused(payer, unknown);
        channels.reclaim(key);
    }

    function testFuzz_the_shares_are_floors_and_leave_dust_below_their_number(uint96 paid) public {
        lock(paid = uint96(bound(paid, 1, type(uint96).max)));
        settle(paid);
        ripen();
        uint256 sum;
        for (uint256 i = 0; i < 3; ++i) {
            uint256 share = uint256(paid) * uint96(uint256(payees[i])) / 10_000;
            if (share == 0) {
                vm.expectRevert(abi.encodeWithSelector(ChannelTerms.NothingToCollect.selector, key.payees, i));
            }
            channels.collect(payees, i);
            assert(token.balanceOf(actor(5 + i)) == share && channels.drawnOf(key.payees, i) == share);
            sum += share;
            vm.expectRevert(abi.encodeWithSelector(ChannelTerms.NothingToCollect.selector, key.payees, i));
            channels.collect(payees, i);
        }
        assert(sum <= paid && paid - sum < 3 && token.balanceOf(address(channels)) == paid - sum);
    }

    function refund(uint96 cumulative, uint256 amount, uint256 index, bytes memory reason) internal {
        RouteTerms memory terms = session(id, 1);
        PaidWork memory paid = paidWork(channels, 1, key, cumulative, verdicts.routeDigest(terms), amount);
        if (reason.length != 0) vm.expectRevert(reason);
        channels.refund(key, payees, index, terms, paid);
    }

    function nothingFor(uint256 index) internal view returns (bytes memory) {
        bytes32 route = verdicts.routeDigest(session(id, 1));
        return abi.encodeWithSelector(ChannelTerms.NothingToRefund.selector, route, index);
    }

    /// @dev Settled over three windows, whatever is said of the session: the guilty one's weight of what is not ripe at
    /// most, once, and all others have what they would have had.
    function testFuzz_a_refund_is_the_guilty_ones_and_not_ripe(uint96 old, uint96 recent, uint256 amount, uint256 index)
        public
    {
        old = uint96(bound(old, 1, 1e27));
        recent = uint96(bound(recent, uint256(old) / 1000 + 1, 1e27));
        index = bound(index, 0, 2);
        lock(old + recent);
        settle(old);
        ripen();
        settle(old + recent);
        bytes32 route = verdicts.routeDigest(session(id, 1));
        address node = address(uint160(uint256(payees[index]) >> 96));
        refund(old, 1, index, abi.encodeWithSelector(ChannelTerms.NotConvicted.selector, route, node));
        verdicts.convict(route, node);
        uint256 most = amount < recent ? amount : recent;
        uint256 whole = most * uint96(uint256(payees[index])) / 10_000;
        if (whole == 0) refund(old + recent, amount, index, nothingFor(index));
        if (whole <= uint256(old) >> 15) return; // what rounding may leave nothing of
        refund(old + recent, amount, index, "");
        uint256 back = channels.freeOf(payer);
        assert(back <= whole && whole - back <= uint256(old) >> 15);
        refund(old + recent, amount, index, nothingFor(index));
        ripen();
        refund(old + recent, type(uint256).max, index, nothingFor(index));
        for (uint256 i = 0; i < 3; ++i) {
            uint256 share = (uint256(old) + recent) * uint96(uint256(payees[i])) / 10_000 - (i == index ? back : 0);
            if (share != 0) channels.collect(payees, i);
            assert(token.balanceOf(actor(5 + i)) == share);
        }
    }

    function testFuzz_weights_must_be_ten_thousand_together(uint96 a, uint96 b) public {
        uint256 total = uint256(a) + b;
        vm.assume(total != 10_000);
        bytes32[] memory words = new bytes32[](2);
        (words[0], words[1]) = (word(actor(5), a), word(actor(6), b));
        vm.expectRevert(abi.encodeWithSelector(Payees.PayeesInvalid.selector, total));
        channels.collect(words, 1);
    }

    function testFuzz_payees_past_the_end_are_unknown(uint256 index) public {
        index = bound(index, 3, type(uint256).max);
        vm.expectRevert(abi.encodeWithSelector(Payees.PayeeUnknown.selector, index, 3));
        channels.collect(payees, index);
    }

    /// @dev I5: whatever the payer does, until the reclaim itself; the rest is the payer's, to the last unit.
    function testFuzz_the_rest_comes_back_and_vouchers_count_until_it_does(uint96 locked, uint96 paid, uint256 wait)
        public
    {
        lock(locked = uint96(bound(locked, 1, type(uint96).max)));
        close();
        uint256 closesAt = block.timestamp + CLOSE_DELAY;
        wait = bound(wait, 0, 2 * CLOSE_DELAY);
        vm.warp(closesAt - CLOSE_DELAY + wait);
        settle(paid = uint96(bound(paid, 1, locked)));
        bool early = wait < CLOSE_DELAY;
        if (early) refused(payer, abi.encodeWithSelector(ChannelTerms.CloseNotReady.selector, closesAt));
        else vm.prank(payer);
        channels.reclaim(key);
        assert(channels.freeOf(payer) == (early ? 0 : locked - paid) && channels.potOf(key.payees) == paid);
        (uint96 left,, uint40 clock) = channels.channel(id);
        assert(left == (early ? locked : paid) && clock == (early ? closesAt : type(uint40).max));
    }

    function test_a_closing_channel_is_not_closed_again_nor_fed() public {
        lock(10);
        refused(payer, abi.encodeWithSelector(ChannelTerms.ChannelNotClosing.selector, id));
        channels.reclaim(key);
        close();
        bytes memory closing = abi.encodeWithSelector(ChannelTerms.ChannelClosing.selector, block.timestamp + CLOSE_DELAY);
        refused(payer, closing);
        channels.close(key);
        refused(payer, closing);
        channels.depositAndOpen(key, 1);
    }

    function test_a_reclaimed_channel_is_dead() public {
        lock(10);
        settle(3);
        reclaim();
        bytes memory dead = abi.encodeWithSelector(ChannelTerms.ChannelClosed.selector, id);
        notSettled(3, dead);
        notSettled(4, dead);
        refused(payer, dead);
        channels.close(key);
        refused(payer, dead);
        channels.reclaim(key);
        refused(payer, dead);
        channels.open(key, 7);
        refused(payer, dead);
        channels.depositAndOpen(key, 7);
    }
}
