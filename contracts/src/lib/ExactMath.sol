// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title The exact profile's arithmetic, one element at a time
/// @notice Every formula of sharding/exact/SPEC.md that a dispute can come down to, under the names it has there.
/// @dev Everything is a whole number, far inside 256 bits as long as the inputs keep the ranges that the SPEC gives
/// them. Those ranges are the caller's to check: sums and products of numbers far outside panic, but casts and shifts
/// may wrap. Results that the SPEC bounds are bounded here, by a named error.
library ExactMath {
    /// @notice The formula gives `value` where at most `limit` in magnitude is allowed: no honest trace holds it.
    error IntegerOverflow(int256 value, int256 limit);
    /// @notice A shift that the exact profile does not have.
    error ScaleOutOfRange(int256 shift);

    int256 internal constant MAX_INT32 = (1 << 31) - 1;
    int256 internal constant MAX_ACTIVATION = 32639;
    uint256 internal constant MAX_ACTIVATION_SUM = 1 << 24;
    int256 internal constant HEAD_LIMIT = 4095;
    int256 internal constant ROTATED_LIMIT = (1 << 28) - 1;
    /// @dev From this shift on a product of a projection or an embedding is zero.
    uint256 private constant NO_BITS_LEFT = 63;

    // 1. Conventions

    /// @dev a / 2^s to the nearest integer, halves upwards. |a| < 2^254, s <= 254.
    function rsh(int256 a, uint256 s) internal pure returns (int256) {
        if (s > 254) revert ScaleOutOfRange(int256(s));
        return s == 0 ? a : (a + int256(1 << (s - 1))) >> s;
    }

    /// @dev The length of a in binary; 0 for 0.
    function bits(uint256 a) internal pure returns (uint256 length) {
        for (uint256 step = 128; step != 0; step >>= 1) {
            if (a >> step != 0) {
                length += step;
                a >>= step;
            }
        }
        return length + a; // what is left is 0 or 1
    }

    /// @dev Whether r = isqrt(a), for a < 2^254.
    function isRoot(uint256 a, uint256 r) internal pure returns (bool) {
        return r < 1 << 127 && r * r <= a && a < (r + 1) * (r + 1);
    }

    /// @dev Whether q = floor(a / b).
    function isQuotient(uint256 a, uint256 b, uint256 q) internal pure returns (bool) {
        return b != 0 && a / b == q;
    }

    /// @dev Returns value, an int32 whose magnitude has 31 bits.
    function int32Of(int256 value) internal pure returns (int256) {
        return bounded(value, MAX_INT32);
    }

    /// @dev Whether s is PACK's shift, the smallest one with both bounds kept, for the largest magnitude m and the sum of
    /// magnitudes, both below 2^128, of a vector of at most 2^20 numbers.
    function isPackShift(uint256 m, uint256 sum, uint256 length, uint256 s) internal pure returns (bool) {
        return packs(m, sum, length, s) && (s == 0 || !packs(m, sum, length, s - 1));
    }

    /// @dev PACK's x, of |x| <= 32639 where s is the shift for t's vector.
    function packElement(int256 t, uint256 s) internal pure returns (int256) {
        return bounded(rsh(t, s), MAX_ACTIVATION);
    }

    /// @dev x = 256 hi + lo, both in [-128, 127].
    function halves(int256 x) internal pure returns (int256 hi, int256 lo) {
        bounded(x, MAX_ACTIVATION);
        lo = int8(x);
        hi = (x - lo) >> 8;
    }

    /// @dev P(y mod 2^16), in [32767, 65534].
    function exp2(uint256 y) internal pure returns (uint256) {
        uint256 a = y & 0xffff;
        uint256 t = (a * 454) >> 16;
        t = (a * (3494 - t)) >> 16;
        t = (a * (15687 - t)) >> 16;
        return 65534 - ((a * (45414 - t)) >> 16);
    }

    // 2. A block

    /// @dev NORM's e, for the largest magnitude of a row.
    function normExponent(uint256 m) internal pure returns (uint256) {
        uint256 length = bits(m);
        return length > 22 ? length - 22 : 0;
    }

    /// @dev NORM's W, of the sum of u_j^2 and the epsilon term. Below 2^61 for a row of the SPEC.
    function normSquare(uint256 sum, uint256 epsilon, uint256 e) internal pure returns (uint256) {
        uint256 w = sum + (epsilon >> (2 * e));
        return w == 0 ? 1 : w;
    }

    /// @dev NORM's z, for 1 <= W < 2^62.
    function normShift(uint256 w) internal pure returns (uint256) {
        return (62 - bits(w)) >> 1;
    }

    /// @dev Whether D and I are NORM's for W and H; widthRoot = isqrt(H 2^44) travels with them. H <= 2^16.
    function isNorm(uint256 w, uint256 width, uint256 widthRoot, uint256 root, uint256 inverse)
        internal
        pure
        returns (bool)
    {
        return isRoot(w << (2 * normShift(w)), root) && isRoot(width << 44, widthRoot)
            && isQuotient(widthRoot << 30, root, inverse);
    }

    /// @dev NORM's n_j in Q20: u_j = rsh(r_j, e), times I.
    function normElement(int256 u, uint256 inverse, uint256 z) internal pure returns (int256) {
        return rsh(u * int256(inverse), 32 - z);
    }

    /// @dev HEADNORM's y_j in Q16, from NORM's n_j.
    function headNormElement(int256 n, int256 gain, uint256 c) internal pure returns (int256) {
        return int32Of(headNormValue(n, gain, c));
    }

    /// @dev The same before its bound.
    function headNormValue(int256 n, int256 gain, uint256 c) internal pure returns (int256) {
        return rsh(n * gain, 4 + c);
    }

    /// @dev PROJECT's p = S + f - 16.
    function projectShift(uint256 shift, int256 fraction) internal pure returns (uint256) {
        int256 p = int256(shift) + fraction - 16;
        if (p < 0) revert ScaleOutOfRange(p);
        return uint256(p);
    }

    /// @dev PROJECT's y_n in Q16. |acc| < 2^31, scale an int32; bias is 0 where there is none.
    function projectElement(int256 acc, int256 scale, uint256 p, int256 bias) internal pure returns (int256) {
        return int32Of(projectValue(acc, scale, p, bias));
    }

    /// @dev The same before its bound.
    function projectValue(int256 acc, int256 scale, uint256 p, int256 bias) internal pure returns (int256) {
        return (p < NO_BITS_LEFT ? rsh(acc * scale, p) : int256(0)) + bias;
    }

    /// @dev ROTATE's pair for Q14 cosine and sine. It may leave int32; COMPRESS bounds it.
    function rotate(int256 a, int256 b, int256 cosine, int256 sine) internal pure returns (int256, int256) {
        return (rsh(a * cosine - b * sine, 14), rsh(b * cosine + a * sine, 14));
    }

    /// @dev COMPRESS's e, at most 16, for the largest magnitude of a head.
    function compressExponent(uint256 m) internal pure returns (uint256) {
        bounded(int256(m), ROTATED_LIMIT);
        uint256 length = bits(m);
        return length > 12 ? length - 12 : 0;
    }

    /// @dev COMPRESS's h_j in [-4095, 4095].
    function compressElement(int256 y, uint256 e) internal pure returns (int256) {
        int256 h = rsh(y, e);
        return h > HEAD_LIMIT ? HEAD_LIMIT : h < -HEAD_LIMIT ? -HEAD_LIMIT : h;
    }

    /// @dev ATTEND's z_t in Q16, from the whole dot_t and c_d; both exponents are at most 16.
    function score(int256 dot, int256 constant_, uint256 queryExponent, uint256 keyExponent)
        internal
        pure
        returns (int256)
    {
        return rsh(dot * constant_, 36 - queryExponent - keyExponent);
    }

    /// @dev One step of a running maximum.
    function max(int256 a, int256 b) internal pure returns (int256) {
        return a < b ? b : a;
    }

    /// @dev ATTEND's p_t in [0, 32767], for z_t and the largest z.
    function attentionWeight(int256 highest, int256 z) internal pure returns (uint256) {
        uint256 y = capped(highest - z, 1 << 20);
        uint256 i = y >> 16;
        return (exp2(y) + (1 << i)) >> (i + 1);
    }

    /// @dev The factor of vh_tj in ATTEND's num_j: rsh(p_t, E - ve_t).
    function loweredWeight(uint256 p, uint256 highestExponent, uint256 exponent) internal pure returns (int256) {
        return rsh(int256(p), highestExponent - exponent);
    }

    /// @dev Whether R is ATTEND's for L, the sum of the weights; 0 < L < 2^32.
    function isReciprocal(uint256 total, uint256 reciprocal) internal pure returns (bool) {
        return isQuotient(1 << (16 + bits(total)), total, reciprocal);
    }

    /// @dev ATTEND's o_j in Q16. 2^14 < L < 2^32, E <= 16.
    function mixElement(int256 num, uint256 total, uint256 reciprocal, uint256 highestExponent)
        internal
        pure
        returns (int256)
    {
        return rsh(num * int256(reciprocal), 16 + bits(total) - highestExponent);
    }

    /// @dev GATE's h in Q16, for int32 g and u.
    function gateElement(int256 g, int256 u) internal pure returns (int256) {
        return int32Of(gateValue(g, u));
    }

    /// @dev The same before its bound.
    function gateValue(int256 g, int256 u) internal pure returns (int256) {
        uint256 a = capped(g < 0 ? -g : g, 1 << 20);
        uint256 y = (((a + 2) >> 2) * 11819) >> 11;
        uint256 e = uint256(rsh(int256(exp2(y)), y >> 16));
        uint256 s = (1 << 32) / (65536 + e);
        if (g < 0) s = 65536 - s;
        return rsh(rsh(g * int256(s), 16) * u, 16);
    }

    /// @dev A residual sum.
    function add(int256 r, int256 y) internal pure returns (int256) {
        return int32Of(r + y);
    }

    // 3. The ends of the model

    /// @dev Embedding: r_j = rsh(w C M, s).
    function embedElement(int256 weight, int256 column, int256 scale, uint256 s) internal pure returns (int256) {
        return int32Of(embedValue(weight, column, scale, s));
    }

    /// @dev The same before its bound.
    function embedValue(int256 weight, int256 column, int256 scale, uint256 s) internal pure returns (int256) {
        return s < NO_BITS_LEFT ? rsh(weight * column * scale, s) : int256(0);
    }

    // 6. Choosing a token

    /// @dev Whether candidate a comes before candidate b: the larger value first, the lower id among equals.
    function precedes(int256 value, uint256 id, int256 otherValue, uint256 otherId) internal pure returns (bool) {
        return value > otherValue || (value == otherValue && id < otherId);
    }

    /// @dev A candidate's weight for top-p. tau >= 1, logits int32.
    function nucleusWeight(int256 highest, int256 logit, uint256 tau) internal pure returns (uint256) {
        uint256 delta = capped(highest - logit, 1 << 28);
        uint256 y = capped(int256((delta * ((94548 << 16) / tau)) >> 16), 40 << 16);
        return (exp2(y) << 14) >> (y >> 16);
    }

    /// @dev What the kept candidates' weights have to reach together: ceil(pi W / 65536).
    function nucleusQuota(uint256 pi, uint256 total) internal pure returns (uint256) {
        return (pi * total + 65535) >> 16;
    }

    /// @dev The noise's k for a session's seed and a token's position.
    function noiseKey(uint64 seed, uint64 position) internal pure returns (uint64) {
        return uint64(bytes8(keccak256(abi.encodePacked("tallystick gumbel 1", seed, position))));
    }

    /// @dev The place of token id's noise in the Gumbel table, below 16384.
    function noiseIndex(uint64 key, uint256 id) internal pure returns (uint256) {
        uint256 u = mix64(key, id);
        uint256 b = u >> 63;
        uint256 v = b == 0 ? u : type(uint64).max - u;
        uint256 c = 63 - bits(v);
        return c < 31 ? 8192 * b + 256 * c + ((v >> (54 - c)) & 255) : 8192 * b + 256 * 31;
    }

    /// @dev What the chosen token has most of. The logit an int32, noise of the Gumbel table.
    function sampleScore(int256 logit, uint256 tau, int256 noise) internal pure returns (int256) {
        return (logit << 16) + int256(tau) * noise;
    }

    function mix64(uint64 key, uint256 id) private pure returns (uint256) {
        unchecked {
            uint64 z = key + uint64(id + 1) * 0x9E3779B97F4A7C15;
            z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
            z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
            return z ^ (z >> 31);
        }
    }

    function packs(uint256 m, uint256 sum, uint256 length, uint256 s) private pure returns (bool) {
        return rsh(int256(m), s) <= MAX_ACTIVATION && (sum >> s) + length <= MAX_ACTIVATION_SUM;
    }

    function bounded(int256 value, int256 limit) private pure returns (int256) {
        if (value > limit || value < -limit) revert IntegerOverflow(value, limit);
        return value;
    }

    function capped(int256 value, uint256 limit) private pure returns (uint256) {
        return uint256(value) < limit ? uint256(value) : limit;
    }
}
