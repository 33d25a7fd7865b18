// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @dev A piece of the calldata: where it begins in the upper half, how long it is in the lower one.
type Part is uint256;

/// @dev What is still to be read.
struct Cursor {
    uint256 from;
    uint256 end;
}

/// @title Reading a proof whose parts lie one behind the other, numbers big-endian
/// @dev A proof is most of what its transaction costs, so that it has no offsets and no padding. Nothing is read from
/// behind the end of the proof.
library Parts {
    /// @notice The proof is shorter than it says, or longer.
    error ProofMalformed();

    function begin(bytes calldata proof) internal pure returns (Cursor memory) {
        uint256 from;
        assembly ("memory-safe") {
            from := proof.offset
        }
        return Cursor(from, from + proof.length);
    }

    /// @dev The next number of so many bytes, at most 32.
    function number(Cursor memory cursor, uint256 size) internal pure returns (uint256 value) {
        uint256 from = skip(cursor, size);
        assembly ("memory-safe") {
            value := shr(sub(256, shl(3, size)), calldataload(from))
        }
    }

    function part(Cursor memory cursor, uint256 length) internal pure returns (Part) {
        return Part.wrap((skip(cursor, length) << 128) | length);
    }

    /// @dev So many words.
    function words(Cursor memory cursor, uint256 count) internal pure returns (Part) {
        return part(cursor, 32 * count);
    }

    function finish(Cursor memory cursor) internal pure {
        if (cursor.from != cursor.end) revert ProofMalformed();
    }

    function made(bytes calldata piece) internal pure returns (Part self) {
        assembly ("memory-safe") {
            self := or(shl(128, piece.offset), piece.length)
        }
    }

    function data(Part self) internal pure returns (bytes calldata found) {
        assembly ("memory-safe") {
            found.offset := shr(128, self)
            found.length := and(self, 0xffffffffffffffffffffffffffffffff)
        }
    }

    function hashes(Part self) internal pure returns (bytes32[] calldata found) {
        assembly ("memory-safe") {
            found.offset := shr(128, self)
            found.length := shr(5, and(self, 0xffffffffffffffffffffffffffffffff))
        }
    }

    function skip(Cursor memory cursor, uint256 length) private pure returns (uint256 from) {
        unchecked {
            from = cursor.from;
            uint256 next = from + length; // a length has four bytes at most
            if (next > cursor.end) revert ProofMalformed();
            cursor.from = next;
        }
    }
}
