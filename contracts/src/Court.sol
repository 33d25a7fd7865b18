// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Stakes} from "./Stakes.sol";
import {Arbiters, Verdicts} from "./Verdicts.sol";
import {Calendar} from "./lib/Epochs.sol";
import {Finders} from "./lib/Finders.sol";
import {Receipt, Receipts} from "./lib/Receipts.sol";
import {Signatures} from "./lib/Signatures.sol";

/// @title Judge of faults that signatures prove
/// @notice Anybody may bring the proof. Who has committed to it in an earlier block gets the finder's fee.
/// @dev A proof does not wear out: a key that has contradicted itself condemns every
/// stake its node ever puts down, so it can only be left behind together with the node's account.
contract Court is Verdicts, Finders {
    event EquivocationProven(
        address indexed node, address indexed signer, bytes32 indexed route, uint32 stage, uint32 chunk, uint256 taken
    );
    event BrokenLinkProven(
        address indexed node, address indexed signer, bytes32 indexed route, uint32 stage, uint32 chunk, uint256 taken
    );

    /// @notice The receipts are for different slots, by different keys, or say the same.
    error NotEquivocation();
    /// @notice The later receipt does not name the other one, or names it rightly.
    error NotBrokenLink();

    constructor(Stakes stakes_, Arbiters memory arbiters_, Calendar memory calendar_)
        Verdicts(stakes_, arbiters_, calendar_)
    {}

    /// @notice Takes the whole stake of a node whose key signed two different receipts for one slot.
    /// @param finder Who committed to keccak256(digest of a, digest of b) and gets the fee; zero for nobody.
    function proveEquivocation(
        Receipt calldata a,
        bytes32 aR,
        bytes32 aVs,
        Receipt calldata b,
        bytes32 bR,
        bytes32 bVs,
        address finder
    ) external {
        (bytes32 digest, bytes32 other, address signer) = contradiction(a, aR, aVs, b, bR, bVs);
        address node = guilty(signer);
        uint256 taken = condemn(node, finder, digest, other);
        emit EquivocationProven(node, signer, a.route, a.stage, a.chunk, taken);
    }

    /// @notice Keeps, by the same proof, that the node was convicted on the receipts' route, so that what was paid there can
    /// be refunded. Also after its stake was taken; what it has put down since goes as well.
    function convictOfEquivocation(
        Receipt calldata a,
        bytes32 aR,
        bytes32 aVs,
        Receipt calldata b,
        bytes32 bR,
        bytes32 bVs
    ) external {
        (,, address signer) = contradiction(a, aR, aVs, b, bR, bVs);
        convictWholly(guilty(signer), a.route);
    }

    /// @notice Takes the whole stake of a node whose key signed a receipt that embeds the hash of another one which
    /// cannot come before it: of another route, chunk, other positions, not the stage before, or with another outRoot
    /// than the inRoot here. The embedded one needs no signature: nobody can be made to embed what one has not seen.
    /// @param finder Who committed to keccak256(digest of before, digest of next) and gets the fee; zero for nobody.
    function proveBrokenLink(Receipt calldata before, Receipt calldata next, bytes32 r, bytes32 vs, address finder)
        external
    {
        (bytes32 digest, address signer) = falseLink(before, next, r, vs);
        address node = guilty(signer);
        uint256 taken = condemn(node, finder, typedDigest(next.previous), digest);
        emit BrokenLinkProven(node, signer, next.route, next.stage, next.chunk, taken);
    }

    /// @notice Keeps, by the same proof, that the node was convicted on the later receipt's route: as for an equivocation.
    function convictOfBrokenLink(Receipt calldata before, Receipt calldata next, bytes32 r, bytes32 vs) external {
        (, address signer) = falseLink(before, next, r, vs);
        convictWholly(guilty(signer), next.route);
    }

    /// @notice What a node signs for a receipt.
    function receiptDigest(Receipt calldata receipt) public view returns (bytes32) {
        return typedDigest(Receipts.structHash(receipt));
    }

    /// @dev The digests of two receipts that contradict each other, and whose key signed both.
    function contradiction(
        Receipt calldata a,
        bytes32 aR,
        bytes32 aVs,
        Receipt calldata b,
        bytes32 bR,
        bytes32 bVs
    ) private view returns (bytes32 one, bytes32 other, address signer) {
        (one, other) = (receiptDigest(a), receiptDigest(b));
        if (!Receipts.sameSlot(a, b) || one == other) revert NotEquivocation();
        signer = Signatures.recover(one, aR, aVs);
        if (signer != Signatures.recover(other, bR, bVs)) revert NotEquivocation();
    }

    /// @dev The digest and the signer of a receipt that embeds one which cannot come before it.
    function falseLink(Receipt calldata before, Receipt calldata next, bytes32 r, bytes32 vs)
        private
        view
        returns (bytes32 digest, address signer)
    {
        bool isEmbedded = next.previous == Receipts.structHash(before);
        if (!isEmbedded || Receipts.linked(before, next)) revert NotBrokenLink();
        digest = receiptDigest(next);
        signer = Signatures.recover(digest, r, vs);
    }

    function condemn(address node, address finder, bytes32 one, bytes32 other) private returns (uint256) {
        if (finder != address(0)) requireRipe(finder, keccak256(abi.encode(one, other)));
        return _stakes.slash(node, WHOLE, finder);
    }
}
