// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Bonds} from "./lib/Bonds.sol";
import {Play, Stand, StandWords, Stands} from "./lib/Stands.sol";
import {Traced} from "./lib/Traced.sol";

/// @dev What a dispute is about. receipt, route: the digests that were signed; roots: as in Traced. where: from the top
/// the node (160 bits), its blocks [start, end) and the position (32 each).
struct Facts {
    bytes32 manifest;
    bytes32 roots;
    bytes32 receipt;
    bytes32 route;
    uint256 where;
}

/// @title The disputes that there are
/// @dev One word each: the hash of its facts and its stand, which every act brings along. A challenger numbers its own
/// disputes and can take a number again when its dispute is over: only who has never had so many pays for a new slot.
abstract contract Docket is Bonds {
    using Stands for Play;
    using Stands for Stand;

    bytes32 private constant CLOSED = bytes32(uint256(1));
    uint256 private constant NUMBER_BITS = 96;

    mapping(bytes32 id => bytes32 kept) private _kept;

    /// @notice The challenger has a dispute of that number that is not over.
    error DisputeKnown(bytes32 id);
    /// @notice There is no such dispute, or it has been closed.
    error DisputeNotOpen(bytes32 id);
    /// @notice The dispute stands elsewhere by now, or is about something else: its log says where, and about what.
    error StandStale(bytes32 id);
    error ClockRunOut(uint40 deadline);
    error ClockRunning(uint40 deadline);

    /// @notice The hash of facts and stand of an open dispute; 1 for a closed one, 0 for none.
    function keptOf(bytes32 id) external view returns (bytes32) {
        return _kept[id];
    }

    /// @notice The name of a dispute: its challenger and the number that it gave it.
    function idOf(address challenger, uint96 number) public pure returns (bytes32) {
        return bytes32((uint256(uint160(challenger)) << NUMBER_BITS) | number);
    }

    function matterOf(Facts memory facts) public pure returns (bytes32) {
        return keccak256(abi.encode(facts));
    }

    /// @notice What the moves of a descent bring instead of facts and root.
    function aboutOf(bytes32 matter, bytes32 root) public pure returns (bytes32) {
        return keccak256(abi.encode(matter, root));
    }

    function challengerOf(bytes32 id) internal pure returns (address) {
        return address(uint160(uint256(id) >> NUMBER_BITS));
    }

    /// @dev The node of Facts.where.
    function nodeIn(uint256 where) internal pure returns (address) {
        return address(uint160(where >> 96));
    }

    function tracedIn(Facts memory facts) internal pure returns (Traced memory) {
        uint256 where = facts.where;
        return Traced(facts.manifest, facts.roots, uint32(where >> 64), uint32(where >> 32), uint32(where));
    }

    function enter(bytes32 id, bytes32 about, Stand memory stand) internal {
        if (uint256(_kept[id]) > uint256(CLOSED)) revert DisputeKnown(id);
        keep(id, about, stand);
    }

    function keep(bytes32 id, bytes32 about, Stand memory stand) internal {
        _kept[id] = stand.packed().hash(about);
    }

    function closed(bytes32 id) internal {
        _kept[id] = CLOSED;
    }

    function mustStand(bytes32 id, bytes32 matter, StandWords calldata words)
        internal
        view
        returns (Stand memory stand)
    {
        stand = mustBe(id, aboutOf(matter, words.root), words.play);
        stand.root = words.root;
    }

    /// @dev The root is left out.
    function mustRun(bytes32 id, bytes32 about, Play calldata play) internal view returns (Stand memory stand) {
        stand = mustBe(id, about, play);
        if (block.timestamp > stand.deadline) revert ClockRunOut(stand.deadline);
    }

    function mustBe(bytes32 id, bytes32 about, Play calldata play) private view returns (Stand memory) {
        bytes32 kept = _kept[id];
        if (uint256(kept) <= uint256(CLOSED)) revert DisputeNotOpen(id);
        if (kept != play.hash(about)) revert StandStale(id);
        return play.unpacked();
    }
}
