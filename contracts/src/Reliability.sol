// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Credits} from "./Credits.sol";
import {DirectScores} from "./DirectScores.sol";
import {Clocks, Posting, ScoreRing} from "./ScoreRing.sol";
import {Stakes} from "./Stakes.sol";
import {Finders} from "./lib/Finders.sol";
import {Gap, IEvidence, IPosterCourt, Leaf, ScoreLeaves} from "./lib/ScoreLeaves.sol";
import {Scores} from "./lib/Scores.sol";
import {IToken} from "./lib/Transfers.sol";

/// @title How far each node can be relied upon
/// @notice After each epoch a bonded node posts one Merkle root over all nodes' scores. What belongs
/// into it follows from what the chain knows, so anybody can make it, and anybody who finds one wrong
/// leaf has the root rejected and its poster slashed. The same root is the table of the lottery.
/// Challenges name a finder, who gets the fee and has committed to keccak256(abi.encode(posting, salt)): what is wrong with a
/// root is there for all to see, so the salt hides which one it is about. Zero: nobody gets it, and nobody has to commit.
/// @dev Invariants: a root whose challenge time is over never falls; a challenge of a sound root
/// reverts with NothingWrong; whatever anybody does, an epoch's root is decided when the next may come.
contract Reliability is ScoreRing, DirectScores, Credits, Finders {
    /// @dev One slot. The last demand for the leaves of an epoch's root; without a deadline the bond was given back.
    struct Demand {
        address demander;
        uint40 deadline;
    }

    uint40 private constant MAX_HALF_LIFE = 3650 days;

    IEvidence private immutable _evidence;
    uint96 private immutable _demandBond;
    uint96 private immutable _reward;
    uint256 private immutable _keptOverEpoch;

    mapping(uint256 epoch => Demand) private _demands;

    event LeavesDemanded(uint256 indexed epoch, address indexed demander, uint40 deadline);
    /// @param rows All leaves, so that no way of calling can hide them from a challenger.
    event LeavesShown(uint256 indexed epoch, address indexed by, bytes rows);
    event EpochRejected(uint256 indexed epoch, address indexed poster, address indexed finder, uint256 burnt);
    event Rewarded(uint256 indexed epoch, address indexed poster, uint96 amount);

    /// @notice What was shown is as it should be.
    error NothingWrong();
    /// @notice The time for it is over, or it has been done.
    error TooLate(uint256 epoch);
    error NotDemanded(uint256 epoch);
    error DeadlineAhead(uint256 deadline);
    /// @notice The list is not what the root was made of.
    error LeavesForeign(bytes32 root, uint256 total);
    /// @notice The root that the posting continues is another one.
    error BaseForeign(uint256 base);
    /// @notice Nobody has yet paid in what the reward takes.
    error RewardUnfunded(uint256 available);
    error HalfLifeInvalid(uint256 halfLife);
    error AmountZero();
    error AddressMissing();
    /// @notice The stakes obey another court.
    error StakesForeign(address stakes);

    /// @param court_ Slashes posters; may be an address whose contract is deployed next, and so may `evidence_`.
    /// @param genesis_ The first second of epoch 1, as the evidence counts.
    /// @param demandBond_ Must be worth the gas of showing as many leaves as there can be.
    /// @param reward_ For a root that came to count, out of what anybody has sent to this contract.
    constructor(
        Stakes stakes_,
        address court_,
        IEvidence evidence_,
        Clocks memory clocks,
        uint40 genesis_,
        uint16 capacity_,
        uint96 demandBond_,
        uint96 reward_
    ) ScoreRing(stakes_, clocks, genesis_, capacity_) DirectScores(court_, clocks.halfLife) Credits(IToken(stakes_.token())) {
        if (stakes_.court() != court_) revert StakesForeign(address(stakes_));
        if (address(evidence_) == address(0)) revert AddressMissing();
        if (clocks.halfLife == 0 || clocks.halfLife > MAX_HALF_LIFE) revert HalfLifeInvalid(clocks.halfLife);
        if (demandBond_ == 0) revert AmountZero();
        (_evidence, _demandBond, _reward) = (evidence_, demandBond_, reward_);
        _keptOverEpoch = Scores.kept(clocks.epoch, clocks.halfLife);
    }

    /// @notice Asks for all leaves of a root that does not count yet. The bond goes to who shows them.
    function demand(Posting calldata posting) external guarded {
        uint24 epoch = posting.epoch;
        if (standing(posting) != POSTED || block.timestamp >= activeAtOf(epoch)) revert TooLate(epoch);
        release(epoch); // of a demand for a root that was rejected since
        uint40 deadline = uint40(block.timestamp) + _response;
        _demands[epoch] = Demand(msg.sender, deadline);
        mark(posting, activeAtOf(epoch), DEMANDED);
        emit LeavesDemanded(epoch, msg.sender, deadline);
        takeBond(_demandBond);
    }

    /// @notice Shows the leaves of a root; anybody who knows them may. They lie in the log, for all to
    /// check, and the time until the root counts begins again.
    /// @param rows For each node in order: address, uint96 width, uint32 a, uint32 b, uint16 qos, packed.
    function show(Posting calldata posting, bytes calldata rows) external {
        uint24 epoch = posting.epoch;
        if (standing(posting) != DEMANDED) revert NotDemanded(epoch);
        if (block.timestamp >= _demands[epoch].deadline) revert TooLate(epoch);
        (bytes32 root, uint256 total) = ScoreLeaves.rootOf(rows, uint40(endOf(epoch)));
        if (root != posting.root || total != posting.total) revert LeavesForeign(root, total);
        mark(posting, block.timestamp + _activation, SHOWN);
        delete _demands[epoch];
        credit(msg.sender, _demandBond);
        emit LeavesShown(epoch, msg.sender, rows);
    }

    /// @notice Rejects a root whose leaves were demanded and not shown in time. The fee is the demander's, whoever calls.
    function expire(Posting calldata posting) external {
        if (standing(posting) != DEMANDED) revert NotDemanded(posting.epoch);
        Demand memory self = _demands[posting.epoch];
        if (block.timestamp < self.deadline) revert DeadlineAhead(self.deadline);
        reject(posting, self.demander);
    }

    /// @notice Gives a bond back to who demanded leaves in vain, however long ago.
    function recover(uint24 epoch) external {
        Demand storage self = _demands[epoch];
        if (self.deadline == 0) revert NotDemanded(epoch);
        if (block.timestamp < self.deadline) revert DeadlineAhead(self.deadline);
        release(epoch);
    }

    /// @notice Proves that the posted number of tickets is wrong.
    function challengeTotal(Posting calldata posting, address finder, bytes32 salt) external {
        mustBeOpen(posting);
        if (posting.total == totalAt(posting.epoch)) revert NothingWrong();
        found(posting, finder, salt);
    }

    /// @notice Proves that another node was drawn to post, and still had the time.
    /// @param leaf Of the table that the posting continues: whose ticket was drawn.
    function challengeDraw(
        Posting calldata posting,
        Posting calldata base,
        Leaf calldata leaf,
        bytes32[] calldata proof,
        address finder,
        bytes32 salt
    ) external {
        mustBeOpen(posting);
        mustBeBase(posting, base);
        if (base.epoch == 0 || posting.postedAt >= endOf(posting.epoch) + _exclusive) revert NothingWrong();
        ScoreLeaves.check(leaf, proof, base.root);
        uint256 ticket = drawnTicket(base, posting.epoch);
        bool drawn = leaf.stakeFrom <= ticket && ticket < leaf.stakeTo;
        if (!drawn || leaf.node == posting.poster) revert NothingWrong();
        found(posting, finder, salt);
    }

    /// @notice Proves with two leaves that the table is not in order: twice the same node, nodes and
    /// tickets in different orders, tickets of two nodes at once.
    function challengeOrder(
        Posting calldata posting,
        Leaf calldata x,
        bytes32[] calldata xProof,
        Leaf calldata y,
        bytes32[] calldata yProof,
        address finder,
        bytes32 salt
    ) external {
        mustBeOpen(posting);
        ScoreLeaves.check(x, xProof, posting.root);
        ScoreLeaves.check(y, yProof, posting.root);
        bool same = keccak256(abi.encode(x)) == keccak256(abi.encode(y));
        if (same || !ScoreLeaves.conflict(x, y)) revert NothingWrong();
        found(posting, finder, salt);
    }

    /// @notice Proves with its would-be neighbours that an enrolled node was left out.
    function challengeOmission(Posting calldata posting, address node, Gap calldata gap, address finder, bytes32 salt) external {
        mustBeOpen(posting);
        bool omitted = ScoreLeaves.excludes(gap, node, posting.root, posting.total);
        if (!omitted || stakeAt(posting.epoch, node) == 0) revert NothingWrong();
        found(posting, finder, salt);
    }

    /// @notice Proves that a leaf is not what follows from the leaf before and the evidence since.
    /// @param before Of the table that the posting continues: the node's leaf as `below`, or the gap
    /// where it would be. Not read where nothing is continued.
    function challengeLeaf(
        Posting calldata posting,
        Leaf calldata leaf,
        bytes32[] calldata proof,
        Posting calldata base,
        Gap calldata before,
        address finder,
        bytes32 salt
    ) external {
        mustBeOpen(posting);
        mustBeBase(posting, base);
        ScoreLeaves.check(leaf, proof, posting.root);
        if (isInPlace(posting, leaf) && isEarned(posting, leaf, base, before)) revert NothingWrong();
        found(posting, finder, salt);
    }

    /// @notice Credits the poster of a root that has come to count, once, while the ring holds it.
    function claimReward(Posting calldata posting) external {
        if (!isActive(posting)) revert EpochInactive(posting.epoch);
        if (standing(posting) == REWARDED) revert TooLate(posting.epoch);
        uint256 available = spare();
        if (_reward == 0 || available < _reward) revert RewardUnfunded(available);
        mark(posting, activeAtOf(posting.epoch), REWARDED);
        grant(posting.poster, _reward);
        emit Rewarded(posting.epoch, posting.poster, _reward);
    }

    /// @notice Who demanded an epoch's leaves last, and until when they must be shown; zero if the bond is back.
    function demandOf(uint24 epoch) external view returns (address demander, uint40 deadline) {
        return (_demands[epoch].demander, _demands[epoch].deadline);
    }

    /// @notice The ticket that posts an epoch's root, drawn from the root that it continues. A root
    /// follows from what happened before, so it is not the last poster's to choose.
    function drawnTicket(Posting calldata base, uint24 epoch) public pure returns (uint256) {
        return uint256(keccak256(abi.encode(base.root, epoch))) % base.total;
    }

    function stakes() external view returns (address) {
        return address(_stakes);
    }

    function court() external view returns (address) {
        return _court;
    }

    function evidence() external view returns (address) {
        return address(_evidence);
    }

    /// @notice What a demand for leaves costs until they are shown, and what a poster gets.
    function amounts() external view returns (uint96 demandBond, uint96 reward) {
        return (_demandBond, _reward);
    }

    /// @dev The demander stays: a bond that is back early costs nobody the fee.
    function release(uint24 epoch) private {
        Demand storage self = _demands[epoch];
        if (self.deadline == 0) return;
        self.deadline = 0;
        credit(self.demander, _demandBond);
    }

    function found(Posting calldata posting, address finder, bytes32 salt) private {
        if (finder != address(0)) requireRipe(finder, keccak256(abi.encode(posting, salt)));
        reject(posting, finder);
    }

    function reject(Posting calldata posting, address finder) private {
        mark(posting, endOf(posting.epoch), REJECTED);
        uint256 burnt = IPosterCourt(_court).slashPoster(posting.poster, finder);
        emit EpochRejected(posting.epoch, posting.poster, finder, burnt);
    }

    function mustBeOpen(Posting calldata posting) private view {
        bool demanded = standing(posting) == DEMANDED && currentEpoch() == posting.epoch + 1;
        if (!demanded && block.timestamp >= activeAtOf(posting.epoch)) revert TooLate(posting.epoch);
    }

    function mustBeBase(Posting calldata posting, Posting calldata base) private view {
        if (base.epoch != posting.base) revert BaseForeign(posting.base);
        if (base.epoch != 0) standing(base);
    }

    /// @dev Whether the leaf has exactly the tickets of its node, inside the table, and the right date.
    function isInPlace(Posting calldata posting, Leaf calldata leaf) private view returns (bool) {
        if (leaf.stakeTo <= leaf.stakeFrom || leaf.stakeTo > posting.total) return false;
        uint256 width = leaf.stakeTo - leaf.stakeFrom;
        return width == stakeAt(posting.epoch, leaf.node) && leaf.asOf == endOf(posting.epoch);
    }

    function isEarned(Posting calldata posting, Leaf calldata leaf, Posting calldata base, Gap calldata before)
        private
        view
        returns (bool)
    {
        uint256 a = 0;
        uint256 b = 0;
        uint16 qos = 0;
        if (base.epoch != 0 && before.below.node == leaf.node) {
            ScoreLeaves.check(before.below, before.belowProof, base.root);
            (a, b, qos) = (before.below.a, before.below.b, before.below.qos);
        } else if (base.epoch != 0 && !ScoreLeaves.excludes(before, leaf.node, base.root, base.total)) {
            revert ScoreLeaves.LeafInvalid(leaf.node);
        }
        uint24 first = firstAfter(base.epoch, posting.epoch);
        uint256 lapsed = Scores.kept(uint256(first - base.epoch - 1) * _epochLength, _halfLife);
        (a, b) = (Scores.decayed(a, lapsed), Scores.decayed(b, lapsed));
        for (uint24 epoch = first; epoch <= posting.epoch; ++epoch) {
            (uint32 credit, uint16 faults, uint16 measured) = _evidence.evidenceOf(epoch, leaf.node);
            (a, b) = (Scores.decayed(a, _keptOverEpoch), Scores.decayed(b, _keptOverEpoch));
            (a, b) = Scores.updated(a, b, credit, faults);
            if (measured != 0) qos = measured;
        }
        return leaf.a == a && leaf.b == b && leaf.qos == qos;
    }
}
