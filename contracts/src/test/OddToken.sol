// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title A token that misbehaves on demand. For tests only.
/// @dev Whoever asks may mint and may move anything: only the misbehaviour is of interest.
contract OddToken {
    enum Mode {
        Honest, // answers true
        Silent, // answers nothing, as some old tokens do
        Refusing, // answers false and moves nothing
        Lying, // answers true and moves nothing
        Taxing, // one per cent never arrives
        Generous, // one unit more arrives
        Short, // answers one byte
        Two, // answers the word 2
        Failing // reverts
    }

    mapping(address account => uint256 balance) public balanceOf;
    Mode public mode;

    address private _target;
    bytes private _data;
    /// @notice Whether the call from within the last transfer succeeded, and what it answered.
    bool public entered;
    bytes public answer;

    function mint(address to, uint256 amount) external {
        balanceOf[to] += amount;
    }

    function misbehave(Mode mode_) external {
        mode = mode_;
    }

    /// @notice From now on every transfer first calls `target` with `data`.
    function arm(address target, bytes calldata data) external {
        (_target, _data) = (target, data);
    }

    function transfer(address to, uint256 amount) external {
        move(msg.sender, to, amount);
    }

    function transferFrom(address from, address to, uint256 amount) external {
        move(from, to, amount);
    }

    /// @notice The token as a customer of `target`: the same call twice in one transaction.
    function actTwice(address target, bytes calldata data) external {
        for (uint256 i = 0; i < 2; ++i) {
            (bool done, bytes memory reason) = target.call(data);
            if (!done) revert(string(reason));
        }
    }

    function move(address from, address to, uint256 amount) private {
        if (_target != address(0)) (entered, answer) = _target.call(_data);
        if (mode == Mode.Failing) revert("no");
        if (mode != Mode.Refusing && mode != Mode.Lying) {
            balanceOf[from] -= amount;
            balanceOf[to] += mode == Mode.Taxing ? amount - amount / 100 : mode == Mode.Generous ? amount + 1 : amount;
        }
        reply();
    }

    function reply() private view {
        Mode now_ = mode;
        assembly ("memory-safe") {
            if eq(now_, 1) { return(0, 0) }
            mstore(0, 1)
            if eq(now_, 2) { mstore(0, 0) }
            if eq(now_, 7) { mstore(0, 2) }
            if eq(now_, 6) { return(31, 1) }
            return(0, 32)
        }
    }
}
