// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Elements} from "../lib/Elements.sol";
import {Exhibits} from "../lib/Exhibits.sol";
import {Hearing, Numbers, Openings} from "../lib/Openings.sol";
import {Operand} from "../lib/Operands.sol";
import {Parts} from "../lib/Parts.sol";

/// @title Operands out of a proof's pieces, in an order that no rule has. For tests only.
contract OpeningsProbe {
    /// @notice The first number of each operand.
    function read(bytes32 weights, bytes calldata proof, Operand[] memory operands)
        external
        pure
        returns (int256[] memory found)
    {
        Hearing memory h;
        h.evidence = Exhibits.read(proof);
        h.weights = weights;
        found = new int256[](operands.length);
        for (uint256 k = 0; k < operands.length; ++k) {
            Numbers memory one = Openings.read(h, operands[k]);
            found[k] = Elements.get(Parts.data(one.elements), one.size, 0);
        }
    }
}
