// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title Numbers kept short: leading digits (high), and by how much they are shifted (low 7 bits)
/// @dev Twin in incentives/maturing.py. Both kinds keep the order: what is larger never becomes less than what is smaller.
library Short {
    uint256 private constant FLOOR_DIGITS = 57;
    uint256 private constant CEIL_DIGITS = 16;

    /// @dev 64 bits for `value` or a little less: less than one part in 2^56. Exact below 2^57.
    function floorOf(uint256 value) internal pure returns (uint256) {
        uint256 shift = lengthOf(value >> FLOOR_DIGITS);
        return value >> shift << 7 | shift;
    }

    /// @dev 23 bits for `value` or a little more: less than one part in 2^15. Exact up to 2^16. Below 2^143.
    function ceilOf(uint256 value) internal pure returns (uint256) {
        unchecked {
            uint256 shift = lengthOf(value >> CEIL_DIGITS);
            uint256 digits = value + (1 << shift) - 1 >> shift;
            // All digits were ones, and rounded up to one more.
            return digits >> CEIL_DIGITS == 0 ? digits << 7 | shift : digits >> 1 << 7 | shift + 1;
        }
    }

    function expand(uint256 short) internal pure returns (uint256) {
        return short >> 7 << (short & 127);
    }

    /// @dev How many binary digits a number below 2^128 has, by halves.
    function lengthOf(uint256 value) private pure returns (uint256 length) {
        assembly ("memory-safe") {
            length := shl(6, gt(value, 0xffffffffffffffff))
            length := or(length, shl(5, gt(shr(length, value), 0xffffffff)))
            length := or(length, shl(4, gt(shr(length, value), 0xffff)))
            length := or(length, shl(3, gt(shr(length, value), 0xff)))
            length := or(length, shl(2, gt(shr(length, value), 0xf)))
            length := or(length, shl(1, gt(shr(length, value), 3)))
            length := or(length, gt(shr(length, value), 1))
            length := add(length, gt(value, 0))
        }
    }
}
