// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Merkle} from "../lib/Merkle.sol";
import {Gap, Leaf, ScoreLeaves} from "../lib/ScoreLeaves.sol";
import {Scores} from "../lib/Scores.sol";

/// @title The arithmetic of scores and their trees, callable from outside. For tests only.
contract ScoreProbe {
    /// @notice Rows of (a, b, elapsed, halfLife, credit, faults) to (factor, decayed a, decayed b, a, b,
    /// bound): decayed, then updated, then published.
    /// @param rows The encoding of a uint256[], as bytes: clients are slow at writing long arrays.
    function evolve(bytes calldata rows) external pure returns (bytes memory) {
        uint256[] memory words = abi.decode(rows, (uint256[]));
        for (uint256 i = 0; i < words.length; i += 6) {
            uint256 factor = Scores.kept(words[i + 2], words[i + 3]);
            uint256 a = Scores.decayed(words[i], factor);
            uint256 b = Scores.decayed(words[i + 1], factor);
            (words[i], words[i + 1], words[i + 2]) = (factor, a, b);
            (words[i + 3], words[i + 4]) = Scores.updated(a, b, words[i + 4], words[i + 5]);
            words[i + 5] = Scores.published(words[i + 3], words[i + 4]);
        }
        return abi.encodePacked(words);
    }

    function creditOf(uint256 fee, uint256 feeUnit, uint256 cap) external pure returns (uint256) {
        return Scores.creditOf(fee, feeUnit, cap);
    }

    function sqrt(uint256 x) external pure returns (uint256) {
        return Scores.sqrt(x);
    }

    function climb(bytes calldata data, bytes32[] calldata proof) external pure returns (bytes32) {
        return Merkle.climb(Merkle.leafOf(data), proof);
    }

    function treeOf(bytes calldata rows, uint40 asOf) external pure returns (bytes32 root, uint256 total) {
        return ScoreLeaves.rootOf(rows, asOf);
    }

    function check(Leaf calldata leaf, bytes32[] calldata proof, bytes32 root) external pure {
        ScoreLeaves.check(leaf, proof, root);
    }

    function excludes(Gap calldata gap, address node, bytes32 root, uint256 total) external pure returns (bool) {
        return ScoreLeaves.excludes(gap, node, root, total);
    }
}
