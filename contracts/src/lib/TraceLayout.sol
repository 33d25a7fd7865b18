// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Parameters} from "./Parameters.sol";

/// @dev The fields of a trace in their order, docs/TRACE.md section 3: those before the blocks, a block's, those behind.
enum Field {
    Token,
    Row,
    AttentionLargest,
    AttentionSquares,
    AttentionRoot,
    AttentionScaled,
    AttentionTop,
    AttentionTotal,
    AttentionShift,
    AttentionX,
    QkvSums,
    QkvY,
    HeadNormLargest,
    HeadNormSquares,
    HeadNormRoot,
    HeadNormY,
    Rotated,
    HeadsLargest,
    HeadsExponent,
    Heads,
    Keys,
    KeysExponent,
    Values,
    ValuesExponent,
    Dots,
    Scores,
    ScoresHighest,
    Weights,
    WeightsTotal,
    ValuesHighest,
    Reciprocals,
    Lowered,
    Sums,
    Mixed,
    OTop,
    OTotal,
    OShift,
    OX,
    OSums,
    OY,
    Middle,
    MlpLargest,
    MlpSquares,
    MlpRoot,
    MlpScaled,
    MlpTop,
    MlpTotal,
    MlpShift,
    MlpX,
    GateUpSums,
    GateUpY,
    Gated,
    DownTop,
    DownTotal,
    DownShift,
    DownX,
    DownSums,
    DownY,
    Output,
    FinalLargest,
    FinalSquares,
    FinalRoot,
    FinalScaled,
    FinalTop,
    FinalTotal,
    FinalShift,
    FinalX,
    HeadSums,
    HeadY,
    Order,
    Shares,
    SharesTotal,
    Kept,
    Cells,
    Perturbed,
    Best,
    Chosen
}

/// @title Where the leaves of a trace are
/// @notice A function of the model's numbers, the span, the position and the draw: nothing that was computed.
/// @dev Parameters have passed Models, the span lies within the model: nothing here overflows or divides by
/// zero. Every number stays below 2^64, so that all of it is unchecked.
library TraceLayout {
    /// @dev Which trace. asked: whether the token that follows is asked for; tau, pi, topK, seed: how it is drawn.
    struct Place {
        uint256 start;
        uint256 end;
        uint256 position;
        bool asked;
        uint256 tau;
        uint256 pi;
        uint256 topK;
        uint256 seed;
    }

    uint256 private constant ONE = 1 << 16;
    uint256 private constant NORM_FIELDS = 8;
    uint256 private constant PACK_FIELDS = 4;

    /// @dev How many positions the query sees, and the first of them.
    function visible(Parameters memory p, uint256 position) internal pure returns (uint256 count, uint256 from) {
        unchecked {
            count = p.window == 0 || position < p.window ? position + 1 : p.window;
            return (count, position + 1 - count);
        }
    }

    /// @dev The number of leaves.
    function leaves(Parameters memory p, Place memory place) internal pure returns (uint256) {
        bool chosen = place.end == p.blocks && place.asked;
        return chosen ? first(p, place, place.end, Field.Chosen) + 1 : ends(p, place);
    }

    /// @dev The index of the first leaf of a field that the trace has. block_: of a block's field, else any.
    function first(Parameters memory p, Place memory place, uint256 block_, Field field)
        internal
        pure
        returns (uint256)
    {
        unchecked {
            if (field == Field.Token) return 0;
            uint256 index = place.start == 0 ? 1 : 0;
            if (field == Field.Row) return index;
            if (field >= Field.FinalLargest) return ends(p, place) + behind(p, place, uint256(field));
            index += pieces(p.hidden);
            if (block_ > place.start) index += (block_ - place.start) * blockLeaves(p, place);
            return index + inBlock(p, place, field);
        }
    }

    /// @dev Where the last block's leaves end.
    function ends(Parameters memory p, Place memory place) private pure returns (uint256) {
        unchecked {
            uint256 index = (place.start == 0 ? 1 : 0) + pieces(p.hidden);
            uint256 blocks = place.end - place.start;
            if (place.end != p.blocks || place.asked) return index + blocks * blockLeaves(p, place);
            // in the model's last block nobody asks for more than keys and values
            if (blocks > 1) index += (blocks - 1) * blockLeaves(p, place);
            return index + inBlock(p, place, Field.Keys);
        }
    }

    function blockLeaves(Parameters memory p, Place memory place) private pure returns (uint256) {
        unchecked {
            return inBlock(p, place, Field.Output) + pieces(p.hidden);
        }
    }

    /// @dev The leaves of a block before a field's.
    function inBlock(Parameters memory p, Place memory place, Field field) private pure returns (uint256 index) {
        unchecked {
            uint256 hidden = p.hidden;
            if (field < Field.QkvSums) return norm(hidden, uint256(field) - uint256(Field.AttentionLargest));
            index = norm(hidden, NORM_FIELDS) + heads(p, field < Field.Keys ? field : Field.Keys);
            if (field <= Field.Keys) return index;
            index += attention(p, place, field < Field.OTop ? field : Field.OTop);
            if (field <= Field.OTop) return index;
            uint256 width = uint256(p.heads) * p.headDim;
            if (field < Field.OSums) return index + pack(width, uint256(field) - uint256(Field.OTop));
            index += pack(width, PACK_FIELDS);
            if (field == Field.OSums) return index;
            index += hidden * pieces(pieces(width));
            if (field <= Field.Middle) return index + (uint256(field) - uint256(Field.OY)) * pieces(hidden);
            index += 2 * pieces(hidden);
            if (field < Field.GateUpSums) return index + norm(hidden, uint256(field) - uint256(Field.MlpLargest));
            return index + norm(hidden, NORM_FIELDS) + feedForward(p, field);
        }
    }

    /// @dev From qkv.sums on, up to keys.
    function heads(Parameters memory p, Field field) private pure returns (uint256 index) {
        unchecked {
            uint256 turned = uint256(p.heads) + p.kvHeads;
            uint256 all = turned + p.kvHeads;
            uint256 parts = pieces(p.headDim); // at most 8: a head's prefix values are one leaf
            if (field == Field.QkvSums) return 0;
            index = all * p.headDim * pieces(pieces(p.hidden));
            if (field == Field.QkvY) return index;
            index += all * parts;
            if (p.flags & 1 != 0) {
                if (field < Field.Rotated) return index + turned * (uint256(field) - uint256(Field.HeadNormLargest));
                index += turned * (3 + parts);
            }
            if (field == Field.Rotated) return index;
            index += turned * parts;
            if (field <= Field.Heads) return index + all * (uint256(field) - uint256(Field.HeadsLargest));
            return index + all * (2 + parts);
        }
    }

    /// @dev From keys on, up to o.top.
    function attention(Parameters memory p, Place memory place, Field field) private pure returns (uint256 index) {
        unchecked {
            (uint256 seen,) = visible(p, place.position);
            uint256 queries = p.heads;
            uint256 kv = p.kvHeads;
            uint256 parts = pieces(p.headDim);
            uint256 long = pieces(seen);
            uint256 short = pieces(long);
            uint256[14] memory sizes = [
                kv * seen * parts,
                kv * long,
                kv * p.headDim * long,
                kv * long,
                queries * parts * long,
                queries * long,
                queries * short,
                queries * long,
                queries * short,
                kv * short,
                queries,
                queries * long,
                queries * p.headDim * short,
                pieces(queries * p.headDim)
            ];
            uint256 count = uint256(field) - uint256(Field.Keys);
            for (uint256 k = 0; k < count; ++k) {
                index += sizes[k];
            }
        }
    }

    /// @dev From gate_up.sums on.
    function feedForward(Parameters memory p, Field field) private pure returns (uint256 index) {
        unchecked {
            uint256 wide = p.intermediate;
            if (field == Field.GateUpSums) return 0;
            index = 2 * wide * pieces(pieces(p.hidden));
            if (field == Field.GateUpY) return index;
            index += 2 * pieces(wide);
            if (field == Field.Gated) return index;
            index += pieces(wide);
            if (field < Field.DownSums) return index + pack(wide, uint256(field) - uint256(Field.DownTop));
            index += pack(wide, PACK_FIELDS);
            if (field == Field.DownSums) return index;
            index += p.hidden * pieces(pieces(wide));
            return index + (uint256(field) - uint256(Field.DownY)) * pieces(p.hidden);
        }
    }

    /// @dev The leaves behind the last block before a field's. Fields that the draw does not need have none.
    function behind(Parameters memory p, Place memory place, uint256 field) private pure returns (uint256 index) {
        unchecked {
            if (field < uint256(Field.HeadSums)) return norm(p.hidden, field - uint256(Field.FinalLargest));
            uint256 all = pieces(p.vocabulary);
            bool cuts = place.topK != 0 && place.topK < p.vocabulary;
            uint256 kept = pieces(cuts ? place.topK : p.vocabulary);
            bool drawn = place.tau != 0;
            bool shared = drawn && place.pi < ONE;
            uint256[9] memory sizes = [
                p.vocabulary * pieces(pieces(p.hidden)),
                all,
                drawn ? all : 0,
                shared ? kept : 0,
                shared ? pieces(kept) : 0,
                shared ? pieces(kept) : 0,
                drawn ? kept : 0,
                drawn ? kept : 0,
                pieces(drawn ? kept : all)
            ];
            index = norm(p.hidden, NORM_FIELDS);
            uint256 count = field - uint256(Field.HeadSums);
            for (uint256 k = 0; k < count; ++k) {
                index += sizes[k];
            }
        }
    }

    /// @dev The leaves of NORM's fields before number k, all of them for 8.
    function norm(uint256 width, uint256 k) private pure returns (uint256) {
        unchecked {
            uint256 prefixes = pieces(pieces(width));
            if (k < 3) return k * prefixes;
            uint256 root = 2 * prefixes + 1;
            return k == 3 ? root : root + pieces(width) + pack(width, k - 4);
        }
    }

    /// @dev The leaves of PACK's fields before number k, all of them for 4.
    function pack(uint256 width, uint256 k) private pure returns (uint256) {
        unchecked {
            uint256 prefixes = pieces(pieces(width));
            if (k < 3) return k * prefixes;
            return 2 * prefixes + 1 + (k == 4 ? pieces(width) : 0);
        }
    }

    function pieces(uint256 width) internal pure returns (uint256) {
        unchecked {
            return (width + 127) >> 7;
        }
    }
}
