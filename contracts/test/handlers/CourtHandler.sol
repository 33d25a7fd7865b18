// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Court, Receipt} from "../../src/Court.sol";
import {Stakes} from "../../src/Stakes.sol";
import {Token} from "../../src/test/Token.sol";
import {StakesHandler} from "./StakesHandler.sol";

/// @title The nodes before the Court itself: the liar contradicts itself, the others never do
contract CourtHandler is StakesHandler {
    Court private immutable _court;

    constructor(Token token_, Stakes stakes_, Court court_) StakesHandler(token_, stakes_) {
        _court = court_;
    }

    /// @dev Any key that the liar ever had condemns all that it has, as often as it comes back.
    function contradict(uint256 n, bytes32 slot, bytes32 root) external {
        (uint96 bonded, uint96 exiting,) = record(LIAR);
        if (bonded + exiting == 0) return;
        uint256 key = hotKey(LIAR, n % (rotations[LIAR] + 1));
        if (stakes.nodeOf(vm.addr(key)) == address(0)) return;
        Receipt memory a = receipt(slot, root);
        Receipt memory b = receipt(slot, keccak256(abi.encode(root)));
        denounce(a, key, b, key);
        (uint96 left, uint96 leaving,) = record(LIAR);
        if (left + leaving != 0) revert("something was left");
        convict(LIAR, uint256(bonded) + exiting);
    }

    /// @dev What others make of an honest node's receipts: one for each slot, and whatever keys they have themselves.
    function frame(uint256 i, uint256 kind, bytes32 slot) external {
        i %= LIAR;
        uint256 key = hotKey(i, 0);
        Receipt memory honest = receipt(slot, slot);
        bytes32 next = keccak256(abi.encode(slot));
        kind %= 4;
        if (kind == 0) blame(honest, key, honest, key);
        if (kind == 1) blame(honest, key, receipt(next, next), key);
        if (kind == 2) blame(honest, key, receipt(slot, next), hotKey(LIAR, 0));
        if (kind == 3) blame(honest, key, receipt(slot, next), hotKey(i, 1));
    }

    function receipt(bytes32 slot, bytes32 root) private pure returns (Receipt memory) {
        return Receipt(slot, uint32(uint256(slot)), 7, 0, 16, slot, slot, slot, root);
    }

    function denounce(Receipt memory a, uint256 first, Receipt memory b, uint256 second) private {
        (bytes32 aR, bytes32 aVs) = compact(first, _court.receiptDigest(a));
        (bytes32 bR, bytes32 bVs) = compact(second, _court.receiptDigest(b));
        _court.proveEquivocation(a, aR, aVs, b, bR, bVs, address(0));
    }

    function blame(Receipt memory a, uint256 first, Receipt memory b, uint256 second) private {
        (bytes32 aR, bytes32 aVs) = compact(first, _court.receiptDigest(a));
        (bytes32 bR, bytes32 bVs) = compact(second, _court.receiptDigest(b));
        (bool believed,) = address(_court).call(abi.encodeCall(Court.proveEquivocation, (a, aR, aVs, b, bR, bVs, address(0))));
        if (believed) ++frauds;
    }
}
