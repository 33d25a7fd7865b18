// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Signers} from "../src/lib/Signers.sol";
import {Stakes} from "../src/Stakes.sol";
import {Signatures} from "../src/lib/Signatures.sol";
import {IToken, Transfers} from "../src/lib/Transfers.sol";
import {AnyCourt, ISlashable} from "../src/test/AnyCourt.sol";
import {Token} from "../src/test/Token.sol";
import {Suite} from "./Suite.sol";

/// @title Stakes: each function, each of its refusals, and what must hold for every number
contract StakesTest is Suite {
    Token internal token;
    Stakes internal stakes;
    AnyCourt internal judge;

    address internal owner = actor(1);
    address internal stranger = actor(9);

    function setUp() public {
        token = new Token(SUPPLY);
        (stakes, judge) = deployLenient(IToken(address(token)));
        for (uint256 i = 1; i <= 2; ++i) {
            fund(token, actor(i), address(stakes), 1e29);
        }
    }

    function record() internal view returns (uint96 bonded, uint96 exiting, uint40 exitAt) {
        (bonded,, exiting, exitAt,) = stakes.stakeOf(owner);
    }

    function slash(uint256 bps) internal returns (uint256) {
        return judge.slash(ISlashable(address(stakes)), owner, bps, address(0));
    }

    function test_wiring_that_cannot_work_is_refused() public {
        bytes memory long = abi.encodeWithSelector(Stakes.UnbondingInvalid.selector, 3650 days + 1);
        unbuilt(address(token), address(0), MIN_STAKE, 1, abi.encodeWithSelector(Stakes.NotCourt.selector, address(0)));
        unbuilt(stranger, stranger, 1, 1, abi.encodeWithSelector(Transfers.TokenMissing.selector, stranger));
        unbuilt(address(token), stranger, 0, 1, abi.encodePacked(Stakes.AmountZero.selector));
        unbuilt(address(token), stranger, 1, 0, abi.encodeWithSelector(Stakes.UnbondingInvalid.selector, 0));
        unbuilt(address(token), stranger, 1, 3650 days + 1, long);
        new Stakes(IToken(address(token)), stranger, 1, 3650 days, 0);
    }

    function unbuilt(address coin, address court, uint96 least, uint40 time, bytes memory reason) internal {
        unbuilt("Stakes.sol:Stakes", abi.encode(coin, court, least, time, 0), reason);
    }

    function testFuzz_joining_needs_the_minimum(uint96 amount) public {
        (address signer, bytes32 r, bytes32 vs) = consent(stakes, 1, 0);
        if (amount < MIN_STAKE) refused(owner, abi.encodeWithSelector(Stakes.StakeTooLow.selector, amount, MIN_STAKE));
        else vm.prank(owner);
        stakes.join(amount, signer, PEER, r, vs);
        (uint96 bonded,,) = record();
        assert(bonded == (amount < MIN_STAKE ? 0 : amount) && token.balanceOf(address(stakes)) == bonded);
    }

    function test_nobody_joins_twice_or_while_stake_is_leaving() public {
        join(stakes, 1, 500);
        (address signer, bytes32 r, bytes32 vs) = consent(stakes, 1, 0);
        refused(owner, abi.encodeWithSelector(Stakes.AlreadyJoined.selector, owner));
        stakes.join(500, signer, PEER, r, vs);
        vm.prank(owner);
        stakes.exit(500);
        refused(owner, abi.encodeWithSelector(Stakes.ExitPending.selector, block.timestamp + UNBONDING));
        stakes.join(500, signer, PEER, r, vs);
    }

    function test_a_permit_is_used_once_and_may_have_been_used_before() public {
        (address signer, bytes32 r, bytes32 vs) = consent(stakes, 3, 0);
        token.transfer(actor(3), MIN_STAKE);
        (uint8 v, bytes32 pr, bytes32 ps) = permitted(token, 3, address(stakes), MIN_STAKE, 1e9);
        uint256 before = vm.snapshotState();
        vm.prank(actor(3));
        stakes.joinWithPermit(MIN_STAKE, signer, PEER, r, vs, 1e9, v, pr, ps);
        vm.revertToState(before);
        vm.prank(stranger);
        token.permit(actor(3), address(stakes), MIN_STAKE, 1e9, v, pr, ps);
        vm.prank(actor(3));
        stakes.joinWithPermit(MIN_STAKE, signer, PEER, r, vs, 1e9, v, pr, ps);
        (uint96 bonded,,,,) = stakes.stakeOf(actor(3));
        assert(bonded == MIN_STAKE && token.allowance(actor(3), address(stakes)) == 0);
    }

    function test_without_money_nobody_joins() public {
        (address signer, bytes32 r, bytes32 vs) = consent(stakes, 3, 0);
        refused(actor(3), abi.encodeWithSelector(Transfers.TransferFailed.selector, address(stakes), MIN_STAKE));
        stakes.join(MIN_STAKE, signer, PEER, r, vs);
    }

    function testFuzz_no_other_consent_counts(address other, bytes32 peer, uint256 key) public {
        vm.assume(other != owner && peer != PEER);
        key = bound(key, 1, 1e40);
        address signer = vm.addr(hotKey(1, 0));
        vm.assume(vm.addr(key) != signer);
        bytes32[3] memory digests =
            [stakes.consentDigest(other, PEER), stakes.consentDigest(owner, peer), stakes.consentDigest(owner, PEER)];
        for (uint256 i = 0; i < 3; ++i) {
            (bytes32 r, bytes32 vs) = compact(i == 2 ? key : hotKey(1, 0), digests[i]);
            refused(owner, Signatures.SignatureInvalid.selector);
            stakes.join(MIN_STAKE, signer, PEER, r, vs);
        }
    }

    function test_a_signer_stays_with_its_first_node() public {
        join(stakes, 1, 500);
        (address signer, bytes32 r, bytes32 vs) = consent(stakes, 1, 1);
        vm.prank(owner);
        stakes.rotate(signer, PEER, r, vs);
        (r, vs) = compact(hotKey(1, 0), stakes.consentDigest(actor(2), PEER));
        signer = vm.addr(hotKey(1, 0));
        refused(actor(2), abi.encodeWithSelector(Signers.SignerTaken.selector, signer, owner));
        stakes.join(500, signer, PEER, r, vs);
        assert(stakes.nodeOf(signer) == owner && stakes.nodeOf(vm.addr(hotKey(1, 1))) == owner);
        (, address present,,, uint40 joinedAt) = stakes.stakeOf(owner);
        assert(present == vm.addr(hotKey(1, 1)) && joinedAt == block.timestamp);
    }

    function test_rotation_needs_a_node_and_a_consent() public {
        (address signer, bytes32 r, bytes32 vs) = consent(stakes, 1, 1);
        refused(owner, abi.encodeWithSelector(Stakes.NotJoined.selector, owner));
        stakes.rotate(signer, PEER, r, vs);
        join(stakes, 1, 500);
        refused(owner, Signatures.SignatureInvalid.selector);
        stakes.rotate(vm.addr(hotKey(1, 2)), PEER, r, vs);
    }

    function test_announcements_are_the_nodes_own_and_bounded() public {
        refused(owner, abi.encodeWithSelector(Stakes.NotJoined.selector, owner));
        stakes.announce(owner, PEER, 0, 1, 1, "");
        join(stakes, 1, 1000);
        refused(stranger, abi.encodeWithSelector(Stakes.NotNode.selector, stranger));
        stakes.announce(owner, PEER, 0, 1, 1, "");
        refused(owner, abi.encodeWithSelector(Stakes.SpanInvalid.selector, 4, 4));
        stakes.announce(owner, PEER, 4, 4, 1, "");
        refused(owner, abi.encodeWithSelector(Stakes.EndpointTooLong.selector, 257, 256));
        stakes.announce(owner, PEER, 0, 1, 1, string(new bytes(257)));
        vm.prank(vm.addr(hotKey(1, 0)));
        stakes.announce(owner, PEER, 0, 1, 1, string(new bytes(256)));
        vm.prank(owner);
        stakes.announce(owner, PEER, 3, 4, 1, "");
        slash(9_500);
        refused(owner, abi.encodeWithSelector(Stakes.StakeTooLow.selector, 50, MIN_STAKE));
        stakes.announce(owner, PEER, 0, 1, 1, "");
    }

    function testFuzz_added_stake_arrives(uint96 first, uint96 more) public {
        join(stakes, 1, first = uint96(bound(first, MIN_STAKE, type(uint96).max - 1)));
        more = uint96(bound(more, 1, type(uint96).max - first));
        vm.prank(owner);
        stakes.addStake(more);
        (uint96 bonded,,) = record();
        assert(bonded == first + more && token.balanceOf(address(stakes)) == bonded);
    }

    function test_stake_that_is_none_is_not_added() public {
        refused(owner, Stakes.AmountZero.selector);
        stakes.addStake(0);
        refused(owner, abi.encodeWithSelector(Stakes.NotJoined.selector, owner));
        stakes.addStake(1);
        join(stakes, 1, 1000);
        slash(9_900);
        refused(owner, abi.encodeWithSelector(Stakes.StakeTooLow.selector, 99, MIN_STAKE));
        stakes.addStake(89);
    }

    function testFuzz_an_exit_leaves_nothing_or_the_minimum(uint96 stake, uint96 amount) public {
        join(stakes, 1, stake = uint96(bound(stake, MIN_STAKE, type(uint96).max)));
        amount = uint96(bound(amount, 1, type(uint96).max));
        bool much = amount > stake;
        bool little = !much && amount != stake && stake - amount < MIN_STAKE;
        if (much) refused(owner, abi.encodeWithSelector(Stakes.StakeShort.selector, stake, amount));
        else if (little) refused(owner, abi.encodeWithSelector(Stakes.StakeTooLow.selector, stake - amount, MIN_STAKE));
        else vm.prank(owner);
        stakes.exit(amount);
        (uint96 bonded, uint96 exiting, uint40 exitAt) = record();
        assert(bonded + exiting == stake && exiting == (much || little ? 0 : amount));
        assert(exitAt == (much || little ? 0 : block.timestamp + UNBONDING));
    }

    function test_exits_that_are_none_are_refused() public {
        refused(owner, Stakes.AmountZero.selector);
        stakes.exit(0);
        refused(owner, abi.encodeWithSelector(Stakes.NotJoined.selector, owner));
        stakes.exit(1);
        refused(owner, abi.encodeWithSelector(Stakes.NothingExiting.selector, owner));
        stakes.cancelExit();
        refused(owner, abi.encodeWithSelector(Stakes.NothingExiting.selector, owner));
        stakes.withdraw();
    }

    function testFuzz_the_withdrawal_waits_for_its_second(uint96 stake, uint256 wait) public {
        join(stakes, 1, stake = uint96(bound(stake, MIN_STAKE, type(uint96).max)));
        vm.prank(owner);
        stakes.exit(stake);
        uint256 exitAt = block.timestamp + UNBONDING;
        wait = bound(wait, 0, 2 * UNBONDING);
        vm.warp(exitAt - UNBONDING + wait);
        bool early = wait < UNBONDING;
        if (early) refused(owner, abi.encodeWithSelector(Stakes.ExitNotReady.selector, exitAt));
        else vm.prank(owner);
        stakes.withdraw();
        assert(token.balanceOf(owner) == (early ? 1e29 - stake : 1e29));
    }

    function test_a_second_exit_restarts_the_clock_and_a_cancelled_one_has_none() public {
        join(stakes, 1, 1000);
        vm.prank(owner);
        stakes.exit(300);
        vm.warp(block.timestamp + UNBONDING);
        vm.prank(owner);
        stakes.exit(1);
        refused(owner, abi.encodeWithSelector(Stakes.ExitNotReady.selector, block.timestamp + UNBONDING));
        stakes.withdraw();
        vm.prank(owner);
        stakes.cancelExit();
        (uint96 bonded, uint96 exiting, uint40 exitAt) = record();
        assert(bonded == 1000 && exiting == 0 && exitAt == 0);
    }

    function test_an_exit_below_the_minimum_is_not_cancelled() public {
        join(stakes, 1, 1000);
        slash(9_500);
        vm.prank(owner);
        stakes.exit(50);
        refused(owner, abi.encodeWithSelector(Stakes.StakeTooLow.selector, 50, MIN_STAKE));
        stakes.cancelExit();
    }

    /// @dev I2 and I6: a slash takes ceil(total x bps / 10,000), however much of it is leaving.
    function testFuzz_an_exit_shelters_nothing(uint96 stake, uint96 leaving, uint256 bps, uint32 wait) public {
        join(stakes, 1, stake = uint96(bound(stake, 2 * MIN_STAKE, type(uint96).max)));
        leaving = uint96(bound(leaving, 1, stake - MIN_STAKE));
        bps = bound(bps, 1, 20_000);
        uint256 before = vm.snapshotState();
        uint256 alone = slash(bps);
        vm.revertToState(before);
        vm.prank(owner);
        stakes.exit(leaving);
        vm.warp(block.timestamp + wait);
        uint256 burnt = slash(bps);
        (uint96 bonded, uint96 exiting, uint40 exitAt) = record();
        uint256 capped = bps > 10_000 ? 10_000 : bps;
        assert(burnt == alone && burnt == (uint256(stake) * capped + 9_999) / 10_000);
        assert(uint256(bonded) + exiting + burnt == stake && (exiting == 0) == (exitAt == 0));
        assert(exiting == (burnt < leaving ? leaving - burnt : 0) && stakes.owedTo(GRAVE) == burnt);
    }

    function testFuzz_only_the_court_slashes(address caller, uint256 bps) public {
        vm.assume(caller != address(judge));
        join(stakes, 1, 1000);
        refused(caller, abi.encodeWithSelector(Stakes.NotCourt.selector, caller));
        stakes.slash(owner, bps, address(0));
    }

    function test_nothing_cannot_be_slashed() public {
        vm.expectRevert(abi.encodeWithSelector(Stakes.NothingToSlash.selector, owner));
        slash(1);
        join(stakes, 1, 1000);
        vm.expectRevert(abi.encodeWithSelector(Stakes.NothingToSlash.selector, owner));
        slash(0);
    }
}
