// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Field} from "./TraceLayout.sol";

/// @dev Whose leaves an operand lies in: docs/TRACE.md section 2. Constant: its number is `start`. Noise: the Gumbel table.
enum Source {
    Constant,
    Trace,
    Weights,
    Input,
    Kept,
    Noise
}

/// @dev count elements of one row, never across two leaves. name: a Field, or the kind of a tensor. block_: of either
/// (TraceRules.SHARED for a tensor of no block). Kept rows: position x 2 kv heads + head, keys before values. A look-up:
/// where `by` is not 0, the row (the start, in a single row) is the element at byColumn of the trace's Field by - 1.
struct Operand {
    Source source;
    uint256 name;
    uint256 block_;
    uint256 row;
    uint256 start;
    uint256 count;
    uint256 by;
    uint256 byColumn;
}

/// @dev An element of a trace, block_: of a block's field, the span's end for those behind.
struct Spot {
    uint256 block_;
    Field field;
    uint256 row;
    uint256 column;
}
