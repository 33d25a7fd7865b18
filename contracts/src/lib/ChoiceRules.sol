// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Operand, Source, Spot} from "./Operands.sol";
import {Operation} from "./Operations.sol";
import {Parameters} from "./Parameters.sol";
import {Field, TraceLayout} from "./TraceLayout.sol";
import {TraceRules} from "./TraceRules.sol";

/// @title Operations and operands of the logits and of what chooses a token from them
/// @notice As verification/trace/choice_operands.py says it.
library ChoiceRules {
    uint256 private constant PIECE = 128;
    uint256 private constant ONE = 1 << 16;
    uint256 private constant HEAD = 31;

    function rule(Parameters memory p, TraceLayout.Place memory place, Spot memory s)
        internal
        pure
        returns (Operation, Operand[] memory)
    {
        Field f = s.field;
        if (f <= Field.HeadY) return logits(p, s);
        if (f == Field.Order) return order(p, place, s);
        if (f == Field.Shares) {
            Operand memory tau = TraceRules.constant_(place.tau);
            return (Operation.NucleusWeight, TraceRules.three(logit(s, 0), logit(s, s.column), tau));
        }
        if (f == Field.SharesTotal) {
            return (Operation.Sum, TraceRules.two(TraceRules.previous(s), part(s, Field.Shares, candidates(p, place))));
        }
        if (f == Field.Kept) return kept(p, place, s);
        if (f == Field.Cells) {
            Operand memory seed = TraceRules.constant_(place.seed);
            Operand memory position = TraceRules.constant_(place.position + 1);
            Operand memory id = TraceRules.one(s, Field.Order, 0, s.column);
            return (Operation.NoiseCell, TraceRules.three(seed, position, id));
        }
        if (f == Field.Perturbed) {
            Operand memory noise = Operand(Source.Noise, 0, 0, 0, 0, 1, uint256(Field.Cells) + 1, s.column);
            return (Operation.SampleScore, TraceRules.three(logit(s, s.column), TraceRules.constant_(place.tau), noise));
        }
        uint256 last = TraceLayout.pieces(place.tau == 0 ? p.vocabulary : candidates(p, place)) - 1;
        if (f == Field.Best) return best(p, place, s, last);
        if (place.tau == 0) return (Operation.Copy, TraceRules.single(TraceRules.one(s, Field.Best, 0, last)));
        return (Operation.Copy, TraceRules.single(found(s, Field.Order, Field.Best, last)));
    }

    /// @dev Tied models have the embedding's weight and scale, and a shift of their own.
    function logits(Parameters memory p, Spot memory s) private pure returns (Operation, Operand[] memory o) {
        uint256 kind = p.flags & 16 != 0 ? TraceRules.EMBED : HEAD;
        if (s.field == Field.HeadSums) {
            Operand memory x = part(s, Field.FinalX, p.hidden);
            Operand memory w = TraceRules.weight(kind, TraceRules.SHARED, s.row, s.column * PIECE, x.count);
            return (Operation.DotWeights, TraceRules.three(TraceRules.previous(s), w, x));
        }
        o = new Operand[](5);
        o[0] = TraceRules.one(s, Field.HeadSums, s.column, TraceLayout.pieces(p.hidden) - 1);
        o[1] = TraceRules.weight(kind + 1, TraceRules.SHARED, 0, s.column, 1);
        o[2] = TraceRules.weight(HEAD + 2, TraceRules.SHARED, 0, 0, 1);
        o[3] = TraceRules.one(s, Field.FinalShift, 0, 1);
        o[4] = TraceRules.constant_(0);
        return (Operation.Project, o);
    }

    function order(Parameters memory p, TraceLayout.Place memory place, Spot memory s)
        private
        pure
        returns (Operation, Operand[] memory o)
    {
        if (place.topK == 0 && place.pi >= ONE) {
            return (Operation.Copy, TraceRules.single(TraceRules.constant_(s.column)));
        }
        uint256 before = s.column == 0 ? 0 : s.column - 1;
        o = new Operand[](5);
        o[0] = TraceRules.constant_(s.column);
        o[1] = TraceRules.one(s, Field.Order, 0, before);
        o[2] = logit(s, before);
        o[3] = logit(s, s.column);
        o[4] = TraceRules.constant_(p.vocabulary);
        return (Operation.Rank, o);
    }

    function kept(Parameters memory p, TraceLayout.Place memory place, Spot memory s)
        private
        pure
        returns (Operation, Operand[] memory o)
    {
        uint256 count = candidates(p, place);
        o = new Operand[](5);
        o[0] = TraceRules.previous(s);
        o[1] = TraceRules.constant_(place.pi);
        o[2] = TraceRules.one(s, Field.SharesTotal, 0, TraceLayout.pieces(count) - 1);
        o[3] = s.column == 0 ? TraceRules.constant_(0) : TraceRules.one(s, Field.SharesTotal, 0, s.column - 1);
        o[4] = part(s, Field.Shares, count);
        return (Operation.NucleusCount, o);
    }

    function best(Parameters memory p, TraceLayout.Place memory place, Spot memory s, uint256 last)
        private
        pure
        returns (Operation, Operand[] memory o)
    {
        bool drawn = place.tau != 0;
        uint256 width = drawn ? candidates(p, place) : p.vocabulary;
        Field values = drawn ? Field.Perturbed : Field.HeadY;
        bool isFirst = s.column == 0;
        o = new Operand[](drawn ? 7 : 6);
        o[0] = TraceRules.previous(s);
        o[1] = isFirst ? TraceRules.one(s, values, 0, 0) : found(s, values, Field.Best, s.column - 1);
        o[2] = o[0];
        if (drawn) {
            o[2] = isFirst ? TraceRules.one(s, Field.Order, 0, 0) : found(s, Field.Order, Field.Best, s.column - 1);
        }
        o[3] = TraceRules.constant_(s.column * PIECE);
        o[4] = drawn && place.pi < ONE ? TraceRules.one(s, Field.Kept, 0, last) : TraceRules.constant_(width);
        o[5] = part(s, values, width);
        if (drawn) o[6] = part(s, Field.Order, width);
        return (Operation.Best, o);
    }

    function candidates(Parameters memory p, TraceLayout.Place memory place) private pure returns (uint256) {
        return place.topK != 0 && place.topK < p.vocabulary ? place.topK : p.vocabulary;
    }

    /// @dev The spot's piece of a row.
    function part(Spot memory s, Field field, uint256 width) private pure returns (Operand memory) {
        return TraceRules.piece(TraceRules.one(s, field, 0, 0), s.column, width);
    }

    /// @dev The logit of the candidate at that place of the order.
    function logit(Spot memory s, uint256 place) private pure returns (Operand memory) {
        return found(s, Field.HeadY, Field.Order, place);
    }

    /// @dev An element whose place another one names.
    function found(Spot memory s, Field field, Field by, uint256 column) private pure returns (Operand memory) {
        return Operand(Source.Trace, uint256(field), s.block_, 0, 0, 1, uint256(by) + 1, column);
    }
}
