// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title Who found a fault first, without saying beforehand what it is
/// @notice Commit to the hash of your address and the evidence; bring the evidence in a later block. Whoever copies it
/// from there has no commitment that is old enough.
/// @dev A commitment hides what it is about as long as the evidence holds roots, or a salt, that nobody else knows.
abstract contract Finders {
    /// @dev Long enough for a congested chain; so that a finder does not sit on what it knows.
    uint256 private constant LIFE = 1 days;

    mapping(bytes32 commitment => uint256 timestamp) private _committed;

    event EvidenceCommitted(bytes32 indexed commitment, address indexed account);

    /// @notice The commitment was made before: it keeps its time.
    error CommitmentKnown(bytes32 commitment);
    /// @notice The finder committed to no such evidence, just now, or too long ago. Zero stands for nobody.
    error CommitmentNotRipe(bytes32 commitment, uint256 committedAt);

    /// @notice Says that the caller, or somebody else, knows a fault.
    /// @param commitment keccak256(abi.encode(finder, evidence)), evidence being the hash that the proof's function names.
    function commit(bytes32 commitment) external {
        uint256 since = _committed[commitment];
        if (since != 0 && block.timestamp <= since + LIFE) revert CommitmentKnown(commitment);
        _committed[commitment] = block.timestamp;
        emit EvidenceCommitted(commitment, msg.sender);
    }

    /// @notice When a commitment was made; zero if it was not, or is used up.
    function committedAt(bytes32 commitment) external view returns (uint256) {
        return _committed[commitment];
    }

    /// @dev Uses the finder's commitment up. A later second is a later block on every chain.
    function requireRipe(address finder, bytes32 evidence) internal {
        bytes32 commitment = keccak256(abi.encode(finder, evidence));
        uint256 since = _committed[commitment];
        if (since == 0 || block.timestamp <= since || block.timestamp > since + LIFE) {
            revert CommitmentNotRipe(commitment, since);
        }
        delete _committed[commitment];
    }
}
