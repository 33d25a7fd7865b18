// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Bench} from "../src/Bench.sol";
import {DisputeTerms} from "../src/Challenges.sol";
import {Court} from "../src/Court.sol";
import {Disputes} from "../src/Disputes.sol";
import {Judge} from "../src/Judge.sol";
import {Models} from "../src/Models.sol";
import {Rulebook} from "../src/Rulebook.sol";
import {Stakes} from "../src/Stakes.sol";
import {Arbiters} from "../src/Verdicts.sol";
import {Calendar} from "../src/lib/Epochs.sol";
import {IToken} from "../src/lib/Transfers.sol";
import {Token} from "../src/test/Token.sol";
import {Suite} from "./Suite.sol";
import {DisputesHandler} from "./handlers/DisputesHandler.sol";

/// @title What holds after whatever two challengers, an honest node and a liar do
contract DisputesInvariants is Suite {
    uint96 private constant FUNDS = 200;

    Token internal token = new Token(SUPPLY);
    Stakes internal stakes;
    Disputes internal disputes;
    DisputesHandler internal play;

    function setUp() external {
        Court court;
        (stakes, court, disputes) = deployJudged(IToken(address(token)));
        play = new DisputesHandler(token, stakes, court, disputes);
        for (uint256 i = 0; i < play.ACTORS(); ++i) {
            fund(token, actor(i), address(stakes), 1e29);
            vm.prank(actor(i));
            token.approve(address(disputes), FUNDS);
            vm.prank(actor(i));
            disputes.deposit(FUNDS);
        }
        play.add(0, 1e20);
        play.add(1, 1e20);
    }

    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(play);
    }

    /// @dev All at once, for each invariant is played through by itself, which takes its time.
    /// forge-config: default.invariant.runs = 12
    function invariant_of_disputes() external view {
        no_bond_is_lost_or_made();
        play.no_stake_is_lost_or_made();
        what_is_closed_stays_closed();
        assert(play.frauds() == 0);
    }

    /// @dev Forge calls it when a play is over. Once more the honest node does what it has to.
    function afterInvariant() external {
        play.pass(1);
        time_ends_every_dispute();
        no_stake_is_held_for_ever();
        no_bond_is_lost_or_made();
        assert(play.frauds() == 0);
    }

    /// @dev What the plays are made of leads where it should: to an acquittal at the end of a descent, to a conviction
    /// by a leaf that cannot be shown, and to one by proof; the bonds of these two serve again, or are taken back.
    function test_every_act_of_the_play_does_something() external {
        play.challenge(0, true);
        play.answer(0);
        play.pick(0, 3);
        play.show(0);
        play.challenge(2, false);
        play.answer(2);
        play.ask(2);
        play.open(2);
        play.pick(2, 1);
        play.show(2);
        play.challenge(6, false);
        play.answer(6);
        play.prove(6, 3);
        vm.warp(block.timestamp + play.longest());
        play.close(0, 3);
        play.close(2, 3);
        play.unbond(6);
        play.challenge(2, false);
        (uint96 free,) = disputes.fundsOf(actor(0));
        assert(play.deeds() == 16 && play.frauds() == 0 && free == FUNDS + BOND);
        (uint96 theirs, uint16 out) = disputes.fundsOf(actor(2));
        assert(theirs == FUNDS - 3 * BOND && out == 1); // two were lost, and one is at stake again
        assert(play.convictions(0, 0) == 0 && play.convictions(1, 0) != 0 && play.convictions(1, 1) != 0);
    }

    /// @dev What is free, what is out, in open disputes or with the numbers of won ones, and what waits to be burnt.
    function no_bond_is_lost_or_made() internal view {
        (uint96 burning,) = disputes.fundsOf(GRAVE);
        uint256 sum = burning;
        for (uint256 i = 0; i < play.ACTORS(); ++i) {
            (uint96 free, uint16 out) = disputes.fundsOf(actor(i));
            uint256 bonds;
            for (uint256 d = 0; d < play.DISPUTES(); ++d) {
                (,, uint16 taken, address challenger) = play.fight(d);
                if (challenger == actor(i)) bonds += taken;
            }
            assert(bonds == out);
            sum += free + bonds * BOND;
        }
        assert(token.balanceOf(address(disputes)) == sum && sum == FUNDS * play.ACTORS());
    }

    function what_is_closed_stays_closed() internal view {
        for (uint256 d = 0; d < play.DISPUTES(); ++d) {
            (bytes32 id, bool isClosed, uint16 lying,) = play.fight(d);
            assert(id == 0 || (disputes.keptOf(id) == bytes32(uint256(1) + lying)) == isClosed);
        }
    }

    /// @dev Whatever its sides do or do not do.
    function time_ends_every_dispute() internal {
        vm.warp(block.timestamp + play.longest() + 1);
        for (uint256 d = 0; d < play.DISPUTES(); ++d) {
            play.close(d, d);
            (bytes32 id, bool isClosed,,) = play.fight(d);
            assert(id == 0 || isClosed);
            play.unbond(d);
        }
        (, uint16 out) = disputes.fundsOf(actor(2));
        (, uint16 others) = disputes.fundsOf(actor(3));
        assert(out == 0 && others == 0);
    }

    function no_stake_is_held_for_ever() internal {
        vm.warp(block.timestamp + UNBONDING);
        for (uint256 n = 0; n < 2; ++n) {
            (,, uint96 exiting,,) = stakes.stakeOf(actor(n));
            play.withdraw(n);
            (,, uint96 left,,) = stakes.stakeOf(actor(n));
            assert(left == 0 && (exiting == 0 || token.balanceOf(actor(n)) >= exiting));
        }
    }
}
