// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Channels} from "../src/Channels.sol";
import {Court} from "../src/Court.sol";
import {Stakes} from "../src/Stakes.sol";
import {IToken} from "../src/lib/Transfers.sol";
import {AnyCourt} from "../src/test/AnyCourt.sol";
import {AnyVerdicts} from "../src/test/AnyVerdicts.sol";
import {Token} from "../src/test/Token.sol";
import {Suite} from "./Suite.sol";
import {ChannelsHandler} from "./handlers/ChannelsHandler.sol";
import {CourtHandler} from "./handlers/CourtHandler.sol";
import {SlashHandler} from "./handlers/SlashHandler.sol";
import {StakesHandler} from "./handlers/StakesHandler.sol";

/// @title What holds after whatever three nodes and their judge do
abstract contract StakesInvariants is Suite {
    Token internal token = new Token(SUPPLY);
    StakesHandler internal play;

    function begin(StakesHandler play_) internal {
        play = play_;
        token.transfer(address(play), 1e28);
        for (uint256 i = 0; i < play.ACTORS(); ++i) {
            fund(token, actor(i), address(play.stakes()), 1e29);
        }
    }

    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(play);
    }

    /// @dev All at once, for each invariant is played through by itself, which takes its time.
    function invariant_of_stakes() external view {
        the_contract_holds_what_the_records_say();
        no_stake_is_lost_or_made();
        records_are_in_one_of_their_states();
        a_key_never_leaves_its_node();
        no_lie_is_believed();
    }

    /// @dev I1.
    function the_contract_holds_what_the_records_say() internal view {
        uint256 sum = play.gifts() + play.stakes().owedTo(GRAVE);
        for (uint256 i = 0; i < play.ACTORS(); ++i) {
            (uint96 bonded, uint96 exiting,) = play.record(i);
            sum += uint256(bonded) + exiting;
        }
        assert(token.balanceOf(address(play.stakes())) == sum);
    }

    /// @dev I2, node by node; what is burnt is where nobody has a key, and nobody has more than before.
    function no_stake_is_lost_or_made() internal view {
        uint256 burnt;
        for (uint256 i = 0; i < play.ACTORS(); ++i) {
            (uint96 bonded, uint96 exiting,) = play.record(i);
            assert(uint256(bonded) + exiting + play.slashed(i) + play.withdrawn(i) == play.joined(i));
            assert(token.balanceOf(play.owner(i)) == 1e29 + play.withdrawn(i) - play.joined(i));
            burnt += play.slashed(i);
        }
        assert(token.balanceOf(GRAVE) + play.stakes().owedTo(GRAVE) == burnt);
    }

    /// @dev Below the minimum nobody is but by a slash; a clock runs if and only if something leaves.
    function records_are_in_one_of_their_states() internal view {
        for (uint256 i = 0; i < play.ACTORS(); ++i) {
            (uint96 bonded, uint96 exiting, uint40 exitAt) = play.record(i);
            assert(bonded == 0 || bonded >= MIN_STAKE || play.condemned(i));
            assert((exiting == 0) == (exitAt == 0));
        }
    }

    /// @dev Whatever a node has signed with any of its keys leads to it.
    function a_key_never_leaves_its_node() internal view {
        for (uint256 i = 0; i < play.ACTORS(); ++i) {
            for (uint256 n = 0; n <= play.rotations(i); ++n) {
                address node = play.stakes().nodeOf(play.signer(i, n));
                assert(node == play.owner(i) || (n == 0 && play.joined(i) == 0 && node == address(0)));
            }
        }
    }

    /// @dev I6 is in the handler, before each slash; here are all other lies.
    function no_lie_is_believed() internal view {
        assert(play.frauds() == 0);
    }
}

/// @title The same before a judge who takes any part of a stake
contract SlashInvariants is StakesInvariants {
    function setUp() external {
        (Stakes stakes, AnyCourt judge) = deployLenient(IToken(address(token)));
        begin(new SlashHandler(token, stakes, judge));
    }
}

/// @title The same before the Court itself
contract CourtInvariants is StakesInvariants {
    function setUp() external {
        (Stakes stakes, Court court,) = deployJudged(IToken(address(token)));
        begin(new CourtHandler(token, stakes, court));
    }

    function invariant_who_never_contradicts_itself_loses_nothing() external view {
        assert(play.slashed(0) == 0 && play.slashed(1) == 0);
    }
}

/// @title What holds after whatever three payers, a keeper and liars do
contract ChannelsInvariants is Suite {
    Token internal token = new Token(SUPPLY);
    Channels internal channels;
    ChannelsHandler internal play;

    function setUp() external {
        AnyVerdicts verdicts;
        (channels, verdicts) = deployChannels(IToken(address(token)));
        play = new ChannelsHandler(token, channels, verdicts);
        token.transfer(address(play), 1e28);
        for (uint256 i = 0; i < play.ACTORS(); ++i) {
            fund(token, actor(i), address(channels), 1e29);
        }
    }

    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(play);
    }

    /// @dev All at once, for each invariant is played through by itself, which takes its time.
    function invariant_of_channels() external {
        the_contract_holds_what_the_records_say();
        locks_cover_vouchers_and_pots_cover_draws();
        no_lie_is_believed();
        every_covered_voucher_settles();
        payees_have_what_was_drawn_and_not_refunded();
        dust_is_less_than_the_number_of_payees();
    }

    function drawn(uint256 route) internal view returns (uint256 sum) {
        for (uint256 i = 0; i < play.payees(route).length; ++i) {
            sum += channels.drawnOf(play.hashOf(route), i);
        }
    }

    /// @dev I3: every unit is free, locked, in a pot, or a gift.
    function the_contract_holds_what_the_records_say() internal view {
        uint256 sum = play.gifts();
        for (uint256 i = 0; i < play.ACTORS(); ++i) {
            sum += channels.freeOf(play.payerOf(i));
        }
        for (uint256 c = 0; c < play.CHANNELS(); ++c) {
            (uint96 locked, uint96 settled,) = play.state(c);
            sum += locked - settled;
        }
        for (uint256 route = 0; route < play.ROUTES(); ++route) {
            sum += channels.potOf(play.hashOf(route)) - drawn(route);
        }
        assert(token.balanceOf(address(channels)) == sum);
    }

    /// @dev I4: settled <= locked, nothing that may only grow has fallen, pots cover what is drawn.
    function locks_cover_vouchers_and_pots_cover_draws() internal view {
        assert(!play.fell());
        for (uint256 c = 0; c < play.CHANNELS(); ++c) {
            (uint96 locked, uint96 settled,) = play.state(c);
            assert(settled <= locked);
        }
        for (uint256 route = 0; route < play.ROUTES(); ++route) {
            assert(drawn(route) <= channels.potOf(play.hashOf(route)));
        }
    }

    /// @dev A refund takes from nobody but the convicted node, and not what it was paid before.
    function payees_have_what_was_drawn_and_not_refunded() internal view {
        for (uint256 i = 0; i < 3; ++i) {
            address node = i == 0 ? GRAVE : actor(4 + i);
            uint256 sum;
            for (uint256 route = 0; route < play.ROUTES(); ++route) {
                bytes32[] memory words = play.payees(route);
                for (uint256 k = 0; k < words.length; ++k) {
                    if (address(uint160(uint256(words[k]) >> 96)) != node) continue;
                    sum += channels.drawnOf(play.hashOf(route), k) - play.refunded(route, k);
                }
            }
            assert(token.balanceOf(node) == sum);
        }
    }

    /// @dev I4: once all have collected, less than one unit for each word stays in the pot.
    function dust_is_less_than_the_number_of_payees() internal {
        uint256 route = play.deeds() % play.ROUTES();
        uint256 words = play.payees(route).length;
        ripen();
        for (uint256 i = 0; i < words; ++i) {
            uint256 share = channels.potOf(play.hashOf(route)) * uint96(uint256(play.payees(route)[i])) / 10_000;
            if (share != channels.drawnOf(play.hashOf(route), i)) channels.collect(play.payees(route), i);
        }
        assert(channels.potOf(play.hashOf(route)) - drawn(route) < words);
    }

    /// @dev I5: the whole lock of any living channel can be settled now, by anybody, whatever its payer has done.
    function every_covered_voucher_settles() internal {
        uint256 c = play.deeds() % play.CHANNELS();
        (uint96 locked, uint96 settled,) = play.state(c);
        if (!play.isLive(c) || settled == locked) return;
        (bytes32 r, bytes32 vs) = voucher(channels, c % play.ACTORS(), play.keyOf(c), locked);
        channels.settle(play.keyOf(c), locked, WORK, r, vs);
        (, settled,) = play.state(c);
        assert(settled == locked);
    }

    function no_lie_is_believed() internal view {
        assert(play.frauds() == 0);
    }
}
