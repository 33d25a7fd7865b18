// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

interface ISlashable {
    function slash(address node, uint256 bps, address finder) external returns (uint256);
}

/// @title A court that slashes whatever it is told. For tests only.
/// @dev The real Court always takes the whole; the arithmetic of parts needs another judge.
contract AnyCourt {
    function slash(ISlashable stakes, address node, uint256 bps, address finder) external returns (uint256) {
        return stakes.slash(node, bps, finder);
    }
}
