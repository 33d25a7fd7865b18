// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @dev The first second of epoch 1, and how long each epoch is, in seconds.
struct Calendar {
    uint40 genesis;
    uint40 epoch;
}

/// @title How the epochs of scores are counted
/// @notice Contracts that were built with the same calendar name every moment by the same epoch.
abstract contract Epochs {
    uint40 private constant MAX_EPOCH = 2 ** 20 - 1;

    uint40 internal immutable _genesis;
    uint40 internal immutable _epochLength;

    /// @notice An epoch has at most 2^20 - 1 seconds, and room for all that must happen within one.
    error EpochInvalid(uint256 length);
    /// @notice The first epoch would begin in the future.
    error GenesisAhead(uint256 genesis);

    constructor(Calendar memory times_) {
        if (times_.epoch == 0 || times_.epoch > MAX_EPOCH) revert EpochInvalid(times_.epoch);
        if (times_.genesis > block.timestamp) revert GenesisAhead(times_.genesis);
        (_genesis, _epochLength) = (times_.genesis, times_.epoch);
    }

    /// @notice What epochs are counted by.
    function calendar() external view returns (Calendar memory) {
        return Calendar(_genesis, _epochLength);
    }

    /// @dev The running epoch; the first is number 1. It has no end: who keeps it in few bits has to.
    function epochNow() internal view returns (uint256) {
        unchecked {
            return (block.timestamp - _genesis) / _epochLength + 1; // time does not run backwards
        }
    }
}
