// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Parameters} from "./Parameters.sol";
import {Field, TraceLayout} from "./TraceLayout.sol";

/// @dev rows x width integers of size bytes; all zero for a field that the trace does not have.
struct Shape {
    uint256 rows;
    uint256 width;
    uint256 size;
}

/// @title How large the fields of a trace are
/// @notice docs/TRACE.md section 3, as verification/trace/fields.py says it; TraceLayout says where they begin.
/// @dev Parameters have passed Models: nothing here leaves 2^64.
library TraceShape {
    uint256 private constant ONE = 1 << 16;

    /// @dev Of a field of any block, or behind them; the caller knows whether the span has the block.
    function shape(Parameters memory p, TraceLayout.Place memory place, Field f) internal pure returns (Shape memory) {
        uint256 k = uint256(f);
        if (f == Field.Token) return place.start == 0 ? Shape(1, 1, 4) : Shape(0, 0, 0);
        if (f == Field.Row) return Shape(1, p.hidden, 4);
        if (f < Field.QkvSums) return norm(p.hidden, k - uint256(Field.AttentionLargest));
        if (f < Field.Keys) return heads(p, f);
        if (f < Field.OTop) return attention(p, place, f);
        if (f < Field.OSums) return pack(uint256(p.heads) * p.headDim, k - uint256(Field.OTop));
        if (f == Field.OSums) return sums(p.hidden, uint256(p.heads) * p.headDim);
        if (f <= Field.Middle) return Shape(1, p.hidden, 4);
        if (f < Field.GateUpSums) return norm(p.hidden, k - uint256(Field.MlpLargest));
        if (f == Field.GateUpSums) return sums(2 * uint256(p.intermediate), p.hidden);
        if (f <= Field.Gated) return Shape(f == Field.GateUpY ? 2 : 1, p.intermediate, 4);
        if (f < Field.DownSums) return pack(p.intermediate, k - uint256(Field.DownTop));
        if (f == Field.DownSums) return sums(p.hidden, p.intermediate);
        if (f <= Field.Output) return Shape(1, p.hidden, 4);
        if (f < Field.HeadSums) return norm(p.hidden, k - uint256(Field.FinalLargest));
        return choice(p, place, f);
    }

    function heads(Parameters memory p, Field f) private pure returns (Shape memory) {
        uint256 turned = uint256(p.heads) + p.kvHeads;
        uint256 all = turned + p.kvHeads;
        uint256 d = p.headDim;
        uint256 parts = TraceLayout.pieces(d);
        if (f == Field.QkvSums) return sums(all * d, p.hidden);
        if (f == Field.QkvY) return Shape(all, d, 4);
        if (f <= Field.HeadNormY && p.flags & 1 == 0) return Shape(0, 0, 0);
        if (f <= Field.HeadNormSquares) return Shape(turned, parts, 8);
        if (f == Field.HeadNormRoot) return Shape(turned, 4, 8);
        if (f == Field.HeadNormY) return Shape(turned, d, 4);
        if (f == Field.Rotated) return Shape(turned, d, 8);
        if (f == Field.HeadsLargest) return Shape(all, parts, 8);
        return f == Field.HeadsExponent ? Shape(all, 1, 2) : Shape(all, d, 2);
    }

    function attention(Parameters memory p, TraceLayout.Place memory place, Field f)
        private
        pure
        returns (Shape memory)
    {
        (uint256 seen,) = TraceLayout.visible(p, place.position);
        uint256 queries = p.heads;
        uint256 kv = p.kvHeads;
        uint256 d = p.headDim;
        uint256 long = TraceLayout.pieces(seen);
        if (f == Field.Keys) return Shape(kv * seen, d, 2);
        if (f == Field.Values) return Shape(kv * d, seen, 2);
        if (f <= Field.ValuesExponent) return Shape(kv, seen, 2);
        if (f == Field.Dots) return Shape(queries * TraceLayout.pieces(d), seen, 8);
        if (f == Field.Scores) return Shape(queries, seen, 8);
        if (f == Field.ScoresHighest || f == Field.WeightsTotal) return Shape(queries, long, 8);
        if (f == Field.Weights || f == Field.Lowered) return Shape(queries, seen, 2);
        if (f == Field.ValuesHighest) return Shape(kv, long, 2);
        if (f == Field.Reciprocals) return Shape(queries, 1, 8);
        return f == Field.Sums ? Shape(queries * d, long, 8) : Shape(1, queries * d, 4);
    }

    /// @dev Behind the final norm. Fields that the draw does not need are not there.
    function choice(Parameters memory p, TraceLayout.Place memory place, Field f) private pure returns (Shape memory) {
        uint256 all = p.vocabulary;
        if (f == Field.HeadSums) return sums(all, p.hidden);
        if (f == Field.HeadY) return Shape(1, all, 4);
        if (f == Field.Chosen) return Shape(1, 1, 4);
        bool drawn = place.tau != 0;
        uint256 kept = drawn && place.topK != 0 && place.topK < all ? place.topK : all;
        if (f == Field.Best) return Shape(1, TraceLayout.pieces(kept), 4);
        bool isNucleus = f >= Field.Shares && f <= Field.Kept;
        if (!drawn || (isNucleus && place.pi >= ONE)) return Shape(0, 0, 0);
        if (f == Field.Order) return Shape(1, all, 4);
        if (f == Field.Shares) return Shape(1, kept, 4);
        if (f == Field.SharesTotal) return Shape(1, TraceLayout.pieces(kept), 8);
        if (f == Field.Kept) return Shape(1, TraceLayout.pieces(kept), 4);
        return f == Field.Cells ? Shape(1, kept, 2) : Shape(1, kept, 8);
    }

    /// @dev NORM's eight fields.
    function norm(uint256 width, uint256 k) private pure returns (Shape memory) {
        if (k < 2) return Shape(1, TraceLayout.pieces(width), 8);
        if (k == 2) return Shape(1, 4, 8);
        return k == 3 ? Shape(1, width, 8) : pack(width, k - 4);
    }

    /// @dev PACK's four fields.
    function pack(uint256 width, uint256 k) private pure returns (Shape memory) {
        if (k < 2) return Shape(1, TraceLayout.pieces(width), 8);
        return k == 2 ? Shape(1, 2, 8) : Shape(1, width, 2);
    }

    /// @dev Prefix values of so many products.
    function sums(uint256 outputs, uint256 columns) private pure returns (Shape memory) {
        return Shape(outputs, TraceLayout.pieces(columns), 4);
    }
}
