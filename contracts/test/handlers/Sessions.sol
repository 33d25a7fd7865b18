// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Court} from "../../src/Court.sol";
import {Stakes} from "../../src/Stakes.sol";
import {Receipt} from "../../src/lib/Receipts.sol";
import {RouteStage, RouteTerms, Routes} from "../../src/lib/RouteTerms.sol";
import {Token} from "../../src/test/Token.sol";
import {Suite} from "../Suite.sol";

/// @title What two nodes have signed, and what they have at stake: number 0 is honest, number 1 is a liar
/// @dev Actors 0 and 1 own the nodes, 2 and 3 are against them, everybody has funds.
abstract contract Sessions is Suite {
    uint256 public constant ACTORS = 4;
    uint256 internal constant NODES = 2;
    uint256 internal constant LIAR = 1;
    bytes32 private constant EXACT = keccak256("tallystick.profile.exact-1");
    bytes32 private constant STAGE = keccak256("RouteStage(address node,uint32 start,uint32 end,uint96 ask)");

    Token public token;
    Stakes public stakes;
    Court public court;

    /// @notice Lies that were believed, and promises to the honest that were broken. Must stay zero.
    uint256 public frauds;
    /// @notice Acts that did something: a play of nothing but refusals would prove nothing.
    uint256 public deeds;
    uint256 public joined;
    uint256 public withdrawn;

    address[ACTORS] private _actors; // made once: keys are what takes the time

    constructor(Token token_, Stakes stakes_, Court court_) {
        (token, stakes, court) = (token_, stakes_, court_);
        for (uint256 i = 0; i < ACTORS; ++i) {
            _actors[i] = actor(i);
        }
    }

    function owner(uint256 i) public view returns (address) {
        return _actors[i % ACTORS];
    }

    function stakeOf(uint256 n) public view returns (uint256) {
        (uint96 bonded,, uint96 exiting,,) = stakes.stakeOf(owner(n));
        return uint256(bonded) + exiting;
    }

    /// @dev An invariant of every play about stakes: what came in and did not leave is bonded, leaving, or owed.
    function no_stake_is_lost_or_made() external view {
        uint256 sum = stakes.owedTo(GRAVE) + stakeOf(0) + stakeOf(1);
        for (uint256 i = 0; i < ACTORS; ++i) {
            sum += stakes.owedTo(owner(i));
        }
        assert(token.balanceOf(address(stakes)) == sum && sum == joined - withdrawn);
    }

    /// @dev Calldata is what the library reads.
    function structHash(RouteTerms calldata terms) external pure returns (bytes32) {
        return Routes.structHash(terms);
    }

    function depart(uint256 n, uint96 amount) external {
        n %= NODES;
        (uint96 bonded,,,,) = stakes.stakeOf(owner(n));
        if (bonded == 0) return;
        amount = amount % 2 == 0 || bonded <= MIN_STAKE ? bonded : uint96(bound(amount, 1, bonded - MIN_STAKE));
        vm.prank(owner(n));
        stakes.exit(amount);
        ++deeds;
    }

    function withdraw(uint256 n) external {
        n %= NODES;
        (,, uint96 exiting, uint40 exitAt,) = stakes.stakeOf(owner(n));
        if (exiting == 0 || block.timestamp < exitAt || block.timestamp <= stakes.heldUntil(owner(n))) return;
        vm.prank(owner(n));
        stakes.withdraw();
        withdrawn += exiting;
        ++deeds;
    }

    /// @dev Comes back, or makes up for what it lost.
    function add(uint256 n, uint96 amount) external {
        n %= NODES;
        (uint96 bonded,, uint96 exiting,,) = stakes.stakeOf(owner(n));
        amount = uint96(bound(amount, MIN_STAKE, 1e24));
        if (bonded == 0 && exiting != 0) return;
        joined += amount;
        if (bonded == 0) return join(stakes, n, amount);
        vm.prank(owner(n));
        stakes.addStake(amount);
    }

    function stageOf(uint256 n) internal view returns (RouteStage memory) {
        return RouteStage(owner(n), 0, 1, 5);
    }

    function termsOf(uint256 n, uint256 route, bytes32 manifest) internal view returns (RouteTerms memory) {
        bytes32[] memory stages = new bytes32[](1);
        stages[0] = keccak256(abi.encode(STAGE, stageOf(n)));
        bytes32 nonce = bytes32(route);
        return RouteTerms(nonce, PEER, 0, 0, stages, manifest, EXACT, PEER, PEER, 16, PEER, type(uint32).max);
    }

    function digestOf(RouteTerms memory terms) internal view returns (bytes32) {
        return keccak256(abi.encodePacked(hex"1901", court.domainSeparator(), this.structHash(terms)));
    }

    function signed(uint256 n, Receipt memory receipt) internal view returns (bytes32 r, bytes32 vs) {
        return compact(hotKey(n, 0), court.receiptDigest(receipt));
    }

    function attempt(address who, address target, bytes memory data) internal {
        vm.prank(who, who);
        (bool believed,) = target.call(data);
        if (believed) ++frauds;
    }
}
