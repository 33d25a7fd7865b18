// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ChannelKey, Channels} from "../../src/Channels.sol";
import {Pots} from "../../src/Pots.sol";
import {Refunds} from "../../src/Refunds.sol";
import {ChannelTerms, PaidWork} from "../../src/lib/ChannelTerms.sol";
import {RouteTerms} from "../../src/lib/RouteTerms.sol";
import {AnyVerdicts} from "../../src/test/AnyVerdicts.sol";
import {Token} from "../../src/test/Token.sol";
import {Suite} from "../Suite.sol";

/// @title Three payers on two routes, a keeper who settles and collects, and liars among all of them
/// @dev Each act is one that has to succeed, or returns at once: a revert is a finding. What must not succeed goes
/// through `lie`, and is counted where it does.
contract ChannelsHandler is Suite {
    uint256 public constant ACTORS = 3;
    uint256 public constant ROUTES = 2;
    /// @notice So many channels there can be: a payer, a route, one of two salts.
    uint256 public constant CHANNELS = ACTORS * ROUTES * 2;

    Token public immutable token;
    Channels public immutable channels;
    AnyVerdicts private immutable _verdicts;

    uint256 public frauds;
    uint256 public deeds;
    uint256 public gifts;
    /// @notice Whether anything fell that may only grow.
    bool public fell;
    /// @notice What was refunded of a payee's share of a pot.
    mapping(uint256 route => mapping(uint256 index => uint256 amount)) public refunded;
    mapping(uint256 channel => mapping(uint256 index => uint256 amount)) private _back;
    mapping(uint256 channel => uint96 amount) private _settled;
    mapping(uint256 route => uint256 amount) private _pots;
    // Made once: keys and digests are what takes the time.
    mapping(uint256 channel => ChannelKey) private _keys;
    mapping(uint256 channel => bytes32) private _ids;
    mapping(uint256 route => bytes32[]) private _payees;
    mapping(uint256 actor => address) private _actors;

    constructor(Token token_, Channels channels_, AnyVerdicts verdicts_) {
        (token, channels, _verdicts) = (token_, channels_, verdicts_);
        _payees[0] = [word(GRAVE, 3_333), word(actor(5), 3_333), word(actor(6), 3_334)];
        _payees[1] = [word(actor(6), 1), word(actor(6), 9_999)];
        for (uint256 c = 0; c < CHANNELS; ++c) {
            _keys[c] = channelKey(c % ACTORS, _payees[c / ACTORS % ROUTES], c / ACTORS / ROUTES);
            _ids[c] = channels_.channelId(_keys[c]);
            _actors[c % ACTORS] = actor(c % ACTORS);
        }
    }

    /// @dev Looks after each act whether what was settled and what pots hold has fallen.
    modifier watched() {
        _;
        for (uint256 c = 0; c < CHANNELS; ++c) {
            (, uint96 settled,) = state(c);
            if (settled < _settled[c]) fell = true;
            _settled[c] = settled;
        }
        for (uint256 i = 0; i < ROUTES; ++i) {
            uint256 pot = channels.potOf(hashOf(i));
            if (pot < _pots[i]) fell = true;
            _pots[i] = pot;
        }
    }

    function payees(uint256 route) public view returns (bytes32[] memory words) {
        return _payees[route];
    }

    function hashOf(uint256 route) public view returns (bytes32) {
        return _keys[ACTORS * route].payees;
    }

    function keyOf(uint256 c) public view returns (ChannelKey memory) {
        return _keys[c];
    }

    function payerOf(uint256 c) public view returns (address) {
        return _actors[c % ACTORS];
    }

    function state(uint256 c) public view returns (uint96 locked, uint96 settled, uint40 closesAt) {
        return channels.channel(_ids[c]);
    }

    function isLive(uint256 c) public view returns (bool) {
        (uint96 locked,, uint40 closesAt) = state(c);
        return locked != 0 && closesAt != type(uint40).max;
    }

    function deposit(uint256 i, uint96 amount) external watched {
        vm.prank(payerOf(i));
        channels.deposit(uint96(bound(amount, 1, 1e24)));
        ++deeds;
    }

    function withdraw(uint256 i, uint96 amount) external watched {
        uint256 free = channels.freeOf(payerOf(i));
        if (free == 0) return;
        vm.prank(payerOf(i));
        channels.withdraw(uint96(bound(amount, 1, free)));
        ++deeds;
    }

    function open(uint256 c, uint96 amount) external watched {
        (,, uint40 closesAt) = state(c %= CHANNELS);
        uint256 free = channels.freeOf(payerOf(c));
        if (closesAt != 0 || free == 0) return;
        vm.prank(payerOf(c));
        channels.open(keyOf(c), uint96(bound(amount, 1, free)));
        ++deeds;
    }

    function fund(uint256 c, uint96 amount) external watched {
        (,, uint40 closesAt) = state(c %= CHANNELS);
        if (closesAt != 0) return;
        vm.prank(payerOf(c));
        channels.depositAndOpen(keyOf(c), uint96(bound(amount, 1, 1e24)));
        ++deeds;
    }

    function settle(uint256 c, uint96 cumulative) external watched {
        (uint96 locked, uint96 settled,) = state(c %= CHANNELS);
        if (!isLive(c) || settled == locked) return;
        bring(c, uint96(bound(cumulative, uint256(settled) + 1, locked)));
        ++deeds;
    }

    function collect(uint256 route, uint256 index) external watched {
        bytes32[] memory words = payees(route %= ROUTES);
        index %= words.length;
        uint256 ripe = channels.ripeOf(hashOf(route), block.timestamp);
        if (ripe * uint96(uint256(words[index])) / 10_000 <= channels.drawnOf(hashOf(route), index)) return;
        channels.collect(words, index);
        ++deeds;
    }

    /// @dev Of one of two sessions, in which whoever is asked was convicted; the client says whatever it likes. It never has
    /// more back than its channel has paid that place.
    function refund(uint256 c, uint256 index, uint256 number, uint256 amount) external watched {
        c %= CHANNELS;
        uint256 route = c / ACTORS % ROUTES;
        bytes32[] memory words = payees(route);
        index %= words.length;
        (, uint96 settled,) = state(c);
        RouteTerms memory terms = session(_ids[c], number % 2);
        bytes32 digest = _verdicts.routeDigest(terms);
        _verdicts.convict(digest, address(uint160(uint256(words[index]) >> 96)));
        PaidWork memory paid = paidWork(channels, c % ACTORS, _keys[c], settled, digest, amount);
        uint256 before = channels.freeOf(payerOf(c));
        try channels.refund(_keys[c], words, index, terms, paid) {
            uint256 back = channels.freeOf(payerOf(c)) - before;
            refunded[route][index] += back;
            _back[c][index] += back;
            if (_back[c][index] > uint256(settled) * uint96(uint256(words[index])) / 10_000) ++frauds;
            ++deeds;
        } catch (bytes memory reason) {
            if (bytes4(reason) != ChannelTerms.NothingToRefund.selector) ++frauds;
        }
    }

    function close(uint256 c) external watched {
        (,, uint40 closesAt) = state(c %= CHANNELS);
        if (!isLive(c) || closesAt != 0) return;
        vm.prank(payerOf(c));
        channels.close(keyOf(c));
        ++deeds;
    }

    function reclaim(uint256 c) external watched {
        (,, uint40 closesAt) = state(c %= CHANNELS);
        if (!isLive(c) || closesAt == 0 || block.timestamp < closesAt) return;
        vm.prank(payerOf(c));
        channels.reclaim(keyOf(c));
        ++deeds;
    }

    function give(uint96 amount) external {
        gifts += amount %= 1e6;
        token.transfer(address(channels), amount);
    }

    function pass(uint40 time) external {
        vm.warp(block.timestamp + time % CLOSE_DELAY);
    }

    /// @dev Paying with a forged, an old or an uncovered voucher; taking what is not one's own, too early, or twice.
    function lie(uint256 kind, uint256 c, uint96 amount) external watched {
        (uint96 locked, uint96 settled, uint40 closesAt) = state(c %= CHANNELS);
        ChannelKey memory key = keyOf(c);
        address payer = payerOf(c);
        address other = payerOf(c + 1);
        kind %= 10;
        if (kind == 0) attempt(other, paying(c, c + 1, uint96(bound(amount, 1, 1e24))));
        if (kind == 1) attempt(payer, paying(c, c, uint96(bound(amount, 0, settled))));
        if (kind == 2) attempt(other, paying(c, c, uint96(bound(amount, uint256(locked) + 1, 2e28))));
        if (kind == 3) attempt(other, abi.encodeCall(Channels.reclaim, (key)));
        if (kind == 4 && block.timestamp < closesAt) attempt(payer, abi.encodeCall(Channels.reclaim, (key)));
        uint256 over = channels.freeOf(payer) + 1;
        if (kind == 5) attempt(payer, abi.encodeCall(Channels.withdraw, (uint96(bound(amount, over, over + 1e24)))));
        if (kind == 6) attempt(other, abi.encodeCall(Channels.depositAndOpen, (key, 1)));
        bytes32[] memory words = payees(0);
        words[0] = word(payer, 3_333);
        if (kind == 7) attempt(payer, abi.encodeCall(Pots.collect, (words, 0)));
        if (kind == 8) attempt(payer, asking(c, (c + ACTORS) % CHANNELS, 0));
        if (kind == 9) attempt(payer, asking(c, c, 2));
    }

    /// @dev A refund to the channel `c` of a session of `s`, or of one in which nobody was convicted.
    function asking(uint256 c, uint256 s, uint256 number) private view returns (bytes memory) {
        (, uint96 settled,) = state(c);
        RouteTerms memory terms = session(_ids[s], number);
        bytes32 digest = _verdicts.routeDigest(terms);
        PaidWork memory paid = paidWork(channels, c % ACTORS, _keys[c], settled, digest, 1e24);
        return abi.encodeCall(Refunds.refund, (_keys[c], payees(c / ACTORS % ROUTES), 0, terms, paid));
    }

    /// @dev A voucher of the channel `c`, by the signer of the channel `s`.
    function paying(uint256 c, uint256 s, uint96 cumulative) private view returns (bytes memory) {
        ChannelKey memory key = keyOf(c);
        (bytes32 r, bytes32 vs) = voucher(channels, s % ACTORS, key, cumulative);
        return abi.encodeCall(Channels.settle, (key, cumulative, WORK, r, vs));
    }

    /// @dev Anybody may bring a voucher: here nobody's friend does.
    function bring(uint256 c, uint96 cumulative) private {
        ChannelKey memory key = keyOf(c);
        (bytes32 r, bytes32 vs) = voucher(channels, c % ACTORS, key, cumulative);
        vm.prank(GRAVE);
        channels.settle(key, cumulative, WORK, r, vs);
    }

    function attempt(address who, bytes memory data) private {
        vm.prank(who);
        (bool believed,) = address(channels).call(data);
        if (believed) ++frauds;
    }
}
