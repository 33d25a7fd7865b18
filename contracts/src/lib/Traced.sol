// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @dev Whose trace: one position through the blocks [start, end) of a model. roots: keccak256 of the receipt's inRoot,
/// kvRoot and outRoot, and of the route's sampler.
struct Traced {
    bytes32 manifest;
    bytes32 roots;
    uint32 start;
    uint32 end;
    uint32 position;
}
