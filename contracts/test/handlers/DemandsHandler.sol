// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Court} from "../../src/Court.sol";
import {Demands, Opened, Side, Wanted} from "../../src/Demands.sol";
import {Stakes} from "../../src/Stakes.sol";
import {Receipt} from "../../src/lib/Receipts.sol";
import {RouteTerms} from "../../src/lib/RouteTerms.sol";
import {Token} from "../../src/test/Token.sol";
import {Sessions} from "./Sessions.sol";
import {Trees} from "./Trees.sol";

/// @title Demands of two for what an honest node and a liar have taken in: tokens, a leaf for each position
/// @dev The honest node draws and serves before any time passes. Demand d: bits 0 demander, 1 node, 2 route.
contract DemandsHandler is Sessions {
    uint256 public constant DEMANDS = 8;
    uint32 private constant LAST = 5;
    uint256 private constant OUTAGE = 1 days;

    Demands public demands;
    bytes32 private immutable _manifest;

    mapping(uint256 d => bytes32) public ids;
    mapping(uint256 d => bool) public isClosed;
    mapping(uint256 n => uint256) private _fined;

    constructor(Token token_, Stakes stakes_, Court court_, Demands demands_, bytes32 manifest)
        Sessions(token_, stakes_, court_)
    {
        (demands, _manifest) = (demands_, manifest);
    }

    function demand(uint256 d) external {
        address who = owner(2 + (d %= DEMANDS) % 2);
        (uint96 free,) = demands.fundsOf(who);
        if (ids[d] != 0 || free < BOND) return;
        (Receipt memory receipt, RouteTerms memory terms) = papers(d);
        (bytes32 r, bytes32 vs) = signed(d >> 1 & 1, receipt);
        vm.prank(who);
        ids[d] = demands.demand(receipt, r, vs, terms, stageOf(d >> 1 & 1), Side.In);
        if (ids[d] != keccak256(abi.encode(wanted(d)))) revert("another demand");
        ++deeds;
    }

    function draw(uint256 d) public {
        (uint128 beacon, uint64 drawnBy,) = demands.demandOf(ids[d %= DEMANDS]);
        if (!isRunning(d) || beacon != 0 || block.number <= drawnBy) return;
        demands.draw(ids[d]);
        ++deeds;
    }

    function serve(uint256 d) public {
        (uint128 beacon,,) = demands.demandOf(ids[d %= DEMANDS]);
        if (!isRunning(d) || beacon == 0) return;
        uint256 before = fundsOf(d >> 1 & 1);
        demands.serve(wanted(d), leaves(d, beacon, 0));
        paid(d, before);
    }

    /// @dev By anybody. A demand that was not drawn ends as if it were served.
    function close(uint256 d) public {
        (uint128 beacon,, uint40 deadline) = demands.demandOf(ids[d %= DEMANDS]);
        if (ids[d] == 0 || isClosed[d] || block.timestamp <= deadline) return;
        uint256 n = d >> 1 & 1;
        (uint256 before, uint256 free) = (stakeOf(n), fundsOf(n));
        demands.close(wanted(d));
        if (beacon == 0) return paid(d, free);
        bool outage = _fined[n] != 0 && block.timestamp <= _fined[n] + OUTAGE;
        if (before - stakeOf(n) != (outage ? 0 : (before + 19) / 20) || n != LIAR) ++frauds;
        if (!outage) _fined[n] = block.timestamp;
        isClosed[d] = true;
        ++deeds;
    }

    function pass(uint40 time, uint8 blocks) external {
        for (uint256 d = 0; d < DEMANDS; ++d) {
            if (d >> 1 & 1 == LIAR) continue;
            draw(d);
            serve(d);
        }
        vm.roll(block.number + (blocks % 8 == 0 ? 300 : blocks % 4));
        vm.warp(block.timestamp + time % (time % 4 == 0 ? 2 * OUTAGE : 4));
    }

    /// @dev Leaves of others, too early, too late, or a second time.
    function lie(uint256 kind, uint256 d, uint256 by) external {
        (uint128 beacon,, uint40 deadline) = demands.demandOf(ids[d %= DEMANDS]);
        if (ids[d] == 0) return;
        address there = address(demands);
        (kind, by) = (kind % 5, by % ACTORS);
        bool over = isClosed[d] || block.timestamp > deadline;
        if (kind == 0) attempt(owner(by), there, abi.encodeCall(Demands.serve, (wanted(d), leaves(d, beacon, 1))));
        if (kind == 1 && (over || beacon == 0)) {
            attempt(owner(by), there, abi.encodeCall(Demands.serve, (wanted(d), leaves(d, beacon, 0))));
        }
        if (kind == 2 && (isClosed[d] || !over)) attempt(owner(by), there, abi.encodeCall(Demands.close, (wanted(d))));
        if (kind == 3 && (over || beacon != 0)) attempt(owner(by), there, abi.encodeCall(Demands.draw, (ids[d])));
        if (kind == 4) again(d);
    }

    function fundsOf(uint256 i) public view returns (uint96 free) {
        (free,) = demands.fundsOf(owner(i));
    }

    function isRunning(uint256 d) public view returns (bool) {
        (,, uint40 deadline) = demands.demandOf(ids[d]);
        return ids[d] != 0 && !isClosed[d] && block.timestamp <= deadline;
    }

    /// @dev Half of the bond is the node's, whoever brought the leaves.
    function paid(uint256 d, uint256 before) private {
        if (fundsOf(d >> 1 & 1) - before != BOND / 2) ++frauds;
        isClosed[d] = true;
        ++deeds;
    }

    function again(uint256 d) private {
        (Receipt memory receipt, RouteTerms memory terms) = papers(d);
        (bytes32 r, bytes32 vs) = signed(d >> 1 & 1, receipt);
        bytes memory data = abi.encodeCall(Demands.demand, (receipt, r, vs, terms, stageOf(d >> 1 & 1), Side.In));
        attempt(owner(2 + d % 2), address(demands), data);
    }

    function leafOf(uint256 d, uint256 position) private pure returns (bytes memory) {
        return abi.encodePacked(bytes32(d | 1), uint64(position << 32), uint32(position * 3));
    }

    function nodesOf(uint256 d) private pure returns (bytes32[] memory nodes) {
        nodes = new bytes32[](LAST);
        for (uint256 i = 0; i < LAST; ++i) {
            nodes[i] = Trees.leaf(leafOf(d, i));
        }
    }

    /// @dev What was drawn, or leaves beside it.
    function leaves(uint256 d, uint128 beacon, uint256 beside) private view returns (Opened[] memory shown) {
        shown = new Opened[](4);
        for (uint256 k = 0; k < 4; ++k) {
            uint256 position = (demands.drawn(wanted(d), beacon, k) >> 32) + beside;
            bytes memory elements = abi.encodePacked(uint32(position * 3));
            shown[k] = Opened(bytes32(d | 1), elements, Trees.path(nodesOf(d), position % LAST, true));
        }
    }

    function wanted(uint256 d) private view returns (Wanted memory) {
        (Receipt memory receipt,) = papers(d);
        bytes32 digest = court.receiptDigest(receipt);
        return Wanted(digest, receipt.inRoot, owner(d >> 1 & 1), owner(2 + d % 2), 0, LAST, 0, 0, 1);
    }

    /// @dev One receipt for each demand: the chunk tells them apart.
    function papers(uint256 d) private view returns (Receipt memory receipt, RouteTerms memory terms) {
        terms = termsOf(d >> 1 & 1, d >> 2 & 1, _manifest);
        receipt = Receipt(digestOf(terms), 0, uint32(d), 0, LAST, PEER, Trees.root(nodesOf(d), true), PEER, PEER);
    }
}
