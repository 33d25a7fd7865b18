// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Guarded} from "./lib/Guarded.sol";
import {IToken, Transfers} from "./lib/Transfers.sol";

/// @title Money that waits to be fetched
/// @notice Nobody is paid by surprise: what is due is credited, and its owner withdraws it.
/// @dev Invariant: the token balance is what is owed, open bonds included, plus what is spare.
abstract contract Credits is Guarded {
    using Transfers for IToken;

    IToken private immutable _token;

    uint256 private _owed;
    mapping(address account => uint256 amount) private _credits;

    event Withdrawn(address indexed account, uint256 amount);

    error NothingToWithdraw(address account);

    constructor(IToken token_) {
        token_.mustExist();
        _token = token_;
    }

    /// @notice Pays out all that the caller is credited with.
    function withdraw() external guarded {
        uint256 amount = _credits[msg.sender];
        if (amount == 0) revert NothingToWithdraw(msg.sender);
        _credits[msg.sender] = 0;
        _owed -= amount;
        emit Withdrawn(msg.sender, amount);
        _token.push(msg.sender, amount);
    }

    function creditOf(address account) external view returns (uint256) {
        return _credits[account];
    }

    function token() external view returns (address) {
        return address(_token);
    }

    /// @dev Takes a bond from the caller. Guard the function that calls it.
    function takeBond(uint96 amount) internal {
        _owed += amount;
        _token.pull(amount);
    }

    /// @dev Hands on a bond that was taken.
    function credit(address account, uint96 amount) internal {
        _credits[account] += amount;
    }

    /// @dev Credits out of what is spare.
    function grant(address account, uint96 amount) internal {
        _owed += amount;
        credit(account, amount);
    }

    /// @dev What the contract holds beyond what it owes: gifts, and a share of a route if it is a payee.
    function spare() internal view returns (uint256) {
        return _token.balanceOf(address(this)) - _owed;
    }
}
