// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Elements} from "../lib/Elements.sol";
import {Paths} from "../lib/Paths.sol";
import {Reductions} from "../lib/Reductions.sol";

/// @title Paths to leaves, and a dot product's prefix proven wrong with them. For tests only.
contract PathsProbe {
    bytes32 private _weights;
    bytes32 private _trace;

    /// @notice The prefix is not its predecessor and 128 products more.
    event PrefixProvenWrong(uint256 leaf);

    /// @notice The leaves do not lie under their roots.
    error LeavesNotHeld();
    /// @notice The prefix is right.
    error NothingWrong();

    /// @notice Remembers what proveWrongPrefix is about, as a dispute does.
    function commit(bytes32 weights, bytes32 trace) external {
        (_weights, _trace) = (weights, trace);
    }

    /// @notice A dot product's prefix proven wrong as in a dispute: three leaves, 128 products. As a transaction, for its
    /// gas. Layout and slash are not in it.
    /// @param places Four u64: the index of x's leaf, of the prefixes' leaf, of the weights' piece, and the element.
    /// @param tensor The head of the tensor's leaf in the tree of weights.
    /// @param numbers Mask and elements of x, then the mask of the prefixes, the weights, the prefixes.
    /// @param siblings Of the two leaves of the trace, then of the piece in its tensor, then of the tensor.
    /// @param program For the two leaves of the trace.
    function proveWrongPrefix(
        uint256 places,
        uint256 tensor,
        bytes calldata numbers,
        bytes32[] calldata siblings,
        bytes calldata program,
        uint256 counts
    ) external {
        bytes calldata x = numbers[32:288];
        bytes calldata prefixes = numbers[448:];
        bytes32[] memory leaves = new bytes32[](2);
        leaves[0] = Paths.leaf(abi.encodePacked(numbers[:32], uint64(places >> 192), x));
        leaves[1] = Paths.leaf(abi.encodePacked(numbers[288:320], uint64(places >> 128), prefixes));
        uint256 first = counts >> 128;
        if (Paths.rootOf(leaves, siblings[:first], program) != _trace) revert LeavesNotHeld();
        bytes calldata weights = numbers[320:448];
        uint256 second = first + (counts & type(uint128).max);
        bytes32 piece = Paths.leaf(abi.encodePacked(uint64(places >> 64), weights));
        bytes memory head = abi.encodePacked(uint136(tensor), Paths.climb(piece, siblings[first:second]));
        if (!Paths.holds(_weights, head, siblings[second:])) revert LeavesNotHeld();
        uint256 element = uint64(places);
        int256 before = element == 0 ? int256(0) : Elements.get(prefixes, 4, element - 1);
        int256 claimed = Elements.get(prefixes, 4, element);
        if (Reductions.dotWeights(before, weights, x) == claimed) revert NothingWrong();
        emit PrefixProvenWrong(uint64(places >> 128));
    }

    function holds(bytes32 root, bytes calldata data, bytes32[] calldata siblings) external pure returns (bool) {
        return Paths.holds(root, data, siblings);
    }

    function rootOf(bytes32[] calldata leaves, bytes32[] calldata siblings, bytes calldata program)
        external
        pure
        returns (bytes32)
    {
        return Paths.rootOf(leaves, siblings, program);
    }

    function rootOfTwo(bytes32[2] calldata leaves, bytes32[] calldata siblings, bytes calldata program)
        external
        pure
        returns (bytes32)
    {
        return Paths.rootOfTwo(leaves[0], leaves[1], siblings, program);
    }
}
