// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Challenges} from "./Challenges.sol";
import {Facts} from "./Docket.sol";
import {LeafPair} from "./Judge.sol";
import {Models} from "./Models.sol";
import {Receipt} from "./lib/Receipts.sol";
import {Signatures} from "./lib/Signatures.sol";
import {StandWords, Turn} from "./lib/Stands.sol";

/// @title What shows a posted trace wrong
/// @notice Anybody may bring a proof until the dispute's clock ends. verification/trace/evidence.py writes them.
/// @dev finder: who has committed to keccak256(id, proof) and gets the fee; zero for the challenger.
abstract contract Proofs is Challenges {
    Models private immutable _models;

    /// @notice What was opened is right.
    error NothingWrong();
    /// @notice The two receipts are not the dispute's and another one of the same stage of its route by the same node.
    error ReceiptForeign();

    /// @dev A trace that is there to be proven wrong, and what follows where it was.
    modifier convicting(bytes32 id, Facts calldata facts, StandWords calldata words, address finder) {
        Turn turn = answered(id, facts, words);
        _;
        convict(id, facts, turn, finder);
    }

    constructor() {
        (_models,,) = _judge.parts();
    }

    /// @notice Shows that a prefix of a product with a block's matrix is wrong: like any other element, for less.
    function proveProduct(
        bytes32 id,
        Facts calldata facts,
        StandWords calldata words,
        bytes calldata proof,
        address finder
    ) external convicting(id, facts, words, finder) {
        if (!_models.isProductWrong(tracedIn(facts), words.root, proof)) revert NothingWrong();
        mustHaveFound(finder, id, proof);
    }

    /// @notice Shows that an element of the posted trace is not what its operands say.
    function proveElement(
        bytes32 id,
        Facts calldata facts,
        StandWords calldata words,
        bytes calldata proof,
        address finder
    ) external convicting(id, facts, words, finder) {
        if (!_judge.isElementWrong(tracedIn(facts), words.root, bytes32(0), proof)) revert NothingWrong();
        mustHaveFound(finder, id, proof);
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
    ) external convicting(id, facts, words, finder) {
        mustBeNodes(facts, own, earlier, r, vs);
        if (!_judge.isElementWrong(tracedIn(facts), words.root, earlier.kvRoot, proof)) revert NothingWrong();
        mustHaveFound(finder, id, proof);
    }

    /// @notice Shows that the posted trace ends otherwise than the receipt's outRoot says, or has other keys and values
    /// than its kvRoot.
    function proveSigned(
        bytes32 id,
        Facts calldata facts,
        StandWords calldata words,
        bytes calldata proof,
        address finder
    ) external convicting(id, facts, words, finder) {
        if (!_judge.isSignedWrong(tracedIn(facts), words.root, proof)) revert NothingWrong();
        mustHaveFound(finder, id, proof);
    }

    /// @notice Shows two different leaves of one index in the trace.
    function proveTwice(
        bytes32 id,
        Facts calldata facts,
        StandWords calldata words,
        LeafPair calldata pair,
        address finder
    ) external convicting(id, facts, words, finder) {
        if (!_judge.isTwice(words.root, pair)) revert NothingWrong();
        if (finder != address(0)) requireRipe(finder, keccak256(abi.encode(id, pair)));
    }

    function mustHaveFound(address finder, bytes32 id, bytes calldata proof) private {
        if (finder != address(0)) requireRipe(finder, keccak256(abi.encode(id, proof)));
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
