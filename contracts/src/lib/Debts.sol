// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Guarded} from "./Guarded.sol";
import {IToken, Transfers} from "./Transfers.sol";

/// @title What the contract owes to accounts that have to fetch it
/// @dev Nothing is sent where a fault is judged: no receiver can stop a judgement, and many are burnt in one transfer.
abstract contract Debts is Guarded {
    using Transfers for IToken;

    /// @dev Burning by transfer works with every token; nobody has a key for this address.
    address internal constant GRAVE = 0x000000000000000000000000000000000000dEaD;

    mapping(address account => uint256 owed) private _owed;

    event PaidOut(address indexed account, uint256 amount);

    /// @notice Nothing is owed to the account.
    error NothingOwed(address account);

    /// @notice Sends an account what it is owed. Anybody may; for the grave, too, which burns it.
    function payOut(address account) external guarded {
        uint256 amount = _owed[account];
        if (amount == 0) revert NothingOwed(account);
        _owed[account] = 0;
        emit PaidOut(account, amount);
        owedIn().push(account, amount);
    }

    /// @notice What an account can have paid out; for the grave, what waits to be burnt.
    function owedTo(address account) external view returns (uint256) {
        return _owed[account];
    }

    function owe(address account, uint256 amount) internal {
        if (amount != 0) _owed[account] += amount;
    }

    function owedIn() internal view virtual returns (IToken);
}
