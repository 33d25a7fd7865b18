// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Ages, Maturing, Pot} from "../lib/Maturing.sol";
import {Short} from "../lib/Short.sol";

/// @title What is ripe, for many words at once. For tests only.
contract MaturingProbe {
    using Maturing for Ages;
    using Maturing for Pot;

    /// @notice For each pot: filled, then its total and what is ripe of it.
    function pots(uint256[] calldata words, uint256[] calldata amounts, uint256[] calldata windows)
        external
        pure
        returns (uint256[] memory filled, uint256[] memory totals, uint256[] memory ripe)
    {
        (filled, totals, ripe) =
            (new uint256[](words.length), new uint256[](words.length), new uint256[](words.length));
        for (uint256 i = 0; i < words.length; ++i) {
            Pot pot = Pot.wrap(words[i]);
            filled[i] = Pot.unwrap(pot.plus(amounts[i], windows[i]));
            (totals[i], ripe[i]) = (pot.total(), pot.ripe(windows[i]));
        }
    }

    /// @notice For each channel: moved on, and what is ripe of what is settled.
    function channels(uint64[] calldata words, uint256[] calldata settled, uint256[] calldata windows)
        external
        pure
        returns (uint64[] memory moved, uint256[] memory ripe)
    {
        (moved, ripe) = (new uint64[](words.length), new uint256[](words.length));
        for (uint256 i = 0; i < words.length; ++i) {
            Ages ages = Ages.wrap(words[i]);
            (moved[i], ripe[i]) = (Ages.unwrap(ages.moved(settled[i], windows[i])), ages.ripe(settled[i], windows[i]));
        }
    }

    /// @notice Each number rounded down and up, as words and as the numbers that these stand for.
    function short(uint256[] calldata numbers) external pure returns (uint256[4][] memory rows) {
        rows = new uint256[4][](numbers.length);
        for (uint256 i = 0; i < numbers.length; ++i) {
            (uint256 down, uint256 up) = (Short.floorOf(numbers[i]), Short.ceilOf(numbers[i]));
            rows[i] = [down, Short.expand(down), up, Short.expand(up)];
        }
    }

    function marked(uint64 word, uint64 mark) external pure returns (uint64, uint256) {
        Ages ages = Ages.wrap(word).marked(mark);
        return (Ages.unwrap(ages), ages.mark());
    }
}
