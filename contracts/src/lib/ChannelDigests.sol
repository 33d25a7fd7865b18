// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Domain} from "./Domain.sol";

/// @dev Names a channel. It travels in calldata only; the chain keeps its EIP-712 digest, the id.
/// `payees` is the hash of the payee words that share what is paid.
struct ChannelKey {
    address payer;
    address signer;
    bytes32 payees;
    bytes32 salt;
}

/// @title What is hashed and signed about channels
/// @dev Twins in incentives/vouchers.py. Chain and contract are in each digest's domain.
abstract contract ChannelDigests is Domain {
    bytes32 private constant KEY_TYPEHASH =
        keccak256("ChannelKey(address payer,address signer,bytes32 payees,bytes32 salt)");
    bytes32 private constant VOUCHER_TYPEHASH = keccak256("Voucher(bytes32 channel,uint96 cumulative,bytes32 work)");
    bytes32 private constant RELEASE_TYPEHASH = keccak256("Release(bytes32 channel,uint96 settled,uint40 deadline)");

    /// @notice The id of a channel: it holds on this chain and for this contract only.
    function channelId(ChannelKey calldata key) public view returns (bytes32) {
        return channelId(key.payer, key.signer, key.payees, key.salt);
    }

    /// @notice What a channel's signer signs to pay.
    function voucherDigest(bytes32 id, uint96 cumulative, bytes32 work) public view returns (bytes32) {
        return typedDigest(keccak256(abi.encode(VOUCHER_TYPEHASH, id, cumulative, work)));
    }

    /// @notice What each payee signs to let a payer have the rest of a channel at once.
    /// @param settled All that is settled on it: a voucher settled later takes the consent back.
    /// @param deadline The last second in which it counts.
    function releaseDigest(bytes32 id, uint96 settled, uint40 deadline) public view returns (bytes32) {
        return typedDigest(keccak256(abi.encode(RELEASE_TYPEHASH, id, settled, deadline)));
    }

    function channelId(address payer, address signer, bytes32 payees, bytes32 salt) internal view returns (bytes32) {
        return typedDigest(keccak256(abi.encode(KEY_TYPEHASH, payer, signer, payees, salt)));
    }
}
