// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Openings} from "./lib/Openings.sol";
import {Parameters} from "./lib/Parameters.sol";
import {Matrix, ProductPlaces, Products} from "./lib/ProductPlaces.sol";
import {ProductProof, ProductProofs} from "./lib/ProductProofs.sol";
import {Traced} from "./lib/Traced.sol";

/// @title Whether a prefix of a product with a block's matrix is wrong
/// @notice Judge judges these like any other element, for twice the gas. Nearly all elements of a trace are such prefixes.
/// @dev Part of Models, whose numbers it needs for every proof. Keeps no state. True means wrong.
abstract contract ProductJudge {
    /// @notice The trace has no such product, or its predecessor lies in another leaf: that one is for Judge.
    error ProductInvalid();

    /// @notice As Judge.isElementWrong, from the same proof.
    function isProductWrong(Traced calldata of_, bytes32 root, bytes calldata proof) external view returns (bool) {
        ProductProof memory p = ProductProofs.read(proof);
        if (!ProductProofs.isProduct(p)) revert ProductInvalid();
        if (!ProductProofs.isTraced(p, root)) revert Openings.LeavesNotHeld();
        (bytes32 weights, uint256 word) = sizes(of_.manifest);
        Parameters memory numbers = ProductPlaces.unpacked(word);
        uint256 block_ = ProductProofs.blockOf(p);
        uint256 start = of_.start;
        if (block_ < start || block_ >= of_.end || of_.end > numbers.blocks) revert ProductInvalid();
        Matrix matrix = ProductProofs.matrixOf(p);
        Products memory at_ = ProductPlaces.products(numbers, start, block_ - start, of_.position, matrix);
        bool isThere =
            ProductProofs.rowOf(p) < at_.outputs && ProductProofs.columnOf(p) < ProductPlaces.pieces(at_.columns);
        if (!isThere) revert ProductInvalid();
        return ProductProofs.isWrong(p, weights, at_, matrix);
    }

    /// @dev The root of a registered model's weights, and its numbers as they are stored: up to the flags, the first one
    /// lowest.
    function sizes(bytes32 manifest) internal view virtual returns (bytes32 weights, uint256 word);
}
