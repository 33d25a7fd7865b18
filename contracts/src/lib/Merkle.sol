// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title Merkle trees of the shape of sharding/merkle.py
/// @dev A leaf is hashed twice and a pair once, so no inner node can pass for a leaf. Pairs are hashed
/// in sorted order, and an odd node rises unpaired; a leaf's place is for the leaf to say.
library Merkle {
    /// @notice Deeper than any tree of ours.
    error ProofTooLong(uint256 nodes, uint256 limit);

    uint256 private constant MAX_PROOF_NODES = 64;

    function leafOf(bytes memory data) internal pure returns (bytes32) {
        return keccak256(bytes.concat(keccak256(data)));
    }

    /// @dev The root that the proof leads to from `node`.
    function climb(bytes32 node, bytes32[] calldata proof) internal pure returns (bytes32) {
        if (proof.length > MAX_PROOF_NODES) revert ProofTooLong(proof.length, MAX_PROOF_NODES);
        for (uint256 i = 0; i < proof.length; ++i) {
            node = pairOf(node, proof[i]);
        }
        return node;
    }

    /// @dev The root over hashed leaves, zero over none. Overwrites the array.
    function rootOf(bytes32[] memory nodes) internal pure returns (bytes32) {
        uint256 width = nodes.length;
        if (width == 0) return 0;
        while (width > 1) {
            uint256 pairs = width / 2;
            for (uint256 i = 0; i < pairs; ++i) {
                nodes[i] = pairOf(nodes[2 * i], nodes[2 * i + 1]);
            }
            if (width % 2 == 1) nodes[pairs] = nodes[width - 1];
            width = pairs + width % 2;
        }
        return nodes[0];
    }

    function pairOf(bytes32 one, bytes32 other) internal pure returns (bytes32 hash) {
        (bytes32 low, bytes32 high) = one < other ? (one, other) : (other, one);
        assembly ("memory-safe") {
            mstore(0, low)
            mstore(32, high)
            hash := keccak256(0, 64)
        }
    }
}
