// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Descending} from "../src/lib/Descending.sol";
import {Merkle} from "../src/lib/Merkle.sol";
import {Suite} from "./Suite.sol";
import {Trees} from "./handlers/Trees.sol";

/// @title From the root of any tree to any of its leaves, and to nothing else
contract DescendingTest is Suite {
    uint256 private constant MAX_LEAVES = 1 << 40;
    uint256 private constant MAX_WIDTH = 32;

    /// @dev Calldata is what the library reads.
    function stands(bytes32 node, uint256 place, uint256 width, bytes32[] calldata siblings, bytes32 ordered)
        external
        pure
        returns (bool)
    {
        return Descending.stands(node, place, width, siblings, ordered);
    }

    function nodesOf(uint256 seed, uint256 width) private pure returns (bytes32[] memory nodes) {
        nodes = new bytes32[](width);
        for (uint256 i = 0; i < width; ++i) {
            nodes[i] = keccak256(abi.encode(seed, i));
        }
    }

    function pathOf(bytes32[] memory nodes, uint256 place) private pure returns (bytes32[] memory) {
        return Trees.path(nodes, place, false);
    }

    function testFuzz_every_leaf_of_every_tree_is_reached_by_steps_of_five(uint64 leaves, uint64 leaf) public pure {
        leaves = uint64(bound(leaves, 1, MAX_LEAVES));
        leaf %= leaves;
        uint8 height = Descending.heightOf(leaves);
        assert(leaves <= 1 << height && (height == 0 || leaves > 1 << (height - 1)));
        uint256 rounds = (uint256(height) + 4) / 5;
        uint64 place;
        while (height != 0) {
            uint8 step = Descending.stepFrom(height);
            assert(step != 0 && step <= height && rounds-- != 0);
            uint256 width = Descending.below(leaves, height, step, place);
            assert(width != 0 && width <= 1 << step && width <= MAX_WIDTH);
            uint64 next = leaf >> (height - step);
            // what is picked lies below what was picked before
            assert(next >> step == place && next - (place << step) < width);
            (place, height) = (next, height - step);
        }
        assert(place == leaf && rounds == 0 && Descending.stepFrom(0) == 0);
    }

    function testFuzz_nodes_below_a_level_are_the_whole_lower_level(uint64 leaves, uint8 height, uint8 step)
        public
        pure
    {
        height = uint8(bound(height, 1, 30));
        step = uint8(bound(step, 1, height < 5 ? height : 5));
        leaves = uint64(bound(leaves, 1, 24 << height));
        uint256 sum;
        for (uint64 place = 0; uint256(place) << height < leaves; ++place) {
            sum += Descending.below(leaves, height, step, place);
        }
        uint256 level = height - step;
        assert(sum == (uint256(leaves) + (1 << level) - 1) >> level);
    }

    function testFuzz_both_roots_are_those_of_their_rules(uint256 seed, uint256 width) public pure {
        width = bound(width, 1, MAX_WIDTH);
        (bytes32 sorted, bytes32 ordered) = Descending.roots(nodesOf(seed, width));
        assert(sorted == Merkle.rootOf(nodesOf(seed, width)) && sorted == Trees.root(nodesOf(seed, width), true));
        assert(ordered == Trees.root(nodesOf(seed, width), false));
    }

    function testFuzz_no_node_stands_where_another_one_does(uint256 seed, uint256 width, uint256 place, uint256 other)
        public
        view
    {
        width = bound(width, 2, MAX_WIDTH);
        (place, other) = (place % width, other % (width - 1));
        if (other >= place) ++other;
        (, bytes32 ordered) = Descending.roots(nodesOf(seed, width));
        bytes32[] memory nodes = nodesOf(seed, width);
        bytes32[] memory path = pathOf(nodesOf(seed, width), place);
        assert(!this.stands(nodes[other], place, width, path, ordered));
        assert(!this.stands(nodes[place], other, width, path, ordered));
        assert(!this.stands(nodes[place], other, width, pathOf(nodesOf(seed, width), other), ordered));
        path[seed % path.length] ^= bytes32(uint256(1));
        assert(!this.stands(nodes[place], place, width, path, ordered));
    }

    function testFuzz_a_node_stands_by_its_whole_path_only(uint256 seed, uint256 width, uint256 place) public view {
        width = bound(width, 2, MAX_WIDTH);
        place %= width;
        (, bytes32 ordered) = Descending.roots(nodesOf(seed, width));
        bytes32 node = nodesOf(seed, width)[place];
        bytes32[] memory path = pathOf(nodesOf(seed, width), place);
        bytes32[] memory longer = new bytes32[](path.length + 1);
        for (uint256 i = 0; i < path.length; ++i) {
            longer[i] = path[i];
        }
        assert(this.stands(node, place, width, path, ordered));
        assert(!this.stands(node, place, width, longer, ordered));
        assembly ("memory-safe") {
            mstore(path, sub(mload(path), 1))
        }
        assert(!this.stands(node, place, width, path, ordered));
    }
}
