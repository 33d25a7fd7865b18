// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Ages, Maturing, Pot} from "../src/lib/Maturing.sol";
import {Short} from "../src/lib/Short.sol";
import {Suite} from "./Suite.sol";

/// @title What is ripe, against a list of everything that was ever settled
contract MaturingTest is Suite {
    using Maturing for Ages;
    using Maturing for Pot;

    uint256 private constant ACTS = 8;

    /// @dev Amounts of every size, the windows in which they come: mostly the same or the next one.
    function playOf(uint256 seed) private pure returns (uint256[ACTS] memory amounts, uint256[ACTS] memory windows) {
        uint256 window = seed >> 200;
        for (uint256 i = 0; i < ACTS; ++i) {
            uint256 luck = uint256(keccak256(abi.encode(seed, i)));
            window += luck % 8 < 3 ? 0 : luck % 8 < 6 ? 1 : luck % 8 - 4;
            (amounts[i], windows[i]) = (luck >> 168 >> luck % 88, window);
        }
    }

    /// @dev What was settled two windows before, or earlier.
    function ripeOf(uint256[ACTS] memory amounts, uint256[ACTS] memory windows, uint256 upTo, uint256 now_)
        private
        pure
        returns (uint256 sum)
    {
        for (uint256 i = 0; i <= upTo; ++i) {
            if (windows[i] + 2 <= now_) sum += amounts[i];
        }
    }

    function testFuzz_a_pot_gives_nothing_unripe_and_keeps_next_to_nothing_back(uint256 seed, uint256 wait)
        public
        pure
    {
        (uint256[ACTS] memory amounts, uint256[ACTS] memory windows) = playOf(seed);
        Pot pot;
        uint256 total;
        for (uint256 i = 0; i < ACTS; ++i) {
            pot = pot.plus(amounts[i], windows[i]);
            total += amounts[i];
            uint256 now_ = windows[i] + (i + 1 == ACTS ? wait % 4 : 0);
            uint256 exact = ripeOf(amounts, windows, i, now_);
            uint256 ripe = pot.ripe(now_);
            assert(pot.total() == total && ripe <= exact && exact - ripe <= exact >> 56);
        }
        assert(pot.ripe(windows[ACTS - 1] + 2) == total);
    }

    function testFuzz_what_is_ripe_of_a_pot_never_falls(uint256 seed) public pure {
        (uint256[ACTS] memory amounts, uint256[ACTS] memory windows) = playOf(seed);
        Pot pot;
        uint256 before;
        for (uint256 i = 0; i < ACTS; ++i) {
            assert(pot.ripe(windows[i]) >= before);
            pot = pot.plus(amounts[i], windows[i]);
            before = pot.ripe(windows[i]);
            assert(pot.ripe(windows[i] + 1) >= before);
        }
    }

    /// @dev The other way round: nobody is refunded what is ripe.
    function testFuzz_a_channel_counts_all_that_is_ripe_and_hardly_more(uint256 seed, uint256 wait) public pure {
        (uint256[ACTS] memory amounts, uint256[ACTS] memory windows) = playOf(seed);
        Ages ages;
        uint256 settled;
        for (uint256 i = 0; i < ACTS; ++i) {
            ages = ages.moved(settled, windows[i]);
            settled += amounts[i];
            uint256 now_ = windows[i] + (i + 1 == ACTS ? wait % 4 : 0);
            uint256 exact = ripeOf(amounts, windows, i, now_);
            uint256 ripe = ages.ripe(settled, now_);
            assert(ripe >= exact && ripe - exact <= exact >> 15);
        }
        assert(ages.ripe(settled, windows[ACTS - 1] + 2) == settled);
    }

    function testFuzz_a_mark_changes_no_age(uint64 word, uint64 mark, uint256 settled, uint256 window) public pure {
        mark %= 4;
        Ages ages = Ages.wrap(word);
        Ages marked = ages.marked(mark);
        assert(marked.mark() == mark && marked.ripe(settled, window) == ages.ripe(settled, window));
        assert(marked.moved(settled % (1 << 112), window).mark() == mark);
    }

    function testFuzz_short_numbers_keep_the_order(uint128 one, uint128 other) public pure {
        if (one > other) (one, other) = (other, one);
        (uint256 down, uint256 up) = (Short.expand(Short.floorOf(one)), Short.expand(Short.ceilOf(one)));
        assert(down <= one && one <= up && one - down <= one >> 56 && up - one <= one >> 15);
        assert(down <= Short.expand(Short.floorOf(other)) && up <= Short.expand(Short.ceilOf(other)));
        assert(Short.floorOf(one) <= type(uint64).max && Short.ceilOf(one) < 1 << 23);
    }
}
