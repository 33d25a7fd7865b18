// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title Merkle paths after sharding/merkle.py: sorted pairs, leaves hashed twice, an odd node rises alone
/// @notice One leaf with its path, or several leaves of one tree with what their paths do not share.
/// @dev A path does not bind a leaf's place: leaves state their own. Inner nodes are one hash of 64 bytes and leaves
/// the hash of a hash, so that none can pass for the other. Nothing reverts for what a proof says: zero is no root.
library Paths {
    /// @dev As MAX_PROOF_NODES there: no tree of the protocol is so high.
    uint256 internal constant MAX_NODES = 64;
    /// @dev Leaves opened together at most, and the height of the stack.
    uint256 internal constant MAX_LEAVES = 8;

    /// @dev A program's bytes: take the next leaf, join the two topmost nodes; any other number climbs so many nodes.
    uint256 private constant TAKE = 0;
    uint256 private constant JOIN = 255;

    function leaf(bytes memory data) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked(keccak256(data)));
    }

    /// @dev The same of calldata.
    function leafOf(bytes calldata data) internal pure returns (bytes32 hash) {
        assembly ("memory-safe") {
            let free := mload(0x40)
            calldatacopy(free, data.offset, data.length)
            mstore(0x00, keccak256(free, data.length))
            hash := keccak256(0x00, 0x20)
        }
    }

    /// @dev The same of a u64 and the data behind it.
    function namedLeaf(uint256 index, bytes calldata data) internal pure returns (bytes32 hash) {
        assembly ("memory-safe") {
            let free := mload(0x40)
            mstore(free, shl(192, index))
            calldatacopy(add(free, 8), data.offset, data.length)
            mstore(0x00, keccak256(free, add(data.length, 8)))
            hash := keccak256(0x00, 0x20)
        }
    }

    /// @dev The root that the path leads to; zero for a path without end. In assembly, as pair: a dispute has some fifty
    /// of these, and the smaller node of each pair is put first without a branch.
    function climb(bytes32 node, bytes32[] calldata siblings) internal pure returns (bytes32) {
        if (siblings.length > MAX_NODES) return bytes32(0);
        assembly ("memory-safe") {
            node := climbed(node, siblings.offset, add(siblings.offset, shl(5, siblings.length)))

            // two at a time, for the loop's own gas is a third of it
            function climbed(first, from, end) -> to {
                to := first
                if and(sub(end, from), 0x20) {
                    let sibling := calldataload(from)
                    let place := shl(5, gt(to, sibling))
                    mstore(place, to)
                    mstore(xor(place, 0x20), sibling)
                    to := keccak256(0x00, 0x40)
                    from := add(from, 0x20)
                }
                for {} lt(from, end) { from := add(from, 0x40) } {
                    let sibling := calldataload(from)
                    let place := shl(5, gt(to, sibling))
                    mstore(place, to)
                    mstore(xor(place, 0x20), sibling)
                    to := keccak256(0x00, 0x40)
                    sibling := calldataload(add(from, 0x20))
                    place := shl(5, gt(to, sibling))
                    mstore(place, to)
                    mstore(xor(place, 0x20), sibling)
                    to := keccak256(0x00, 0x40)
                }
            }
        }
        return node;
    }

    /// @dev Whether the data is a leaf under the root.
    function holds(bytes32 root, bytes memory data, bytes32[] calldata siblings) internal pure returns (bool) {
        return root != bytes32(0) && climb(leaf(data), siblings) == root;
    }

    /// @dev The root over several hashed leaves: a program takes them in their order on a stack, climbs and joins.
    /// Every leaf and every sibling is used once, else zero: so all leaves lie under the root that comes out.
    function rootOf(bytes32[] memory leaves, bytes32[] calldata siblings, bytes calldata program)
        internal
        pure
        returns (bytes32)
    {
        bytes32[8] memory stack;
        uint256 height;
        uint256 taken;
        uint256 climbed;
        for (uint256 step = 0; step < program.length; ++step) {
            uint256 action = uint8(program[step]);
            if (action == TAKE) {
                if (taken == leaves.length || height == MAX_LEAVES) return bytes32(0);
                stack[height++] = leaves[taken++];
            } else if (action == JOIN) {
                if (height < 2) return bytes32(0);
                --height;
                stack[height - 1] = pair(stack[height - 1], stack[height]);
            } else {
                if (height == 0 || climbed + action > siblings.length) return bytes32(0);
                stack[height - 1] = climb(stack[height - 1], siblings[climbed:climbed + action]);
                climbed += action;
            }
        }
        bool complete = height == 1 && taken == leaves.length && climbed == siblings.length;
        return complete ? stack[0] : bytes32(0);
    }

    /// @dev The same of two leaves: nothing in memory, and the lower of the two nodes in a variable.
    function rootOfTwo(bytes32 one, bytes32 other, bytes32[] calldata siblings, bytes calldata program)
        internal
        pure
        returns (bytes32 top)
    {
        unchecked {
            bytes32 low;
            uint256 height;
            uint256 taken;
            uint256 used;
            for (uint256 step = 0; step < program.length; ++step) {
                uint256 action = actionAt(program, step);
                if (action == TAKE) {
                    if (taken == 2) return bytes32(0);
                    (low, top) = (top, taken == 0 ? one : other);
                    (++height, ++taken);
                } else if (action == JOIN) {
                    if (height != 2) return bytes32(0);
                    (top, height) = (pair(low, top), 1);
                } else {
                    if (height == 0 || used + action > siblings.length) return bytes32(0);
                    top = climb(top, siblings[used:used + action]);
                    used += action;
                }
            }
            if (height != 1 || taken != 2 || used != siblings.length) return bytes32(0);
        }
    }

    /// @dev A byte of a program that is known to be there.
    function actionAt(bytes calldata program, uint256 step) private pure returns (uint256 action) {
        assembly ("memory-safe") {
            action := byte(0, calldataload(add(program.offset, step)))
        }
    }

    /// @dev The scratch space saves an allocation.
    function pair(bytes32 one, bytes32 other) internal pure returns (bytes32 node) {
        if (other < one) (one, other) = (other, one);
        assembly ("memory-safe") {
            mstore(0x00, one)
            mstore(0x20, other)
            node := keccak256(0x00, 0x40)
        }
    }
}
