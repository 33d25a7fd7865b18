// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Merkle} from "./Merkle.sol";

/// @dev One node of the table. Tickets [stakeFrom, stakeTo) of the lottery are its; a and b are the
/// masses of evidence (see Scores), true at the time `asOf`.
struct Leaf {
    address node;
    uint96 stakeFrom;
    uint96 stakeTo;
    uint32 a;
    uint32 b;
    uint16 qos;
    uint40 asOf;
}

/// @dev Two leaves with nothing between them. A leaf without a node is the table's edge on that side.
struct Gap {
    Leaf below;
    bytes32[] belowProof;
    Leaf above;
    bytes32[] aboveProof;
}

/// @dev What the chain itself knows of a node's work, and must never change once the epoch is over.
interface IEvidence {
    /// @param credit Mass in Q16.16 of audited and settled work, capped for each payer and node.
    /// @param faults How many were proven.
    /// @param qos Ten-thousandths; zero if nobody has measured.
    function evidenceOf(uint256 epoch, address node) external view returns (uint32 credit, uint16 faults, uint16 qos);
}

/// @dev Takes the stake of who posted a wrong root. It must not revert for a node that has none left.
interface IPosterCourt {
    function slashPoster(address node, address finder) external returns (uint256 burnt);
}

/// @title Leaves of the table of scores
/// @dev In a sound table the leaves' tickets are a partition of [0, total) in the order of the nodes.
library ScoreLeaves {
    /// @notice The proof does not lead from the leaf to the root.
    error LeafInvalid(address node);

    /// @dev Bytes of one leaf in a list: node, width, a, b, qos.
    uint256 internal constant ROW = 42;

    function check(Leaf calldata leaf, bytes32[] calldata proof, bytes32 root) internal pure {
        Leaf memory copy = leaf; // which reverts for fields with bits beyond their width
        if (Merkle.climb(hashOf(copy), proof) != root) revert LeafInvalid(leaf.node);
    }

    /// @dev Whether no sound table holds both: one node twice, shared tickets, or another order.
    function conflict(Leaf calldata x, Leaf calldata y) internal pure returns (bool) {
        if (x.node == y.node) return true;
        return x.node < y.node ? x.stakeTo > y.stakeFrom : y.stakeTo > x.stakeFrom;
    }

    /// @dev Whether a sound table of this root and total cannot hold `node`. Reverts on a wrong proof.
    function excludes(Gap calldata gap, address node, bytes32 root, uint256 total) internal pure returns (bool) {
        uint256 lower = 0;
        if (gap.below.node != address(0)) {
            check(gap.below, gap.belowProof, root);
            if (gap.below.node >= node) return false;
            lower = gap.below.stakeTo;
        }
        if (gap.above.node == address(0)) return lower == total;
        check(gap.above, gap.aboveProof, root);
        return gap.above.node > node && gap.above.stakeFrom == lower;
    }

    /// @dev Root and total of a whole list of rows. The sum gives each leaf its tickets, so that a list
    /// cannot have gaps or overlaps; zero for a list that is not in the order of the nodes.
    function rootOf(bytes calldata rows, uint40 asOf) internal pure returns (bytes32 root, uint256 total) {
        uint256 count = rows.length / ROW;
        if (rows.length % ROW != 0) return (0, 0);
        bytes32[] memory hashes = new bytes32[](count);
        Leaf memory leaf;
        leaf.asOf = asOf;
        for (uint256 i = 0; i < count; ++i) {
            address previous = leaf.node;
            fill(leaf, rows[i * ROW:(i + 1) * ROW]);
            total += leaf.stakeTo;
            if (leaf.node <= previous || total > type(uint96).max) return (0, 0);
            leaf.stakeFrom = uint96(total - leaf.stakeTo);
            leaf.stakeTo = uint96(total);
            hashes[i] = hashOf(leaf);
        }
        return (Merkle.rootOf(hashes), total);
    }

    /// @dev Leaves the width in `stakeTo`.
    function fill(Leaf memory leaf, bytes calldata row) private pure {
        uint256 first = uint256(bytes32(row[:32]));
        leaf.node = address(uint160(first >> 96));
        leaf.stakeTo = uint96(first);
        uint80 second = uint80(bytes10(row[32:]));
        leaf.a = uint32(second >> 48);
        leaf.b = uint32(second >> 16);
        leaf.qos = uint16(second);
    }

    /// @dev A struct in memory is its own encoding: seven words. Encoding it again for each of
    /// thousands of rows would leave as many copies behind.
    function hashOf(Leaf memory leaf) private pure returns (bytes32 hash) {
        assembly ("memory-safe") {
            mstore(0, keccak256(leaf, 224))
            hash := keccak256(0, 32)
        }
    }
}
