// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Parameters} from "../lib/Parameters.sol";
import {Field, TraceLayout} from "../lib/TraceLayout.sol";

/// @title The layout of a trace, callable from outside. For tests only.
contract LayoutProbe {
    /// @notice The first leaves of fields, each named by its block and number; the number of leaves is behind them.
    function firsts(
        Parameters calldata p,
        TraceLayout.Place calldata place,
        uint32[] calldata blocks,
        uint8[] calldata fields
    ) external pure returns (uint64[] memory found) {
        found = new uint64[](fields.length + 1);
        for (uint256 k = 0; k < fields.length; ++k) {
            found[k] = uint64(TraceLayout.first(p, place, blocks[k], Field(fields[k])));
        }
        found[fields.length] = uint64(TraceLayout.leaves(p, place));
    }

    /// @notice The gas that one field's place takes.
    function gasOf(Parameters calldata p, TraceLayout.Place calldata place, uint256 block_, Field field)
        external
        view
        returns (uint256)
    {
        Parameters memory numbers = p;
        TraceLayout.Place memory where = place;
        uint256 before = gasleft();
        TraceLayout.first(numbers, where, block_, field);
        return before - gasleft();
    }
}
