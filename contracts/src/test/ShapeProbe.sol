// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Parameters} from "../lib/Parameters.sol";
import {Field, TraceLayout} from "../lib/TraceLayout.sol";
import {Shape, TraceShape} from "../lib/TraceShape.sol";

/// @title The sizes of a trace's fields, callable from outside. For tests only.
/// @dev Apart from the layout's probe, whose gas is measured: the compiler lays out what is together together.
contract ShapeProbe {
    /// @notice Rows, width and bytes of an element of each field.
    function shapes(Parameters calldata p, TraceLayout.Place calldata place, uint8[] calldata fields)
        external
        pure
        returns (Shape[] memory found)
    {
        found = new Shape[](fields.length);
        for (uint256 k = 0; k < fields.length; ++k) {
            found[k] = TraceShape.shape(p, place, Field(fields[k]));
        }
    }
}
