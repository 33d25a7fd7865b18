// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title Numbers of a leaf: little-endian, signed, 1, 2, 4 or 8 bytes each
library Elements {
    uint256 internal constant PIECE = 128;

    uint256 private constant BYTES = 0x00ff00ff00ff00ff;
    uint256 private constant PAIRS = 0x0000ffff0000ffff;

    /// @dev Whether the bytes are whole numbers of a size that leaves have, one to 128 of them.
    function isPiece(bytes calldata data, uint256 size) internal pure returns (bool) {
        return (size == 1 || size == 2 || size == 4 || size == 8) && data.length != 0 && data.length % size == 0
            && data.length <= PIECE * size;
    }

    /// @dev Number k. The caller has asked isPiece, and k is below the count.
    function get(bytes calldata data, uint256 size, uint256 k) internal pure returns (int256) {
        bytes calldata part = data[k * size:(k + 1) * size];
        if (size == 2) {
            uint256 two = uint16(bytes2(part));
            return int16(uint16((two >> 8) | (two << 8)));
        }
        if (size == 1) return int8(uint8(bytes1(part)));
        uint256 turned = uint64(bytes8(part)); // four bytes stand in the upper half, zeros below
        turned = ((turned >> 8) & BYTES) | ((turned & BYTES) << 8);
        turned = ((turned >> 16) & PAIRS) | ((turned & PAIRS) << 16);
        if (size == 4) return int32(uint32(turned >> 32));
        return int64(uint64((turned >> 32) | (turned << 32)));
    }

    /// @dev Up to 128 int8, as ExactDot takes them: zeros behind the end.
    function words4(bytes calldata data) internal pure returns (uint256[4] memory words) {
        uint256 size = data.length < 128 ? data.length : 128;
        assembly ("memory-safe") {
            calldatacopy(words, data.offset, size)
        }
    }

    /// @dev Up to 128 int16, as ExactDot takes them: zeros behind the end.
    function words8(bytes calldata data) internal pure returns (uint256[8] memory words) {
        uint256 size = data.length < 256 ? data.length : 256;
        assembly ("memory-safe") {
            calldatacopy(words, data.offset, size)
        }
    }
}
