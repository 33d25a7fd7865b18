// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title 128 products of the exact profile at once
/// @notice Prefix values of every sum in sharding/exact/SPEC.md are 128 products apart: no dispute needs more.
/// @dev Numbers lie as in a tensor, in order and little-endian; a shorter piece ends in zeros. Four products in one
/// multiplication of words, and nothing in loops: about 4,000 gas, where one number after the other takes 48,000.
library ExactDot {
    // Lanes of 16 bits: the last of each four, the sign bits, and masks for moving neighbours.
    uint256 private constant EVERY_FOURTH = 0x000000000000ffff000000000000ffff000000000000ffff000000000000ffff;
    uint256 private constant EVERY_FOURTH_SIGN = 0x0000000000008000000000000000800000000000000080000000000000008000;
    uint256 private constant SIGNS = 0x8000800080008000800080008000800080008000800080008000800080008000;
    uint256 private constant BYTES = 0x00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff;
    uint256 private constant PAIRS = 0x0000ffff0000ffff0000ffff0000ffff0000ffff0000ffff0000ffff0000ffff;
    uint256 private constant FOURS = 0x00000000ffffffff00000000ffffffff00000000ffffffff00000000ffffffff;
    uint256 private constant EIGHTS = 0x0000000000000000ffffffffffffffff0000000000000000ffffffffffffffff;
    uint256 private constant BYTE_SIGNS = 0x80808080808080808080808080808080;
    uint256 private constant BYTE_TO_LANE = 0x7f807f807f807f807f807f807f807f807f807f807f807f807f807f807f807f80;

    /// @dev sum w_k x_k of 128 int8 weights and 128 int16 activations, any of them: at most 2^29 in magnitude.
    function dotWeights(uint256[4] memory weights, uint256[8] memory x) internal pure returns (int256) {
        uint256 sum;
        sum = accumulate(sum, widened(weights[0] >> 128), turned(x[0]));
        sum = accumulate(sum, widened(weights[0] & type(uint128).max), turned(x[1]));
        sum = accumulate(sum, widened(weights[1] >> 128), turned(x[2]));
        sum = accumulate(sum, widened(weights[1] & type(uint128).max), turned(x[3]));
        sum = accumulate(sum, widened(weights[2] >> 128), turned(x[4]));
        sum = accumulate(sum, widened(weights[2] & type(uint128).max), turned(x[5]));
        sum = accumulate(sum, widened(weights[3] >> 128), turned(x[6]));
        sum = accumulate(sum, widened(weights[3] & type(uint128).max), turned(x[7]));
        return topLane(sum);
    }

    /// @dev sum a_k b_k of 128 int16 each, any of them: at most 2^37 in magnitude. For keys and for values.
    function dotHeads(uint256[8] memory a, uint256[8] memory b) internal pure returns (int256) {
        uint256 sum;
        sum = accumulate(sum, swapped(a[0]) ^ SIGNS, turned(b[0]));
        sum = accumulate(sum, swapped(a[1]) ^ SIGNS, turned(b[1]));
        sum = accumulate(sum, swapped(a[2]) ^ SIGNS, turned(b[2]));
        sum = accumulate(sum, swapped(a[3]) ^ SIGNS, turned(b[3]));
        sum = accumulate(sum, swapped(a[4]) ^ SIGNS, turned(b[4]));
        sum = accumulate(sum, swapped(a[5]) ^ SIGNS, turned(b[5]));
        sum = accumulate(sum, swapped(a[6]) ^ SIGNS, turned(b[6]));
        sum = accumulate(sum, swapped(a[7]) ^ SIGNS, turned(b[7]));
        return topLane(sum);
    }

    /// @dev Adds the products of sixteen lanes, each 2^15 above its number, the fours of b in reverse order. Every
    /// fourth lane, less its 2^15, is a polynomial of four signed coefficients in 2^64; in the product of two such
    /// polynomials modulo 2^256 the top coefficient is the sum of the four products that belong together.
    function accumulate(uint256 sum, uint256 a, uint256 b) private pure returns (uint256) {
        unchecked {
            sum += ((a & EVERY_FOURTH) - EVERY_FOURTH_SIGN) * ((b & EVERY_FOURTH) - EVERY_FOURTH_SIGN);
            sum += (((a >> 16) & EVERY_FOURTH) - EVERY_FOURTH_SIGN) * (((b >> 16) & EVERY_FOURTH) - EVERY_FOURTH_SIGN);
            sum += (((a >> 32) & EVERY_FOURTH) - EVERY_FOURTH_SIGN) * (((b >> 32) & EVERY_FOURTH) - EVERY_FOURTH_SIGN);
            sum += (((a >> 48) & EVERY_FOURTH) - EVERY_FOURTH_SIGN) * (((b >> 48) & EVERY_FOURTH) - EVERY_FOURTH_SIGN);
            return sum;
        }
    }

    /// @dev The top coefficient: what lies below is less than half of 2^192 in magnitude, and may be negative.
    function topLane(uint256 sum) private pure returns (int256) {
        unchecked {
            return int256(sum + (1 << 191)) >> 192;
        }
    }

    /// @dev Sixteen little-endian numbers as lanes 2^15 above them, the four 64-bit parts in reverse order.
    function turned(uint256 word) private pure returns (uint256) {
        uint256 t = swapped(word) ^ SIGNS;
        t = (t >> 128) | (t << 128);
        return ((t >> 64) & EIGHTS) | ((t & EIGHTS) << 64);
    }

    function swapped(uint256 word) private pure returns (uint256) {
        return ((word >> 8) & BYTES) | ((word & BYTES) << 8);
    }

    /// @dev Sixteen int8 in the low half as lanes 2^15 above them.
    function widened(uint256 word) private pure returns (uint256) {
        uint256 t = word ^ BYTE_SIGNS;
        t = (t | (t << 64)) & EIGHTS;
        t = (t | (t << 32)) & FOURS;
        t = (t | (t << 16)) & PAIRS;
        t = (t | (t << 8)) & BYTES;
        unchecked {
            return t + BYTE_TO_LANE;
        }
    }
}
