// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title Small trees, level by level and without the libraries that are tested
library Trees {
    /// @dev What leads from a place to the root, which is left in the first place of the nodes. sorted: pairs in the
    /// order of their hashes, else as they stand.
    function path(bytes32[] memory nodes, uint256 place, bool sorted)
        internal
        pure
        returns (bytes32[] memory siblings)
    {
        siblings = new bytes32[](8);
        uint256 used;
        for (uint256 width = nodes.length; width > 1; width = (width + 1) / 2) {
            if (place ^ 1 < width) siblings[used++] = nodes[place ^ 1];
            for (uint256 i = 0; i < width; i += 2) {
                nodes[i / 2] = i + 1 < width ? pair(nodes[i], nodes[i + 1], sorted) : nodes[i];
            }
            place /= 2;
        }
        assembly ("memory-safe") {
            mstore(siblings, used)
        }
    }

    function root(bytes32[] memory nodes, bool sorted) internal pure returns (bytes32) {
        path(nodes, 0, sorted);
        return nodes[0];
    }

    function leaf(bytes memory data) internal pure returns (bytes32) {
        return keccak256(bytes.concat(keccak256(data)));
    }

    function pair(bytes32 left, bytes32 right, bool sorted) private pure returns (bytes32) {
        return sorted && right < left ? keccak256(abi.encode(right, left)) : keccak256(abi.encode(left, right));
    }
}
