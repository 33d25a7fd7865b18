// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Domain} from "./Domain.sol";
import {Signatures} from "./Signatures.sol";

/// @title Which node answers for which hot key
/// @dev A signer belongs to the first node that bound it, for ever.
abstract contract Signers is Domain {
    /// @dev One slot. The date shares it to keep `join` at two new slots; rotation carries it over.
    struct Binding {
        address node;
        uint40 joinedAt;
    }

    bytes32 private constant CONSENT_TYPEHASH = keccak256("SignerConsent(address owner,bytes32 peer)");

    mapping(address signer => Binding) internal _bindings;

    /// @notice The key has signed for `node`; no other node can have it.
    error SignerTaken(address signer, address node);

    /// @notice The node that answers for a signer, present or past; zero for an unknown key.
    function nodeOf(address signer) external view returns (address) {
        return _bindings[signer].node;
    }

    /// @notice What the signer of a node has to sign.
    function consentDigest(address owner, bytes32 peer) public view returns (bytes32) {
        return typedDigest(keccak256(abi.encode(CONSENT_TYPEHASH, owner, peer)));
    }

    function bindSigner(address signer, bytes32 peer, uint40 joinedAt, bytes32 r, bytes32 vs) internal {
        Binding storage binding = _bindings[signer];
        address holder = binding.node;
        if (holder != address(0) && holder != msg.sender) revert SignerTaken(signer, holder);
        Signatures.check(consentDigest(msg.sender, peer), signer, r, vs);
        (binding.node, binding.joinedAt) = (msg.sender, joinedAt);
    }
}
