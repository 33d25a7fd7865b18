// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Stakes} from "../../src/Stakes.sol";
import {AnyCourt, ISlashable} from "../../src/test/AnyCourt.sol";
import {Token} from "../../src/test/Token.sol";
import {StakesHandler} from "./StakesHandler.sol";

/// @title The nodes before a judge who takes any part of any stake
contract SlashHandler is StakesHandler {
    AnyCourt private immutable _judge;

    constructor(Token token_, Stakes stakes_, AnyCourt judge_) StakesHandler(token_, stakes_) {
        _judge = judge_;
    }

    /// @dev I6: before each slash it is tried what a node would save that leaves at the last moment: nothing.
    function slash(uint256 i, uint256 bps) external {
        (uint96 bonded, uint96 exiting,) = record(i %= ACTORS);
        if (bonded + exiting == 0) return;
        bps = bound(bps, 1, bps % 8 == 0 ? 12_000 : 4_000);
        uint256 burnt = sentence(i, bps);
        if (bonded != 0) {
            uint256 before = vm.snapshotState();
            vm.prank(owner(i));
            stakes.exit(bonded);
            if (sentence(i, bps) != burnt) revert("an exit made a difference");
            vm.revertToState(before);
        }
        convict(i, _judge.slash(ISlashable(address(stakes)), owner(i), bps, address(0)));
    }

    /// @dev What the slash would burn; nothing is done.
    function sentence(uint256 i, uint256 bps) private returns (uint256 burnt) {
        uint256 before = vm.snapshotState();
        burnt = _judge.slash(ISlashable(address(stakes)), owner(i), bps, address(0));
        vm.revertToState(before);
    }
}
