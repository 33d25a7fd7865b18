// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Accusation, Accusations, JuryTerms} from "./Accusations.sol";
import {Posting} from "./ScoreRing.sol";
import {Verdicts} from "./Verdicts.sol";
import {Ballot, Ballots, Count} from "./lib/Ballots.sol";
import {JuryPay} from "./lib/JuryPay.sol";
import {Leaf, ScoreLeaves} from "./lib/ScoreLeaves.sol";

/// @dev What a jury is drawn from, and by.
struct Lot {
    bytes32 seed;
    bytes32 root;
    uint96 total;
}

/// @title The jury for outputs in the float profiles
/// @notice Five nodes drawn by stake, seven on appeal, repeat the work off the chain; they commit to what they found before
/// any of them says it. Stake is only taken where three more say wrong than right, with the same digest of their work, and
/// the evidence is overwhelming.
/// @dev Every case ends by time, with whoever calls `close`: accused -> answered -> drawn -> closed, or -> appealed -> drawn
/// again -> closed. Nothing is sent and nothing is looped over but seats and a route's stages.
contract Jury is Accusations {
    uint256 private constant SEATS = 5;
    uint256 private constant APPEAL_SEATS = 7;
    /// @dev A seat whose first ticket nobody uses in the first half of the time is open to those of three more.
    uint256 private constant ATTEMPTS = 4;

    /// @dev Of a round: the hash of its lot while it votes; its result once the case is closed.
    mapping(bytes32 id => mapping(uint256 round => uint256 word)) private _rounds;
    mapping(bytes32 id => mapping(uint256 seat => uint256 word)) private _seats;

    event Drawn(bytes32 indexed id, uint256 round, Lot lot, uint40 since);
    event Committed(bytes32 indexed id, uint256 seat, address indexed juror, bytes32 commitment);
    event Revealed(bytes32 indexed id, uint256 seat, address indexed juror, uint8 vote, uint8 evidence, bytes32 digest);
    event Appealed(bytes32 indexed id, uint8 verdict, bool byAccuser, uint40 deadline);
    event Settled(bytes32 indexed id, uint256 seat, address indexed juror, uint96 amount);

    /// @notice The beacon that draws the jury comes with that block.
    error TooEarly(uint256 block_);
    /// @notice The table is not the one that counts now.
    error TableNotServing(uint24 epoch);
    /// @notice Not what the jury was drawn from.
    error LotForeign();
    /// @notice The round has no such seat.
    error SeatInvalid(uint256 seat);
    error SeatTaken(uint256 seat);
    /// @notice Until then the seat is for the holder of its first ticket.
    error SeatReserved(uint256 until);
    error NotHolder(address node, uint256 ticket);
    /// @notice The node works on the route, or is a party.
    error JurorBarred(address node);
    /// @notice The node is not bonded for its tickets any more.
    error StakeGone(address node, uint96 bonded);
    /// @notice Neither the node's owner nor its present signer.
    error NotNode(address caller);
    error CommitmentMissing();
    /// @notice Nobody committed to that for the seat, or it has been revealed.
    error CommitmentForeign(uint256 seat);
    error VoteInvalid(uint8 vote);
    /// @notice Only who lost by the verdict may appeal against it.
    error NotLoser(address caller, uint8 verdict);

    constructor(Verdicts court_, JuryTerms memory terms) Accusations(court_, terms) {}

    /// @notice Draws the jury from the table that counts, by the beacon of this block. By anybody: the first draw holds.
    /// @dev Who wants another beacon has to keep everybody else from drawing by this one.
    function draw(Accusation calldata facts, Posting calldata posting) external {
        bytes32 id = keccak256(abi.encode(facts));
        Case storage self = _cases[id];
        uint8 phase = self.phase;
        if (phase != ANSWERED && phase != APPEALED) revert PhaseWrong(id, phase);
        mustBeBy(uint256(self.since) + _draw);
        if (block.number < uint256(self.armed) + _lag) revert TooEarly(uint256(self.armed) + _lag);
        if (!_scores.isServing(posting)) revert TableNotServing(posting.epoch);
        uint256 round = phase == ANSWERED ? 0 : 1;
        bytes32 seed = keccak256(abi.encode(block.prevrandao, id, round));
        Lot memory lot = Lot(seed, posting.root, posting.total);
        _rounds[id][round] = uint256(keccak256(abi.encode(lot)));
        (self.since, self.phase) = (uint40(block.timestamp), phase + 1);
        emit Drawn(id, round, lot, uint40(block.timestamp));
    }

    /// @notice Takes a seat with a sealed vote and puts down the vote's bond, out of the node's funds. By the owner or the
    /// present key of the node that holds the seat's ticket.
    /// @param attempt 0, or 1 to 3 for the further tickets of a seat that is empty in the second half of the time.
    function commit(
        Accusation calldata facts,
        uint256 seat,
        uint256 attempt,
        Lot calldata lot,
        Leaf calldata leaf,
        bytes32[] calldata proof,
        bytes32 commitment
    ) external {
        bytes32 id = keccak256(abi.encode(facts));
        (uint256 round, uint256 since) = roundOf(id, seat);
        mustBeBy(since + _commit);
        if (attempt >= ATTEMPTS) revert SeatInvalid(seat);
        if (attempt != 0 && block.timestamp <= since + _commit / 2) revert SeatReserved(since + _commit / 2);
        if (_rounds[id][round] != uint256(keccak256(abi.encode(lot)))) revert LotForeign();
        mustBeFree(facts, leaf);
        mustHold(lot, seat, attempt, leaf, proof);
        if (commitment == 0) revert CommitmentMissing();
        if (_seats[id][seat] != 0) revert SeatTaken(seat);
        _seats[id][seat] = Ballots.concealed(leaf.node, commitment);
        lock(leaf.node, _vote);
        emit Committed(id, seat, leaf.node, commitment);
    }

    /// @notice Opens a sealed vote: 1 wrong, 2 fine, 3 no opinion. By whoever knows it.
    /// @param juror The node that took the seat.
    function reveal(bytes32 id, uint256 seat, address juror, Ballot calldata ballot, bytes32 salt) external {
        (, uint256 since) = roundOf(id, seat);
        mustBeAfter(since + _commit);
        mustBeBy(since + _commit + _reveal);
        if (ballot.vote == 0 || ballot.vote > Ballots.ABSTAIN) revert VoteInvalid(ballot.vote);
        bytes32 commitment = Ballots.commitmentOf(id, seat, juror, ballot, salt);
        if (_seats[id][seat] != Ballots.concealed(juror, commitment)) revert CommitmentForeign(seat);
        _seats[id][seat] = Ballots.opened(juror, ballot);
        emit Revealed(id, seat, juror, ballot.vote, ballot.evidence, ballot.digest);
    }

    /// @notice Has another, larger jury judge. By who lost, once, with twice the bond.
    function appeal(Accusation calldata facts) external {
        (bytes32 id, Case storage self) = inPhase(facts, VOTING);
        uint256 end = votedBy(self);
        mustBeAfter(end);
        mustBeBy(end + _appeal);
        uint8 verdict = countOf(id, 0).outcome;
        bool byAccuser = msg.sender == facts.accuser;
        bool lost = byAccuser ? verdict == Ballots.ACQUITTED : verdict == Ballots.CONVICTED && isDefender(facts);
        if (verdict == Ballots.UNPROVEN) lost = byAccuser || isDefender(facts);
        if (!lost) revert NotLoser(msg.sender, verdict);
        lock(byAccuser ? facts.accuser : facts.node, 2 * _bond);
        (self.phase, self.verdict, self.byAccuser) = (APPEALED, verdict, byAccuser);
        (self.since, self.armed) = (uint40(block.timestamp), uint40(block.number));
        emit Appealed(id, verdict, byAccuser, uint40(block.timestamp) + _draw);
    }

    /// @notice Ends a case whose clock has run out. By anybody.
    function close(Accusation calldata facts) external {
        bytes32 id = keccak256(abi.encode(facts));
        Case storage self = _cases[id];
        uint8 phase = self.phase;
        if (phase == OPEN) {
            mustBeAfter(answerEnd(self));
            return finish(id, facts, Ballots.CONVICTED, true, _bond << self.level);
        }
        if (phase == 0 || phase == CLOSED) revert PhaseWrong(id, phase);
        Count memory said;
        if (phase == ANSWERED || phase == APPEALED) {
            mustBeAfter(uint256(self.since) + _draw);
        } else {
            mustBeAfter(votedBy(self));
            said = countOf(id, phase == VOTING ? 0 : 1);
            bool appealable = phase == VOTING && said.outcome != Ballots.VOID;
            if (appealable) mustBeAfter(votedBy(self) + _appeal);
        }
        settle(id, facts, self, said);
    }

    /// @notice Credits a revealed seat of a closed case with its bond, and what its juror earned or lost. By anybody.
    function collect(bytes32 id, uint256 seat) external {
        uint256 word = _seats[id][seat];
        if (Ballots.voteOf(word) == 0) revert CommitmentForeign(seat);
        pay(id, seat, Ballots.jurorOf(word), word);
    }

    /// @notice The same for a seat that was not revealed: what is left of its bond.
    function collectSilent(bytes32 id, uint256 seat, address juror, bytes32 commitment) external {
        uint256 word = _seats[id][seat];
        if (word != Ballots.concealed(juror, commitment)) revert CommitmentForeign(seat);
        pay(id, seat, juror, word);
    }

    /// @notice What a seat holds: nothing, a sealed vote, or an open one.
    function seatOf(bytes32 id, uint256 seat) external view returns (uint256 word) {
        return _seats[id][seat];
    }

    /// @notice What a jury has said so far: 0 nothing, 1 fine, 2 wrong without the proof that a slash needs, 3 wrong.
    function tally(bytes32 id, uint256 round) external view returns (Count memory) {
        return countOf(id, round);
    }

    function pay(bytes32 id, uint256 seat, address juror, uint256 word) private {
        if (_cases[id].phase != CLOSED) revert PhaseWrong(id, _cases[id].phase);
        uint96 amount = JuryPay.due(_rounds[id][seat < SEATS ? 0 : 1], word, rates());
        delete _seats[id][seat];
        unlock(juror, amount);
        emit Settled(id, seat, juror, amount);
    }

    /// @dev The last jury's word counts; the first one's stands where the second has none. No word at all, no slash.
    /// @param said What the second jury said, where there was an appeal; nothing where it was never drawn.
    function settle(bytes32 id, Accusation calldata facts, Case storage self, Count memory said) private {
        bool appealed = self.phase >= APPEALED;
        Count memory first = appealed ? countOf(id, 0) : said;
        bool stands = appealed && said.outcome == Ballots.VOID;
        Count memory last = stands ? first : said;
        uint96 fees = uphold(id, 0, first, first.camp != 0 && first.camp == last.camp);
        uint96 more = appealed ? uphold(id, 1, said, self.phase == REVOTING) : 0;
        (uint96 accusers, uint96 nodes) = parted(self, last.outcome, stands ? fees : fees + more);
        if (appealed) {
            (uint96 back, uint96 others) = stands ? (2 * _bond - more, uint96(0)) : afterAppeal(self, last.outcome);
            (accusers, nodes) = self.byAccuser ? (accusers + back, nodes + others) : (accusers + others, nodes + back);
        }
        if (nodes != 0) unlock(facts.node, nodes);
        finish(id, facts, last.outcome, last.outcome == Ballots.CONVICTED, accusers);
    }

    /// @dev What accuser and node have of their two bonds. Void: everybody has the bond back.
    function parted(Case storage self, uint8 outcome, uint96 fees) private returns (uint96 accusers, uint96 nodes) {
        (accusers, nodes) = (_bond << self.level, _bond);
        if (outcome == Ballots.UNPROVEN) return (accusers - (fees - fees / 2), nodes - fees / 2);
        if (outcome == Ballots.VOID) return (accusers, nodes);
        bool guilty = outcome == Ballots.CONVICTED;
        uint96 lost = guilty ? nodes : accusers;
        if (guilty) (accusers, nodes) = (accusers + lost / 2, 0);
        else (accusers, nodes) = (0, nodes + lost / 2);
        unlock(PYRE, lost - lost / 2 - fees);
    }

    /// @dev An appeal that changed nothing for the better costs its bond: half is the other side's.
    function afterAppeal(Case storage self, uint8 outcome) private returns (uint96 back, uint96 others) {
        bool better = self.byAccuser ? outcome > self.verdict : outcome < self.verdict;
        if (better) return (2 * _bond, 0);
        unlock(PYRE, _bond);
        return (0, _bond);
    }

    /// @dev Replaces a round's lot by its result. Returns the fees that it has earned.
    function uphold(bytes32 id, uint256 round, Count memory count, bool upheld) private returns (uint96) {
        uint256 result = JuryPay.pack(count, upheld);
        _rounds[id][round] = result;
        uint96 burnt = JuryPay.burnt(result, rates());
        if (burnt != 0) unlock(PYRE, burnt);
        return JuryPay.fees(result) * _fee;
    }

    function countOf(bytes32 id, uint256 round) private view returns (Count memory) {
        uint256[] memory words = new uint256[](round == 0 ? SEATS : APPEAL_SEATS);
        for (uint256 i = 0; i < words.length; ++i) {
            words[i] = _seats[id][round * SEATS + i];
        }
        return Ballots.count(words);
    }

    function roundOf(bytes32 id, uint256 seat) private view returns (uint256 round, uint256 since) {
        Case storage self = _cases[id];
        uint8 phase = self.phase;
        if (phase != VOTING && phase != REVOTING) revert PhaseWrong(id, phase);
        round = phase == VOTING ? 0 : 1;
        if (seat >= SEATS + round * APPEAL_SEATS || seat < round * SEATS) revert SeatInvalid(seat);
        since = self.since;
    }

    function votedBy(Case storage self) private view returns (uint256) {
        return uint256(self.since) + _commit + _reveal;
    }

    function mustHold(Lot calldata lot, uint256 seat, uint256 attempt, Leaf calldata leaf, bytes32[] calldata proof)
        private
        pure
    {
        ScoreLeaves.check(leaf, proof, lot.root);
        uint256 ticket = Ballots.ticketOf(lot.seed, seat, attempt, lot.total);
        if (ticket < leaf.stakeFrom || ticket >= leaf.stakeTo) revert NotHolder(leaf.node, ticket);
    }

    /// @dev Bonded as it was drawn, without a side, and spoken for by one of its keys.
    function mustBeFree(Accusation calldata facts, Leaf calldata leaf) private view {
        (uint96 bonded, address signer,,,) = _stakes.stakeOf(leaf.node);
        if (msg.sender != leaf.node && msg.sender != signer) revert NotNode(msg.sender);
        bool tooLittle = bonded < leaf.stakeTo - leaf.stakeFrom || bonded < _stakes.minStake();
        if (tooLittle) revert StakeGone(leaf.node, bonded);
        for (uint256 i = 0; i < facts.barred.length; ++i) {
            if (facts.barred[i] == leaf.node) revert JurorBarred(leaf.node);
        }
    }
}
