// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Operand, Spot} from "../lib/Operands.sol";
import {Operation} from "../lib/Operations.sol";
import {Parameters} from "../lib/Parameters.sol";
import {TraceLayout} from "../lib/TraceLayout.sol";
import {TraceRules} from "../lib/TraceRules.sol";

/// @title The rules of a trace, callable from outside. For tests only.
contract RulesProbe {
    /// @notice Operation and operands of each spot.
    function rules(Parameters calldata p, TraceLayout.Place calldata place, Spot[] calldata spots)
        external
        pure
        returns (Operation[] memory operations, Operand[][] memory operands)
    {
        operations = new Operation[](spots.length);
        operands = new Operand[][](spots.length);
        for (uint256 k = 0; k < spots.length; ++k) {
            (operations[k], operands[k]) = TraceRules.rule(p, place, spots[k]);
        }
    }
}
