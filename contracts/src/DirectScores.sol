// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Scores} from "./lib/Scores.sol";

/// @title Scores kept node by node, for small networks
/// @notice Where too few nodes watch each other's roots, the Court itself writes what it has proven.
/// The arithmetic is that of the roots; each node costs one storage slot.
abstract contract DirectScores {
    /// @dev Bytes of one row: node, credit, faults, qos.
    uint256 private constant ROW = 28;
    uint256 private constant MAX_ROWS = 128;

    address internal immutable _court;
    uint40 internal immutable _halfLife;

    /// @dev In one word from the top: nothing (136 bits), a (32), b (32), qos (16), the time of both (40).
    mapping(address node => uint256 record) private _records;

    event Reported(uint256 rows);

    error NotCourt(address caller);
    /// @notice A report is 1 to 128 rows of 28 bytes.
    error ReportInvalid(uint256 length);

    constructor(address court_, uint40 halfLife_) {
        (_court, _halfLife) = (court_, halfLife_);
    }

    /// @notice Adds evidence to nodes' scores. Only the Court may.
    /// @param rows For each node its address, uint32 credit, uint16 faults and uint16 qos, packed.
    function report(bytes calldata rows) external {
        if (msg.sender != _court) revert NotCourt(msg.sender);
        uint256 count = rows.length / ROW;
        if (count == 0 || count > MAX_ROWS || rows.length % ROW != 0) revert ReportInvalid(rows.length);
        uint256 known = 0;
        uint256 factor = Scores.kept(0, _halfLife);
        uint256 end;
        uint256 next;
        assembly ("memory-safe") {
            next := rows.offset
            end := add(next, rows.length)
        }
        while (next != end) {
            uint256 row;
            assembly ("memory-safe") {
                row := shr(32, calldataload(next)) // 28 of 32 bytes
                next := add(next, ROW)
            }
            uint256 record = _records[address(uint160(row >> 64))];
            uint256 elapsed;
            unchecked {
                elapsed = block.timestamp - uint40(record); // no record is of the future
            }
            // The nodes of a report were mostly reported together before: one factor serves them all.
            if (elapsed != known) (known, factor) = (elapsed, Scores.kept(elapsed, _halfLife));
            _records[address(uint160(row >> 64))] = updated(record, factor, row);
        }
        emit Reported(count);
    }

    /// @notice What was reported of a node, and its score as it has decayed until now.
    function directScoreOf(address node)
        external
        view
        returns (uint32 a, uint32 b, uint16 qos, uint40 asOf, uint256 score)
    {
        uint256 record = _records[node];
        (a, b) = (uint32(record >> 88), uint32(record >> 56));
        (qos, asOf) = (uint16(record >> 40), uint40(record));
        uint256 factor = Scores.kept(block.timestamp - asOf, _halfLife);
        score = Scores.published(Scores.decayed(a, factor), Scores.decayed(b, factor));
    }

    /// @notice Seconds in which evidence loses half its weight, here and in the roots.
    function halfLife() external view returns (uint40) {
        return _halfLife;
    }

    function updated(uint256 record, uint256 factor, uint256 row) private view returns (uint256) {
        uint256 a = Scores.decayed(uint32(record >> 88), factor);
        uint256 b = Scores.decayed(uint32(record >> 56), factor);
        (a, b) = Scores.updated(a, b, uint32(row >> 32), uint16(row >> 16));
        uint256 qos = uint16(row) != 0 ? uint16(row) : uint16(record >> 40);
        return a << 88 | b << 56 | qos << 40 | block.timestamp;
    }
}
