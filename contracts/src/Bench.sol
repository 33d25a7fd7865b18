// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Checkers} from "./lib/Checkers.sol";
import {Claim} from "./lib/Operations.sol";

/// @title Whether an element is what its operands say: the checkers of every operation
/// @dev Keeps no state.
contract Bench {
    /// @notice The step has as many numbers and pieces as its operation takes.
    function isRight(Checkers.Step calldata step, Claim calldata claimed) external pure returns (bool) {
        return Checkers.isRight(step, claimed);
    }
}
