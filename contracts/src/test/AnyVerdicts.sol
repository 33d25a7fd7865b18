// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Domain} from "../lib/Domain.sol";
import {ICourtVerdicts} from "../lib/ICourtVerdicts.sol";
import {RouteTerms, Routes} from "../lib/RouteTerms.sol";

/// @title A court that convicts whom it is told to. For tests only.
contract AnyVerdicts is Domain, ICourtVerdicts {
    mapping(bytes32 route => mapping(address node => uint40)) public convictedOf;

    /// @notice The name of a route here.
    function routeDigest(RouteTerms calldata terms) external view returns (bytes32) {
        return typedDigest(Routes.structHash(terms));
    }

    function convict(bytes32 route, address node) external {
        convictedOf[route][node] = uint40(block.timestamp);
    }
}
