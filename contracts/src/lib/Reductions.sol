// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Elements} from "./Elements.sol";
import {ExactDot} from "./ExactDot.sol";
import {ExactMath} from "./ExactMath.sol";

/// @title Prefix values: each is the one before and at most 128 numbers more
/// @dev Every number is an int64 at most, so that nothing here can leave int256. Pieces have passed Elements.isPiece.
library Reductions {
    function largestMagnitude(int256 before, bytes calldata piece, uint256 size)
        internal
        pure
        returns (int256 largest)
    {
        largest = before;
        uint256 count = piece.length / size;
        for (uint256 k = 0; k < count; ++k) {
            int256 each = magnitude(Elements.get(piece, size, k));
            if (each > largest) largest = each;
        }
    }

    function sumOfMagnitudes(int256 before, bytes calldata piece, uint256 size) internal pure returns (int256 total) {
        total = before;
        uint256 count = piece.length / size;
        for (uint256 k = 0; k < count; ++k) {
            total += magnitude(Elements.get(piece, size, k));
        }
    }

    /// @dev NORM's sum of u_j^2. largest >= 0 is the whole row's.
    function sumOfSquares(int256 before, int256 largest, bytes calldata piece, uint256 size)
        internal
        pure
        returns (int256 total)
    {
        total = before;
        uint256 e = ExactMath.normExponent(uint256(largest));
        uint256 count = piece.length / size;
        for (uint256 k = 0; k < count; ++k) {
            int256 u = ExactMath.rsh(Elements.get(piece, size, k), e);
            total += u * u;
        }
    }

    function sum(int256 before, bytes calldata piece, uint256 size) internal pure returns (int256 total) {
        total = before;
        uint256 count = piece.length / size;
        for (uint256 k = 0; k < count; ++k) {
            total += Elements.get(piece, size, k);
        }
    }

    function maximum(int256 before, bytes calldata piece, uint256 size) internal pure returns (int256 largest) {
        largest = before;
        uint256 count = piece.length / size;
        for (uint256 k = 0; k < count; ++k) {
            largest = ExactMath.max(largest, Elements.get(piece, size, k));
        }
    }

    /// @dev int8 weights, int16 activations.
    function dotWeights(int256 before, bytes calldata weights, bytes calldata x) internal pure returns (int256) {
        return before + ExactDot.dotWeights(Elements.words4(weights), Elements.words8(x));
    }

    /// @dev int16 both.
    function dotHeads(int256 before, bytes calldata a, bytes calldata b) internal pure returns (int256) {
        return before + ExactDot.dotHeads(Elements.words8(a), Elements.words8(b));
    }

    function magnitude(int256 value) private pure returns (int256) {
        return value < 0 ? -value : value;
    }
}
