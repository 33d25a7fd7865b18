// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Court, Receipt} from "../src/Court.sol";
import {Stakes} from "../src/Stakes.sol";
import {Verdicts} from "../src/Verdicts.sol";
import {Signatures} from "../src/lib/Signatures.sol";
import {IToken} from "../src/lib/Transfers.sol";
import {Token} from "../src/test/Token.sol";
import {Suite} from "./Suite.sol";

/// @title Court: contradictions cost everything, and nothing else does
contract CourtTest is Suite {
    uint256 private constant HALF_ORDER = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0;

    Token internal token;
    Stakes internal stakes;
    Court internal court;

    function setUp() public {
        token = new Token(SUPPLY);
        (stakes, court,) = deployJudged(IToken(address(token)));
        for (uint256 i = 1; i <= 2; ++i) {
            fund(token, actor(i), address(stakes), 1e29);
            join(stakes, i, 1000);
        }
    }

    function bonded(uint256 i) internal view returns (uint96 amount) {
        (amount,,,,) = stakes.stakeOf(actor(i));
    }

    function denounce(Receipt memory a, uint256 first, Receipt memory b, uint256 second, bytes memory reason) internal {
        (bytes32 aR, bytes32 aVs) = compact(first, court.receiptDigest(a));
        (bytes32 bR, bytes32 bVs) = compact(second, court.receiptDigest(b));
        if (reason.length != 0) vm.expectRevert(reason);
        court.proveEquivocation(a, aR, aVs, b, bR, bVs, address(0));
    }

    function test_a_court_that_the_stakes_do_not_obey_is_refused() public {
        bytes memory foreign = abi.encodeWithSelector(Verdicts.StakesForeign.selector, address(stakes));
        unbuilt("Court.sol:Court", abi.encode(stakes, court.arbiters(), court.calendar()), foreign);
    }

    function testFuzz_a_contradiction_costs_everything(Receipt memory a, Receipt memory b) public {
        (b.route, b.stage, b.chunk) = (a.route, a.stage, a.chunk);
        vm.assume(keccak256(abi.encode(a)) != keccak256(abi.encode(b)));
        denounce(a, hotKey(1, 0), b, hotKey(1, 0), "");
        assert(bonded(1) == 0 && bonded(2) == 1000 && stakes.owedTo(GRAVE) == 1000);
        bytes memory nothing = abi.encodeWithSelector(Stakes.NothingToSlash.selector, actor(1));
        denounce(a, hotKey(1, 0), b, hotKey(1, 0), nothing);
    }

    function testFuzz_honest_receipts_harm_nobody(Receipt memory a, bytes32 root, uint256 where) public {
        Receipt memory b = abi.decode(abi.encode(a), (Receipt));
        bytes memory none = abi.encodePacked(Court.NotEquivocation.selector);
        denounce(a, hotKey(1, 0), b, hotKey(1, 0), none);
        b.outRoot = root;
        if (where % 3 == 0) b.route = bytes32(uint256(a.route) ^ 1);
        else if (where % 3 == 1) b.stage = a.stage ^ 1;
        else b.chunk = a.chunk ^ 1;
        denounce(a, hotKey(1, 0), b, hotKey(1, 0), none);
    }

    function testFuzz_two_keys_do_not_contradict_each_other(Receipt memory a, bytes32 root) public {
        vm.assume(a.outRoot != root);
        Receipt memory b = abi.decode(abi.encode(a), (Receipt));
        b.outRoot = root;
        bytes memory none = abi.encodePacked(Court.NotEquivocation.selector);
        denounce(a, hotKey(1, 0), b, hotKey(2, 0), none);
        bytes memory unknown = abi.encodeWithSelector(Verdicts.SignerUnknown.selector, vm.addr(hotKey(9, 0)));
        denounce(a, hotKey(9, 0), b, hotKey(9, 0), unknown);
    }

    function testFuzz_what_a_rotated_key_signed_still_counts(Receipt memory a, bytes32 root) public {
        vm.assume(a.outRoot != root);
        (address signer, bytes32 r, bytes32 vs) = consent(stakes, 1, 1);
        vm.prank(actor(1));
        stakes.rotate(signer, PEER, r, vs);
        Receipt memory b = abi.decode(abi.encode(a), (Receipt));
        b.outRoot = root;
        denounce(a, hotKey(1, 0), b, hotKey(1, 0), "");
        assert(bonded(1) == 0);
    }

    /// @dev The compact form has room for few s above half the order: just enough to need the check.
    function testFuzz_no_high_and_no_empty_signature_is_heard(Receipt memory a, bytes32 root, uint256 s) public {
        vm.assume(a.outRoot != root);
        Receipt memory b = abi.decode(abi.encode(a), (Receipt));
        b.outRoot = root;
        s = bound(s, HALF_ORDER + 1, type(uint256).max >> 1);
        (bytes32 aR, bytes32 aVs) = compact(hotKey(1, 0), court.receiptDigest(a));
        (bytes32 bR,) = compact(hotKey(1, 0), court.receiptDigest(b));
        vm.expectRevert(abi.encodePacked(Signatures.SignatureInvalid.selector));
        court.proveEquivocation(a, aR, aVs, b, bR, bytes32(s), address(0));
        vm.expectRevert(abi.encodePacked(Signatures.SignatureInvalid.selector));
        court.proveEquivocation(a, bytes32(0), bytes32(0), b, bytes32(0), bytes32(0), address(0));
    }
}
