// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @dev What the layout of a trace needs of a model: docs/TRACE.md, sharding/exact/SPEC.md. window: 0 is none. flags: 1
/// queries and keys are normalised; 2, 4, 8 biases of qkv, of o, of the feed-forward; 16 tied embeddings. epsilon: E0 of
/// NORM for the hidden size and for a head; score: ATTEND's c_d. Two words of storage.
struct Parameters {
    uint32 blocks;
    uint32 hidden;
    uint16 heads;
    uint16 kvHeads;
    uint16 headDim;
    uint32 intermediate;
    uint32 vocabulary;
    uint32 positions;
    uint32 window;
    uint8 flags;
    uint64 epsilon;
    uint64 headEpsilon;
    uint32 score;
}
