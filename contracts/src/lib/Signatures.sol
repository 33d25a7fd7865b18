// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title Recovery of secp256k1 signers
/// @dev Exactly one signature form per message and key passes: low s, v of 27 or 28, a signer that
/// is not the zero address. Everything else reverts, so callers never see a zero signer.
library Signatures {
    /// @notice The signature is malformed, malleable, or not by the key that has to sign.
    error SignatureInvalid();

    /// @dev Half of the curve's order; s above it is the mirror image of a valid signature.
    uint256 private constant HALF_ORDER = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0;

    /// @dev EIP-2098: the top bit of `vs` is the parity of R, the other 255 bits are s.
    function recover(bytes32 digest, bytes32 r, bytes32 vs) internal pure returns (address) {
        uint256 s = uint256(vs) & type(uint256).max >> 1;
        return recover(digest, uint8(27 + (uint256(vs) >> 255)), r, bytes32(s));
    }

    /// @dev The long form, as EIP-2612 wants it. `ecrecover` answers zero for any v but 27 and 28.
    function recover(bytes32 digest, uint8 v, bytes32 r, bytes32 s) internal pure returns (address signer) {
        if (uint256(s) > HALF_ORDER) revert SignatureInvalid();
        signer = ecrecover(digest, v, r, s);
        if (signer == address(0)) revert SignatureInvalid();
    }

    /// @dev Reverts unless `signer` signed `digest`. The zero address can never pass.
    function check(bytes32 digest, address signer, bytes32 r, bytes32 vs) internal pure {
        if (recover(digest, r, vs) != signer) revert SignatureInvalid();
    }
}
