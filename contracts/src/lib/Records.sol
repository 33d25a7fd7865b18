// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @dev A node's last conviction, in one word that is read and written once. From below: when it was (40 bits), in which
/// epoch (24), how often it was convicted in the epochs up to that one (96, FaultCounts), and on which route (96, a mark of
/// it, zero for none).
type Record is uint256;

library Records {
    function made(uint256 lastFault_, uint256 epoch_, uint96 faults_, uint96 mark_) internal pure returns (Record) {
        uint256 times = uint40(lastFault_) | (uint256(uint24(epoch_)) << 40);
        return Record.wrap(times | (uint256(faults_) << 64) | (uint256(mark_) << 160));
    }

    function lastFault(Record self) internal pure returns (uint40) {
        return uint40(Record.unwrap(self));
    }

    function epoch(Record self) internal pure returns (uint24) {
        return uint24(Record.unwrap(self) >> 40);
    }

    function faults(Record self) internal pure returns (uint96) {
        return uint96(Record.unwrap(self) >> 64);
    }

    function mark(Record self) internal pure returns (uint96) {
        return uint96(Record.unwrap(self) >> 160);
    }
}
