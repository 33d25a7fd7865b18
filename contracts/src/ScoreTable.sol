// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Stakes} from "./Stakes.sol";
import {Calendar, Epochs} from "./lib/Epochs.sol";

/// @title Who is in the table of scores, and with how many tickets
/// @notice Mirrors the bonds of the nodes by epochs: what counts for an epoch is the bond that was
/// last enrolled before its end. Who joins, or whose bond changes, is enrolled once; anybody may do it.
/// @dev Keeps the last value and the one before, so it can answer for the current epoch and the one
/// that was over last, which is all that a root may be challenged about.
abstract contract ScoreTable is Epochs {
    /// @dev One slot. `count` is used in the sum only.
    struct Mirror {
        uint96 stake;
        uint96 before;
        uint24 since;
        uint16 count;
    }

    /// @dev Shown leaves have 42 bytes each, and pools of transactions take 131,072 in one.
    uint16 private constant MAX_CAPACITY = 3_000;

    Stakes internal immutable _stakes;
    uint16 private immutable _capacity;

    Mirror private _sum;
    mapping(address node => Mirror) private _mirrors;

    event Enrolled(address indexed node, uint96 stake, uint256 epoch);

    /// @notice The table shows the node's bond as it is.
    error NothingToEnrol(address node);
    /// @notice There are `capacity` nodes already.
    error TableFull(uint256 capacity);
    error CapacityInvalid(uint256 capacity);
    /// @notice 2^24 epochs have passed: it is time for a new contract.
    error EpochsOver();

    /// @param capacity_ The most nodes whose leaves still fit into one transaction.
    constructor(Stakes stakes_, Calendar memory calendar_, uint16 capacity_) Epochs(calendar_) {
        if (capacity_ == 0 || capacity_ > MAX_CAPACITY) revert CapacityInvalid(capacity_);
        (_stakes, _capacity) = (stakes_, capacity_);
    }

    /// @notice Brings a node's place in the table up to date with its bond.
    function enrol(address node) external {
        (uint96 bonded,,,,) = _stakes.stakeOf(node);
        Mirror storage self = _mirrors[node];
        uint96 old = self.stake;
        if (bonded == old) revert NothingToEnrol(node);
        uint24 epoch = currentEpoch();
        if (old == 0) {
            if (_sum.count == _capacity) revert TableFull(_capacity);
            ++_sum.count;
        } else if (bonded == 0) {
            --_sum.count;
        }
        move(self, bonded, epoch);
        move(_sum, _sum.stake - old + bonded, epoch);
        emit Enrolled(node, bonded, epoch);
    }

    /// @notice The running epoch; the first is number 1.
    function currentEpoch() public view returns (uint24) {
        uint256 epoch = epochNow();
        if (epoch > type(uint24).max) revert EpochsOver();
        return uint24(epoch);
    }

    /// @notice When an epoch is over, and so the next one begins.
    function endOf(uint24 epoch) public view returns (uint256) {
        unchecked {
            return _genesis + uint256(epoch) * _epochLength; // 40 bits, and 24 times 20
        }
    }

    /// @notice Tickets of a node in the table of the current epoch or the one before it.
    function stakeAt(uint256 epoch, address node) public view returns (uint96) {
        return valueAt(_mirrors[node], epoch);
    }

    /// @notice All tickets of such a table.
    function totalAt(uint256 epoch) public view returns (uint96) {
        return valueAt(_sum, epoch);
    }

    /// @notice How many nodes are enrolled, and how many can be.
    function enrolled() external view returns (uint16 count, uint16 capacity) {
        return (_sum.count, _capacity);
    }

    function move(Mirror storage self, uint96 stake, uint24 epoch) private {
        if (self.since != epoch) (self.before, self.since) = (self.stake, epoch);
        self.stake = stake;
    }

    function valueAt(Mirror storage self, uint256 epoch) private view returns (uint96) {
        return epoch >= self.since ? self.stake : self.before;
    }
}
