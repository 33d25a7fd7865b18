// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Bench} from "./Bench.sol";
import {Models} from "./Models.sol";
import {Rulebook} from "./Rulebook.sol";
import {Checkers} from "./lib/Checkers.sol";
import {Elements} from "./lib/Elements.sol";
import {Exhibit, Exhibits} from "./lib/Exhibits.sol";
import {Hearing, Numbers, Openings} from "./lib/Openings.sol";
import {Operand, Spot} from "./lib/Operands.sol";
import {Claim, Kind, Operation} from "./lib/Operations.sol";
import {Parts} from "./lib/Parts.sol";
import {Paths} from "./lib/Paths.sol";
import {Field, TraceLayout} from "./lib/TraceLayout.sol";
import {Shape, TraceShape} from "./lib/TraceShape.sol";
import {Traced} from "./lib/Traced.sol";

/// @dev Two leaves of mask and elements with their paths.
struct LeafPair {
    uint64 place;
    bytes left;
    bytes32[] leftPath;
    bytes right;
    bytes32[] rightPath;
}

/// @title Whether a posted trace is wrong somewhere
/// @notice Answers from leaves under a trace's root, a receipt's and a model's. Says nothing of what nobody has opened.
/// @dev Keeps no state. True means wrong. A leaf of another length than the layout says is wrong, whatever it holds;
/// what does not lie under its root proves nothing and reverts. Whatever numbers the leaves hold, nothing reverts.
contract Judge {
    uint256 private constant MASK = 32;
    uint256 private constant PIECE = 128;

    Models private immutable _models;
    Rulebook private immutable _rulebook;
    Bench private immutable _bench;

    /// @notice The trace has no such element.
    error PlaceInvalid();

    constructor(Models models_, Rulebook rulebook_, Bench bench_) {
        (_models, _rulebook, _bench) = (models_, rulebook_, bench_);
    }

    /// @notice Whether an element of the trace is not what its operands say.
    /// @param earlier The kvRoot that a copied key or value was signed under; zero for the receipt's own.
    function isElementWrong(Traced calldata of_, bytes32 root, bytes32 earlier, bytes calldata proof)
        external
        view
        returns (bool)
    {
        Exhibit memory e = opened(root, proof);
        (Hearing memory h, Shape memory shape) = heard(of_, e, earlier);
        (bool wrong, Claim memory claimed) = claim(h, shape);
        if (wrong) return true;
        (Operation operation, Operand[] memory operands) = _rulebook.rule(h.numbers, h.place, h.evidence.spot);
        Checkers.Step memory step;
        (wrong, step) = read(h, operation, operands);
        return wrong || !_bench.isRight(step, claimed);
    }

    /// @notice Whether an element of the trace is not the one that the node has signed: of its last field, or of its own
    /// keys, values and their exponents. An Abort leaf contradicts any signed output of the position.
    function isSignedWrong(Traced calldata of_, bytes32 root, bytes calldata proof) external view returns (bool) {
        (Hearing memory h, Shape memory shape) = heard(of_, opened(root, proof), bytes32(0));
        if (h.evidence.aborted) {
            Openings.leaf(h.evidence.leaves, Openings.ABORT | spotted(h, shape));
            Openings.signed(h, h.outRoot, h.place.position << 32);
            return true;
        }
        Numbers memory other = signedElement(h, shape);
        (bool wrong, Claim memory claimed) = claim(h, shape);
        return wrong || other.wrong || Elements.get(Parts.data(other.elements), other.size, 0) != claimed.value;
    }

    /// @notice Whether the trace holds two leaves of one index.
    function isTwice(bytes32 root, LeafPair calldata pair) external pure returns (bool) {
        if (pair.left.length < MASK || pair.right.length < MASK) revert PlaceInvalid();
        bool held =
            isHeld(root, pair.place, pair.left, pair.leftPath) && isHeld(root, pair.place, pair.right, pair.rightPath);
        if (!held) revert Openings.LeavesNotHeld();
        return keccak256(pair.left) != keccak256(pair.right);
    }

    /// @notice What it was built with. The first one judges products for less.
    function parts() external view returns (Models models, Rulebook rulebook, Bench bench) {
        return (_models, _rulebook, _bench);
    }

    /// @dev The proof, whose leaves lie under their root.
    function opened(bytes32 root, bytes calldata proof) private pure returns (Exhibit memory e) {
        e = Exhibits.read(proof);
        if (!Exhibits.isTraced(e, root)) revert Openings.LeavesNotHeld();
    }

    /// @dev What is known of a trace, and the size of the spot's field.
    function heard(Traced calldata of_, Exhibit memory e, bytes32 earlier)
        private
        view
        returns (Hearing memory h, Shape memory shape)
    {
        h.evidence = e;
        (h.weights, h.numbers) = _models.model(of_.manifest);
        h.place = TraceLayout.Place(of_.start, of_.end, of_.position, true, 0, 0, 0, 0);
        bytes32[] calldata roots = Parts.hashes(h.evidence.roots);
        bytes calldata drawn = Parts.data(h.evidence.draw);
        if (roots.length != 0) {
            if (keccak256(abi.encodePacked(roots)) != of_.roots) revert Openings.LeavesNotHeld();
            (h.inRoot, h.kept, h.outRoot) = (roots[0], roots[1], roots[2]);
            if (drawn.length != 0) draw(h, drawn, roots[3]);
        } else if (drawn.length != 0) {
            revert Openings.LeavesNotHeld(); // what no sampler backs would move the places of an honest trace
        }
        if (earlier != bytes32(0)) h.kept = earlier;
        shape = found(h);
    }

    /// @dev How tokens are drawn, as the route's sampler commits to it: verification/routes.py.
    function draw(Hearing memory h, bytes calldata drawn, bytes32 sampler) private pure {
        bytes32 seed = keccak256(abi.encodePacked("tallystick.seed", drawn[32:40]));
        bytes32 whole = keccak256(abi.encodePacked("tallystick.sampler", drawn[:32], seed));
        if (whole != sampler) revert Openings.LeavesNotHeld();
        h.place.topK = uint32(bytes4(drawn[8:12]));
        h.place.tau = uint64(bytes8(drawn[20:28]));
        h.place.pi = uint32(bytes4(drawn[28:32]));
        h.place.seed = uint64(bytes8(drawn[32:40]));
    }

    /// @dev The size of the spot's field, in which the spot lies.
    function found(Hearing memory h) private pure returns (Shape memory shape) {
        Spot memory s = h.evidence.spot;
        TraceLayout.Place memory place = h.place;
        bool isLast = place.end == h.numbers.blocks;
        if (place.end > h.numbers.blocks) revert PlaceInvalid();
        if (s.field <= Field.Row) {
            s.block_ = place.start;
        } else if (s.field >= Field.FinalLargest) {
            if (!isLast || (s.field > Field.HeadY && Parts.data(h.evidence.draw).length == 0)) revert PlaceInvalid();
            s.block_ = place.end;
        } else if (s.block_ < place.start || s.block_ >= place.end) {
            revert PlaceInvalid();
        }
        shape = TraceShape.shape(h.numbers, place, s.field);
        if (s.row >= shape.rows || s.column >= shape.width) revert PlaceInvalid();
    }

    /// @dev The index of the leaf in which the spot lies.
    function spotted(Hearing memory h, Shape memory shape) private pure returns (uint256) {
        Spot memory s = h.evidence.spot;
        return Openings.place(h, s.field, s.block_, s.row, s.column, shape.width);
    }

    /// @dev What the trace says of the element; wrong where no trace can say it, whatever the operands.
    function claim(Hearing memory h, Shape memory shape) private pure returns (bool, Claim memory) {
        Spot memory s = h.evidence.spot;
        if (h.evidence.aborted) return abort(h, shape);
        Numbers memory own = Openings.traced(h, s.field, s.block_, s.row, s.column, 1);
        if (own.wrong) return (true, Claim(Kind.Nothing, 0));
        return (false, Claim(Kind.Number, Elements.get(Parts.data(own.elements), own.size, 0)));
    }

    /// @dev An Abort leaf says which element of the leaf it stands for, and why.
    function abort(Hearing memory h, Shape memory shape) private pure returns (bool, Claim memory) {
        bytes calldata data = Openings.leaf(h.evidence.leaves, Openings.ABORT | spotted(h, shape));
        uint256 column = h.evidence.spot.column;
        if (data.length != Openings.HEAD + 2) return (true, Claim(Kind.Nothing, 0));
        (uint256 element, uint256 reason) = (uint8(data[Openings.HEAD]), uint8(data[Openings.HEAD + 1]));
        bool isAny = reason == 1 || reason == 2;
        if (!isAny || element >= Openings.held(shape.width, column)) return (true, Claim(Kind.Nothing, 0));
        if (element != column % PIECE) revert PlaceInvalid();
        return (false, Claim(reason == 1 ? Kind.IntegerOverflow : Kind.ScaleOutOfRange, 0));
    }

    /// @dev The step that the operands make; wrong where one of them is not there, and the trace is to blame.
    function read(Hearing memory h, Operation operation, Operand[] memory operands)
        private
        pure
        returns (bool, Checkers.Step memory step)
    {
        uint256 count = numbers(operation, operands.length);
        step.operation = operation;
        step.scalars = new int256[](count);
        for (uint256 k = 0; k < operands.length; ++k) {
            Operand memory o = operands[k];
            if (uint256(o.source) == 0) {
                step.scalars[k] = int256(o.start);
                continue;
            }
            Numbers memory one = Openings.read(h, o);
            if (one.wrong) return (true, step);
            if (k < count) {
                step.scalars[k] = Elements.get(Parts.data(one.elements), one.size, 0);
            } else if (k == count) {
                (step.left, step.size) = (Parts.data(one.elements), one.size);
            } else {
                step.right = Parts.data(one.elements);
            }
        }
        return (false, step);
    }

    /// @dev How many of the operands are numbers; pieces follow them.
    function numbers(Operation operation, uint256 all) private pure returns (uint256) {
        if (!Checkers.isReduction(operation)) return all;
        if (operation == Operation.SumOfSquares) return 2;
        if (operation == Operation.NucleusCount) return 4;
        return operation == Operation.Best ? 5 : 1;
    }

    /// @dev The element under outRoot or kvRoot that the spot's has to equal.
    function signedElement(Hearing memory h, Shape memory shape) private pure returns (Numbers memory) {
        Spot memory s = h.evidence.spot;
        bool isOutput = s.field == Field.Output && s.block_ + 1 == h.place.end && h.place.end != h.numbers.blocks;
        if (isOutput || s.field == Field.Chosen) {
            uint256 index = (h.place.position << 32) | (s.column / PIECE);
            bytes calldata data = Openings.signed(h, h.outRoot, index);
            uint256 length = Openings.held(shape.width, s.column);
            return Openings.cut(data, Openings.HEAD, length, s.column % PIECE, 1, 4);
        }
        bool isExponent = s.field == Field.HeadsExponent;
        bool isKept = (isExponent || s.field == Field.Heads) && s.row >= h.numbers.heads;
        if (!isKept) revert PlaceInvalid();
        return Openings.keptAt(h, h.place.position, s.block_, s.row - h.numbers.heads, s.column, isExponent);
    }

    /// @dev Whether mask and elements, with the index between them, are a leaf of the trace.
    function isHeld(bytes32 root, uint64 index, bytes calldata leaf, bytes32[] calldata path)
        private
        pure
        returns (bool)
    {
        bytes32 node = Paths.leaf(abi.encodePacked(leaf[:MASK], index, leaf[MASK:]));
        return root != bytes32(0) && Paths.climb(node, path) == root;
    }
}
