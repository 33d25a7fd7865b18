// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Disputes} from "../../src/Disputes.sol";
import {Dispute, Facts} from "../../src/Docket.sol";
import {Play, Stand, StandWords, Stands as Words, Turn} from "../../src/lib/Stands.sol";
import {Traced} from "../../src/lib/Traced.sol";

/// @title How disputes stand, as everybody has to know it who plays one: the contract keeps no more than a hash
/// @dev The only place of these tests that knows what facts and stands are made of. From root to leaf it is one step.
abstract contract Stands {
    /// @dev For each dispute: what it is about, and how it stands. lying: the bonds that are left with it when it is over.
    struct Fight {
        Facts facts;
        Stand stand;
        bytes32 id;
        bytes32 matter;
        address node;
        address challenger;
        uint96 number;
        uint256 route;
        bool isClosed;
        uint16 lying;
    }

    Disputes public disputes;
    uint40 private _answer;
    uint40 private _proof;
    uint40 private _descent;

    function watch(Disputes disputes_) internal {
        disputes = disputes_;
        (,, _answer, _proof, _descent) = disputes_.disputeTerms();
    }

    /// @dev From the opening until the last of all clocks.
    function longest() public view returns (uint256) {
        return uint256(_answer) + 2 * (uint256(_proof) + _descent);
    }

    /// @dev f has node, challenger and number.
    function opened(Fight memory f, Traced memory traced, bytes32 receipt, bytes32 route, address key, bool asks)
        internal
        view
    {
        uint256 where = uint256(uint160(f.node)) << 96 | uint256(traced.start) << 64;
        where |= uint256(traced.end) << 32 | traced.position;
        f.facts = Facts(traced.manifest, traced.roots, receipt, route, where);
        f.matter = keccak256(abi.encode(f.facts));
        f.id = bytes32(uint256(uint160(f.challenger)) << 96 | f.number);
        Stand memory s;
        (s.player, s.turn) = (key, asks ? Turn.Asked : Turn.Open);
        s.deadline = uint40(block.timestamp) + _answer;
        f.stand = s;
    }

    function disputeOf(Fight memory f) internal pure returns (Dispute memory) {
        return Dispute(f.id, f.facts, wordsOf(f));
    }

    function wordsOf(Fight memory f) internal pure returns (StandWords memory) {
        return StandWords(f.stand.root, playOf(f));
    }

    function playOf(Fight memory f) internal pure returns (Play memory) {
        return Words.packed(f.stand);
    }

    function aboutOf(Fight memory f) internal pure returns (bytes32) {
        return keccak256(abi.encode(f.matter, f.stand.root));
    }

    function keptOf(Fight memory f) internal pure returns (bytes32) {
        return keccak256(abi.encode(aboutOf(f), playOf(f)));
    }

    function answered(Fight memory f, bytes32 root, uint64 leaves, uint8 height, bytes32 ordered, address player)
        internal
        view
    {
        Stand memory s = f.stand;
        bool opens = s.turn == Turn.Asked;
        (s.root, s.leaves, s.player) = (root, leaves, player);
        s.proofs = uint40(block.timestamp) + _proof;
        (s.turn, s.deadline) = (Turn.Answered, s.proofs);
        if (!opens) return;
        begin(s, height);
        (s.node, s.turn) = (ordered, Turn.Picking);
    }

    function asked(Fight memory f, uint8 height) internal view {
        begin(f.stand, height);
    }

    function nodesOpened(Fight memory f, bytes32 ordered) internal view {
        (f.stand.node, f.stand.turn) = (ordered, Turn.Picking);
        passClock(f.stand);
    }

    function picked(Fight memory f, uint64 place, bytes32 node) internal view {
        (f.stand.node, f.stand.place, f.stand.height, f.stand.turn) = (node, place, 0, Turn.Opening);
        passClock(f.stand);
    }

    function shown(Fight memory f) internal view {
        (f.stand.turn, f.stand.deadline) = (Turn.Shown, uint40(block.timestamp) + _proof);
    }

    function bondsOf(Fight memory f) internal pure returns (uint16) {
        return f.stand.turn == Turn.Open || f.stand.turn == Turn.Answered ? 1 : 2;
    }

    /// @dev Whether the node loses by letting the clock run out.
    function isNodesTurn(Fight memory f) internal pure returns (bool) {
        return f.stand.turn <= Turn.Asked || f.stand.turn == Turn.Opening;
    }

    function isRunning(Fight memory f) internal view returns (bool) {
        return f.id != 0 && !f.isClosed && block.timestamp <= f.stand.deadline;
    }

    /// @dev Proofs are heard until the later of two clocks.
    function isProvable(Fight memory f) internal view returns (bool) {
        uint40 end = f.stand.proofs > f.stand.deadline ? f.stand.proofs : f.stand.deadline;
        return f.id != 0 && !f.isClosed && f.stand.turn > Turn.Asked && block.timestamp <= end;
    }

    function isOver(Fight memory f, bool isConvicted) internal view returns (bool) {
        if (block.timestamp <= f.stand.deadline) return false;
        return isNodesTurn(f) || isConvicted || block.timestamp > f.stand.proofs;
    }

    function begin(Stand memory s, uint8 height) private view {
        (s.node, s.place, s.height, s.turn, s.rest) = (s.root, 0, height, Turn.Opening, _descent);
        s.deadline = uint40(block.timestamp) + _descent;
    }

    function passClock(Stand memory s) private view {
        (s.deadline, s.rest) = (uint40(block.timestamp) + s.rest, s.deadline - uint40(block.timestamp));
    }
}
