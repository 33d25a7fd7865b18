// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Funds} from "./Funds.sol";
import {IToken} from "./Transfers.sol";

/// @title What challengers put down, and get back: the same for every challenge
abstract contract Bonds is Funds {
    uint96 private immutable _bond;

    constructor(IToken money, uint96 bond_) Funds(money) {
        _bond = bond_;
    }

    /// @notice What a challenge puts at stake.
    function bond() external view returns (uint96) {
        return _bond;
    }

    /// @dev A descent takes a second one: it costs the defender as much again.
    function takeBonds(address challenger, uint16 count) internal {
        enter(challenger, _bond * count, count);
    }

    function returnBonds(address challenger, uint16 count) internal {
        quit(challenger, _bond * count, count);
    }

    /// @dev Half pays the defender for its answer, the rest nobody: a challenger that is also the defender loses by it.
    function forfeitBonds(address challenger, address defender, uint16 count) internal {
        uint96 amount = _bond * count;
        quit(challenger, 0, count);
        unlock(defender, amount / 2);
        unlock(PYRE, amount - amount / 2);
    }
}
