// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ExactMath} from "./ExactMath.sol";
import {Claim, Kind} from "./Operations.sol";

/// @title What the exact profile gives for one element, from numbers that may be anything
/// @dev Operands are a stranger's int64 at most, or the manifest's. Nothing reverts for them: what lies outside of
/// sharding/exact/SPEC.md gives Kind.Nothing, and a value past its bound is the Abort that the profile knows.
library Formulas {
    uint256 private constant MAX_SQUARE = 1 << 62;
    int256 private constant MAX_TOTAL = 1 << 32;
    int256 private constant MAX_HEAD_EXPONENT = 16;
    int256 private constant MAX_PACK_SHIFT = 64;
    int256 private constant MAX_GAIN_SHIFT = 40;
    int256 private constant MAX_SHIFT = 80;

    function number(int256 value) internal pure returns (Claim memory) {
        return Claim(Kind.Number, value);
    }

    function nothing() internal pure returns (Claim memory) {
        return Claim(Kind.Nothing, 0);
    }

    function bounded(int256 value) internal pure returns (Claim memory) {
        bool fits = value <= ExactMath.MAX_INT32 && value >= -ExactMath.MAX_INT32;
        return fits ? number(value) : Claim(Kind.IntegerOverflow, 0);
    }

    /// @dev W.
    function normSquare(int256 sum, int256 epsilon, int256 largest) internal pure returns (Claim memory) {
        if (sum < 0 || largest < 0) return nothing();
        uint256 e = ExactMath.normExponent(uint256(largest));
        return number(int256(ExactMath.normSquare(uint256(sum), uint256(epsilon), e)));
    }

    function isNormWidth(int256 width, int256 claimed) internal pure returns (bool) {
        return claimed >= 0 && ExactMath.isRoot(uint256(width) << 44, uint256(claimed));
    }

    function isNormRoot(int256 square, int256 claimed) internal pure returns (bool) {
        if (!isSquare(square) || claimed < 0) return false;
        return ExactMath.isRoot(uint256(square) << (2 * ExactMath.normShift(uint256(square))), uint256(claimed));
    }

    function isNormInverse(int256 widthRoot, int256 root, int256 claimed) internal pure returns (bool) {
        if (widthRoot < 0 || root <= 0 || claimed < 0) return false;
        return ExactMath.isQuotient(uint256(widthRoot) << 30, uint256(root), uint256(claimed));
    }

    /// @dev t_j.
    function norm(int256 r, int256 largest, int256 square, int256 inverse, int256 gain)
        internal
        pure
        returns (Claim memory)
    {
        if (largest < 0 || !isSquare(square)) return nothing();
        return number(normalised(r, largest, square, inverse) * gain);
    }

    function headNorm(int256 y, int256 largest, int256 square, int256 inverse, int256 gain, int256 shift)
        internal
        pure
        returns (Claim memory)
    {
        if (largest < 0 || !isSquare(square) || !within(shift, MAX_GAIN_SHIFT)) return nothing();
        return bounded(ExactMath.headNormValue(normalised(y, largest, square, inverse), gain, uint256(shift)));
    }

    function isPackShift(int256 largest, int256 total, int256 length, int256 claimed) internal pure returns (bool) {
        if (largest < 0 || total < 0 || !within(claimed, MAX_PACK_SHIFT)) return false;
        return ExactMath.isPackShift(uint256(largest), uint256(total), uint256(length), uint256(claimed));
    }

    function pack(int256 t, int256 s) internal pure returns (Claim memory) {
        return within(s, MAX_PACK_SHIFT) ? number(ExactMath.rsh(t, uint256(s))) : nothing();
    }

    function project(int256 acc, int256 scale, int256 shift, int256 fraction, int256 bias)
        internal
        pure
        returns (Claim memory)
    {
        int256 p = shift + fraction - 16;
        if (p < 0) return Claim(Kind.ScaleOutOfRange, 0);
        return bounded(ExactMath.projectValue(acc, scale, uint256(p), bias));
    }

    function rotateFirst(int256 a, int256 b, int256 cosine, int256 sine) internal pure returns (Claim memory) {
        (int256 first,) = ExactMath.rotate(a, b, cosine, sine);
        return number(first);
    }

    function rotateSecond(int256 a, int256 b, int256 cosine, int256 sine) internal pure returns (Claim memory) {
        (, int256 second) = ExactMath.rotate(a, b, cosine, sine);
        return number(second);
    }

    function headExponent(int256 largest) internal pure returns (Claim memory) {
        if (largest < 0) return nothing();
        if (largest > ExactMath.ROTATED_LIMIT) return Claim(Kind.IntegerOverflow, 0);
        return number(int256(ExactMath.compressExponent(uint256(largest))));
    }

    function compress(int256 y, int256 e) internal pure returns (Claim memory) {
        return isExponent(e) ? number(ExactMath.compressElement(y, uint256(e))) : nothing();
    }

    function score(int256 dot, int256 constant_, int256 query, int256 key) internal pure returns (Claim memory) {
        if (!isExponent(query) || !isExponent(key)) return nothing();
        return number(ExactMath.score(dot, constant_, uint256(query), uint256(key)));
    }

    function attentionWeight(int256 highest, int256 z) internal pure returns (Claim memory) {
        return highest < z ? nothing() : number(int256(ExactMath.attentionWeight(highest, z)));
    }

    function isReciprocal(int256 total, int256 claimed) internal pure returns (bool) {
        return isTotal(total) && claimed >= 0 && ExactMath.isReciprocal(uint256(total), uint256(claimed));
    }

    function loweredWeight(int256 p, int256 highest, int256 exponent) internal pure returns (Claim memory) {
        return isExponent(highest - exponent) ? number(ExactMath.rsh(p, uint256(highest - exponent))) : nothing();
    }

    function mix(int256 numerator, int256 total, int256 reciprocal, int256 highest)
        internal
        pure
        returns (Claim memory)
    {
        if (!isTotal(total) || !isExponent(highest)) return nothing();
        return number(ExactMath.rsh(numerator * reciprocal, 16 + ExactMath.bits(uint256(total)) - uint256(highest)));
    }

    function gate(int256 g, int256 u) internal pure returns (Claim memory) {
        return bounded(ExactMath.gateValue(g, u));
    }

    function add(int256 r, int256 y) internal pure returns (Claim memory) {
        return bounded(r + y);
    }

    function embed(int256 weight, int256 column, int256 scale, int256 s) internal pure returns (Claim memory) {
        return within(s, MAX_SHIFT) ? bounded(ExactMath.embedValue(weight, column, scale, uint256(s))) : nothing();
    }

    function normalised(int256 r, int256 largest, int256 square, int256 inverse) private pure returns (int256) {
        int256 u = ExactMath.rsh(r, ExactMath.normExponent(uint256(largest)));
        return ExactMath.rsh(u * inverse, 32 - ExactMath.normShift(uint256(square)));
    }

    function isSquare(int256 square) private pure returns (bool) {
        return square > 0 && uint256(square) < MAX_SQUARE;
    }

    function isTotal(int256 total) private pure returns (bool) {
        return total > 0 && total < MAX_TOTAL;
    }

    function isExponent(int256 e) private pure returns (bool) {
        return within(e, MAX_HEAD_EXPONENT);
    }

    function within(int256 value, int256 limit) private pure returns (bool) {
        return value >= 0 && value <= limit;
    }
}
