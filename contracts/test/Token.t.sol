// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Signatures} from "../src/lib/Signatures.sol";
import {Token} from "../src/test/Token.sol";
import {Suite} from "./Suite.sol";

/// @title The coin of local networks, and the long form of signatures that its permits have
contract TokenTest is Suite {
    Token internal token;
    address internal owner = actor(1);
    address internal spender = actor(2);

    function setUp() public {
        token = new Token(SUPPLY);
        token.transfer(owner, 1000);
    }

    function testFuzz_nobody_moves_more_than_there_is(uint256 value) public {
        if (value > 1000) {
            refused(owner, abi.encodeWithSelector(Token.ERC20InsufficientBalance.selector, owner, 1000, value));
        } else {
            vm.prank(owner);
        }
        token.transfer(spender, value);
        assert(token.balanceOf(owner) + token.balanceOf(spender) == 1000);
        refused(owner, abi.encodeWithSelector(Token.ERC20InvalidReceiver.selector, address(0)));
        token.transfer(address(0), 0);
    }

    function testFuzz_nobody_spends_more_than_is_allowed(uint256 allowed, uint256 value) public {
        value = bound(value, 1, 1000);
        vm.prank(owner);
        token.approve(spender, allowed);
        bool short = value > allowed;
        bytes4 reason = Token.ERC20InsufficientAllowance.selector;
        if (short) refused(spender, abi.encodeWithSelector(reason, spender, allowed, value));
        else vm.prank(spender);
        token.transferFrom(owner, spender, value);
        uint256 left = short || allowed == type(uint256).max ? allowed : allowed - value;
        assert(token.allowance(owner, spender) == left && token.balanceOf(spender) == (short ? 0 : value));
    }

    function testFuzz_a_permit_has_one_form_and_one_life(uint256 value, uint256 wait) public {
        uint256 deadline = 1e6;
        (uint8 v, bytes32 r, bytes32 s) = permitted(token, 1, spender, value, deadline);
        vm.warp(bound(wait, 1, 2e6));
        bool late = bound(wait, 1, 2e6) > deadline;
        bytes memory invalid = abi.encodePacked(Signatures.SignatureInvalid.selector);
        bytes memory reason = late ? abi.encodeWithSelector(Token.PermitExpired.selector, deadline) : invalid;
        uint256 order = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141;
        bytes32 mirrored = bytes32(order - uint256(s));
        vm.expectRevert(reason);
        token.permit(owner, spender, value, deadline, 55 - v, r, mirrored);
        vm.expectRevert(reason);
        token.permit(address(0), spender, value, deadline, 29, r, s);
        vm.expectRevert(reason);
        token.permit(spender, owner, value, deadline, v, r, s);
        if (late) vm.expectRevert(reason);
        token.permit(owner, spender, value, deadline, v, r, s);
        assert(token.allowance(owner, spender) == (late ? 0 : value));
        vm.expectRevert(reason);
        token.permit(owner, spender, value, deadline, v, r, s);
    }
}
