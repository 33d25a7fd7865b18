// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Choosing} from "./Choosing.sol";
import {Elements} from "./Elements.sol";
import {Formulas} from "./Formulas.sol";
import {Claim, Kind, Operation} from "./Operations.sol";
import {Reductions} from "./Reductions.sol";

/// @title Whether one element of a trace is what its operands say
/// @notice One checker for every operation of docs/TRACE.md; verification/trace/check.py is the same in Python.
/// @dev The caller reads scalars and pieces out of leaves whose places and lengths it has compared with the layout: as
/// many of them as the operation has. Their values are a liar's: nothing reverts for those.
library Checkers {
    /// @dev One element's operands: numbers, and pieces of elements of `size` bytes (right: as the operation says).
    struct Step {
        Operation operation;
        int256[] scalars;
        bytes left;
        bytes right;
        uint256 size;
    }

    function isRight(Step calldata step, Claim memory claimed) internal pure returns (bool) {
        Operation op = step.operation;
        if (isCertified(op)) return claimed.kind == Kind.Number && certifies(op, step.scalars, claimed.value);
        Claim memory found = isReduction(op) ? reduce(step) : element(op, step.scalars);
        return found.kind != Kind.Nothing && found.kind == claimed.kind && found.value == claimed.value;
    }

    /// @dev Checked without being computed.
    function isCertified(Operation op) internal pure returns (bool) {
        return op == Operation.NormWidth || op == Operation.NormRoot || op == Operation.NormInverse
            || op == Operation.PackShift || op == Operation.Reciprocal || op == Operation.Rank;
    }

    /// @dev Has at least one piece.
    function isReduction(Operation op) internal pure returns (bool) {
        return (op >= Operation.LargestMagnitude && op <= Operation.DotHeads) || op == Operation.Best
            || op == Operation.NucleusCount;
    }

    function certifies(Operation op, int256[] calldata s, int256 claimed) internal pure returns (bool) {
        if (op == Operation.NormWidth) return Formulas.isNormWidth(s[0], claimed);
        if (op == Operation.NormRoot) return Formulas.isNormRoot(s[0], claimed);
        if (op == Operation.NormInverse) return Formulas.isNormInverse(s[0], s[1], claimed);
        if (op == Operation.PackShift) return Formulas.isPackShift(s[0], s[1], s[2], claimed);
        if (op == Operation.Reciprocal) return Formulas.isReciprocal(s[0], claimed);
        return Choosing.isRank(s[0], s[1], s[2], s[3], s[4], claimed);
    }

    function reduce(Step calldata step) internal pure returns (Claim memory) {
        Operation op = step.operation;
        int256[] calldata s = step.scalars;
        bytes calldata left = step.left;
        uint256 size = step.size;
        if (!Elements.isPiece(left, size)) return Formulas.nothing();
        if (op == Operation.DotWeights) return Formulas.number(Reductions.dotWeights(s[0], left, step.right));
        if (op == Operation.DotHeads) return Formulas.number(Reductions.dotHeads(s[0], left, step.right));
        if (op == Operation.LargestMagnitude) return Formulas.number(Reductions.largestMagnitude(s[0], left, size));
        if (op == Operation.SumOfMagnitudes) return Formulas.number(Reductions.sumOfMagnitudes(s[0], left, size));
        if (op == Operation.SumOfSquares) {
            if (s[1] < 0) return Formulas.nothing();
            return Formulas.number(Reductions.sumOfSquares(s[0], s[1], left, size));
        }
        if (op == Operation.Sum) return Formulas.number(Reductions.sum(s[0], left, size));
        if (op == Operation.Maximum) return Formulas.number(Reductions.maximum(s[0], left, size));
        if (op == Operation.NucleusCount) {
            return Formulas.number(Choosing.nucleusCount(s[0], s[1], s[2], s[3], left, size));
        }
        Choosing.Best memory found = Choosing.Best(s[0], s[1], s[2], s[3], s[4]);
        return Formulas.number(Choosing.best(found, left, size, step.right));
    }

    function element(Operation op, int256[] calldata s) internal pure returns (Claim memory) {
        if (op == Operation.Copy) return Formulas.number(s[0]);
        if (op == Operation.NormSquare) return Formulas.normSquare(s[0], s[1], s[2]);
        if (op == Operation.Norm) return Formulas.norm(s[0], s[1], s[2], s[3], s[4]);
        if (op == Operation.HeadNorm) return Formulas.headNorm(s[0], s[1], s[2], s[3], s[4], s[5]);
        if (op == Operation.PackFraction) return Formulas.number(s[0] + s[1] - s[2]);
        if (op == Operation.Pack) return Formulas.pack(s[0], s[1]);
        if (op == Operation.Project) return Formulas.project(s[0], s[1], s[2], s[3], s[4]);
        if (op == Operation.RotateFirst) return Formulas.rotateFirst(s[0], s[1], s[2], s[3]);
        if (op == Operation.RotateSecond) return Formulas.rotateSecond(s[0], s[1], s[2], s[3]);
        if (op == Operation.HeadExponent) return Formulas.headExponent(s[0]);
        if (op == Operation.Compress) return Formulas.compress(s[0], s[1]);
        if (op == Operation.Score) return Formulas.score(s[0], s[1], s[2], s[3]);
        if (op == Operation.AttentionWeight) return Formulas.attentionWeight(s[0], s[1]);
        if (op == Operation.LoweredWeight) return Formulas.loweredWeight(s[0], s[1], s[2]);
        if (op == Operation.Mix) return Formulas.mix(s[0], s[1], s[2], s[3]);
        if (op == Operation.Gate) return Formulas.gate(s[0], s[1]);
        if (op == Operation.Add) return Formulas.add(s[0], s[1]);
        if (op == Operation.Embed) return Formulas.embed(s[0], s[1], s[2], s[3]);
        if (op == Operation.NucleusWeight) return Choosing.nucleusWeight(s[0], s[1], s[2]);
        if (op == Operation.NoiseCell) return Choosing.noiseCell(s[0], s[1], s[2]);
        return Choosing.sampleScore(s[0], s[1], s[2]);
    }
}
