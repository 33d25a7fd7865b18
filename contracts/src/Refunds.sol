// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ICourtVerdicts, IRouteDomain} from "./lib/ICourtVerdicts.sol";
import {Pots} from "./Pots.sol";
import {ChannelDigests, ChannelKey} from "./lib/ChannelDigests.sol";
import {Channel, PaidWork} from "./lib/ChannelTerms.sol";
import {Ages, Maturing} from "./lib/Maturing.sol";
import {Merkle} from "./lib/Merkle.sol";
import {Payees} from "./lib/Payees.sol";
import {RouteTerms, Routes} from "./lib/RouteTerms.sol";
import {Signatures} from "./lib/Signatures.sol";
import {IToken} from "./lib/Transfers.sol";

/// @title What clients get back of what they paid a convicted node
/// @dev The client alone signs what a voucher pays for, so it could say afterwards that all went into the bad session.
/// Hence three bounds, each of them cumulative: what it says was paid in that session; what its own channel has settled
/// that is not ripe yet, each unit once; what is left of the node's own share of the pot. The second is no other channel's
/// money, and together the channels' shares of it are no more than the pot's: no payer is before another one, no
/// other payee loses a unit, and whoever denounces its own node gets back what it has paid itself.
abstract contract Refunds is ChannelDigests, Pots {
    using Maturing for Ages;
    using Payees for bytes32[];
    using Payees for uint256;

    ICourtVerdicts private immutable _court;

    mapping(bytes32 channel => Channel) internal _channels;
    mapping(address payer => uint256 amount) internal _free;
    /// @dev Of a session's amount, what has been refunded, for the whole route.
    mapping(bytes32 route => mapping(uint256 index => uint256 amount)) private _returned;
    /// @dev Up to which unit of all that was settled on a channel it has been refunded.
    mapping(bytes32 channel => mapping(uint256 index => uint256 amount)) private _reached;

    constructor(ICourtVerdicts court_) {
        if (address(court_).code.length == 0) revert CourtMissing(address(court_));
        _court = court_;
    }

    /// @notice Gives back to a channel's payer what a session paid a node that was convicted in it, as far as it is not
    /// ripe. Anybody may call, and again when a later voucher says more.
    /// @param words The payees of the channel.
    /// @param index The convicted one.
    /// @param terms The fields of the session's route, its stages as the hashes of their structs.
    /// @param paid A settled voucher and the session in its work.
    function refund(
        ChannelKey calldata key,
        bytes32[] calldata words,
        uint256 index,
        RouteTerms calldata terms,
        PaidWork calldata paid
    ) external {
        bytes32 id = channelId(key);
        if (terms.channel != id) revert RouteForeign(terms.channel);
        if (words.hash() != key.payees) revert PayeesWrong(key.payees, words.hash());
        words.mustBeWhole();
        uint256 word = words.wordAt(index);
        bytes32 domain = IRouteDomain(address(_court)).domainSeparator();
        bytes32 route = keccak256(abi.encodePacked(hex"1901", domain, Routes.structHash(terms)));
        if (_court.convictedOf(route, word.account()) == 0) revert NotConvicted(route, word.account());
        mustBePaid(id, key.signer, route, paid);
        uint256 amount = word.share(owed(id, route, index, paid.amount));
        amount = drawAhead(key.payees, index, word, amount);
        if (amount == 0) revert NothingToRefund(route, index);
        _free[key.payer] += amount;
        emit Refunded(id, route, word.account(), index, amount);
    }

    /// @notice What was refunded of a session's amount, for the whole route, because of payee number `index`.
    function returnedOf(bytes32 route, uint256 index) external view returns (uint256) {
        return _returned[route][index];
    }

    /// @notice Whose convictions count.
    function court() external view returns (address) {
        return address(_court);
    }

    /// @dev Whether a settled voucher says that a session was paid so much.
    function mustBePaid(bytes32 id, address signer, bytes32 route, PaidWork calldata paid) private view {
        uint96 settled = _channels[id].settled;
        if (paid.cumulative > settled) revert VoucherNotSettled(settled, paid.cumulative);
        Signatures.check(voucherDigest(id, paid.cumulative, paid.work), signer, paid.r, paid.vs);
        bytes32 leaf = Merkle.leafOf(abi.encode(route, paid.amount, paid.positions));
        if (Merkle.climb(leaf, paid.proof) != paid.work) revert WorkNotHeld(paid.work);
    }

    /// @dev Records what of a session is refunded now, before the node's weight.
    function owed(bytes32 id, bytes32 route, uint256 index, uint256 paid) private returns (uint256 amount) {
        uint256 settled = _channels[id].settled;
        uint256 from = _channels[id].ages.ripe(settled, windowNow());
        uint256 reached = _reached[id][index];
        if (reached > from) from = reached;
        uint256 returned = _returned[route][index];
        if (paid <= returned || settled <= from) revert NothingToRefund(route, index);
        amount = paid - returned;
        if (amount > settled - from) amount = settled - from;
        _returned[route][index] = returned + amount;
        _reached[id][index] = from + amount;
    }
}
