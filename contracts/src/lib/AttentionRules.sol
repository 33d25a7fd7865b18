// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Operand, Source, Spot} from "./Operands.sol";
import {Operation} from "./Operations.sol";
import {Parameters} from "./Parameters.sol";
import {Field, TraceLayout} from "./TraceLayout.sol";
import {TraceRules} from "./TraceRules.sol";

/// @title Operations and operands of the heads, and of a query's attention to keys and values
/// @notice As verification/trace/operands.py says it.
library AttentionRules {
    // Kinds of tensors.
    uint256 private constant ROPE = 0;
    uint256 private constant Q_NORM = 5;
    uint256 private constant K_NORM = 7;

    /// @dev From the heads' norms to what is kept of them.
    function heads(Parameters memory p, TraceLayout.Place memory place, Spot memory s)
        internal
        pure
        returns (Operation, Operand[] memory o)
    {
        uint256 size = p.headDim;
        Field f = s.field;
        if (f < Field.HeadNormY) {
            return
                TraceRules.root(s, Field.HeadNormLargest, TraceRules.one(s, Field.QkvY, s.row, 0), size, p.headEpsilon);
        }
        if (f == Field.HeadNormY) {
            uint256 kind = s.row < p.heads ? Q_NORM : K_NORM;
            Operand memory gain = TraceRules.weight(kind, s.block_, 0, s.column, 1);
            o = TraceRules.normed(
                s, Field.HeadNormLargest, TraceRules.one(s, Field.QkvY, s.row, s.column), size, gain, 6
            );
            o[5] = TraceRules.weight(kind + 1, s.block_, 0, 0, 1);
            return (Operation.HeadNorm, o);
        }
        if (f == Field.Rotated) return rotate(p, place, s);
        Field source = s.row < uint256(p.heads) + p.kvHeads ? Field.Rotated : Field.QkvY;
        if (f == Field.HeadsLargest) {
            return (
                Operation.LargestMagnitude,
                TraceRules.two(
                    TraceRules.previous(s), TraceRules.piece(TraceRules.one(s, source, s.row, 0), s.column, size)
                )
            );
        }
        if (f == Field.HeadsExponent) {
            return (
                Operation.HeadExponent,
                TraceRules.single(TraceRules.one(s, Field.HeadsLargest, s.row, TraceLayout.pieces(size) - 1))
            );
        }
        return (
            Operation.Compress,
            TraceRules.two(TraceRules.one(s, source, s.row, s.column), TraceRules.one(s, Field.HeadsExponent, s.row, 0))
        );
    }

    function rotate(Parameters memory p, TraceLayout.Place memory place, Spot memory s)
        internal
        pure
        returns (Operation, Operand[] memory o)
    {
        uint256 half = p.headDim / 2;
        uint256 i = s.column % half;
        Field source = p.flags & 1 != 0 ? Field.HeadNormY : Field.QkvY;
        o = new Operand[](4);
        o[0] = TraceRules.one(s, source, s.row, i);
        o[1] = TraceRules.one(s, source, s.row, i + half);
        o[2] = TraceRules.weight(ROPE, TraceRules.SHARED, place.position, 2 * i, 1);
        o[3] = TraceRules.weight(ROPE, TraceRules.SHARED, place.position, 2 * i + 1, 1);
        return (s.column < half ? Operation.RotateFirst : Operation.RotateSecond, o);
    }

    /// @dev From the copied keys to the mixed values.
    function attention(Parameters memory p, TraceLayout.Place memory place, Spot memory s)
        internal
        pure
        returns (Operation, Operand[] memory o)
    {
        Field f = s.field;
        (uint256 seen,) = TraceLayout.visible(p, place.position);
        if (f <= Field.ValuesExponent) return (Operation.Copy, TraceRules.single(kept(p, place, s, seen)));
        uint256 last = TraceLayout.pieces(seen) - 1;
        uint256 size = p.headDim;
        uint256 row = s.row;
        if (f == Field.Dots) return dots(p, s, seen);
        if (f == Field.Sums) {
            Operand memory value = TraceRules.one(s, Field.Values, group(p, row / size) * size + row % size, 0);
            Operand memory lowered = TraceRules.piece(TraceRules.one(s, Field.Lowered, row / size, 0), s.column, seen);
            return (
                Operation.DotHeads,
                TraceRules.three(TraceRules.previous(s), lowered, TraceRules.piece(value, s.column, seen))
            );
        }
        if (f == Field.Scores) {
            o = new Operand[](4);
            o[0] = TraceRules.one(s, Field.Dots, (row + 1) * TraceLayout.pieces(size) - 1, s.column);
            o[1] = TraceRules.constant_(p.score);
            o[2] = TraceRules.one(s, Field.HeadsExponent, row, 0);
            o[3] = TraceRules.one(s, Field.KeysExponent, group(p, row), s.column);
            return (Operation.Score, o);
        }
        if (f == Field.ScoresHighest || f == Field.ValuesHighest) {
            Operand memory source =
                TraceRules.one(s, f == Field.ScoresHighest ? Field.Scores : Field.ValuesExponent, row, 0);
            return (
                Operation.Maximum,
                TraceRules.two(
                    s.column == 0 ? source : TraceRules.previous(s), TraceRules.piece(source, s.column, seen)
                )
            );
        }
        if (f == Field.Weights) {
            return (
                Operation.AttentionWeight,
                TraceRules.two(
                    TraceRules.one(s, Field.ScoresHighest, row, last), TraceRules.one(s, Field.Scores, row, s.column)
                )
            );
        }
        if (f == Field.WeightsTotal) {
            return (
                Operation.Sum,
                TraceRules.two(
                    TraceRules.previous(s), TraceRules.piece(TraceRules.one(s, Field.Weights, row, 0), s.column, seen)
                )
            );
        }
        if (f == Field.Reciprocals) {
            return (Operation.Reciprocal, TraceRules.single(TraceRules.one(s, Field.WeightsTotal, row, last)));
        }
        if (f == Field.Lowered) {
            Operand memory highest = TraceRules.one(s, Field.ValuesHighest, group(p, row), last);
            Operand memory exponent = TraceRules.one(s, Field.ValuesExponent, group(p, row), s.column);
            return (
                Operation.LoweredWeight,
                TraceRules.three(TraceRules.one(s, Field.Weights, row, s.column), highest, exponent)
            );
        }
        uint256 head = s.column / size;
        o = new Operand[](4);
        o[0] = TraceRules.one(s, Field.Sums, s.column, last);
        o[1] = TraceRules.one(s, Field.WeightsTotal, head, last);
        o[2] = TraceRules.one(s, Field.Reciprocals, head, 0);
        o[3] = TraceRules.one(s, Field.ValuesHighest, group(p, head), last);
        return (Operation.Mix, o);
    }

    /// @dev Rows are the pieces of each query head, columns the positions.
    function dots(Parameters memory p, Spot memory s, uint256 seen)
        internal
        pure
        returns (Operation, Operand[] memory)
    {
        uint256 parts = TraceLayout.pieces(p.headDim);
        uint256 head = s.row / parts;
        uint256 index = s.row % parts;
        Operand memory before =
            index == 0 ? TraceRules.constant_(0) : TraceRules.one(s, Field.Dots, s.row - 1, s.column);
        Operand memory key = TraceRules.one(s, Field.Keys, group(p, head) * seen + s.column, 0);
        Operand memory query = TraceRules.piece(TraceRules.one(s, Field.Heads, head, 0), index, p.headDim);
        return (Operation.DotHeads, TraceRules.three(before, query, TraceRules.piece(key, index, p.headDim)));
    }

    /// @dev A key or value that was signed before, or at the query's own position stands in this trace.
    function kept(Parameters memory p, TraceLayout.Place memory place, Spot memory s, uint256 seen)
        internal
        pure
        returns (Operand memory)
    {
        Field f = s.field;
        bool isExponent = f == Field.KeysExponent || f == Field.ValuesExponent;
        uint256 along = f == Field.Keys ? seen : p.headDim;
        uint256 head = isExponent ? s.row : s.row / along;
        uint256 at_ = f == Field.Keys ? s.row % along : s.column;
        uint256 column = isExponent ? 0 : f == Field.Keys ? s.column : s.row % along;
        if (f >= Field.Values) head += p.kvHeads;
        Field source = isExponent ? Field.HeadsExponent : Field.Heads;
        if (at_ == seen - 1) return TraceRules.one(s, source, p.heads + head, column);
        uint256 position = place.position + 1 + at_ - seen;
        return Operand(Source.Kept, uint256(source), s.block_, position * 2 * p.kvHeads + head, column, 1, 0, 0);
    }

    /// @dev The key/value head that a query head reads.
    function group(Parameters memory p, uint256 head) internal pure returns (uint256) {
        return head / (p.heads / p.kvHeads);
    }
}
