// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Reliability} from "./Reliability.sol";
import {Stakes} from "./Stakes.sol";
import {Summoned, Verdicts} from "./Verdicts.sol";
import {Funds} from "./lib/Funds.sol";
import {JuryPay, Rates} from "./lib/JuryPay.sol";
import {Receipt, Receipts} from "./lib/Receipts.sol";
import {RouteStage, RouteTerms, Routes} from "./lib/RouteTerms.sol";
import {IToken} from "./lib/Transfers.sol";

/// @dev Money, seconds, and blocks. bond: of the first accusation and of an answer. fee, vote: what a juror gets and puts
/// down. delay: after a route's expiry. lag: blocks between what has a jury drawn and the beacon that draws it.
struct JuryTerms {
    uint96 bond;
    uint96 fee;
    uint96 vote;
    uint40 delay;
    uint40 answer;
    uint40 draw;
    uint40 commit;
    uint40 reveal;
    uint40 appeal;
    uint32 lag;
}

/// @dev What a case is about; its hash is the case's id. barred: the nodes of the route, the accuser, the accuser's node.
struct Accusation {
    bytes32 receipt;
    bytes32 route;
    address node;
    address accuser;
    uint32 position;
    address[] barred;
}

/// @title Accusations of outputs that no arithmetic can judge
/// @notice Anybody who puts down a bond may say that an output in a float profile is wrong. The node answers with a bond of
/// its own, or is convicted: silence is never cheaper than guilt. A jury judges what is answered.
abstract contract Accusations is Funds {
    /// @dev One slot. since: of the phase. armed: the block in which a jury was asked for. level: the bond's doublings.
    /// verdict: of the first jury, once there is an appeal. byAccuser: whose appeal it is.
    struct Case {
        uint40 since;
        uint40 armed;
        uint8 phase;
        uint8 level;
        uint8 verdict;
        bool byAccuser;
    }

    uint8 internal constant OPEN = 1;
    uint8 internal constant ANSWERED = 2;
    uint8 internal constant VOTING = 3;
    uint8 internal constant APPEALED = 4;
    uint8 internal constant REVOTING = 5;
    uint8 internal constant CLOSED = 6;
    bytes32 private constant EXACT = keccak256("tallystick.profile.exact-1");
    uint8 private constant MAX_LEVEL = 15;
    /// @dev Half of a lost bond is the winner's; the other half pays both juries.
    uint96 private constant LEAST_FEES = 24;

    Verdicts internal immutable _court;
    Stakes internal immutable _stakes;
    Reliability internal immutable _scores;
    uint96 internal immutable _bond;
    uint96 internal immutable _fee;
    uint96 internal immutable _vote;
    uint40 private immutable _delay;
    uint40 private immutable _answer;
    uint40 internal immutable _draw;
    uint40 internal immutable _commit;
    uint40 internal immutable _reveal;
    uint40 internal immutable _appeal;
    uint32 internal immutable _lag;

    mapping(bytes32 id => Case) internal _cases;
    mapping(bytes32 accuserAndNode => uint8) private _running;

    event Accused(bytes32 indexed id, address indexed node, Accusation facts, uint96 bond, uint40 deadline);
    event Answered(bytes32 indexed id, uint40 deadline);
    /// @notice outcome: 0 nothing was decided, 1 acquitted, 2 wrong but not proven so far that stake may be taken, 3 convicted.
    event Closed(bytes32 indexed id, address indexed node, uint8 outcome, uint256 taken);

    /// @notice The receipt does not cover the position.
    error PositionInvalid(uint32 position);
    /// @notice The terms are not those of the receipt's route, or the stages are not all of its stages.
    error RouteNotOpened();
    /// @notice Outputs in the exact profile are judged by arithmetic, not by a jury.
    error ProfileExact();
    /// @notice Challenges of that route ended.
    error ChallengeTooLate(uint256 end);
    /// @notice The key that signed is not the stage's: `node` answers for it.
    error NotOnRoute(address node);
    error DisputeKnown(bytes32 id);
    /// @notice There is no such case, or it is not where that act belongs.
    error PhaseWrong(bytes32 id, uint8 phase);
    /// @notice The accuser has too many cases open against the node.
    error TooManyAgainst(address node, uint8 limit);
    error NotDefender(address caller);
    error ClockRunOut(uint256 deadline);
    error ClockRunning(uint256 deadline);
    /// @notice The court obeys another jury.
    error CourtForeign(address court);
    /// @notice Stake could leave before a case ends, or a clock is zero.
    error TermsInvalid(uint256 longest, uint256 unbonding);
    /// @notice The bond cannot pay both juries, would overflow when doubled, or a juror has nothing to gain or to lose.
    error BondInvalid(uint96 bond, uint256 least);

    constructor(Verdicts court_, JuryTerms memory t) Funds(IToken(Stakes(court_.stakes()).token())) {
        if (court_.arbiters().jury != address(this)) revert CourtForeign(address(court_));
        uint256 least = uint256(t.fee) * LEAST_FEES;
        bool tooBig = t.bond > type(uint96).max >> (MAX_LEVEL + 1);
        if (t.fee == 0 || t.vote < JuryPay.PARTS || t.bond < least || tooBig) revert BondInvalid(t.bond, least);
        (_court, _stakes) = (court_, Stakes(court_.stakes()));
        _scores = Reliability(court_.arbiters().reliability);
        (_bond, _fee, _vote, _lag) = (t.bond, t.fee, t.vote, t.lag);
        (_delay, _answer, _draw, _commit, _reveal, _appeal) = (t.delay, t.answer, t.draw, t.commit, t.reveal, t.appeal);
        bool isMissing = t.answer == 0 || t.draw == 0 || t.commit < 2 || t.reveal == 0 || t.appeal == 0 || t.lag == 0;
        uint256 longest = uint256(t.delay) + longestCase();
        uint256 limit = _stakes.unbonding();
        if (isMissing || longest >= limit) revert TermsInvalid(longest, limit);
    }

    /// @notice Says that a receipt's output is wrong at a position. Puts down the bond: twice as much for each case that the
    /// caller has open against that node.
    /// @param terms The fields of the receipt's route, its stages as the hashes of their structs.
    /// @param stages All of them, opened: their nodes are no jurors.
    function accuse(
        Receipt calldata receipt,
        bytes32 r,
        bytes32 vs,
        RouteTerms calldata terms,
        RouteStage[] calldata stages,
        uint32 position
    ) external returns (bytes32 id) {
        if (position < receipt.first || position >= receipt.last) revert PositionInvalid(position);
        if (terms.profile == EXACT) revert ProfileExact();
        uint256 end = uint256(terms.expiry) + _delay;
        if (block.timestamp > end) revert ChallengeTooLate(end);
        uint40 until = uint40(block.timestamp + longestCase());
        Summoned memory found = _court.summon(Receipts.structHash(receipt), Routes.structHash(terms), r, vs, until);
        if (found.route != receipt.route) revert RouteNotOpened();
        address[] memory barred = barredBy(terms, stages);
        if (receipt.stage >= stages.length || barred[receipt.stage] != found.node) revert NotOnRoute(found.node);
        return open(Accusation(found.receipt, found.route, found.node, msg.sender, position, barred));
    }

    /// @notice Says that the output is right, and puts down as much as an accusation costs, out of the node's funds. By the
    /// node's owner, or by a key of it.
    function answer(Accusation calldata facts) external {
        (bytes32 id, Case storage self) = inPhase(facts, OPEN);
        mustBeBy(self.since + _answer);
        if (!isDefender(facts)) revert NotDefender(msg.sender);
        lock(facts.node, _bond);
        (self.since, self.armed, self.phase) = (uint40(block.timestamp), uint40(block.number), ANSWERED);
        emit Answered(id, uint40(block.timestamp) + _draw);
    }

    /// @notice Where a case stands: 1 accused, 2 answered, 3 drawn, 4 appealed, 5 drawn again, 6 closed; since when, and the
    /// block after which its jury is drawn; the accuser's bond; the first verdict, once there is an appeal.
    function caseOf(bytes32 id)
        external
        view
        returns (uint8 phase, uint40 since, uint40 armed, uint96 bond, uint8 verdict)
    {
        Case storage self = _cases[id];
        return (self.phase, self.since, self.armed, _bond << self.level, self.verdict);
    }

    function court() external view returns (address) {
        return address(_court);
    }

    /// @notice What the jury was made with.
    function juryTerms() external view returns (JuryTerms memory) {
        return JuryTerms(_bond, _fee, _vote, _delay, _answer, _draw, _commit, _reveal, _appeal, _lag);
    }

    /// @dev Accused, judged, appealed, judged again; then as long as an appeal to have it closed.
    function longestCase() internal view returns (uint256) {
        return uint256(_answer) + 2 * (uint256(_draw) + _commit + _reveal + _appeal);
    }

    function inPhase(Accusation calldata facts, uint8 phase) internal view returns (bytes32 id, Case storage self) {
        id = keccak256(abi.encode(facts));
        self = _cases[id];
        if (self.phase != phase) revert PhaseWrong(id, self.phase);
    }

    /// @dev The last second is still in time.
    function mustBeBy(uint256 deadline) internal view {
        if (block.timestamp > deadline) revert ClockRunOut(deadline);
    }

    function mustBeAfter(uint256 deadline) internal view {
        if (block.timestamp <= deadline) revert ClockRunning(deadline);
    }

    function isDefender(Accusation calldata facts) internal view returns (bool) {
        return msg.sender == facts.node || _stakes.nodeOf(msg.sender) == facts.node;
    }

    function rates() internal view returns (Rates memory) {
        return Rates(_fee, _vote);
    }

    /// @dev Ends a case: with that much for the accuser, and a slash where it is guilty.
    function finish(bytes32 id, Accusation calldata facts, uint8 outcome, bool guilty, uint96 back) internal {
        _cases[id].phase = CLOSED;
        --_running[keccak256(abi.encode(facts.accuser, facts.node))];
        quit(facts.accuser, back, 1);
        uint256 taken = guilty ? _court.convict(facts.node, facts.route, facts.receipt, facts.accuser) : 0;
        emit Closed(id, facts.node, outcome, taken);
    }

    function answerEnd(Case storage self) internal view returns (uint256) {
        return uint256(self.since) + _answer;
    }

    function open(Accusation memory facts) private returns (bytes32 id) {
        id = keccak256(abi.encode(facts));
        Case storage self = _cases[id];
        if (self.phase != 0) revert DisputeKnown(id);
        bytes32 pair = keccak256(abi.encode(facts.accuser, facts.node));
        uint8 level = _running[pair];
        if (level > MAX_LEVEL) revert TooManyAgainst(facts.node, MAX_LEVEL + 1);
        uint96 bond = _bond << level;
        enter(facts.accuser, bond, 1);
        _running[pair] = level + 1;
        (self.since, self.phase, self.level) = (uint40(block.timestamp), OPEN, level);
        emit Accused(id, facts.node, facts, bond, uint40(block.timestamp) + _answer);
    }

    /// @dev Who has a side in it.
    function barredBy(RouteTerms calldata terms, RouteStage[] calldata stages)
        private
        view
        returns (address[] memory barred)
    {
        uint256 count = stages.length;
        if (count != terms.stages.length) revert RouteNotOpened();
        barred = new address[](count + 2);
        for (uint256 i = 0; i < count; ++i) {
            if (!Routes.holds(terms, i, stages[i])) revert RouteNotOpened();
            barred[i] = stages[i].node;
        }
        (barred[count], barred[count + 1]) = (msg.sender, _stakes.nodeOf(msg.sender));
    }
}
