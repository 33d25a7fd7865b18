// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @dev The kinds of operation that a trace is made of, numbered as in docs/TRACE.md section 4.
enum Operation {
    Copy,
    LargestMagnitude,
    SumOfMagnitudes,
    SumOfSquares,
    Sum,
    Maximum,
    DotWeights,
    DotHeads,
    NormSquare,
    NormWidth,
    NormRoot,
    NormInverse,
    Norm,
    HeadNorm,
    PackShift,
    PackFraction,
    Pack,
    Project,
    RotateFirst,
    RotateSecond,
    HeadExponent,
    Compress,
    Score,
    AttentionWeight,
    Reciprocal,
    LoweredWeight,
    Mix,
    Gate,
    Add,
    Embed,
    Best,
    Rank,
    NucleusWeight,
    NucleusCount,
    NoiseCell,
    SampleScore
}

/// @dev What an element is. Nothing: the operands are outside of the profile, and no claim is right. The last two are
/// Aborts, numbered 1 and 2 in a trace.
enum Kind {
    Nothing,
    Number,
    IntegerOverflow,
    ScaleOutOfRange
}

/// @dev value is 0 unless it is a Number.
struct Claim {
    Kind kind;
    int256 value;
}
