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

/// @dev A dispute as its acts bring it along: its name, what it is about, how far it is.
struct Dispute {
    bytes32 id;
    Facts facts;
    StandWords stand;
}

/// @title The disputes that there are
/// @dev One word each: the hash of its facts and its stand, which every act brings along. A challenger numbers its own
/// disputes and can take a number again when its dispute is over: only who has never had so many pays for a new slot. The
/// bonds of a dispute that it won stay with the number and are put down with the next one, which then leaves the purse alone.
abstract contract Docket is Bonds {
    using Stands for Play;
    using Stands for Stand;

    /// @dev The word of a number whose dispute is over: this, and one more for each bond that lies there. No hash is so small.
    uint256 private constant CLOSED = 1;
    uint256 private constant MOST_BONDS = 2;
    uint256 private constant NUMBER_BITS = 96;

    mapping(bytes32 id => bytes32 kept) private _kept;

    event Unbonded(bytes32 indexed id, uint16 bonds);

    /// @notice The challenger has a dispute of that number that is not over.
    error DisputeKnown(bytes32 id);
    /// @notice There is no such dispute, or it has been closed.
    error DisputeNotOpen(bytes32 id);
    /// @notice The dispute stands elsewhere by now, or is about something else: its log says where, and about what.
    error StandStale(bytes32 id);
    /// @notice No bond lies with that number.
    error NothingBonded(bytes32 id);
    error ClockRunOut(uint40 deadline);
    error ClockRunning(uint40 deadline);

    /// @notice Brings the bonds that lie with a number of the caller's back into its funds.
    function unbond(uint96 number) external {
        bytes32 id = idOf(msg.sender, number);
        uint16 bonds = lying(id);
        if (bonds == 0) revert NothingBonded(id);
        closed(id, 0);
        returnBonds(msg.sender, bonds);
        emit Unbonded(id, bonds);
    }

    /// @notice The hash of facts and stand of an open dispute; 0 for none, 1 for one that is over, 2 and 3 for one that is
    /// over and won, whose one or two bonds still lie there.
    function keptOf(bytes32 id) external view returns (bytes32) {
        return _kept[id];
    }

    /// @notice The name of a dispute: its challenger and the number that it gave it.
    function idOf(address challenger, uint96 number) public pure returns (bytes32) {
        return bytes32((uint256(uint160(challenger)) << NUMBER_BITS) | number);
    }

    /// @dev keccak256(abi.encode(facts)). In assembly as the other two hashes of a stand: every act begins with them.
    function matterOf(Facts calldata facts) public pure returns (bytes32 matter) {
        assembly ("memory-safe") {
            let free := mload(0x40)
            calldatacopy(free, facts, 0xa0)
            matter := keccak256(free, 0xa0)
        }
    }

    /// @notice What the moves of a descent bring instead of facts and root.
    /// @dev keccak256(abi.encode(matter, root)).
    function aboutOf(bytes32 matter, bytes32 root) public pure returns (bytes32 about) {
        assembly ("memory-safe") {
            mstore(0x00, matter)
            mstore(0x20, root)
            about := keccak256(0x00, 0x40)
        }
    }

    function challengerOf(bytes32 id) internal pure returns (address) {
        return address(uint160(uint256(id) >> NUMBER_BITS));
    }

    /// @dev The node of Facts.where.
    function nodeIn(uint256 where) internal pure returns (address) {
        return address(uint160(where >> 96));
    }

    function tracedIn(Facts calldata facts) internal pure returns (Traced memory) {
        uint256 where = facts.where;
        return Traced(facts.manifest, facts.roots, uint32(where >> 64), uint32(where >> 32), uint32(where));
    }

    /// @dev Opens one of the caller's. The bonds that lie with its number are put down first: the caller's funds make up
    /// for what is missing, or get what is left over.
    function enter(bytes32 id, bytes32 about, Stand memory stand, uint16 bonds) internal {
        uint16 there = lying(id);
        keep(id, about, stand);
        if (bonds > there) takeBonds(msg.sender, bonds - there);
        else if (bonds < there) returnBonds(msg.sender, there - bonds);
    }

    function keep(bytes32 id, bytes32 about, Stand memory stand) internal {
        _kept[id] = stand.packed().hash(about);
    }

    /// @param bonds That stay with the number, still its challenger's.
    function closed(bytes32 id, uint16 bonds) internal {
        _kept[id] = bytes32(CLOSED + bonds);
    }

    /// @dev The root is left out, as in mustRun.
    function mustStand(Dispute calldata dispute) internal view returns (Stand memory) {
        bytes32 about = aboutOf(matterOf(dispute.facts), dispute.stand.root);
        return mustBe(dispute.id, about, dispute.stand.play);
    }

    function mustRun(bytes32 id, bytes32 about, Play calldata play) internal view returns (Stand memory stand) {
        stand = mustBe(id, about, play);
        if (block.timestamp > stand.deadline) revert ClockRunOut(stand.deadline);
    }

    function mustBe(bytes32 id, bytes32 about, Play calldata play) private view returns (Stand memory) {
        bytes32 kept = _kept[id];
        if (isOver(kept)) revert DisputeNotOpen(id);
        if (kept != play.hashOf(about)) revert StandStale(id);
        return play.unpacked();
    }

    function lying(bytes32 id) private view returns (uint16) {
        bytes32 kept = _kept[id];
        if (!isOver(kept)) revert DisputeKnown(id);
        return kept == 0 ? 0 : uint16(uint256(kept) - CLOSED);
    }

    /// @dev Or was never opened.
    function isOver(bytes32 kept) private pure returns (bool) {
        return uint256(kept) <= CLOSED + MOST_BONDS;
    }
}
