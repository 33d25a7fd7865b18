// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Challenges} from "./Challenges.sol";
import {Facts} from "./Docket.sol";
import {LeafPair} from "./Judge.sol";
import {ProductJudge} from "./ProductJudge.sol";
import {Receipt} from "./lib/Receipts.sol";
import {Signatures} from "./lib/Signatures.sol";
import {Stand, StandWords, Turn} from "./lib/Stands.sol";

/// @title What shows a posted trace wrong
/// @notice Anybody may bring a proof until the dispute's clock ends. verification/trace/evidence.py writes them.
/// @dev finder: who has committed to keccak256(id, proof) and gets the fee; zero for the challenger.
abstract contract Proofs is Challenges {
    ProductJudge private immutable _products;

    /// @notice What was opened is right.
    error NothingWrong();
    /// @notice The two receipts are not the dispute's and another one of the same stage of its route by the same node.
    error ReceiptForeign();

    constructor() {
        (,,, _products) = _judge.parts();
    }

    /// @notice Shows that a prefix of a product with a block's matrix is wrong: like any other element, for less.
    function proveProduct(
        bytes32 id,
        Facts calldata facts,
        StandWords calldata words,
        bytes calldata proof,
        address finder
    ) external {
        Stand memory stand = answered(id, facts, words);
        if (!_products.isProductWrong(tracedIn(facts), stand.root, proof)) revert NothingWrong();
        proven(id, facts, stand.turn, proof, finder);
    }

    /// @notice Shows that an element of the posted trace is not what its operands say.
    function proveElement(
        bytes32 id,
        Facts calldata facts,
        StandWords calldata words,
        bytes calldata proof,
        address finder
    ) external {
        Stand memory stand = answered(id, facts, words);
        if (!_judge.isElementWrong(tracedIn(facts), stand.root, bytes32(0), proof)) revert NothingWrong();
        proven(id, facts, stand.turn, proof, finder);
    }

    /// @notice The same for a copy of a key or value that the node signed in an earlier chunk.
    /// @param own The dispute's receipt.
    /// @param earlier The one whose kvRoot the key or value lies under, with its signature.
    function proveCopy(
        bytes32 id,
        Facts calldata facts,
        StandWords calldata words,
        bytes calldata proof,
        Receipt calldata own,
        Receipt calldata earlier,
        bytes32 r,
        bytes32 vs,
        address finder
    ) external {
        Stand memory stand = answered(id, facts, words);
        mustBeNodes(facts, own, earlier, r, vs);
        if (!_judge.isElementWrong(tracedIn(facts), stand.root, earlier.kvRoot, proof)) revert NothingWrong();
        proven(id, facts, stand.turn, proof, finder);
    }

    /// @notice Shows that the posted trace ends otherwise than the receipt's outRoot says, or has other keys and values
    /// than its kvRoot.
    function proveSigned(
        bytes32 id,
        Facts calldata facts,
        StandWords calldata words,
        bytes calldata proof,
        address finder
    ) external {
        Stand memory stand = answered(id, facts, words);
        if (!_judge.isSignedWrong(tracedIn(facts), stand.root, proof)) revert NothingWrong();
        proven(id, facts, stand.turn, proof, finder);
    }

    /// @notice Shows two different leaves of one index in the trace.
    function proveTwice(
        bytes32 id,
        Facts calldata facts,
        StandWords calldata words,
        LeafPair calldata pair,
        address finder
    ) external {
        Stand memory stand = answered(id, facts, words);
        if (!_judge.isTwice(stand.root, pair)) revert NothingWrong();
        if (finder != address(0)) requireRipe(finder, keccak256(abi.encode(id, pair)));
        convict(id, facts, stand.turn, finder);
    }

    function proven(bytes32 id, Facts calldata facts, Turn turn, bytes calldata proof, address finder) private {
        if (finder != address(0)) requireRipe(finder, keccak256(abi.encode(id, proof)));
        convict(id, facts, turn, finder);
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
