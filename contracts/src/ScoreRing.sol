// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ScoreTable} from "./ScoreTable.sol";
import {Stakes} from "./Stakes.sol";
import {Calendar} from "./lib/Epochs.sol";
import {Leaf, ScoreLeaves} from "./lib/ScoreLeaves.sol";
import {Scores} from "./lib/Scores.sol";

/// @dev One posted root. It travels in calldata only; the chain keeps its hash. `base` is the epoch of
/// the root that it continues, zero for none; `poster` is a node, `total` the number of tickets.
struct Posting {
    uint24 epoch;
    uint24 base;
    uint40 postedAt;
    address poster;
    uint96 total;
    bytes32 root;
}

/// @dev Seconds; see ScoreRing's constructor. Within `exclusive` only the drawn node may post.
struct Clocks {
    uint40 epoch;
    uint40 exclusive;
    uint40 posting;
    uint40 activation;
    uint40 response;
    uint40 halfLife;
}

/// @title The roots of the last epochs, one slot each
/// @notice A root is posted right after its epoch and counts once it has stood unrefuted for the
/// activation time; until then the one before serves, however long it takes.
/// @dev A slot is hash (208 bits), epoch (24), seconds from the epoch's end to activation (20), state
/// (4). Whatever is posted in an epoch is decided before the next one's posting opens, so the root that
/// a posting continues can never fall afterwards. Who posts has not proven that he was drawn, that his
/// total is right or that his root is; all of that can be refuted, and costs him his stake.
abstract contract ScoreRing is ScoreTable {
    uint256 internal constant RING = 8;
    uint256 internal constant POSTED = 1;
    uint256 internal constant DEMANDED = 2;
    uint256 internal constant SHOWN = 3;
    uint256 internal constant REWARDED = 4;
    uint256 internal constant REJECTED = 5;
    uint256 private constant HASH_MASK = ~uint256(2 ** 48 - 1);

    uint40 internal immutable _exclusive;
    uint40 private immutable _posting;
    uint40 internal immutable _activation;
    uint40 internal immutable _response;
    uint96 private immutable _minStake;

    uint256[RING] private _ring;

    event EpochPosted(
        uint256 indexed epoch, uint256 base, uint256 postedAt, address poster, uint96 total, bytes32 root
    );

    /// @notice Nothing may be posted of an epoch that is not over.
    error EpochUnfinished();
    /// @notice A root may only be posted within some time after its epoch, which is over since `closedAt`.
    error PostingClosed(uint256 closedAt);
    /// @notice A root of the epoch stands.
    error EpochTaken(uint256 epoch);
    /// @notice The epoch's slot holds the root that has to be continued; the next epoch has another.
    error SlotNeeded(uint256 base);
    /// @notice Never posted so, rejected, or overwritten by a later epoch's.
    error PostingUnknown(uint256 epoch);
    /// @notice The root does not count yet, or no more.
    error EpochInactive(uint256 epoch);
    /// @notice The node is not bonded as it must be: it has `bonded`.
    error StakeGone(address node, uint96 bonded);
    /// @notice Neither the node's owner nor its present signer.
    error NotNode(address caller);
    error TableEmpty();
    error NotHolder(address node, uint256 ticket);
    error ClocksInvalid(uint256 needed, uint256 available);

    constructor(Stakes stakes_, Clocks memory clocks, uint40 genesis_, uint16 capacity_)
        ScoreTable(stakes_, Calendar(genesis_, clocks.epoch), capacity_)
    {
        if (clocks.exclusive == 0 || clocks.exclusive >= clocks.posting) {
            revert ClocksInvalid(clocks.exclusive, clocks.posting);
        }
        if (clocks.activation == 0 || clocks.response == 0) revert ClocksInvalid(1, 0);
        // Posted late, its leaves demanded at the last moment, shown at the last moment, left to be read.
        uint256 path = uint256(clocks.posting) + 2 * uint256(clocks.activation) + clocks.response;
        if (path > clocks.epoch) revert ClocksInvalid(path, clocks.epoch);
        // A poster who leaves at once can still be slashed in the epoch after the one he posted in.
        if (stakes_.unbonding() < 2 * uint256(clocks.epoch)) {
            revert ClocksInvalid(2 * uint256(clocks.epoch), stakes_.unbonding());
        }
        (_exclusive, _posting) = (clocks.exclusive, clocks.posting);
        (_activation, _response) = (clocks.activation, clocks.response);
        _minStake = stakes_.minStake();
    }

    /// @notice Posts the root of the epoch that has just ended, for a bonded node. It continues the
    /// latest root that counts.
    /// @param epoch Said by the poster: a transaction that comes a whole epoch late must not say it of the next one.
    /// @param total Sum of the tickets.
    /// @param node The caller, or the node that it signs for.
    function post(uint24 epoch, bytes32 root, uint96 total, address node) external {
        uint256 opened = endOf(epoch);
        if (epoch == 0 || block.timestamp < opened) revert EpochUnfinished();
        if (epoch == type(uint24).max) revert EpochsOver();
        if (block.timestamp >= opened + _posting) revert PostingClosed(opened + _posting);
        if (total == 0) revert TableEmpty();
        if (stateOf(_ring[epoch % RING], epoch) != 0) revert EpochTaken(epoch);
        mustBeBonded(node);
        uint24 base = latestBefore(epoch);
        if (base != 0 && (epoch - base) % RING == 0) revert SlotNeeded(base);
        Posting memory posting = Posting(epoch, base, uint40(block.timestamp), node, total, root);
        write(epoch, keccak256(abi.encode(posting)), block.timestamp + _activation, POSTED);
        emit EpochPosted(epoch, base, block.timestamp, node, total, root);
    }

    /// @notice Whether this root is the one that counts now.
    function isServing(Posting calldata posting) public view returns (bool) {
        if (!isActive(posting)) return false;
        return latestBefore(type(uint24).max) == posting.epoch;
    }

    /// @notice A node's score in ten-thousandths, and its quality of service.
    function scoreOf(Posting calldata posting, Leaf calldata leaf, bytes32[] calldata proof)
        external
        view
        returns (uint256 score, uint16 qos)
    {
        mustServe(posting);
        ScoreLeaves.check(leaf, proof, posting.root);
        return (Scores.published(leaf.a, leaf.b), leaf.qos);
    }

    /// @notice The node that holds a ticket, if it is still bonded for all its tickets.
    function holderOf(Posting calldata posting, uint256 ticket, Leaf calldata leaf, bytes32[] calldata proof)
        external
        view
        returns (address)
    {
        mustServe(posting);
        ScoreLeaves.check(leaf, proof, posting.root);
        if (ticket < leaf.stakeFrom || ticket >= leaf.stakeTo) revert NotHolder(leaf.node, ticket);
        (uint96 bonded,,,,) = _stakes.stakeOf(leaf.node);
        if (bonded < leaf.stakeTo - leaf.stakeFrom) revert StakeGone(leaf.node, bonded);
        return leaf.node;
    }

    /// @notice The first second of epoch 1, and the times that all nodes have to know.
    function times()
        external
        view
        returns (uint40 genesis, uint40 epoch, uint40 exclusive, uint40 posting, uint40 activation, uint40 response)
    {
        return (_genesis, _epochLength, _exclusive, _posting, _activation, _response);
    }

    /// @notice What the ring keeps of an epoch: state (0 if nothing stands) and time of activation.
    function ringOf(uint24 epoch) external view returns (uint256 state, uint256 activeAt) {
        return (stateOf(_ring[epoch % RING], epoch), activeAtOf(epoch));
    }

    /// @dev The state of this very posting; reverts if it is not the one that stands for its epoch.
    function standing(Posting calldata posting) internal view returns (uint256 state) {
        uint24 epoch = posting.epoch;
        uint256 slot = _ring[epoch % RING];
        state = stateOf(slot, epoch);
        bool same = (slot ^ uint256(hashOf(posting))) & HASH_MASK == 0;
        if (state == 0 || !same) revert PostingUnknown(epoch);
    }

    function activeAtOf(uint24 epoch) internal view returns (uint256) {
        return endOf(epoch) + (_ring[epoch % RING] >> 4 & (2 ** 20 - 1));
    }

    function mark(Posting calldata posting, uint256 activeAt, uint256 state) internal {
        write(posting.epoch, hashOf(posting), activeAt, state);
    }

    function isActive(Posting calldata posting) internal view returns (bool) {
        standing(posting);
        return counts(posting.epoch);
    }

    /// @dev The first epoch whose evidence a root adds. After a long time without roots only the last
    /// epochs' is added: it bounds the work of a judge. Before that, masses have faded all the same.
    function firstAfter(uint24 base, uint24 epoch) internal pure returns (uint24) {
        uint24 first = epoch < RING ? 1 : epoch - uint24(RING) + 1;
        return base < first ? first : base + 1;
    }

    /// @dev The latest epoch before this one whose root counts; zero for none. When a root is posted,
    /// all of them are decided.
    function latestBefore(uint24 epoch) private view returns (uint24 latest) {
        if (counts(epoch - 1)) return epoch - 1;
        for (uint256 i = 0; i < RING; ++i) {
            uint24 each = uint24(_ring[i] >> 24);
            if (each > latest && each < epoch && counts(each)) latest = each;
        }
    }

    /// @dev A demand that was not met in time has made its root void, whether or not anybody has had
    /// its poster slashed for it.
    function counts(uint24 epoch) private view returns (bool) {
        uint256 state = stateOf(_ring[epoch % RING], epoch);
        return state != 0 && state != DEMANDED && block.timestamp >= activeAtOf(epoch);
    }

    function mustServe(Posting calldata posting) private view {
        if (!isServing(posting)) revert EpochInactive(posting.epoch);
    }

    function mustBeBonded(address node) private view {
        (uint96 bonded, address signer,,,) = _stakes.stakeOf(node);
        if (msg.sender != node && msg.sender != signer) revert NotNode(msg.sender);
        if (bonded < _minStake) revert StakeGone(node, bonded);
    }

    function write(uint24 epoch, bytes32 hash, uint256 activeAt, uint256 state) private {
        uint256 rest;
        unchecked {
            rest = uint256(epoch) << 24 | activeAt - endOf(epoch) << 4 | state; // never before its end
        }
        _ring[epoch % RING] = uint256(hash) & HASH_MASK | rest;
    }

    /// @dev Zero for a rejected root as well.
    function stateOf(uint256 slot, uint24 epoch) private pure returns (uint256 state) {
        state = slot & 15;
        if (state == REJECTED || slot >> 24 & type(uint24).max != epoch) return 0;
    }

    /// @dev The fields as they came: one with bits beyond its width has another hash, and is unknown.
    function hashOf(Posting calldata posting) private pure returns (bytes32 hash) {
        assembly ("memory-safe") {
            let copy := mload(0x40)
            calldatacopy(copy, posting, 192)
            hash := keccak256(copy, 192)
        }
    }
}
