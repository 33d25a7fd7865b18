// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title How often something happened in each of the last epochs, in one word
/// @dev Twelve counts of 8 bits, the newest epoch's lowest; each stops at the end of its bits. A table of scores asks for
/// the last eight.
library FaultCounts {
    uint256 private constant LANES = 12;
    uint256 private constant BITS = 8;

    /// @dev One more, `passed` epochs after the one that the lowest count is of.
    function added(uint96 counts, uint256 passed) internal pure returns (uint96) {
        uint96 moved = passed < LANES ? uint96(uint256(counts) << BITS * passed) : 0;
        return uint8(moved) == type(uint8).max ? moved : moved + 1;
    }

    /// @dev The count of the epoch that was `age` epochs before the lowest count's.
    function countAt(uint96 counts, uint256 age) internal pure returns (uint8) {
        return age < LANES ? uint8(counts >> BITS * age) : 0;
    }
}
