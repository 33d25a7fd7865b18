// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Operand, Spot} from "./lib/Operands.sol";
import {Operation} from "./lib/Operations.sol";
import {Parameters} from "./lib/Parameters.sol";
import {TraceLayout} from "./lib/TraceLayout.sol";
import {TraceRules} from "./lib/TraceRules.sol";

/// @title Which operation an element of a trace is, and which operands it has
/// @dev Keeps no state. A contract of its own because the rules and the checkers are too long for one.
contract Rulebook {
    /// @notice The model's numbers have passed Models, and the spot lies in the trace.
    function rule(Parameters calldata p, TraceLayout.Place calldata place, Spot calldata spot)
        external
        pure
        returns (Operation, Operand[] memory)
    {
        return TraceRules.rule(p, place, spot);
    }
}
