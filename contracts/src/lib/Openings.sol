// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Elements} from "./Elements.sol";
import {Exhibit, Piece} from "./Exhibits.sol";
import {Operand, Source} from "./Operands.sol";
import {Parameters} from "./Parameters.sol";
import {Part, Parts} from "./Parts.sol";
import {Paths} from "./Paths.sol";
import {Field, TraceLayout} from "./TraceLayout.sol";
import {Shape, TraceShape} from "./TraceShape.sol";

/// @dev One element's judgement. kept: the kvRoot that earlier keys and values were signed under. used: pieces that have
/// been read. last: where the newest of them lies among the weights, once that is verified; else zero.
struct Hearing {
    Parameters numbers;
    TraceLayout.Place place;
    Exhibit evidence;
    bytes32 weights;
    bytes32 inRoot;
    bytes32 outRoot;
    bytes32 kept;
    uint256 used;
    uint256 last;
}

/// @dev Elements of a leaf, `size` bytes each. wrong: there are none, and the trace is to blame for it.
struct Numbers {
    bool wrong;
    Part elements;
    uint256 size;
}

/// @title The numbers that operands stand for, out of opened leaves
/// @dev A leaf under a root that the node has signed or posted is wrong where it has another length than the layout says.
/// What does not lie where it should proves nothing: LeavesNotHeld.
library Openings {
    uint256 internal constant HEAD = 40;
    uint256 internal constant ABORT = 1 << 63;
    uint256 private constant PIECE = 128;
    uint256 private constant EMBED = 25;
    /// @dev Of the Gumbel table's pieces; verification/trace/sources.py computes it.
    bytes32 internal constant NOISE = 0x7df6dfc1f2a61c8452a0ca9ebb493a8ec30d17ab67a9012e47f6029f4d1006c4;
    uint256 private constant CELLS = 16_384;

    /// @notice The leaves do not lie under their roots.
    error LeavesNotHeld();

    /// @dev The data of the opened leaf with that index.
    function leaf(Part[] memory leaves, uint256 index) internal pure returns (bytes calldata) {
        for (uint256 k = 0; k < leaves.length; ++k) {
            bytes calldata data = Parts.data(leaves[k]);
            if (data.length >= HEAD && uint64(bytes8(data[32:HEAD])) == index) return data;
        }
        revert LeavesNotHeld();
    }

    /// @dev The index of the leaf that holds an element of a field.
    function place(Hearing memory h, Field field, uint256 block_, uint256 row, uint256 column, uint256 width)
        internal
        pure
        returns (uint256)
    {
        uint256 first = TraceLayout.first(h.numbers, h.place, block_, field);
        return first + row * TraceLayout.pieces(width) + column / PIECE;
    }

    /// @dev So many elements of the trace, from one leaf.
    function traced(Hearing memory h, Field field, uint256 block_, uint256 row, uint256 column, uint256 count)
        internal
        pure
        returns (Numbers memory)
    {
        Shape memory shape = TraceShape.shape(h.numbers, h.place, field);
        bytes calldata data = leaf(h.evidence.leaves, place(h, field, block_, row, column, shape.width));
        return cut(data, HEAD, held(shape.width, column), column % PIECE, count, shape.size);
    }

    /// @dev Numbers `at` and following of a leaf that should have `length` of them.
    function cut(bytes calldata data, uint256 head, uint256 length, uint256 at_, uint256 count, uint256 size)
        internal
        pure
        returns (Numbers memory)
    {
        if (data.length != head + length * size) return Numbers(true, Part.wrap(0), size);
        return Numbers(false, Parts.made(data[head + at_ * size:head + (at_ + count) * size]), size);
    }

    /// @dev How many elements the leaf has in which a row's element lies.
    function held(uint256 width, uint256 column) internal pure returns (uint256) {
        uint256 left = width - column / PIECE * PIECE;
        return left < PIECE ? left : PIECE;
    }

    function read(Hearing memory h, Operand memory o) internal pure returns (Numbers memory) {
        if (o.by != 0) {
            (bool isThere, uint256 found) = lookedUp(h, o);
            if (!isThere) return Numbers(true, Part.wrap(0), 0);
            if (o.source == Source.Weights && o.name == EMBED) o.row = found;
            else o.start = found;
        }
        if (o.source == Source.Trace) return traced(h, Field(o.name), o.block_, o.row, o.start, o.count);
        if (o.source == Source.Weights) return weight(h, o);
        if (o.source == Source.Noise) return noise(h, o.start);
        return o.source == Source.Input ? entered(h, o) : signedBefore(h, o);
    }

    /// @dev A number that names a row or a start; it is not there if it leaves what it is to be looked up in.
    function lookedUp(Hearing memory h, Operand memory o) private pure returns (bool, uint256) {
        Numbers memory by = traced(h, Field(o.by - 1), h.place.end, 0, o.byColumn, 1);
        if (by.wrong) return (false, 0);
        int256 found = Elements.get(Parts.data(by.elements), by.size, 0);
        uint256 limit = h.numbers.vocabulary;
        if (o.source == Source.Noise) limit = CELLS;
        if (o.source == Source.Trace) limit = TraceShape.shape(h.numbers, h.place, Field(o.name)).width;
        return (found >= 0 && uint256(found) < limit, uint256(found));
    }

    /// @dev Operands in one piece that follow each other share it, and it is verified once.
    function weight(Hearing memory h, Operand memory o) private pure returns (Numbers memory) {
        (bool isNew, Piece memory piece) = next(h, o);
        if (isNew) h.last = verified(h, o, piece);
        return cut(Parts.data(piece.elements), 0, held(piece.width, o.start), o.start % PIECE, o.count, piece.size);
    }

    /// @dev The piece that was read last where the operand lies in it, else one that nobody has verified yet. Only a verified
    /// piece's width may say where an operand lies: a liar chooses that of a new one.
    function next(Hearing memory h, Operand memory o) private pure returns (bool, Piece memory piece) {
        Piece[] memory pieces = h.evidence.pieces;
        if (h.last != 0) {
            piece = pieces[h.used - 1];
            if (h.last == keyOf(o, piece)) return (false, piece);
        }
        if (h.used == pieces.length) revert LeavesNotHeld();
        return (true, pieces[h.used++]);
    }

    /// @dev Which piece of which tensor the operand lies in, never zero.
    function keyOf(Operand memory o, Piece memory piece) private pure returns (uint256) {
        return (o.block_ << 128) | (o.name << 96) | (o.row * TraceLayout.pieces(piece.width) + o.start / PIECE + 1);
    }

    /// @dev Holds the piece to the model's weights, with the shape of its tensor. Returns the operand's key.
    function verified(Hearing memory h, Operand memory o, Piece memory piece) private pure returns (uint256 key) {
        bytes calldata elements = Parts.data(piece.elements);
        bool fits = o.row < piece.rows && o.start < piece.width
            && elements.length == held(piece.width, o.start) * piece.size;
        if (!fits) revert LeavesNotHeld();
        key = keyOf(o, piece);
        bytes32 node = Paths.climb(Paths.namedLeaf(uint96(key) - 1, elements), Parts.hashes(piece.inTensor));
        bytes memory shelf = abi.encodePacked(
            uint32(o.block_), uint8(o.name), uint32(piece.rows), uint32(piece.width), uint8(piece.size), node
        );
        if (!Paths.holds(h.weights, shelf, Parts.hashes(piece.inWeights))) revert LeavesNotHeld();
    }

    /// @dev A cell of the Gumbel table. Its piece has no shape: no weight is looked for in it afterwards.
    function noise(Hearing memory h, uint256 cell) private pure returns (Numbers memory) {
        if (h.used == h.evidence.pieces.length) revert LeavesNotHeld();
        Piece memory piece = h.evidence.pieces[h.used++];
        h.last = 0;
        bytes calldata elements = Parts.data(piece.elements);
        bytes memory data = abi.encodePacked(uint64(cell / PIECE), elements);
        bool isHeld = elements.length == 4 * PIECE && Paths.holds(NOISE, data, Parts.hashes(piece.inTensor));
        if (!isHeld) revert LeavesNotHeld();
        return cut(elements, 0, PIECE, cell % PIECE, 1, 4);
    }

    function entered(Hearing memory h, Operand memory o) private pure returns (Numbers memory) {
        uint256 width = Field(o.name) == Field.Token ? 1 : h.numbers.hidden;
        bytes calldata data = signed(h, h.inRoot, (h.place.position << 32) | (o.start / PIECE));
        return cut(data, HEAD, held(width, o.start), o.start % PIECE, 1, 4);
    }

    /// @dev A key or value of an earlier position, or its exponent, which comes first in the leaf.
    function signedBefore(Hearing memory h, Operand memory o) private pure returns (Numbers memory) {
        uint256 heads = 2 * uint256(h.numbers.kvHeads);
        bool isExponent = Field(o.name) == Field.HeadsExponent;
        return keptAt(h, o.row / heads, o.block_, o.row % heads, o.start, isExponent);
    }

    function keptAt(Hearing memory h, uint256 position, uint256 block_, uint256 head, uint256 column, bool isExponent)
        internal
        pure
        returns (Numbers memory)
    {
        uint256 width = h.numbers.headDim;
        uint256 piece = head * TraceLayout.pieces(width) + column / PIECE;
        bytes calldata data = signed(h, h.kept, (position << 32) | (block_ << 16) | piece);
        return cut(data, HEAD, 1 + held(width, column), isExponent ? 0 : 1 + column % PIECE, 1, 2);
    }

    /// @dev The data of the signed leaf, which has to have that index.
    function signed(Hearing memory h, bytes32 root, uint256 index) internal pure returns (bytes calldata data) {
        data = Parts.data(h.evidence.signed);
        bool isHeld = data.length >= HEAD && uint64(bytes8(data[32:HEAD])) == index
            && Paths.holds(root, data, Parts.hashes(h.evidence.signedPath));
        if (!isHeld) revert LeavesNotHeld();
    }
}
