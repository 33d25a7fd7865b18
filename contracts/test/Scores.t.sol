// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Calendar, Epochs} from "../src/lib/Epochs.sol";
import {FaultCounts} from "../src/lib/FaultCounts.sol";
import {Scores} from "../src/lib/Scores.sol";
import {Suite} from "./Suite.sol";

contract EpochsProbe is Epochs {
    constructor(Calendar memory calendar_) Epochs(calendar_) {}

    function current() external view returns (uint256) {
        return epochNow();
    }
}

/// @title What scores are made of: bounded, and in order
contract ScoresTest is Suite {
    using FaultCounts for uint96;

    uint256 private constant UNIT = 1 << 120;
    uint256 private constant MAX_HALF_LIFE = 1 << 29;
    uint256 private constant LONG = 1 << 34;
    uint256 private constant LANES = 12;

    function testFuzz_what_is_left_of_a_mass_falls_with_time(uint256 first, uint256 more, uint256 halfLife)
        public
        pure
    {
        halfLife = bound(halfLife, 1, MAX_HALF_LIFE);
        (first, more) = (bound(first, 0, LONG), bound(more, 0, LONG));
        uint256 early = Scores.kept(first, halfLife);
        assert(Scores.kept(0, halfLife) == UNIT && early <= UNIT && Scores.kept(first + more, halfLife) <= early);
    }

    function testFuzz_a_mass_halves_in_a_half_life(uint256 elapsed, uint256 halfLife) public pure {
        halfLife = bound(halfLife, 1, MAX_HALF_LIFE);
        elapsed = bound(elapsed, 0, LONG);
        assert(Scores.kept(elapsed + halfLife, halfLife) == Scores.kept(elapsed, halfLife) / 2);
    }

    /// @dev Whether somebody looks in between or not: one unit in the last place.
    function testFuzz_decay_in_two_parts_is_decay_in_one(uint32 mass, uint256 first, uint256 rest, uint256 halfLife)
        public
        pure
    {
        halfLife = bound(halfLife, 1, MAX_HALF_LIFE);
        (first, rest) = (bound(first, 0, LONG), bound(rest, 0, LONG));
        uint256 parts = Scores.decayed(Scores.decayed(mass, Scores.kept(first, halfLife)), Scores.kept(rest, halfLife));
        uint256 whole = Scores.decayed(mass, Scores.kept(first + rest, halfLife));
        assert(parts <= whole + 1 && whole <= parts + 1 && whole <= mass);
    }

    function testFuzz_masses_keep_to_their_bits_and_faults_only_harm(uint32 a, uint32 b, uint32 credit, uint16 faults)
        public
        pure
    {
        (uint256 good, uint256 bad) = Scores.updated(a, b, credit, 0);
        assert(good >= a && bad == b && good <= type(uint32).max);
        (uint256 less, uint256 more) = Scores.updated(a, b, credit, faults);
        assert(less <= good && more >= bad && more <= type(uint32).max);
        (uint256 least, uint256 most) = Scores.updated(a, b, credit, uint256(faults) + 1);
        assert(least <= less && most >= more);
        if (faults != 0 && b < type(uint32).max) assert(more > bad);
    }

    function testFuzz_a_score_rises_with_the_good_and_falls_with_the_bad(uint32 a, uint32 b, uint32 more) public pure {
        uint256 score = Scores.published(a, b);
        assert(score <= Scores.WHOLE && Scores.published(0, b) == 0);
        if (more <= type(uint32).max - a) assert(Scores.published(a + more, b) >= score);
        if (more <= type(uint32).max - b) assert(Scores.published(a, b + more) <= score);
    }

    function testFuzz_credit_grows_with_the_fee_up_to_its_cap(uint128 fee, uint128 more, uint96 unit, uint32 cap)
        public
        pure
    {
        unit = uint96(bound(unit, 1, type(uint96).max));
        uint256 credit = Scores.creditOf(fee, unit, cap);
        assert(credit <= cap && Scores.creditOf(uint256(fee) + more, unit, cap) >= credit);
        assert(credit == cap || credit == uint256(fee) * Scores.ONE / unit);
    }

    function testFuzz_a_root_is_the_largest_whose_square_fits(uint256 x) public pure {
        uint256 root = Scores.sqrt(x);
        assert(root <= type(uint128).max && root * root <= x);
        if (root < type(uint128).max) assert((root + 1) * (root + 1) > x);
    }

    /// @dev Against a list of all faults there ever were: what twelve epochs back is remembered, and no more.
    function testFuzz_faults_are_counted_by_their_epochs(uint256 seed) public pure {
        uint256[80] memory byEpoch;
        uint96 counts;
        uint256 last = LANES;
        for (uint256 i = 0; i < 10; ++i) {
            uint256 luck = uint256(keccak256(abi.encode(seed, i)));
            uint256 passed = luck % 4 == 0 ? (luck >> 8) % 7 : luck % 4 == 1 ? 1 : 0;
            last += passed;
            ++byEpoch[last];
            counts = counts.added(passed);
        }
        for (uint256 age = 0; age <= LANES; ++age) {
            assert(counts.countAt(age) == (age < LANES ? byEpoch[last - age] : 0));
        }
    }

    /// @dev A count that is full stays so, and its neighbours do not notice.
    function testFuzz_a_full_count_spills_into_no_other(uint96 counts, uint256 passed) public pure {
        passed = bound(passed, 0, 2 * LANES);
        uint96 full = counts | type(uint8).max;
        assert(full.added(0) == full);
        uint96 next = full.added(passed);
        for (uint256 age = passed; age < LANES; ++age) {
            uint8 old = full.countAt(age - passed);
            assert(next.countAt(age) == (age == 0 ? type(uint8).max : old));
        }
    }

    function testFuzz_every_moment_has_one_epoch(uint40 genesis, uint40 length, uint40 later) public {
        length = uint40(bound(length, 1, 2 ** 20 - 1));
        genesis = uint40(bound(genesis, 0, 1 << 38));
        vm.warp(genesis);
        EpochsProbe probe = new EpochsProbe(Calendar(genesis, length));
        assert(probe.current() == 1);
        vm.warp(uint256(genesis) + later);
        uint256 epoch = probe.current();
        assert((epoch - 1) * length <= later && later < epoch * length);
    }
}
