// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Parameters} from "./Parameters.sol";

/// @dev The four matrices of a block, in the order of their products in a trace.
enum Matrix {
    Qkv,
    Output,
    GateUp,
    Down
}

/// @dev Where a matrix's products lie: the first leaf of its activation, the first of its sums, and its shape.
struct Products {
    uint256 activation;
    uint256 sums;
    uint256 outputs;
    uint256 columns;
}

/// @title From a model's numbers, a span and a position to the leaves of a trace: docs/TRACE.md section 3
/// @dev verification/trace/fields.py says the same. Models bounds every number: nothing here leaves 2^64.
library ProductPlaces {
    uint256 internal constant PIECE = 128;
    uint256 private constant NORMALISED_HEADS = 1;

    /// @dev Of ProductJudge.sizes: all that a block's layout depends on.
    function unpacked(uint256 word) internal pure returns (Parameters memory p) {
        p.blocks = uint32(word);
        p.hidden = uint32(word >> 32);
        p.heads = uint16(word >> 64);
        p.kvHeads = uint16(word >> 80);
        p.headDim = uint16(word >> 96);
        p.intermediate = uint32(word >> 112);
        p.window = uint32(word >> 208);
        p.flags = uint8(word >> 240);
    }

    function pieces(uint256 width) internal pure returns (uint256) {
        unchecked {
            return (width + PIECE - 1) / PIECE;
        }
    }

    /// @dev Positions that a query at that position sees.
    function visible(Parameters memory p, uint256 position) internal pure returns (uint256) {
        unchecked {
            return p.window == 0 || position < p.window ? position + 1 : p.window;
        }
    }

    /// @dev The products of one matrix of block `start + index`, in the trace of a span that begins with block `start`.
    function products(Parameters memory p, uint256 start, uint256 index, uint256 position, Matrix matrix)
        internal
        pure
        returns (Products memory found)
    {
        unchecked {
            uint256 hidden = p.hidden;
            uint256 mixed = uint256(p.heads) * p.headDim;
            uint256 outputs = (uint256(p.heads) + 2 * uint256(p.kvHeads)) * p.headDim;
            uint256 attention = attentionLeaves(p, visible(p, position));
            uint256 at_ = (start == 0 ? 1 : 0) + pieces(hidden) + index * blockLeaves(p, attention);
            found = Products(at_ + beforeNormed(hidden), at_ + normed(hidden), outputs, hidden);
            if (matrix == Matrix.Qkv) return found;
            at_ = found.sums + outputs * rowLeaves(hidden) + attention;
            found = Products(at_ + beforePacked(mixed), at_ + packed(mixed), hidden, mixed);
            if (matrix == Matrix.Output) return found;
            at_ = found.sums + hidden * rowLeaves(mixed) + 2 * pieces(hidden);
            found = Products(at_ + beforeNormed(hidden), at_ + normed(hidden), 2 * uint256(p.intermediate), hidden);
            if (matrix == Matrix.GateUp) return found;
            at_ = found.sums + found.outputs * rowLeaves(hidden) + 3 * pieces(p.intermediate);
            return Products(at_ + beforePacked(p.intermediate), at_ + packed(p.intermediate), hidden, p.intermediate);
        }
    }

    /// @dev Leaves of one row of prefix values, one for each piece of so many elements.
    function rowLeaves(uint256 width) internal pure returns (uint256) {
        unchecked {
            return pieces(pieces(width));
        }
    }

    /// @dev From the products of queries, keys and values to the mixed values, both exclusive and inclusive.
    function attentionLeaves(Parameters memory p, uint256 seen) private pure returns (uint256 leaves) {
        unchecked {
            uint256 heads = p.heads;
            uint256 kv = p.kvHeads;
            uint256 d = p.headDim;
            uint256 wide = pieces(d);
            uint256 sums = pieces(wide);
            uint256 turned = heads + kv;
            leaves = turned * wide + (turned + kv) * (sums + 1 + 2 * wide) + pieces(heads * d);
            if (p.flags & NORMALISED_HEADS != 0) leaves += turned * (2 * sums + 1 + wide);
            uint256 long = pieces(seen);
            sums = pieces(long);
            leaves += kv * (seen * wide + (2 + d) * long + sums);
            leaves += heads * ((wide + 3) * long + (2 + d) * sums + 1);
        }
    }

    /// @dev A whole block, its output row included: two NORMs (4 r + 2 + 2 p leaves each, of p pieces and r rows of sums),
    /// the four products, what is packed for two of them (2 r + 1 + p), the inner rows, and two sums and rows of `hidden`.
    function blockLeaves(Parameters memory p, uint256 attention) private pure returns (uint256) {
        unchecked {
            uint256 hidden = p.hidden;
            uint256 inner = p.intermediate;
            uint256 mixed = uint256(p.heads) * p.headDim;
            uint256 outputs = mixed + 2 * uint256(p.kvHeads) * p.headDim + 2 * inner;
            uint256 wide = pieces(hidden);
            attention += 8 * wide + (8 + outputs) * pieces(wide) + 6;
            (mixed, inner) = (pieces(mixed), pieces(inner));
            return attention + mixed + 4 * inner + (2 + hidden) * (pieces(mixed) + pieces(inner));
        }
    }

    /// @dev NORM of one row, its activation included; and what stands before the activation.
    function normed(uint256 width) private pure returns (uint256) {
        unchecked {
            return beforeNormed(width) + pieces(width);
        }
    }

    function beforeNormed(uint256 width) private pure returns (uint256) {
        unchecked {
            return 2 * rowLeaves(width) + 1 + pieces(width) + beforePacked(width);
        }
    }

    function packed(uint256 width) private pure returns (uint256) {
        unchecked {
            return beforePacked(width) + pieces(width);
        }
    }

    function beforePacked(uint256 width) private pure returns (uint256) {
        unchecked {
            return 2 * rowLeaves(width) + 1;
        }
    }
}
