// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Challenges} from "../../src/Challenges.sol";
import {Court} from "../../src/Court.sol";
import {Descent} from "../../src/Descent.sol";
import {Disputes} from "../../src/Disputes.sol";
import {Docket} from "../../src/Docket.sol";
import {LeafPair} from "../../src/Judge.sol";
import {Proofs} from "../../src/Proofs.sol";
import {Stakes} from "../../src/Stakes.sol";
import {Receipt} from "../../src/lib/Receipts.sol";
import {RouteTerms} from "../../src/lib/RouteTerms.sol";
import {Turn} from "../../src/lib/Stands.sol";
import {Traced} from "../../src/lib/Traced.sol";
import {Token} from "../../src/test/Token.sol";
import {Sessions} from "./Sessions.sol";
import {Stands} from "./Stands.sol";
import {Trees} from "./Trees.sol";

/// @title Disputes of two challengers with an honest node and a liar, whose traces have two leaves of one index
/// @dev The honest node does what it has to before any time passes. Dispute d: bits 0 challenger, 1 node, 2 route, 3
/// position. A route that has convicted is followed by another one. What must not succeed goes through `lie`.
contract DisputesHandler is Sessions, Stands {
    uint256 public constant DISPUTES = 16;
    uint64 private constant LEAVES = 5;
    uint8 private constant HEIGHT = 3;

    mapping(uint256 d => Fight) internal _fights;
    mapping(uint256 n => mapping(uint256 bit => uint256)) private _rounds;
    uint256 private _latest;
    mapping(uint256 n => mapping(uint256 route => uint256)) public convictions;

    constructor(Token token_, Stakes stakes_, Court court_, Disputes disputes_) Sessions(token_, stakes_, court_) {
        watch(disputes_);
    }

    function challenge(uint256 d, bool asks) external {
        Fight memory f = _fights[d %= DISPUTES];
        (uint256 n, address who) = (d >> 1 & 1, owner(2 + (d & 1)));
        (uint96 free,) = disputes.fundsOf(who);
        if ((f.id != 0 && !f.isClosed) || free < 2 * BOND) return;
        f.route = (d >> 2 & 1) + 2 * _rounds[n][d >> 2 & 1];
        (Receipt memory receipt, RouteTerms memory terms) = papers(n, f.route);
        (bytes32 r, bytes32 vs) = signed(n, receipt);
        (f.node, f.challenger, f.number, f.isClosed) = (owner(n), who, uint96(d >> 1), false);
        opened(f, tracedOf(d), court.receiptDigest(receipt), receipt.route, vm.addr(hotKey(n, 0)), asks);
        vm.prank(who);
        disputes.challenge(receipt, r, vs, terms, stageOf(n), uint32(d >> 3), f.number, asks);
        f.lying = 0;
        put(d, f);
        _latest = d;
    }

    function answer(uint256 d) public {
        Fight memory f = _fights[d = which(d)];
        if (!isRunning(f) || f.stand.turn > Turn.Asked) return;
        bytes32[] memory nodes = nodesOf(d);
        bytes32 root = Trees.root(nodesOf(d), true);
        bytes32[] memory opens = f.stand.turn == Turn.Asked ? nodes : new bytes32[](0);
        vm.prank(f.node, f.node);
        disputes.answer(disputeOf(f), root, LEAVES, opens);
        answered(f, root, LEAVES, HEIGHT, Trees.root(nodes, false), f.node);
        put(d, f);
    }

    function ask(uint256 d) external {
        Fight memory f = _fights[d = which(d)];
        (uint96 free,) = disputes.fundsOf(f.challenger);
        if (!isRunning(f) || f.stand.turn != Turn.Answered || free < BOND) return;
        vm.prank(f.challenger);
        disputes.ask(f.number, f.matter, wordsOf(f));
        asked(f, HEIGHT);
        put(d, f);
    }

    function open(uint256 d) public {
        Fight memory f = _fights[d = which(d)];
        if (!isRunning(f) || f.stand.turn != Turn.Opening || f.stand.height == 0) return;
        vm.prank(f.node, f.node);
        disputes.open(f.id, aboutOf(f), playOf(f), nodesOf(d));
        nodesOpened(f, Trees.root(nodesOf(d), false));
        put(d, f);
    }

    function pick(uint256 d, uint64 child) external {
        Fight memory f = _fights[d = which(d)];
        if (!isRunning(f) || f.stand.turn != Turn.Picking) return;
        child %= LEAVES;
        bytes32 node = nodesOf(d)[child];
        vm.prank(f.challenger);
        disputes.pick(f.number, aboutOf(f), playOf(f), child, node, Trees.path(nodesOf(d), child, false));
        picked(f, child, node);
        put(d, f);
    }

    /// @dev The liar's second leaf says that it is the first: it cannot be shown.
    function show(uint256 d) public {
        Fight memory f = _fights[d = which(d)];
        if (!isRunning(f) || f.stand.turn != Turn.Opening || f.stand.height != 0) return;
        bytes memory data = leafOf(d, f.stand.place);
        data = abi.encodePacked(uint16(data.length), data);
        bytes memory call = abi.encodeCall(Descent.show, (f.id, aboutOf(f), playOf(f), data));
        if (isLiars(d) && f.stand.place == 1) return attempt(f.node, address(disputes), call);
        vm.prank(f.node, f.node);
        (bool done,) = address(disputes).call(call);
        if (!done) revert("an own leaf was not believed");
        shown(f);
        put(d, f);
    }

    /// @dev By whom it may be, while any proof is heard.
    function prove(uint256 d, uint256 by) external {
        Fight memory f = _fights[d = which(d)];
        if (!isProvable(f) || !isLiars(d)) return;
        uint256 before = stakeOf(d >> 1 & 1);
        vm.prank(owner(by));
        disputes.proveTwice(disputeOf(f), pairOf(d), address(0));
        convicted(d, f, before);
    }

    /// @dev By anybody once a clock is over.
    function close(uint256 d, uint256 by) public {
        Fight memory f = _fights[d = which(d)];
        if (f.id == 0 || f.isClosed || !isOver(f, isConvicted(d, f))) return;
        bool guilty = isNodesTurn(f) || isConvicted(d, f);
        uint256 before = stakeOf(d >> 1 & 1);
        (uint96 free,) = disputes.fundsOf(f.node);
        vm.prank(owner(by));
        disputes.close(disputeOf(f));
        if (guilty) return convicted(d, f, before);
        (uint96 later,) = disputes.fundsOf(f.node);
        // half of what the challenger loses is the node's
        if (later - free != BOND * bondsOf(f) / 2 || stakeOf(d >> 1 & 1) != before) ++frauds;
        f.isClosed = true;
        put(d, f);
    }

    /// @dev What lies with a number goes back to whose it is.
    function unbond(uint256 d) external {
        Fight memory f = _fights[d = which(d)];
        if (f.lying == 0) return;
        (uint96 free,) = disputes.fundsOf(f.challenger);
        vm.prank(f.challenger);
        disputes.unbond(f.number);
        (uint96 later,) = disputes.fundsOf(f.challenger);
        if (later - free != BOND * f.lying) ++frauds;
        f.lying = 0;
        put(d, f);
    }

    function pass(uint40 time) external {
        for (uint256 d = 0; d < DISPUTES; ++d) {
            if (isLiars(d) || !isRunning(_fights[d])) continue;
            answer(d);
            open(d);
            show(d);
        }
        vm.warp(block.timestamp + time % (time % 4 == 0 ? UNBONDING : 4));
    }

    /// @dev Proofs against the honest, acts of others, too early, too late, or on what is over.
    function lie(uint256 kind, uint256 d, uint256 by) external {
        Fight memory f = _fights[d = which(d)];
        if (f.id == 0) return;
        address who = owner(by);
        kind %= 9;
        address there = address(disputes);
        bytes memory closing = abi.encodeCall(Challenges.close, (disputeOf(f)));
        bytes memory proving = provingTwice(d, f);
        bytes memory asking = abi.encodeCall(Descent.ask, (f.number, f.matter, wordsOf(f)));
        if (kind == 0 && (!isLiars(d) || !isProvable(f))) attempt(who, there, proving);
        if (kind == 1 && (f.isClosed || !isOver(f, isConvicted(d, f)))) attempt(who, there, closing);
        if (kind == 2 && who != f.node) attempt(who, there, answering(d, f));
        if (kind == 3 && (who != f.challenger || f.stand.turn != Turn.Answered)) attempt(who, there, asking);
        if (kind == 4 && !f.isClosed) again(d, f);
        bool isLate = f.isClosed || f.stand.turn > Turn.Asked;
        if (kind == 5 && isLate) attempt(f.node, there, answering(d, f));
        if (kind == 6) attempt(f.challenger, there, picking(f, nodesOf(d)[0], 1));
        if (kind == 8) unbonding(f, by);
        if (kind == 7) attempt(who, address(court), abi.encodeCall(court.convict, (owner(0), WORK, WORK, who)));
    }

    function fight(uint256 d) external view returns (bytes32 id, bool isClosed, uint16 bonds, address challenger) {
        Fight memory f = _fights[d];
        return (f.id, f.isClosed, f.id == 0 || f.isClosed ? f.lying : bondsOf(f), f.challenger);
    }

    function isConvicted(uint256 d, Fight memory f) private view returns (bool) {
        return convictions[d >> 1 & 1][f.route] != 0;
    }

    /// @dev Of an open dispute, or where nothing lies; and by a node's owner, who has no disputes.
    function unbonding(Fight memory f, uint256 by) private {
        bytes memory data = abi.encodeCall(Docket.unbond, (f.number));
        if (f.lying == 0) attempt(f.challenger, address(disputes), data);
        attempt(owner(by % NODES), address(disputes), data);
    }

    function answering(uint256 d, Fight memory f) private pure returns (bytes memory) {
        bytes32 root = Trees.root(nodesOf(d), true);
        return abi.encodeCall(Challenges.answer, (disputeOf(f), root, LEAVES, new bytes32[](0)));
    }

    function provingTwice(uint256 d, Fight memory f) private pure returns (bytes memory) {
        return abi.encodeCall(Proofs.proveTwice, (disputeOf(f), pairOf(d), address(0)));
    }

    function picking(Fight memory f, bytes32 node, uint64 child) private pure returns (bytes memory) {
        return abi.encodeCall(Descent.pick, (f.number, aboutOf(f), playOf(f), child, node, new bytes32[](0)));
    }

    /// @dev A number that is taken is not taken again.
    function again(uint256 d, Fight memory f) private {
        (Receipt memory receipt, RouteTerms memory terms) = papers(d >> 1 & 1, f.route);
        (bytes32 r, bytes32 vs) = signed(d >> 1 & 1, receipt);
        uint32 position = uint32(d >> 3);
        bytes memory data = abi.encodeCall(
            Challenges.challenge, (receipt, r, vs, terms, stageOf(d >> 1 & 1), position, f.number, false)
        );
        attempt(f.challenger, address(disputes), data);
    }

    /// @dev A route costs a node something once; whoever else was right about it keeps its bonds, too.
    function convicted(uint256 d, Fight memory f, uint256 before) private {
        (uint256 n, uint256 route) = (d >> 1 & 1, f.route);
        bool first = convictions[n][route] == 0;
        uint256 lost = before - stakeOf(n);
        if (first ? lost == 0 && before != 0 : lost != 0) ++frauds;
        if (n != LIAR) ++frauds; // the honest node answers always, and in time
        if (first) (convictions[n][route], _rounds[n][d >> 2 & 1]) = (block.timestamp, route / 2 + 1);
        if (court.convictedOf(f.facts.route, f.node) != convictions[n][route]) ++frauds;
        (f.isClosed, f.lying) = (true, bondsOf(f));
        put(d, f);
    }

    /// @dev Mostly the newest one: else few plays would get to the end of a descent.
    function which(uint256 d) private view returns (uint256) {
        return d < type(uint256).max / 4 ? d % DISPUTES : _latest;
    }

    /// @dev What is known of a dispute is what the contract keeps.
    function put(uint256 d, Fight memory f) private {
        bytes32 kept = f.isClosed ? bytes32(1 + uint256(f.lying)) : keptOf(f);
        if (disputes.keptOf(f.id) != kept) revert("the dispute stands elsewhere");
        _fights[d] = f;
        ++deeds;
    }

    function isLiars(uint256 d) private pure returns (bool) {
        return d >> 1 & 1 == LIAR;
    }

    function leafOf(uint256 d, uint64 place) private pure returns (bytes memory) {
        return abi.encodePacked(bytes32(uint256(place) + 7), isLiars(d) && place == 1 ? 0 : place);
    }

    function nodesOf(uint256 d) private pure returns (bytes32[] memory nodes) {
        nodes = new bytes32[](LEAVES);
        for (uint64 i = 0; i < LEAVES; ++i) {
            nodes[i] = Trees.leaf(leafOf(d, i));
        }
    }

    /// @dev The first two leaves, as if both were the first.
    function pairOf(uint256 d) private pure returns (LeafPair memory) {
        (bytes memory left, bytes memory right) = (abi.encodePacked(uint256(7)), abi.encodePacked(uint256(8)));
        return LeafPair(0, left, Trees.path(nodesOf(d), 0, true), right, Trees.path(nodesOf(d), 1, true));
    }

    function papers(uint256 n, uint256 route) private view returns (Receipt memory receipt, RouteTerms memory terms) {
        terms = termsOf(n, route, WORK);
        receipt = Receipt(digestOf(terms), 0, 0, 0, 2, PEER, PEER, PEER, PEER);
    }

    function tracedOf(uint256 d) private pure returns (Traced memory) {
        return Traced(WORK, keccak256(abi.encodePacked(PEER, PEER, PEER, PEER)), 0, 1, uint32(d >> 3));
    }
}
