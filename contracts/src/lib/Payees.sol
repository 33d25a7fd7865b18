// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Signatures} from "./Signatures.sol";

/// @dev One payee's signature, EIP-2098.
struct Consent {
    bytes32 r;
    bytes32 vs;
}

/// @title Who shares a pot: words of an address (high 160 bits) and a weight (low 96 bits)
/// @dev Twin in incentives/payees.py. Only the hash of the packed words is ever stored.
library Payees {
    uint256 private constant WHOLE = 10_000;

    /// @notice The weights have to be 10,000 together, not `total`.
    error PayeesInvalid(uint256 total);
    error PayeeUnknown(uint256 index, uint256 count);
    /// @notice Each payee has to sign, in the order of the words; the audit pool has no key and is left out.
    error ConsentsMissing(uint256 given, uint256 payees);

    function hash(bytes32[] calldata words) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked(words));
    }

    /// @dev Shares of words with another sum would be paid from other pots.
    function mustBeWhole(bytes32[] calldata words) internal pure {
        uint256 total;
        unchecked {
            // No block's calldata has room for the 2^160 weights of 96 bits that could overflow.
            for (uint256 i = 0; i < words.length; ++i) {
                total += uint96(uint256(words[i]));
            }
        }
        if (total != WHOLE) revert PayeesInvalid(total);
    }

    /// @dev Reverts unless every payee but `silent`, in its order, signed `digest`. No words need no signatures.
    function mustSign(bytes32[] calldata words, bytes32 digest, Consent[] calldata consents, address silent)
        internal
        pure
    {
        uint256 signers;
        for (uint256 i = 0; i < words.length; ++i) {
            address payee = account(uint256(words[i]));
            if (payee == silent) continue;
            if (signers < consents.length) {
                Signatures.check(digest, payee, consents[signers].r, consents[signers].vs);
            }
            ++signers;
        }
        if (signers != consents.length) revert ConsentsMissing(consents.length, signers);
    }

    function wordAt(bytes32[] calldata words, uint256 index) internal pure returns (uint256 word) {
        if (index >= words.length) revert PayeeUnknown(index, words.length);
        return uint256(words[index]);
    }

    function account(uint256 word) internal pure returns (address) {
        return address(uint160(word >> 96));
    }

    /// @dev Rounded down: the shares together never exceed the pot.
    function share(uint256 word, uint256 pot) internal pure returns (uint256) {
        return pot * uint96(word) / WHOLE;
    }
}
