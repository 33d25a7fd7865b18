// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Stakes} from "./Stakes.sol";
import {Domain} from "./lib/Domain.sol";
import {Signatures} from "./lib/Signatures.sol";

/// @dev What a stage signs for one chunk of a session. (route, stage, chunk) is the slot: an honest
/// node signs one receipt for a slot, ever.
struct Receipt {
    bytes32 route;
    uint32 stage;
    uint32 chunk;
    uint32 first;
    uint32 last;
    bytes32 previous;
    bytes32 inRoot;
    bytes32 kvRoot;
    bytes32 outRoot;
}

/// @title Judge of faults that two signatures prove
/// @notice Anybody may bring the proof. There is no reward yet, so there is nothing to win by
/// denouncing oneself, nor by copying somebody else's proof.
/// @dev Keeps no state. A proof does not wear out: a key that has contradicted itself condemns every
/// stake its node ever puts down, so it can only be left behind together with the node's account.
contract Court is Domain {
    bytes32 private constant RECEIPT_TYPEHASH = keccak256(
        "Receipt(bytes32 route,uint32 stage,uint32 chunk,uint32 first,uint32 last,bytes32 previous,bytes32 inRoot,bytes32 kvRoot,bytes32 outRoot)"
    );
    uint256 private constant WHOLE = 10_000;

    Stakes private immutable _stakes;

    event EquivocationProven(
        address indexed node, address indexed signer, bytes32 indexed route, uint32 stage, uint32 chunk, uint256 burnt
    );

    /// @notice The receipts are for different slots, by different keys, or say the same.
    error NotEquivocation();
    /// @notice The key that signed never belonged to a node.
    error SignerUnknown(address signer);
    /// @notice The stakes obey another court.
    error StakesForeign(address stakes);

    constructor(Stakes stakes_) {
        if (stakes_.court() != address(this)) revert StakesForeign(address(stakes_));
        _stakes = stakes_;
    }

    /// @notice Burns the whole stake of a node whose key signed two different receipts for one slot.
    function proveEquivocation(Receipt calldata a, bytes32 aR, bytes32 aVs, Receipt calldata b, bytes32 bR, bytes32 bVs)
        external
    {
        bool sameSlot = a.route == b.route && a.stage == b.stage && a.chunk == b.chunk;
        bytes32 digest = receiptDigest(a);
        bytes32 other = receiptDigest(b);
        if (!sameSlot || digest == other) revert NotEquivocation();
        address signer = Signatures.recover(digest, aR, aVs);
        if (signer != Signatures.recover(other, bR, bVs)) revert NotEquivocation();
        address node = _stakes.nodeOf(signer);
        if (node == address(0)) revert SignerUnknown(signer);
        uint256 burnt = _stakes.slash(node, WHOLE);
        emit EquivocationProven(node, signer, a.route, a.stage, a.chunk, burnt);
    }

    /// @notice What a node signs for a receipt.
    function receiptDigest(Receipt calldata receipt) public view returns (bytes32) {
        return typedDigest(keccak256(abi.encode(RECEIPT_TYPEHASH, receipt)));
    }

    function stakes() external view returns (address) {
        return address(_stakes);
    }
}
