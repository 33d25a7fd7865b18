// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ProductJudge} from "./ProductJudge.sol";
import {Parameters} from "./lib/Parameters.sol";
import {Paths} from "./lib/Paths.sol";

/// @title Models whose stages can be proven wrong
/// @notice Anybody may register a manifest's root. What is kept about it lies under that root and nowhere else, so it
/// does not matter who does, and nobody can take a root for something it is not.
/// @dev No owner, no removal. A root from which two different sets of numbers can be shown is no manifest that any node
/// derives from a model's folder; the first set stays. The judge of products lives here: from elsewhere it would pay for
/// one more call to read two words.
contract Models is ProductJudge {
    bytes private constant LEAF = "tallystick manifest 1\ntrace";
    uint256 private constant MAX_BLOCKS = 1 << 10;
    uint256 private constant MAX_HIDDEN = 1 << 16;
    uint256 private constant MAX_HEADS = 1 << 10;
    uint256 private constant MAX_HEAD_DIM = 1 << 10;
    uint256 private constant MAX_INTERMEDIATE = 1 << 20;
    uint256 private constant MAX_VOCABULARY = 1 << 21;
    uint256 private constant MAX_POSITIONS = 1 << 17;
    uint256 private constant ALL_FLAGS = 31;
    uint256 private constant MAX_EPSILON = 1 << 45;

    mapping(bytes32 manifest => bytes32 root) private _weights;
    mapping(bytes32 manifest => Parameters numbers) private _parameters;

    event ModelRegistered(bytes32 indexed manifest, bytes32 weights);

    /// @notice The numbers and the root of the weights do not lie under the manifest's root.
    error ModelNotHeld(bytes32 manifest);
    /// @notice The root was registered with other numbers.
    error ModelRegisteredOtherwise(bytes32 manifest);
    /// @notice The exact profile has no model with that number in that place of the parameters, counted from 0.
    error ParameterOutOfRange(uint256 place, uint256 value);
    /// @notice Nobody has registered the manifest.
    error ModelUnknown(bytes32 manifest);

    /// @notice Registers a manifest's root with what its leaf says. Once more is no fault and changes nothing.
    /// @param siblings The path from the leaf to the root.
    function register(bytes32 manifest, Parameters calldata numbers, bytes32 weights, bytes32[] calldata siblings)
        external
    {
        bytes memory packed = pack(numbers);
        if (!Paths.holds(manifest, abi.encodePacked(LEAF, packed, weights), siblings)) revert ModelNotHeld(manifest);
        bytes32 known = _weights[manifest];
        if (known != bytes32(0)) {
            bool same = known == weights && keccak256(pack(_parameters[manifest])) == keccak256(packed);
            if (!same) revert ModelRegisteredOtherwise(manifest);
            return;
        }
        check(numbers);
        if (weights == bytes32(0)) revert ModelNotHeld(manifest);
        _weights[manifest] = weights;
        _parameters[manifest] = numbers;
        emit ModelRegistered(manifest, weights);
    }

    /// @notice The root of a registered model's weights, and its numbers.
    function model(bytes32 manifest) external view returns (bytes32 weights, Parameters memory numbers) {
        weights = _weights[manifest];
        if (weights == bytes32(0)) revert ModelUnknown(manifest);
        return (weights, _parameters[manifest]);
    }

    function isRegistered(bytes32 manifest) external view returns (bool) {
        return _weights[manifest] != bytes32(0);
    }

    function sizes(bytes32 manifest) internal view override returns (bytes32 weights, uint256 word) {
        weights = _weights[manifest];
        if (weights == bytes32(0)) revert ModelUnknown(manifest);
        Parameters storage numbers = _parameters[manifest];
        assembly ("memory-safe") {
            word := sload(numbers.slot)
        }
    }

    /// @dev Numbers that a layout can be computed from: nothing is divided by zero, nothing overflows.
    function check(Parameters calldata p) private pure {
        within(0, p.blocks, 1, MAX_BLOCKS);
        within(1, p.hidden, 1, MAX_HIDDEN);
        within(2, p.heads, 1, MAX_HEADS);
        within(3, p.kvHeads, 1, p.heads);
        if (p.heads % p.kvHeads != 0) revert ParameterOutOfRange(3, p.kvHeads);
        within(4, p.headDim, 2, MAX_HEAD_DIM);
        if (p.headDim % 2 != 0) revert ParameterOutOfRange(4, p.headDim);
        within(5, p.intermediate, 1, MAX_INTERMEDIATE);
        within(6, p.vocabulary, 1, MAX_VOCABULARY);
        within(7, p.positions, 1, MAX_POSITIONS);
        within(9, p.flags, 0, ALL_FLAGS);
        within(10, p.epsilon, 0, MAX_EPSILON);
        within(11, p.headEpsilon, 0, MAX_EPSILON);
        within(12, p.score, 1, type(uint32).max);
    }

    function within(uint256 place, uint256 value, uint256 low, uint256 high) private pure {
        if (value < low || value > high) revert ParameterOutOfRange(place, value);
    }

    /// @dev As verification/trace/weights_tree.py packs them.
    function pack(Parameters memory p) private pure returns (bytes memory) {
        bytes memory first = abi.encodePacked(p.blocks, p.hidden, p.heads, p.kvHeads, p.headDim, p.intermediate);
        bytes memory rest = abi.encodePacked(p.vocabulary, p.positions, p.window, p.flags);
        return abi.encodePacked(first, rest, p.epsilon, p.headEpsilon, p.score);
    }
}
