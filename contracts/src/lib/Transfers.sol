// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @dev The parts of ERC-20 and EIP-2612 that the suite calls.
interface IToken {
    function balanceOf(address account) external view returns (uint256);
    function transfer(address to, uint256 amount) external returns (bool);
    function transferFrom(address from, address to, uint256 amount) external returns (bool);
    function permit(address owner, address spender, uint256 amount, uint256 deadline, uint8 v, bytes32 r, bytes32 s)
        external;
}

/// @dev An EIP-2612 permit of the caller for the contract that is called.
struct Permit {
    uint256 deadline;
    uint8 v;
    bytes32 r;
    bytes32 s;
}

/// @title Token movements that cannot fail unnoticed
/// @dev Accepts tokens that answer true and tokens that answer nothing.
library Transfers {
    /// @notice The address given as the token holds no code.
    error TokenMissing(address token);
    /// @notice The token refused to move `amount` to `to`.
    error TransferFailed(address to, uint256 amount);
    /// @notice `received` arrived where `amount` was sent: tokens with fees are not supported.
    error TransferInexact(uint256 received, uint256 amount);

    /// @dev For constructors; afterwards a call to the token cannot silently hit an empty account.
    function mustExist(IToken token) internal view {
        if (address(token).code.length == 0) revert TokenMissing(address(token));
    }

    function push(IToken token, address to, uint256 amount) internal {
        invoke(token, abi.encodeCall(IToken.transfer, (to, amount)), to, amount);
    }

    /// @dev Takes `amount` from the caller and proves by its own balance that all of it arrived.
    function pull(IToken token, uint256 amount) internal {
        uint256 before = token.balanceOf(address(this));
        bytes memory data = abi.encodeCall(IToken.transferFrom, (msg.sender, address(this), amount));
        invoke(token, data, address(this), amount);
        uint256 received = token.balanceOf(address(this)) - before;
        if (received != amount) revert TransferInexact(received, amount);
    }

    /// @dev A permit may already be spent by somebody who copied it from the public pool. The
    /// allowance is there all the same, so its failure is left to `pull` to judge.
    function tryPermit(IToken token, uint256 amount, Permit memory given) internal {
        try token.permit(msg.sender, address(this), amount, given.deadline, given.v, given.r, given.s) {} catch {}
    }

    /// @dev Assembly, so that no more than the one word of the answer that counts is ever copied.
    function invoke(IToken token, bytes memory data, address to, uint256 amount) private {
        bool done;
        assembly ("memory-safe") {
            done := call(gas(), token, 0, add(data, 32), mload(data), 0, 32)
            let silent := iszero(returndatasize())
            let affirmed := and(gt(returndatasize(), 31), eq(mload(0), 1))
            done := and(done, or(silent, affirmed))
        }
        if (!done) revert TransferFailed(to, amount);
    }
}
