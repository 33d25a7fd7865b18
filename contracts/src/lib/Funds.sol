// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Guarded} from "./Guarded.sol";
import {IToken, Transfers} from "./Transfers.sol";

/// @title Money of accounts that lies ready for bonds
/// @dev The token balance is the sum of free funds, of what is locked, and of what waits to be burnt (plus gifts).
abstract contract Funds is Guarded {
    using Transfers for IToken;

    /// @dev The cap is the challenger's, never the defender's: nobody can use up another's.
    uint16 private constant MAX_CHALLENGES = 64;
    uint256 private constant FREE_BITS = 96;
    address internal constant PYRE = 0x000000000000000000000000000000000000dEaD;

    IToken private immutable _money;

    /// @dev One word, written at once: what is free (the low 96 bits), and how many bonds are out.
    mapping(address account => uint256) private _funds;

    event BondsDeposited(address indexed account, uint96 amount);
    event BondsWithdrawn(address indexed account, uint96 amount);

    /// @notice Only `free` is free of the account's funds.
    error BondShort(uint96 free, uint96 amount);
    /// @notice The account has as many bonds out as one may.
    error TooManyChallenges(uint16 limit);

    /// @param money What a contract that has checked it keeps its own in.
    constructor(IToken money) {
        _money = money;
    }

    /// @notice Brings money for bonds.
    function deposit(uint96 amount) external guarded {
        unlock(msg.sender, amount);
        emit BondsDeposited(msg.sender, amount);
        _money.pull(amount);
    }

    /// @notice Takes back what no bond holds, gains included.
    function withdraw(uint96 amount) external guarded {
        lock(msg.sender, amount);
        emit BondsWithdrawn(msg.sender, amount);
        _money.push(msg.sender, amount);
    }

    /// @notice Burns the bonds' parts that nobody gets. Anybody may.
    function burn() external guarded {
        uint96 amount = uint96(_funds[PYRE]);
        lock(PYRE, amount);
        emit BondsWithdrawn(PYRE, amount);
        _money.push(PYRE, amount);
    }

    /// @notice What an account can withdraw, and how many bonds of it are out.
    function fundsOf(address account) external view returns (uint96 free, uint16 challenges) {
        uint256 purse = _funds[account];
        return (uint96(purse), uint16(purse >> FREE_BITS));
    }

    function lock(address account, uint96 amount) internal {
        uint256 purse = _funds[account];
        mustHold(purse, amount);
        _funds[account] = purse - amount;
    }

    function unlock(address account, uint96 amount) internal {
        _funds[account] = added(_funds[account], amount);
    }

    /// @dev With what it takes to open a challenge, or several.
    function enter(address challenger, uint96 amount, uint16 count) internal {
        uint256 purse = _funds[challenger];
        mustHold(purse, amount);
        if ((purse >> FREE_BITS) + count > MAX_CHALLENGES) revert TooManyChallenges(MAX_CHALLENGES);
        _funds[challenger] = purse - amount + (uint256(count) << FREE_BITS);
    }

    /// @dev With what comes back from challenges that are over.
    function quit(address challenger, uint96 amount, uint16 count) internal {
        _funds[challenger] = added(_funds[challenger], amount) - (uint256(count) << FREE_BITS);
    }

    function mustHold(uint256 purse, uint96 amount) private pure {
        uint96 free = uint96(purse);
        if (free < amount) revert BondShort(free, amount);
    }

    /// @dev What is free has 96 bits: more is an error, and never a bond.
    function added(uint256 purse, uint96 amount) private pure returns (uint256) {
        return (purse >> FREE_BITS << FREE_BITS) | (uint96(purse) + amount);
    }
}
