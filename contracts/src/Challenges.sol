// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Descent} from "./Descent.sol";
import {Dispute, Facts} from "./Docket.sol";
import {Judge} from "./Judge.sol";
import {Stakes} from "./Stakes.sol";
import {Summoned, Verdicts} from "./Verdicts.sol";
import {Bonds} from "./lib/Bonds.sol";
import {Finders} from "./lib/Finders.sol";
import {Receipt, Receipts} from "./lib/Receipts.sol";
import {RouteStage, RouteTerms, Routes} from "./lib/RouteTerms.sol";
import {Stand, Turn} from "./lib/Stands.sol";
import {IToken} from "./lib/Transfers.sol";

/// @dev Times of a dispute in seconds, and what a challenge puts at stake. delay: after a route's expiry. descent: each
/// side's for all of its moves.
struct DisputeTerms {
    uint96 bond;
    uint40 delay;
    uint40 answer;
    uint40 proof;
    uint40 descent;
}

/// @title Challenges of outputs in the exact profile
/// @notice A challenger names a position of a signed receipt and puts down a bond. The node posts the root of its trace of
/// that position. Until the clock ends, anybody may show one element of it wrong.
/// @dev Open -> answered -> closed, with a descent between the last two where the trace is withheld; each by time if by
/// nothing else. Silence costs what a proven lie costs. A node is convicted of a route one time.
abstract contract Challenges is Finders, Descent {
    bytes32 private constant EXACT = keccak256("tallystick.profile.exact-1");

    Verdicts private immutable _court;
    Stakes private immutable _stakes;
    Judge internal immutable _judge;
    uint40 private immutable _delay;
    uint40 private immutable _answer;
    uint40 private immutable _proof;

    /// @dev The node finds its receipt by the digest, and the other facts in it and in its route; everybody else in the
    /// transaction.
    /// @param where As in Facts.
    /// @param key Who signed the receipt.
    event Challenged(
        bytes32 indexed id,
        address indexed node,
        bytes32 receipt,
        uint256 where,
        address key,
        bool asked,
        uint40 deadline
    );
    event Answered(bytes32 indexed id, bytes32 root, uint64 leaves, address player, uint40 deadline);
    event Upheld(bytes32 indexed id, uint256 taken);
    event Acquitted(bytes32 indexed id, address indexed node);

    /// @notice The receipt does not cover the position.
    error PositionInvalid(uint32 position);
    /// @notice The terms are not those of the receipt's route, or the stage is not in its place of it.
    error RouteNotOpened();
    /// @notice Only outputs in the exact profile are judged by arithmetic.
    error ProfileNotExact(bytes32 profile);
    /// @notice Challenges of that route ended.
    error ChallengeTooLate(uint256 end);
    /// @notice The key that signed is not the stage's: `node` answers for it, zero is nobody.
    error NotOnRoute(address node);
    error DisputeAnswered(bytes32 id);
    error DisputeNotAnswered(bytes32 id);
    error RootMissing();
    /// @notice The court obeys other disputes.
    error CourtForeign(address court);
    /// @notice Stake could leave before a dispute ends, or a clock is zero.
    error TermsInvalid(uint256 longest, uint256 unbonding);

    constructor(Verdicts court_, Judge judge_, DisputeTerms memory terms)
        Bonds(IToken(Stakes(court_.stakes()).token()), terms.bond)
        Descent(terms.descent, terms.proof)
    {
        if (court_.arbiters().disputes != address(this)) revert CourtForeign(address(court_));
        Stakes stakes_ = Stakes(court_.stakes());
        uint256 longest = uint256(terms.delay) + terms.answer + 2 * (uint256(terms.proof) + terms.descent);
        uint256 limit = stakes_.unbonding();
        bool isZero = terms.bond == 0 || terms.answer == 0 || terms.proof == 0 || terms.descent == 0;
        if (isZero || longest >= limit) revert TermsInvalid(longest, limit);
        (_court, _stakes, _judge) = (court_, stakes_, judge_);
        (_delay, _answer, _proof) = (terms.delay, terms.answer, terms.proof);
    }

    /// @notice Says that a receipt's output is wrong at a position: its earliest wrong one. Puts down the bond.
    /// @param terms The fields of the receipt's route, its stages as the hashes of their structs.
    /// @param stage The receipt's stage of it, opened.
    /// @param number What the caller names this dispute by: any number that none of its open disputes has.
    /// @param asks Whether the node is to open its trace's tree with the answer, because it gives nothing out: two bonds.
    function challenge(
        Receipt calldata receipt,
        bytes32 r,
        bytes32 vs,
        RouteTerms calldata terms,
        RouteStage calldata stage,
        uint32 position,
        uint96 number,
        bool asks
    ) external returns (bytes32 id) {
        if (position < receipt.first || position >= receipt.last) {
            revert PositionInvalid(position);
        }
        mustBeInTime(terms);
        uint40 deadline = uint40(block.timestamp) + _answer;
        uint40 end = deadline + 2 * (_proof + descentTime());
        Summoned memory found = _court.summon(Receipts.structHash(receipt), Routes.structHash(terms), r, vs, end);
        if (found.route != receipt.route || !Routes.holds(terms, receipt.stage, stage)) revert RouteNotOpened();
        if (found.node != stage.node) revert NotOnRoute(found.node);
        bytes32 roots = keccak256(abi.encodePacked(receipt.inRoot, receipt.kvRoot, receipt.outRoot, terms.sampler));
        uint256 where = (uint256(stage.start) << 64) | (uint256(stage.end) << 32) | position;
        where |= uint256(uint160(found.node)) << 96;
        id = idOf(msg.sender, number);
        start(id, Facts(terms.manifest, roots, found.receipt, found.route, where), found.signer, asks, deadline);
    }

    /// @notice Posts the root of the trace of the position in question, and how many leaves it has. By the node's owner, or
    /// by a key of it.
    /// @param nodes The first nodes of the tree where the challenger has asked for them, else none.
    function answer(Dispute calldata dispute, bytes32 root, uint64 leaves, bytes32[] calldata nodes) external {
        bytes32 id = dispute.id;
        bytes32 matter = matterOf(dispute.facts);
        Stand memory next = mustRun(id, aboutOf(matter, dispute.stand.root), dispute.stand.play);
        if (next.turn > Turn.Asked) revert DisputeAnswered(id);
        address node = nodeIn(dispute.facts.where);
        bool isDefender = msg.sender == next.player || msg.sender == node || nodeOf(msg.sender) == node;
        if (!isDefender) revert NotDefender(msg.sender);
        if (root == bytes32(0)) revert RootMissing();
        mustCount(leaves);
        (next.leaves, next.player) = (leaves, msg.sender);
        next.proofs = uint40(block.timestamp) + _proof;
        if (next.turn == Turn.Asked) {
            answeredOpen(next, root, nodes);
        } else {
            if (nodes.length != 0) revert NodesForeign();
            (next.turn, next.deadline) = (Turn.Answered, next.proofs);
        }
        keep(id, aboutOf(matter, root), next);
        emit Answered(id, root, leaves, msg.sender, next.deadline);
        if (nodes.length != 0) emit NodesOpened(id, next.node, next.deadline);
    }

    /// @notice Ends a dispute whose clock has run out: a node whose turn it was is convicted, one that nobody proved wrong
    /// is acquitted towards that challenger. By anybody.
    function close(Dispute calldata dispute) external {
        Stand memory stand = mustStand(dispute);
        if (block.timestamp <= stand.deadline) revert ClockRunning(stand.deadline);
        bool silent = stand.turn <= Turn.Asked || stand.turn == Turn.Opening;
        address node = nodeIn(dispute.facts.where);
        if (silent || _court.convictedOf(dispute.facts.route, node) != 0) return convict(dispute, stand.turn, address(0));
        // a challenger that does not go on shortens nobody else's time
        if (block.timestamp <= stand.proofs) revert ClockRunning(stand.proofs);
        closed(dispute.id, 0);
        forfeitBonds(challengerOf(dispute.id), node, bondsOf(stand.turn));
        emit Acquitted(dispute.id, node);
    }

    function court() external view returns (address) {
        return address(_court);
    }

    /// @notice The judge, and the seconds for challenges after a route's expiry, for an answer, for proofs, and for each
    /// side's moves in a descent.
    function disputeTerms()
        external
        view
        returns (address judge, uint40 delay, uint40 toAnswer, uint40 toProve, uint40 toDescend)
    {
        return (address(_judge), _delay, _answer, _proof, descentTime());
    }

    function mustBeInTime(RouteTerms calldata terms) private view {
        if (terms.profile != EXACT) revert ProfileNotExact(terms.profile);
        uint256 end = uint256(terms.expiry) + _delay;
        if (block.timestamp > end) revert ChallengeTooLate(end);
    }

    /// @dev The key that signed the receipt plays until somebody has answered, so that nobody has to be asked whose it is.
    function start(bytes32 id, Facts memory facts, address key, bool asks, uint40 deadline) private {
        Stand memory stand;
        stand.player = key;
        (stand.turn, stand.deadline) = (asks ? Turn.Asked : Turn.Open, deadline);
        bytes32 matter = keccak256(abi.encode(facts)); // matterOf, of what lies in memory
        enter(id, aboutOf(matter, bytes32(0)), stand, bondsOf(stand.turn));
        emit Challenged(id, nodeIn(facts.where), facts.receipt, facts.where, key, asks, deadline);
    }

    /// @dev Also while a descent is being fought, and until the proofs' own end in any case.
    function answered(Dispute calldata dispute) internal view returns (Turn) {
        Stand memory stand = mustStand(dispute);
        if (stand.turn <= Turn.Asked) revert DisputeNotAnswered(dispute.id);
        uint40 end = stand.proofs > stand.deadline ? stand.proofs : stand.deadline;
        if (block.timestamp > end) revert ClockRunOut(end);
        return stand.turn;
    }

    /// @dev Slashes once for a route; other challengers of it that were in time keep their bonds, too.
    function convict(Dispute calldata dispute, Turn turn, address finder) internal {
        closed(dispute.id, bondsOf(turn));
        address rewarded = finder == address(0) ? challengerOf(dispute.id) : finder;
        Facts calldata facts = dispute.facts;
        uint256 taken = _court.convict(nodeIn(facts.where), facts.route, facts.receipt, rewarded);
        emit Upheld(dispute.id, taken);
    }

    /// @dev What a node signed for a receipt: in the Court's domain.
    function receiptDigest(Receipt calldata receipt) internal view returns (bytes32) {
        return keccak256(abi.encodePacked(hex"1901", _court.domainSeparator(), Receipts.structHash(receipt)));
    }

    /// @dev The node that answers for a key, zero for nobody's.
    function nodeOf(address signer) internal view returns (address) {
        return _stakes.nodeOf(signer);
    }

    /// @dev At most Docket's MOST_BONDS: with a third one a dispute that is over would look like an open one.
    function bondsOf(Turn turn) private pure returns (uint16) {
        return turn == Turn.Open || turn == Turn.Answered ? 1 : 2;
    }
}
