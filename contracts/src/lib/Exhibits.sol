// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Spot} from "./Operands.sol";
import {Cursor, Part, Parts} from "./Parts.sol";
import {Paths} from "./Paths.sol";
import {Field} from "./TraceLayout.sol";

/// @dev A piece of a tensor with the tensor's shape, or of the Gumbel table: its elements, its path there, and the
/// tensor's path among all.
struct Piece {
    uint256 rows;
    uint256 width;
    uint256 size;
    Part elements;
    Part inTensor;
    Part inWeights;
}

/// @dev What is opened to judge one element. leaves: of the trace, as they are hashed. signed: a leaf under one of the
/// receipt's roots. draw and roots: the openings of the route's sampler, and of what was signed.
struct Exhibit {
    Spot spot;
    bool aborted;
    Part[] leaves;
    Part program;
    Part siblings;
    Piece[] pieces;
    Part signed;
    Part signedPath;
    Part draw;
    Part roots;
}

/// @title Reading what verification/trace/evidence.py writes
/// @dev marks u8 (1 Abort, 2 signed leaf, 4 draw, 8 roots) | field u8 | block u32 | row u32 | column u32 | leaves u8, each:
/// length u16 | data | program: length u8 | bytes | siblings: count u8 | words | pieces u8, each: rows u32 | width u32 |
/// size u8 | length u16 | elements | two counts u8 | words | signed leaf: length u16 | data | count u8 | words |
/// draw: 40 bytes | roots: 4 words; the last three where marked.
library Exhibits {
    uint256 private constant LAST_FIELD = uint256(type(Field).max);
    uint256 private constant DRAW = 40;
    uint256 private constant ROOTS = 128;

    function read(bytes calldata proof) internal pure returns (Exhibit memory e) {
        Cursor memory from = Parts.begin(proof);
        uint256 marks = Parts.number(from, 1);
        uint256 field = Parts.number(from, 1);
        if (field > LAST_FIELD) revert Parts.ProofMalformed();
        e.aborted = marks & 1 != 0;
        (e.spot.field, e.spot.block_) = (Field(field), Parts.number(from, 4));
        (e.spot.row, e.spot.column) = (Parts.number(from, 4), Parts.number(from, 4));
        e.leaves = new Part[](Parts.number(from, 1));
        for (uint256 k = 0; k < e.leaves.length; ++k) {
            e.leaves[k] = Parts.part(from, Parts.number(from, 2));
        }
        e.program = Parts.part(from, Parts.number(from, 1));
        e.siblings = Parts.words(from, Parts.number(from, 1));
        e.pieces = new Piece[](Parts.number(from, 1));
        for (uint256 k = 0; k < e.pieces.length; ++k) {
            e.pieces[k] = piece(from);
        }
        if (marks & 2 != 0) {
            e.signed = Parts.part(from, Parts.number(from, 2));
            e.signedPath = Parts.words(from, Parts.number(from, 1));
        }
        if (marks & 4 != 0) e.draw = Parts.part(from, DRAW);
        if (marks & 8 != 0) e.roots = Parts.part(from, ROOTS);
        Parts.finish(from);
    }

    /// @dev Whether all leaves lie under the root.
    function isTraced(Exhibit memory e, bytes32 root) internal pure returns (bool) {
        bytes32[] memory hashed = new bytes32[](e.leaves.length);
        for (uint256 k = 0; k < hashed.length; ++k) {
            hashed[k] = Paths.leafOf(Parts.data(e.leaves[k]));
        }
        bytes32 reached = Paths.rootOf(hashed, Parts.hashes(e.siblings), Parts.data(e.program));
        return root != bytes32(0) && reached == root;
    }

    function piece(Cursor memory from) private pure returns (Piece memory p) {
        (p.rows, p.width) = (Parts.number(from, 4), Parts.number(from, 4));
        p.size = Parts.number(from, 1);
        p.elements = Parts.part(from, Parts.number(from, 2));
        uint256 inTensor = Parts.number(from, 1);
        uint256 inWeights = Parts.number(from, 1);
        p.inTensor = Parts.words(from, inTensor);
        p.inWeights = Parts.words(from, inWeights);
    }
}
