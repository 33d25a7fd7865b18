// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Checkers} from "../lib/Checkers.sol";
import {Claim} from "../lib/Operations.sol";

/// @title The checkers of a trace's operations, callable from outside. For tests only.
contract CheckersProbe {
    /// @notice One byte for each step: 1 where the claim is right, else 0.
    function judge(Checkers.Step[] calldata steps, Claim[] calldata claims) external pure returns (bytes memory found) {
        found = new bytes(steps.length);
        for (uint256 k = 0; k < steps.length; ++k) {
            found[k] = Checkers.isRight(steps[k], claims[k]) ? bytes1(uint8(1)) : bytes1(0);
        }
    }
}
