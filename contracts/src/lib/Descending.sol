// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title From a tree's root down to one leaf, some levels at a time
/// @notice The shape of sharding/merkle.py's tree over a known number of leaves, and the two roots over opened nodes.
/// @dev Levels count from the leaves, 0. A level of w nodes has (w + 1) / 2 above it: an odd node rises alone. Nodes below
/// one node begin at an even place on every level under it, so that they pair among themselves.
library Descending {
    /// @dev So many levels at a time: 32 nodes. The last step has what is left, for leaves cost far more than nodes.
    uint8 private constant STEP = 5;

    /// @dev Levels above the leaves, ceil(log2). The number of leaves is neither zero nor beyond 64 bits.
    function heightOf(uint256 leaves) internal pure returns (uint8) {
        unchecked {
            uint256 rest = leaves - 1;
            uint256 height;
            for (uint256 half = 32; half != 0; half >>= 1) {
                if (rest >> half != 0) (rest, height) = (rest >> half, height + half);
            }
            return uint8(rest == 0 ? height : height + 1);
        }
    }

    /// @dev How many levels below a node are opened together.
    function stepFrom(uint8 height) internal pure returns (uint8) {
        return height < STEP ? height : STEP;
    }

    /// @dev How many nodes lie `step` levels below node number `place` of the level `height`.
    function below(uint64 leaves, uint8 height, uint8 step, uint64 place) internal pure returns (uint256) {
        uint256 level = height - step;
        uint256 width = (uint256(leaves) + (1 << level) - 1) >> level;
        uint256 first = uint256(place) << step;
        return width - first < 1 << step ? width - first : 1 << step;
    }

    /// @dev The roots over the nodes, one at least: of the tree's own rule, sorted pairs, and of pairs as they stand, which
    /// binds places. In assembly: the nodes are a third of what opening them costs.
    function roots(bytes32[] memory nodes) internal pure returns (bytes32 sorted, bytes32 ordered) {
        assembly ("memory-safe") {
            let first := add(nodes, 0x20)
            let width := mload(nodes)
            let other := mload(0x40) // behind it is free: the ordered tree's levels
            mcopy(other, first, shl(5, width))
            for {} gt(width, 1) { width := shr(1, add(width, 1)) } {
                let end := shl(5, and(width, not(1)))
                let to := 0
                for { let from := 0 } lt(from, end) { from := add(from, 0x40) } {
                    let left := mload(add(first, from))
                    let right := mload(add(first, add(from, 0x20)))
                    let place := shl(5, gt(left, right))
                    mstore(place, left)
                    mstore(xor(place, 0x20), right)
                    mstore(add(first, to), keccak256(0x00, 0x40))
                    mstore(add(other, to), keccak256(add(other, from), 0x40))
                    to := add(to, 0x20)
                }
                if and(width, 1) {
                    mstore(add(first, to), mload(add(first, end)))
                    mstore(add(other, to), mload(add(other, end)))
                }
            }
            sorted := mload(first)
            ordered := mload(other)
        }
    }

    /// @dev Whether `node` is number `place` of `width` nodes under an ordered root.
    function stands(bytes32 node, uint256 place, uint256 width, bytes32[] calldata siblings, bytes32 ordered)
        internal
        pure
        returns (bool)
    {
        uint256 used;
        unchecked {
            for (; width > 1; width = (width + 1) >> 1) {
                if (place & 1 == 1 || place + 1 < width) {
                    if (used == siblings.length) return false;
                    node = orderedPair(node, siblings[used++], place & 1);
                }
                place >>= 1;
            }
        }
        return used == siblings.length && node == ordered;
    }

    /// @dev node stands at that side of the pair, 0 or 1.
    function orderedPair(bytes32 node, bytes32 other, uint256 side) private pure returns (bytes32 hash) {
        assembly ("memory-safe") {
            mstore(shl(5, side), node)
            mstore(shl(5, xor(side, 1)), other)
            hash := keccak256(0, 64)
        }
    }
}
