// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

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

/// @title What two receipts say of each other
library Receipts {
    bytes32 private constant TYPEHASH = keccak256(
        "Receipt(bytes32 route,uint32 stage,uint32 chunk,uint32 first,uint32 last,bytes32 previous,bytes32 inRoot,bytes32 kvRoot,bytes32 outRoot)"
    );

    /// @dev The struct's hash, which the next stage embeds; no signature is in it.
    function structHash(Receipt calldata receipt) internal pure returns (bytes32) {
        return keccak256(abi.encode(TYPEHASH, receipt));
    }

    function sameSlot(Receipt calldata a, Receipt calldata b) internal pure returns (bool) {
        return a.route == b.route && a.stage == b.stage && a.chunk == b.chunk;
    }

    /// @dev Whether `next` may name `before` as its predecessor: the stage before it on the same route, for the same
    /// chunk and positions, and what one gave out is what the other took in.
    function linked(Receipt calldata before, Receipt calldata next) internal pure returns (bool) {
        bool place = before.route == next.route && uint256(before.stage) + 1 == next.stage && before.chunk == next.chunk;
        return place && before.first == next.first && before.last == next.last && before.outRoot == next.inRoot;
    }
}
