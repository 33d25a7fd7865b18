// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title What a court says about a node's work on a route
interface ICourtVerdicts {
    /// @notice When a node was convicted of a fault on a route; zero if it was not.
    /// @param route The digest of the Route, which is the route's name.
    function convictedOf(bytes32 route, address node) external view returns (uint40 since);
}

/// @dev The same court, as what routes are signed for; see Domain.
interface IRouteDomain {
    function domainSeparator() external view returns (bytes32);
}
