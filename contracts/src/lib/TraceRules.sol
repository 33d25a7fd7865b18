// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {AttentionRules} from "./AttentionRules.sol";
import {ChoiceRules} from "./ChoiceRules.sol";
import {Operand, Source, Spot} from "./Operands.sol";
import {Operation} from "./Operations.sol";
import {Parameters} from "./Parameters.sol";
import {Field, TraceLayout} from "./TraceLayout.sol";

/// @title Which operation an element of a trace is, and which operands it has
/// @notice docs/TRACE.md section 3, as verification/trace/operands.py says it.
/// @dev The caller has compared row and column with the field's size. Operands: numbers first, then pieces.
library TraceRules {
    uint256 internal constant SHARED = type(uint32).max;
    uint256 private constant PIECE = 128;
    // Kinds of tensors.
    uint256 private constant ATTENTION_NORM = 1;
    uint256 private constant MLP_NORM = 3;
    uint256 private constant QKV = 9;
    uint256 private constant O = 13;
    uint256 private constant GATE_UP = 17;
    uint256 private constant DOWN = 21;
    uint256 internal constant EMBED = 25;
    uint256 private constant HEAD_NORM = 29;

    function rule(Parameters memory p, TraceLayout.Place memory place, Spot memory s)
        internal
        pure
        returns (Operation, Operand[] memory)
    {
        Field f = s.field;
        if (f <= Field.Row) return entry(p, place, s);
        if (f >= Field.HeadSums) return ChoiceRules.rule(p, place, s);
        if (f >= Field.FinalLargest) return norm(p, place, s, Field.FinalLargest, HEAD_NORM);
        if (f < Field.QkvSums) return norm(p, place, s, Field.AttentionLargest, ATTENTION_NORM);
        if (f <= Field.QkvY) return project(p, s, Field.QkvSums, QKV);
        if (f <= Field.Heads) return AttentionRules.heads(p, place, s);
        if (f < Field.OTop) return AttentionRules.attention(p, place, s);
        if (f < Field.OSums) return pack(s, Field.OTop, Field.Mixed, uint256(p.heads) * p.headDim, 0);
        if (f <= Field.OY) return project(p, s, Field.OSums, O);
        if (f == Field.Middle) return (Operation.Add, two(incoming(place, s), one(s, Field.OY, 0, s.column)));
        if (f < Field.GateUpSums) return norm(p, place, s, Field.MlpLargest, MLP_NORM);
        if (f <= Field.GateUpY) return project(p, s, Field.GateUpSums, GATE_UP);
        if (f == Field.Gated) {
            return (Operation.Gate, two(one(s, Field.GateUpY, 0, s.column), one(s, Field.GateUpY, 1, s.column)));
        }
        if (f < Field.DownSums) return pack(s, Field.DownTop, Field.Gated, p.intermediate, 0);
        if (f <= Field.DownY) return project(p, s, Field.DownSums, DOWN);
        return (Operation.Add, two(one(s, Field.Middle, 0, s.column), one(s, Field.DownY, 0, s.column)));
    }

    function entry(Parameters memory, TraceLayout.Place memory place, Spot memory s)
        internal
        pure
        returns (Operation, Operand[] memory o)
    {
        if (s.field == Field.Token || place.start != 0) {
            o = new Operand[](1);
            o[0] = Operand(Source.Input, uint256(s.field), 0, 0, s.column, 1, 0, 0);
            return (Operation.Copy, o);
        }
        o = new Operand[](4);
        o[0] = Operand(Source.Weights, EMBED, SHARED, 0, s.column, 1, 1, 0);
        o[1] = weight(EMBED + 3, SHARED, 0, s.column, 1);
        o[2] = Operand(Source.Weights, EMBED + 1, SHARED, 0, 0, 1, 1, 0);
        o[3] = weight(EMBED + 2, SHARED, 0, 0, 1);
        return (Operation.Embed, o);
    }

    /// @dev NORM's eight fields from `base` on.
    function norm(Parameters memory p, TraceLayout.Place memory place, Spot memory s, Field base, uint256 kind)
        internal
        pure
        returns (Operation, Operand[] memory)
    {
        uint256 k = uint256(s.field) - uint256(base);
        if (k >= 4) return pack(s, Field(uint256(base) + 4), Field(uint256(base) + 3), p.hidden, kind + 1);
        Operand memory source = kind == MLP_NORM ? one(s, Field.Middle, 0, 0) : incoming(place, s);
        if (k < 3) return root(s, base, source, p.hidden, p.epsilon);
        source.start = s.column;
        return (Operation.Norm, normed(s, base, source, p.hidden, weight(kind, home(s), 0, s.column, 1), 5));
    }

    /// @dev largest, squares and root over rows of that width; source: the row's first element.
    function root(Spot memory s, Field base, Operand memory source, uint256 width, uint256 epsilon)
        internal
        pure
        returns (Operation, Operand[] memory o)
    {
        Field squares = Field(uint256(base) + 1);
        uint256 last = TraceLayout.pieces(width) - 1;
        if (s.field == base) return (Operation.LargestMagnitude, two(previous(s), piece(source, s.column, width)));
        if (s.field == squares) {
            return
                (Operation.SumOfSquares, three(previous(s), one(s, base, s.row, last), piece(source, s.column, width)));
        }
        if (s.column == 0) {
            o = three(one(s, squares, s.row, last), constant_(epsilon), one(s, base, s.row, last));
            return (Operation.NormSquare, o);
        }
        if (s.column == 1) return (Operation.NormWidth, single(constant_(width)));
        if (s.column == 2) return (Operation.NormRoot, single(one(s, s.field, s.row, 0)));
        return (Operation.NormInverse, two(one(s, s.field, s.row, 1), one(s, s.field, s.row, 2)));
    }

    /// @dev The element, m, W, I and the gain; room for one operand more where count is 6.
    function normed(
        Spot memory s,
        Field base,
        Operand memory element,
        uint256 width,
        Operand memory gain,
        uint256 count
    ) internal pure returns (Operand[] memory o) {
        Field certificate = Field(uint256(base) + 2);
        o = new Operand[](count);
        o[0] = element;
        o[1] = one(s, base, s.row, TraceLayout.pieces(width) - 1);
        o[2] = one(s, certificate, s.row, 0);
        o[3] = one(s, certificate, s.row, 3);
        o[4] = gain;
    }

    /// @dev PACK's four fields from `base` on; shiftKind: the tensor behind a norm, 0 for none.
    function pack(Spot memory s, Field base, Field source, uint256 width, uint256 shiftKind)
        internal
        pure
        returns (Operation, Operand[] memory)
    {
        uint256 k = uint256(s.field) - uint256(base);
        Field shift = Field(uint256(base) + 2);
        if (k < 2) {
            Operation op = k == 0 ? Operation.LargestMagnitude : Operation.SumOfMagnitudes;
            return (op, two(previous(s), piece(one(s, source, 0, 0), s.column, width)));
        }
        if (k == 3) return (Operation.Pack, two(one(s, source, 0, s.column), one(s, shift, 0, 0)));
        uint256 last = TraceLayout.pieces(width) - 1;
        if (s.column == 0) {
            Operand memory total = one(s, Field(uint256(base) + 1), 0, last);
            return (Operation.PackShift, three(one(s, base, 0, last), total, constant_(width)));
        }
        Operand memory c = shiftKind == 0 ? constant_(0) : weight(shiftKind, home(s), 0, 0, 1);
        return (Operation.PackFraction, three(constant_(shiftKind == 0 ? 16 : 20), c, one(s, shift, 0, 0)));
    }

    /// @dev PROJECT's two fields; x lies just before the sums, its shift before x.
    function project(Parameters memory p, Spot memory s, Field sums, uint256 kind)
        internal
        pure
        returns (Operation, Operand[] memory o)
    {
        Field x = Field(uint256(sums) - 1);
        uint256 columns = kind == O ? uint256(p.heads) * p.headDim : kind == DOWN ? p.intermediate : p.hidden;
        if (s.field == sums) {
            Operand memory right = piece(one(s, x, 0, 0), s.column, columns);
            Operand memory left = weight(kind, s.block_, s.row, s.column * PIECE, right.count);
            return (Operation.DotWeights, three(previous(s), left, right));
        }
        uint256 width = kind == QKV ? p.headDim : kind == GATE_UP ? p.intermediate : p.hidden;
        uint256 n = s.row * width + s.column;
        bool biased = p.flags & (kind == QKV ? 2 : kind == O ? 4 : 8) != 0;
        o = new Operand[](5);
        o[0] = one(s, sums, n, TraceLayout.pieces(columns) - 1);
        o[1] = weight(kind + 1, s.block_, 0, n, 1);
        o[2] = weight(kind + 2, s.block_, 0, 0, 1);
        o[3] = one(s, Field(uint256(x) - 1), 0, 1);
        o[4] = biased ? weight(kind + 3, s.block_, 0, n, 1) : constant_(0);
        return (Operation.Project, o);
    }

    /// @dev The block's incoming row at the spot's column: the block before's output, or the span's first row.
    function incoming(TraceLayout.Place memory place, Spot memory s) internal pure returns (Operand memory) {
        if (s.block_ == place.start) return Operand(Source.Trace, uint256(Field.Row), 0, 0, s.column, 1, 0, 0);
        return Operand(Source.Trace, uint256(Field.Output), s.block_ - 1, 0, s.column, 1, 0, 0);
    }

    /// @dev Whose the tensors of a spot's norm are.
    function home(Spot memory s) internal pure returns (uint256) {
        return s.field >= Field.FinalLargest ? SHARED : s.block_;
    }

    function one(Spot memory s, Field field, uint256 row, uint256 column) internal pure returns (Operand memory) {
        return Operand(Source.Trace, uint256(field), s.block_, row, column, 1, 0, 0);
    }

    function weight(uint256 kind, uint256 block_, uint256 row, uint256 start, uint256 count)
        internal
        pure
        returns (Operand memory)
    {
        return Operand(Source.Weights, kind, block_, row, start, count, 0, 0);
    }

    function constant_(uint256 value) internal pure returns (Operand memory) {
        return Operand(Source.Constant, 0, 0, 0, value, 1, 0, 0);
    }

    /// @dev The preceding prefix value, 0 where there is none.
    function previous(Spot memory s) internal pure returns (Operand memory) {
        return s.column == 0 ? constant_(0) : one(s, s.field, s.row, s.column - 1);
    }

    /// @dev Piece k of the row that an operand lies in.
    function piece(Operand memory source, uint256 k, uint256 width) internal pure returns (Operand memory) {
        uint256 start = k * PIECE;
        uint256 count = width - start < PIECE ? width - start : PIECE;
        return Operand(source.source, source.name, source.block_, source.row, start, count, 0, 0);
    }

    function single(Operand memory a) internal pure returns (Operand[] memory o) {
        o = new Operand[](1);
        o[0] = a;
    }

    function two(Operand memory a, Operand memory b) internal pure returns (Operand[] memory o) {
        o = new Operand[](2);
        (o[0], o[1]) = (a, b);
    }

    function three(Operand memory a, Operand memory b, Operand memory c) internal pure returns (Operand[] memory o) {
        o = new Operand[](3);
        (o[0], o[1], o[2]) = (a, b, c);
    }
}
