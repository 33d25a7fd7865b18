// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ChannelKey, Channels} from "../src/Channels.sol";
import {Pots} from "../src/Pots.sol";
import {Stakes} from "../src/Stakes.sol";
import {Debts} from "../src/lib/Debts.sol";
import {Guarded} from "../src/lib/Guarded.sol";
import {IToken, Transfers} from "../src/lib/Transfers.sol";
import {AnyCourt, ISlashable} from "../src/test/AnyCourt.sol";
import {OddToken} from "../src/test/OddToken.sol";
import {Suite} from "./Suite.sol";

/// @title Tokens that answer nothing, lie, take a fee, or call back in the middle of a transfer
contract OddTokensTest is Suite {
    OddToken internal token;
    Stakes internal stakes;
    AnyCourt internal judge;
    Channels internal channels;
    ChannelKey internal key;
    bytes32[] internal payees;

    address internal owner = actor(1);

    function setUp() public {
        token = new OddToken();
        (stakes, judge) = deployLenient(IToken(address(token)));
        (channels,) = deployChannels(IToken(address(token)));
        token.mint(owner, 1e9);
        payees.push(word(actor(5), 10_000));
        key = channelKey(1, payees, 0);
        join(stakes, 1, 1000);
        vm.prank(owner);
        stakes.exit(500);
        vm.prank(owner);
        channels.deposit(1000);
        vm.prank(owner);
        channels.depositAndOpen(key, 1000);
        (bytes32 r, bytes32 vs) = voucher(channels, 1, key, 500);
        channels.settle(key, 500, WORK, r, vs);
        judge.slash(ISlashable(address(stakes)), owner, 1_000, address(0));
        vm.warp(block.timestamp + UNBONDING);
    }

    function pulls() internal view returns (address[3] memory targets, bytes[3] memory calls) {
        targets = [address(stakes), address(channels), address(channels)];
        calls[0] = abi.encodeCall(Stakes.addStake, (1000));
        calls[1] = abi.encodeCall(Channels.deposit, (1000));
        calls[2] = abi.encodeCall(Channels.depositAndOpen, (key, 1000));
    }

    function pushes() internal view returns (address[4] memory targets, bytes[4] memory calls) {
        targets = [address(stakes), address(stakes), address(channels), address(channels)];
        calls[0] = abi.encodeCall(Stakes.withdraw, ());
        calls[1] = abi.encodeCall(Debts.payOut, (GRAVE));
        calls[2] = abi.encodeCall(Channels.withdraw, (1000));
        calls[3] = abi.encodeCall(Pots.collect, (payees, 0));
    }

    function attempt(address target, bytes memory data) internal returns (bool done, bytes memory answer) {
        vm.prank(owner);
        (done, answer) = target.call(data);
    }

    function fails(address target, bytes memory data, bytes4 reason) internal {
        (bool done, bytes memory answer) = attempt(target, data);
        assert(!done && bytes4(answer) == reason);
    }

    function test_a_silent_token_is_as_good_as_any() public {
        token.misbehave(OddToken.Mode.Silent);
        (address[3] memory targets, bytes[3] memory calls) = pulls();
        for (uint256 i = 0; i < 3; ++i) {
            (bool done,) = attempt(targets[i], calls[i]);
            assert(done);
        }
        assert(token.balanceOf(address(channels)) == 4000 && token.balanceOf(address(stakes)) == 2000);
    }

    function test_a_transfer_that_did_not_happen_undoes_the_call() public {
        OddToken.Mode[4] memory modes =
            [OddToken.Mode.Refusing, OddToken.Mode.Two, OddToken.Mode.Short, OddToken.Mode.Failing];
        (address[3] memory into, bytes[3] memory ins) = pulls();
        (address[4] memory from, bytes[4] memory outs) = pushes();
        for (uint256 m = 0; m < 4; ++m) {
            token.misbehave(modes[m]);
            for (uint256 i = 0; i < 4; ++i) {
                if (i < 3) fails(into[i], ins[i], Transfers.TransferFailed.selector);
                fails(from[i], outs[i], Transfers.TransferFailed.selector);
            }
        }
    }

    function test_what_arrives_must_be_exactly_what_was_sent() public {
        OddToken.Mode[3] memory modes = [OddToken.Mode.Lying, OddToken.Mode.Taxing, OddToken.Mode.Generous];
        (address[3] memory targets, bytes[3] memory calls) = pulls();
        for (uint256 m = 0; m < 3; ++m) {
            token.misbehave(modes[m]);
            for (uint256 i = 0; i < 3; ++i) {
                fails(targets[i], calls[i], Transfers.TransferInexact.selector);
            }
        }
    }

    function entries() internal view returns (bytes[5] memory ofStakes, bytes[7] memory ofChannels) {
        ofStakes[0] = abi.encodeCall(Stakes.addStake, (1));
        ofStakes[1] = abi.encodeCall(Stakes.withdraw, ());
        ofStakes[2] = abi.encodeCall(Debts.payOut, (GRAVE));
        ofStakes[3] = abi.encodeCall(Stakes.join, (1000, owner, PEER, PEER, PEER));
        ofStakes[4] = abi.encodeCall(Stakes.joinWithPermit, (1000, owner, PEER, PEER, PEER, 1, 27, PEER, PEER));
        ofChannels[0] = abi.encodeCall(Channels.deposit, (1));
        ofChannels[1] = abi.encodeCall(Channels.depositAndOpen, (key, 1));
        ofChannels[2] = abi.encodeCall(Channels.withdraw, (1));
        ofChannels[3] = abi.encodeCall(Pots.collect, (payees, 0));
        ofChannels[4] = abi.encodeCall(Channels.depositWithPermit, (1, 1, 27, PEER, PEER));
        ofChannels[5] = abi.encodeCall(Channels.depositAndOpenWithPermit, (key, 1, 1, 27, PEER, PEER));
        ofChannels[6] = abi.encodeCall(Channels.depositAndOpen, (key, 2));
    }

    /// @dev Each function that transfers is entered while each other one of its contract is transferring.
    function test_no_transfer_lets_anybody_in_again() public {
        (bytes[5] memory ofStakes, bytes[7] memory ofChannels) = entries();
        (address[3] memory into, bytes[3] memory ins) = pulls();
        (address[4] memory from, bytes[4] memory outs) = pushes();
        for (uint256 i = 0; i < 7; ++i) {
            for (uint256 k = 0; k < 7; ++k) {
                (address target, bytes memory call) = k < 3 ? (into[k], ins[k]) : (from[k - 3], outs[k - 3]);
                bool staking = target != address(channels);
                if (staking && i > 4) continue;
                shut(staking ? address(stakes) : address(channels), staking ? ofStakes[i] : ofChannels[i], target, call);
            }
        }
        shutWhileJoining(ofStakes[1]);
    }

    function shut(address door, bytes memory entry, address target, bytes memory call) internal {
        uint256 before = vm.snapshotState();
        token.arm(door, entry);
        (bool done,) = attempt(target, call);
        assert(done && !token.entered() && bytes4(token.answer()) == Guarded.Reentrancy.selector);
        vm.revertToState(before);
    }

    function shutWhileJoining(bytes memory entry) internal {
        token.mint(actor(2), 1000);
        (address signer, bytes32 r, bytes32 vs) = consent(stakes, 2, 0);
        token.arm(address(stakes), entry);
        vm.prank(actor(2));
        stakes.join(1000, signer, PEER, r, vs);
        assert(!token.entered() && bytes4(token.answer()) == Guarded.Reentrancy.selector);
    }

    function test_the_door_opens_again_after_the_transfer() public {
        token.mint(address(token), 10);
        token.actTwice(address(channels), abi.encodeCall(Channels.deposit, (5)));
        assert(channels.freeOf(address(token)) == 10);
    }
}
