// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Stakes} from "../../src/Stakes.sol";
import {Token} from "../../src/test/Token.sol";
import {Suite} from "../Suite.sol";

/// @title Three nodes that join, leave and return as they please; number 2 is a liar
/// @dev Each act is one that has to succeed, or returns at once: a revert is a finding. What must not succeed goes
/// through `lie`, and is counted where it does. Who judges, and how, is for the contracts below this one to say.
abstract contract StakesHandler is Suite {
    uint256 public constant ACTORS = 3;
    uint256 internal constant LIAR = 2;

    Token public token;
    Stakes public stakes;

    /// @notice Lies that were believed. Must stay zero.
    uint256 public frauds;
    /// @notice Acts that did something: a play of nothing but refusals would prove nothing.
    uint256 public deeds;
    uint256 public gifts;
    mapping(uint256 node => uint256 amount) public joined;
    mapping(uint256 node => uint256 amount) public withdrawn;
    mapping(uint256 node => uint256 amount) public slashed;
    mapping(uint256 node => bool) public condemned;
    mapping(uint256 node => uint256 count) public rotations;

    mapping(uint256 node => address) private _owners; // made once: keys are what takes the time

    constructor(Token token_, Stakes stakes_) {
        (token, stakes) = (token_, stakes_);
        for (uint256 i = 0; i < ACTORS; ++i) {
            _owners[i] = actor(i);
        }
    }

    function owner(uint256 i) public view returns (address) {
        return _owners[i % ACTORS];
    }

    function record(uint256 i) public view returns (uint96 bonded, uint96 exiting, uint40 exitAt) {
        (bonded,, exiting, exitAt,) = stakes.stakeOf(owner(i));
    }

    function signer(uint256 i, uint256 n) public pure returns (address) {
        return vm.addr(hotKey(i, n));
    }

    function enter(uint256 i, uint96 amount) external {
        (uint96 bonded, uint96 exiting,) = record(i %= ACTORS);
        if (bonded != 0 || exiting != 0) return;
        amount = uint96(bound(amount, MIN_STAKE, 1e24));
        (address key, bytes32 r, bytes32 vs) = consent(stakes, i, rotations[i]);
        vm.prank(owner(i));
        stakes.join(amount, key, PEER, r, vs);
        (joined[i], condemned[i]) = (joined[i] + amount, false);
        ++deeds;
    }

    function add(uint256 i, uint96 amount) external {
        (uint96 bonded,,) = record(i %= ACTORS);
        if (bonded == 0) return;
        amount = uint96(bound(amount, bonded < MIN_STAKE ? MIN_STAKE - bonded : 1, 1e24));
        vm.prank(owner(i));
        stakes.addStake(amount);
        (joined[i], condemned[i]) = (joined[i] + amount, false);
        ++deeds;
    }

    function depart(uint256 i, uint96 amount) external {
        (uint96 bonded,,) = record(i %= ACTORS);
        if (bonded == 0) return;
        amount = amount % 2 == 0 || bonded <= MIN_STAKE ? bonded : uint96(bound(amount, 1, bonded - MIN_STAKE));
        vm.prank(owner(i));
        stakes.exit(amount);
        ++deeds;
    }

    function stay(uint256 i) external {
        (uint96 bonded, uint96 exiting,) = record(i %= ACTORS);
        if (exiting == 0 || bonded + exiting < MIN_STAKE) return;
        vm.prank(owner(i));
        stakes.cancelExit();
        ++deeds;
    }

    function withdraw(uint256 i) external {
        (, uint96 exiting, uint40 exitAt) = record(i %= ACTORS);
        if (exiting == 0 || block.timestamp < exitAt) return;
        vm.prank(owner(i));
        stakes.withdraw();
        withdrawn[i] += exiting;
        ++deeds;
    }

    function rotate(uint256 i) external {
        (uint96 bonded,,) = record(i %= ACTORS);
        if (bonded == 0 || rotations[i] == 255) return;
        (address key, bytes32 r, bytes32 vs) = consent(stakes, i, ++rotations[i]);
        vm.prank(owner(i));
        stakes.rotate(key, PEER, r, vs);
        ++deeds;
    }

    function give(uint96 amount) external {
        gifts += amount %= 1e6;
        token.transfer(address(stakes), amount);
    }

    function pass(uint40 time) external {
        vm.warp(block.timestamp + time % UNBONDING);
    }

    /// @dev Taking what is not one's own, too early, or with somebody else's key.
    function lie(uint256 kind, uint256 i, uint96 amount) external {
        (uint96 bonded, uint96 exiting, uint40 exitAt) = record(i %= ACTORS);
        kind %= 6;
        if (kind == 0) attempt(owner(i), abi.encodeCall(Stakes.slash, (owner(i + 1), amount, address(0))));
        if (kind == 1 && block.timestamp < exitAt) attempt(owner(i), abi.encodeCall(Stakes.withdraw, ()));
        if (kind == 2 && exiting == 0) attempt(owner(i), abi.encodeCall(Stakes.withdraw, ()));
        if (kind == 3) takeKey(i);
        if (kind == 4) attempt(owner(i), abi.encodeCall(Stakes.exit, (uint96(bound(amount, bonded + 1, 2e24)))));
        if (kind == 5 && bonded > 1 && bonded >= MIN_STAKE) {
            uint256 most = bonded - 1;
            uint256 least = uint256(bonded) + 1 - MIN_STAKE;
            attempt(owner(i), abi.encodeCall(Stakes.exit, (uint96(bound(amount, least, most)))));
        }
    }

    /// @dev With the neighbour's consent, which was given to the neighbour.
    function takeKey(uint256 i) private {
        (address key, bytes32 r, bytes32 vs) = consent(stakes, (i + 1) % ACTORS, 0);
        attempt(owner(i), abi.encodeCall(Stakes.rotate, (key, PEER, r, vs)));
    }

    function attempt(address who, bytes memory data) internal {
        vm.prank(who);
        (bool believed,) = address(stakes).call(data);
        if (believed) ++frauds;
    }

    /// @dev Writes down a slash that has just burnt so much.
    function convict(uint256 i, uint256 burnt) internal {
        slashed[i] += burnt;
        condemned[i] = true;
        ++deeds;
    }
}
