// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Elements} from "./Elements.sol";
import {Openings} from "./Openings.sol";
import {Part, Parts} from "./Parts.sol";
import {Paths} from "./Paths.sol";
import {Matrix, ProductPlaces, Products} from "./ProductPlaces.sol";
import {Reductions} from "./Reductions.sol";
import {Field} from "./TraceLayout.sol";

/// @dev A proof of Exhibits.sol's form with two leaves and one piece. head: its first 15 bytes.
struct ProductProof {
    uint256 head;
    Part one;
    Part other;
    Part program;
    Part siblings;
    Part piece;
    Part inTensor;
    Part inWeights;
}

/// @title Prefixes of products with a block's matrices, for less gas than any other element
/// @notice Most elements of a trace are these. What the rules, the layout and the checkers say of them, at once.
library ProductProofs {
    uint256 private constant FIRST_KIND = 9;
    uint256 private constant KINDS_APART = 4;
    uint256 private constant HEAD = 15;
    uint256 private constant SHAPE = 9;

    /// @dev Reads ahead and looks at the end only once: lengths have two bytes at most, so that all of it lies before.
    function read(bytes calldata proof) internal pure returns (ProductProof memory p) {
        unchecked {
            uint256 at_;
            assembly ("memory-safe") {
                at_ := proof.offset
            }
            uint256 end = at_ + proof.length;
            p.head = number(at_, HEAD);
            if (p.head & 0xff != 2) revert Parts.ProofMalformed();
            (p.one, at_) = sized(at_ + HEAD, 2, 1);
            (p.other, at_) = sized(at_, 2, 1);
            (p.program, at_) = sized(at_, 1, 1);
            (p.siblings, at_) = sized(at_, 1, 32);
            if (number(at_, 1) != 1) revert Parts.ProofMalformed();
            (p.piece, at_) = sized(at_ + 1 + SHAPE, 2, 1);
            uint256 inTensor = 32 * number(at_, 1);
            uint256 inWeights = 32 * number(at_ + 1, 1);
            p.inTensor = Part.wrap(((at_ + 2) << 128) | inTensor);
            p.inWeights = Part.wrap(((at_ + 2 + inTensor) << 128) | inWeights);
            if (at_ + 2 + inTensor + inWeights != end) revert Parts.ProofMalformed();
        }
    }

    /// @dev Whether the spot is one of them, with its predecessor in the same leaf or none.
    function isProduct(ProductProof memory p) internal pure returns (bool) {
        uint256 f = fieldOf(p);
        bool isSum = f == uint256(Field.QkvSums) || f == uint256(Field.OSums) || f == uint256(Field.GateUpSums)
            || f == uint256(Field.DownSums);
        uint256 column = columnOf(p);
        return isSum && p.head >> 112 == 0 && (column == 0 || column & 127 != 0);
    }

    function matrixOf(ProductProof memory p) internal pure returns (Matrix) {
        uint256 f = fieldOf(p);
        if (f == uint256(Field.QkvSums)) return Matrix.Qkv;
        if (f == uint256(Field.OSums)) return Matrix.Output;
        return f == uint256(Field.GateUpSums) ? Matrix.GateUp : Matrix.Down;
    }

    function fieldOf(ProductProof memory p) private pure returns (uint256) {
        return uint8(p.head >> 104);
    }

    function blockOf(ProductProof memory p) internal pure returns (uint256) {
        return uint32(p.head >> 72);
    }

    function rowOf(ProductProof memory p) internal pure returns (uint256) {
        return uint32(p.head >> 40);
    }

    function columnOf(ProductProof memory p) internal pure returns (uint256) {
        return uint32(p.head >> 8);
    }

    function isTraced(ProductProof memory p, bytes32 root) internal pure returns (bool) {
        bytes32 one = Paths.leafOf(Parts.data(p.one));
        bytes32 other = Paths.leafOf(Parts.data(p.other));
        bytes32 reached = Paths.rootOfTwo(one, other, Parts.hashes(p.siblings), Parts.data(p.program));
        return root != bytes32(0) && reached == root;
    }

    /// @dev Whether the prefix is not its predecessor and at most 128 products more.
    function isWrong(ProductProof memory p, bytes32 weights, Products memory at_, Matrix matrix)
        internal
        pure
        returns (bool)
    {
        unchecked {
            uint256 column = columnOf(p);
            uint256 sums = at_.sums + rowOf(p) * ProductPlaces.rowLeaves(at_.columns) + (column >> 7);
            bytes calldata x = leaf(p, at_.activation + column);
            bytes calldata prefixes = leaf(p, sums);
            bytes calldata piece = Parts.data(p.piece);
            uint256 count = left(at_.columns, column << 7);
            if (piece.length != count || !isWeight(p, weights, at_, matrix)) revert Openings.LeavesNotHeld();
            uint256 held = left(ProductPlaces.pieces(at_.columns), column & ~uint256(127));
            if (x.length != Openings.HEAD + 2 * count || prefixes.length != Openings.HEAD + 4 * held) return true;
            prefixes = prefixes[Openings.HEAD:];
            uint256 element = column & 127;
            int256 before = element == 0 ? int256(0) : Elements.get(prefixes, 4, element - 1);
            return Reductions.dotWeights(before, piece, x[Openings.HEAD:]) != Elements.get(prefixes, 4, element);
        }
    }

    /// @dev Of so many elements from there on, those in the first piece.
    function left(uint256 width, uint256 from) private pure returns (uint256) {
        unchecked {
            return width - from < 128 ? width - from : 128;
        }
    }

    /// @dev The leaf with that index, in whatever order they come.
    function leaf(ProductProof memory p, uint256 index) private pure returns (bytes calldata data) {
        data = Parts.data(p.one);
        if (data.length >= Openings.HEAD && uint64(bytes8(data[32:Openings.HEAD])) == index) return data;
        data = Parts.data(p.other);
        bool isIt = data.length >= Openings.HEAD && uint64(bytes8(data[32:Openings.HEAD])) == index;
        if (!isIt) revert Openings.LeavesNotHeld();
    }

    function isWeight(ProductProof memory p, bytes32 weights, Products memory at_, Matrix matrix)
        private
        pure
        returns (bool)
    {
        unchecked {
            uint256 index = rowOf(p) * ProductPlaces.pieces(at_.columns) + columnOf(p);
            bytes32 node = Paths.climb(Paths.namedLeaf(index, Parts.data(p.piece)), Parts.hashes(p.inTensor));
            uint8 kind = uint8(FIRST_KIND + KINDS_APART * uint256(matrix));
            bytes memory shelf =
                abi.encodePacked(uint32(blockOf(p)), kind, uint32(at_.outputs), uint32(at_.columns), uint8(1), node);
            return Paths.holds(weights, shelf, Parts.hashes(p.inWeights));
        }
    }

    function number(uint256 at_, uint256 size) private pure returns (uint256 value) {
        assembly ("memory-safe") {
            value := shr(sub(256, shl(3, size)), calldataload(at_))
        }
    }

    /// @dev What a count of so many bytes says, in items of that size; and where it ends.
    function sized(uint256 at_, uint256 size, uint256 item) private pure returns (Part part, uint256 end) {
        unchecked {
            uint256 length = number(at_, size) * item;
            part = Part.wrap(((at_ + size) << 128) | length);
            end = at_ + size + length;
        }
    }
}
