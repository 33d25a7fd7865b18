// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Court} from "../src/Court.sol";
import {DemandTerms, Demands} from "../src/Demands.sol";
import {Models} from "../src/Models.sol";
import {Stakes} from "../src/Stakes.sol";
import {Arbiters} from "../src/Verdicts.sol";
import {Calendar} from "../src/lib/Epochs.sol";
import {Parameters} from "../src/lib/Parameters.sol";
import {IToken} from "../src/lib/Transfers.sol";
import {Token} from "../src/test/Token.sol";
import {Suite} from "./Suite.sol";
import {DemandsHandler} from "./handlers/DemandsHandler.sol";
import {Trees} from "./handlers/Trees.sol";

/// @title What holds after whatever two demanders, an honest node and a liar do
contract DemandsInvariants is Suite {
    uint96 private constant FUNDS = 200;

    Token internal token = new Token(SUPPLY);
    Models internal models = new Models();
    Stakes internal stakes;
    Demands internal demands;
    DemandsHandler internal play;

    function setUp() external {
        uint256 nonce = vm.getNonce(address(this));
        stakes = new Stakes(IToken(address(token)), created(nonce + 1), MIN_STAKE, UNBONDING, MAX_FEE);
        Arbiters memory all = Arbiters(address(this), address(this), address(this), created(nonce + 2));
        Court court = new Court(stakes, all, Calendar(uint40(block.timestamp), EPOCH));
        demands = new Demands(court, models, DemandTerms(BOND, 5, 5));
        play = new DemandsHandler(token, stakes, court, demands, registered());
        for (uint256 i = 0; i < play.ACTORS(); ++i) {
            fund(token, actor(i), address(stakes), 1e29);
            vm.prank(actor(i));
            token.approve(address(demands), FUNDS);
            vm.prank(actor(i));
            demands.deposit(FUNDS);
        }
        play.add(0, 1e20);
        play.add(1, 1e20);
    }

    function created(uint256 nonce) private view returns (address) {
        return vm.computeCreateAddress(address(this), nonce);
    }

    /// @dev A model whose manifest is one leaf.
    function registered() private returns (bytes32 manifest) {
        Parameters memory p = Parameters(2, 8, 2, 1, 4, 8, 32, 16, 0, 0, 0, 0, 1);
        bytes memory head = abi.encodePacked(p.blocks, p.hidden, p.heads, p.kvHeads, p.headDim, p.intermediate);
        bytes memory rest = abi.encodePacked(p.vocabulary, p.positions, p.window, p.flags);
        bytes memory data = abi.encodePacked(head, rest, p.epsilon, p.headEpsilon, p.score, PEER);
        manifest = Trees.leaf(abi.encodePacked("tallystick manifest 1\ntrace", data));
        models.register(manifest, p, PEER, new bytes32[](0));
    }

    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(play);
    }

    /// @dev All at once, for each invariant is played through by itself, which takes its time.
    /// forge-config: default.invariant.runs = 12
    function invariant_of_demands() external view {
        no_bond_is_lost_or_made();
        play.no_stake_is_lost_or_made();
        what_is_closed_stays_closed();
        assert(play.frauds() == 0);
    }

    /// @dev Forge calls it when a play is over: whatever its sides do or do not do, time ends every demand.
    function afterInvariant() external {
        vm.warp(block.timestamp + UNBONDING);
        for (uint256 d = 0; d < play.DEMANDS(); ++d) {
            // the honest node would have served: what is left open by the play's end is not its fault
            if (d >> 1 & 1 == 1) play.close(d);
        }
        no_bond_is_lost_or_made();
        for (uint256 n = 0; n < 2; ++n) {
            play.withdraw(n);
            (,, uint96 left,,) = stakes.stakeOf(actor(n));
            assert(left == 0);
        }
        assert(play.frauds() == 0);
    }

    /// @dev What the plays are made of leads where it should: to an answer, to an end without a draw, and to a fine.
    function test_every_act_of_the_play_does_something() external {
        play.demand(0);
        play.demand(2);
        play.demand(4);
        vm.roll(block.number + 3);
        play.draw(0);
        play.draw(2);
        play.serve(0);
        vm.warp(block.timestamp + 6);
        play.close(2);
        play.close(4);
        assert(play.deeds() == 8 && play.frauds() == 0 && play.fundsOf(0) == FUNDS + BOND);
        assert(play.stakeOf(0) == 1e20 && play.stakeOf(1) == 95e18);
    }

    function no_bond_is_lost_or_made() internal view {
        (uint96 burning,) = demands.fundsOf(GRAVE);
        uint256 sum = burning;
        for (uint256 i = 0; i < play.ACTORS(); ++i) {
            (uint96 free, uint16 out) = demands.fundsOf(actor(i));
            uint256 bonds;
            for (uint256 d = 0; d < play.DEMANDS(); ++d) {
                if (i == 2 + d % 2 && play.ids(d) != 0 && !play.isClosed(d)) ++bonds;
            }
            assert(bonds == out);
            sum += free + bonds * BOND;
        }
        assert(token.balanceOf(address(demands)) == sum && sum == FUNDS * play.ACTORS());
    }

    function what_is_closed_stays_closed() internal view {
        for (uint256 d = 0; d < play.DEMANDS(); ++d) {
            (,, uint40 deadline) = demands.demandOf(play.ids(d));
            assert(play.ids(d) == 0 ? deadline == 0 : (deadline == type(uint40).max) == play.isClosed(d));
        }
    }
}
