// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Challenges} from "./Challenges.sol";
import {Dispute, Facts} from "./Docket.sol";
import {LeafPair} from "./Judge.sol";
import {Models} from "./Models.sol";
import {Receipt} from "./lib/Receipts.sol";
import {Signatures} from "./lib/Signatures.sol";
import {Turn} from "./lib/Stands.sol";

/// @title What shows a posted trace wrong
/// @notice Anybody may bring a proof until the dispute's clock ends. verification/trace/evidence.py writes them.
/// @dev finder: who has committed to keccak256(id, proof) and gets the fee; zero for the challenger.
abstract contract Proofs is Challenges {
    Models private immutable _models;

    /// @notice What was opened is right.
    error NothingWrong();
    /// @notice The two receipts are not the dispute's and another one of the same stage of its route by the same node.
    error ReceiptForeign();

    constructor() {
        (_models,,) = _judge.parts();
    }

    /// @notice Shows that a prefix of a product with a block's matrix is wrong: like any other element, for less.
    function proveProduct(Dispute calldata dispute, bytes calldata proof, address finder) external {
        Turn turn = answered(dispute);
        bool wrong = _models.isProductWrong(tracedIn(dispute.facts), dispute.stand.root, proof);
        proven(wrong, dispute, turn, proof, finder);
    }

    /// @notice Shows that an element of the posted trace is not what its operands say.
    function proveElement(Dispute calldata dispute, bytes calldata proof, address finder) external {
        Turn turn = answered(dispute);
        bool wrong = _judge.isElementWrong(tracedIn(dispute.facts), dispute.stand.root, bytes32(0), proof);
        proven(wrong, dispute, turn, proof, finder);
    }

    /// @notice The same for a copy of a key or value that the node signed in an earlier chunk.
    /// @param own The dispute's receipt.
    /// @param earlier The one whose kvRoot the key or value lies under, with its signature.
    function proveCopy(
        Dispute calldata dispute,
        bytes calldata proof,
        Receipt calldata own,
        Receipt calldata earlier,
        bytes32 r,
        bytes32 vs,
        address finder
    ) external {
        Turn turn = answered(dispute);
        mustBeNodes(dispute.facts, own, earlier, r, vs);
        bool wrong = _judge.isElementWrong(tracedIn(dispute.facts), dispute.stand.root, earlier.kvRoot, proof);
        proven(wrong, dispute, turn, proof, finder);
    }

    /// @notice Shows that the posted trace ends otherwise than the receipt's outRoot says, or has other keys and values
    /// than its kvRoot.
    function proveSigned(Dispute calldata dispute, bytes calldata proof, address finder) external {
        Turn turn = answered(dispute);
        bool wrong = _judge.isSignedWrong(tracedIn(dispute.facts), dispute.stand.root, proof);
        proven(wrong, dispute, turn, proof, finder);
    }

    /// @notice Shows two different leaves of one index in the trace.
    function proveTwice(Dispute calldata dispute, LeafPair calldata pair, address finder) external {
        Turn turn = answered(dispute);
        if (!_judge.isTwice(dispute.stand.root, pair)) revert NothingWrong();
        if (finder != address(0)) requireRipe(finder, keccak256(abi.encode(dispute.id, pair)));
        convict(dispute, turn, finder);
    }

    function proven(bool wrong, Dispute calldata dispute, Turn turn, bytes calldata proof, address finder) private {
        if (!wrong) revert NothingWrong();
        if (finder != address(0)) requireRipe(finder, keccak256(abi.encode(dispute.id, proof)));
        convict(dispute, turn, finder);
    }

    /// @dev Two receipts of one stage of a route: the dispute's, and another one that the node signed.
    function mustBeNodes(
        Facts calldata facts,
        Receipt calldata own,
        Receipt calldata earlier,
        bytes32 r,
        bytes32 vs
    ) private view {
        bool isSame = receiptDigest(own) == facts.receipt && own.route == earlier.route && own.stage == earlier.stage;
        address signer = Signatures.recover(receiptDigest(earlier), r, vs);
        if (!isSame || nodeOf(signer) != nodeIn(facts.where)) revert ReceiptForeign();
    }
}
