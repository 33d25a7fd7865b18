// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Court} from "./Court.sol";
import {Reliability} from "./Reliability.sol";
import {Stakes} from "./Stakes.sol";
import {ChannelKey} from "./lib/ChannelDigests.sol";
import {Calendar, Epochs} from "./lib/Epochs.sol";
import {Payees} from "./lib/Payees.sol";
import {Routes, RouteTerms} from "./lib/RouteTerms.sol";
import {IEvidence} from "./lib/ScoreLeaves.sol";
import {Scores} from "./lib/Scores.sol";

/// @dev What is asked of Channels.
interface ISettled {
    function channelId(ChannelKey calldata key) external view returns (bytes32);
    function channel(bytes32 id) external view returns (uint96 locked, uint96 settled, uint40 closesAt);
    function poolAccount() external view returns (address);
}

/// @dev A channel, and the words behind the hash of its payees.
struct Claim {
    ChannelKey key;
    bytes32[] payees;
}

/// @title What the chain knows of nodes' work, by epochs
/// @notice A node is credited for what was settled to it, once per amount and up to a cap for each payer and epoch, from
/// channels that pay their share to the audit pool: who pays himself for a score loses that share for ever.
/// @dev Claims count in the epoch in which they are made, so what is known of an epoch is final when it is over. Kept are
/// the last sixteen epochs; tables of scores ask for eight.
contract Evidence is Epochs, IEvidence {
    using Payees for bytes32[];
    using Payees for uint256;

    /// @dev One slot: what of a channel was counted for a node.
    struct Counted {
        uint96 settled;
        bool barred;
    }

    /// @dev One slot: what one payer settled to a node in an epoch.
    struct Paid {
        uint40 epoch;
        uint128 fees;
    }

    /// @dev One slot.
    struct Gained {
        uint40 epoch;
        uint32 credit;
    }

    uint256 private constant KEPT = 16;
    uint256 private constant WHOLE = 10_000;
    /// @dev Of what a channel pays, in ten-thousandths: the least that buying oneself a score costs.
    uint256 private constant POOL_SHARE = 250;

    Court private immutable _court;
    Stakes private immutable _stakes;
    ISettled private immutable _channels;
    address private immutable _pool;
    uint96 private immutable _unit;
    uint32 private immutable _cap;

    mapping(bytes32 channelAndNode => Counted) private _counted;
    mapping(bytes32 payerAndNode => Paid) private _paid;
    mapping(address node => Gained[KEPT]) private _gained;

    /// @param credit All that the node has gained in the epoch so far, in Q16.16.
    event Credited(uint256 indexed epoch, address indexed node, uint32 credit);
    event Barred(bytes32 indexed channel, address indexed node);

    /// @notice The contracts are not made for each other.
    error SuiteForeign(address contractAddress);
    /// @notice A unit of credit costs something, and a cap leaves some.
    error CreditInvalid(uint96 unit, uint32 cap);
    /// @notice Neither the node's owner nor its present signer.
    error NotNode(address caller);
    /// @notice The words are not those that the channel is locked to.
    error PayeesWrong(bytes32 expected, bytes32 actual);
    /// @notice None of the channel's words pays the account.
    error NotPayee(address account);
    /// @notice The audit pool's words have `share` ten-thousandths, fewer than `least`.
    error PoolShort(uint256 share, uint256 least);
    /// @notice Who pays himself gets no credit.
    error PaysItself(address node);
    /// @notice Nothing was settled that was not counted before, or the cap is reached.
    error NothingToClaim(address node);
    error NotConvicted(bytes32 route, address node);
    error BarredBefore(bytes32 channel, address node);

    /// @param pool Reliability, which pays posters from what channels pay to it.
    /// @param unit_ What is settled for one unit of credit, in the token's smallest unit.
    /// @param cap_ The most that one payer gives one node in an epoch, in Q16.16.
    constructor(Court court_, ISettled channels_, Reliability pool, uint96 unit_, uint32 cap_) Epochs(court_.calendar()) {
        Calendar memory theirs = pool.calendar();
        if (theirs.genesis != _genesis || theirs.epoch != _epochLength) revert SuiteForeign(address(pool));
        if (pool.evidence() != address(this)) revert SuiteForeign(address(pool));
        if (court_.arbiters().reliability != address(pool)) revert SuiteForeign(address(court_));
        bool isPaid = address(channels_).code.length != 0 && channels_.poolAccount() == address(pool);
        if (!isPaid) revert SuiteForeign(address(channels_));
        if (unit_ == 0 || cap_ == 0) revert CreditInvalid(unit_, cap_);
        (_court, _stakes, _channels) = (court_, Stakes(court_.stakes()), channels_);
        (_pool, _unit, _cap) = (address(pool), unit_, cap_);
    }

    /// @notice Credits a node with its share of what its channels have settled since it claimed last. What is past the cap
    /// is counted and gives nothing.
    /// @param node The caller, or the node that it signs for.
    function claim(address node, Claim[] calldata claims) external {
        mustBeNode(node);
        uint256 epoch = epochNow();
        Gained storage gained = _gained[node][epoch % KEPT];
        uint256 credit;
        for (uint256 i = 0; i < claims.length; ++i) {
            credit += count(node, claims[i], epoch);
        }
        if (credit == 0) revert NothingToClaim(node);
        if (gained.epoch == epoch) credit += gained.credit;
        if (credit > type(uint32).max) credit = type(uint32).max;
        (gained.epoch, gained.credit) = (uint40(epoch), uint32(credit));
        emit Credited(epoch, node, uint32(credit));
    }

    /// @notice Lets a channel give no more credit to a node that was convicted on a route that it paid. Anybody may.
    function bar(RouteTerms calldata route, address node) external {
        bytes32 digest =
            keccak256(abi.encodePacked(hex"1901", _court.domainSeparator(), Routes.structHash(route)));
        if (_court.convictedOf(digest, node) == 0) revert NotConvicted(digest, node);
        Counted storage counted = _counted[pair(route.channel, node)];
        if (counted.barred) revert BarredBefore(route.channel, node);
        counted.barred = true;
        emit Barred(route.channel, node);
    }

    /// @inheritdoc IEvidence
    /// @dev Nothing on the chain measures quality.
    function evidenceOf(uint256 epoch, address node) external view returns (uint32 credit, uint16 faults, uint16 qos) {
        Gained storage gained = _gained[node][epoch % KEPT];
        return (gained.epoch == epoch ? gained.credit : 0, _court.faultsOf(epoch, node), 0);
    }

    /// @notice What of a channel was counted for a node, and whether it counts no more.
    function countedOf(bytes32 channel, address node) external view returns (uint96 settled, bool barred) {
        Counted storage counted = _counted[pair(channel, node)];
        return (counted.settled, counted.barred);
    }

    /// @notice What a unit of credit costs, and the cap for one payer and epoch, in Q16.16.
    function rule() external view returns (uint96 unit, uint32 cap) {
        return (_unit, _cap);
    }

    /// @notice Court, Channels, and the audit pool, to which a channel has to pay `share` ten-thousandths.
    function suite() external view returns (address court, address channels, address pool, uint256 share) {
        return (address(_court), address(_channels), _pool, POOL_SHARE);
    }

    /// @dev The credit that one channel newly gives.
    function count(address node, Claim calldata one, uint256 epoch) private returns (uint256) {
        uint256 weight = checked(node, one);
        bytes32 id = _channels.channelId(one.key);
        Counted storage counted = _counted[pair(id, node)];
        (, uint96 settled,) = _channels.channel(id);
        uint256 fee = uint256(settled - counted.settled) * weight / WHOLE; // what is settled never falls
        if (fee == 0 || counted.barred) return 0;
        counted.settled = settled;
        Paid storage paid = _paid[pair(bytes32(uint256(uint160(one.key.payer))), node)];
        uint256 fees = paid.epoch == epoch ? paid.fees : 0;
        uint256 all = fees + fee;
        if (all > type(uint128).max) all = type(uint128).max;
        (paid.epoch, paid.fees) = (uint40(epoch), uint128(all));
        return Scores.creditOf(all, _unit, _cap) - Scores.creditOf(fees, _unit, _cap);
    }

    /// @dev The node's weight among payees that are sound and pay the pool.
    function checked(address node, Claim calldata one) private view returns (uint256 weight) {
        if (one.payees.hash() != one.key.payees) revert PayeesWrong(one.key.payees, one.payees.hash());
        if (one.key.payer == node) revert PaysItself(node);
        one.payees.mustBeWhole();
        uint256 share;
        for (uint256 i = 0; i < one.payees.length; ++i) {
            uint256 word = uint256(one.payees[i]);
            if (word.account() == node) weight += uint96(word);
            if (word.account() == _pool) share += uint96(word);
        }
        if (weight == 0) revert NotPayee(node);
        if (share < POOL_SHARE) revert PoolShort(share, POOL_SHARE);
    }

    function mustBeNode(address node) private view {
        if (msg.sender == node) return;
        (, address signer,,,) = _stakes.stakeOf(node);
        if (msg.sender != signer) revert NotNode(msg.sender);
    }

    function pair(bytes32 one, address node) private pure returns (bytes32) {
        return keccak256(abi.encode(one, node));
    }
}
