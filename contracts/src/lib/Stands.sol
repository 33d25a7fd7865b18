// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @dev Who is to move. Open, Asked: the node is to answer, and to open its trace's tree at once where it was asked to.
/// Opening: the node, nodes below the one that was picked, or a leaf. Picking: the challenger, one of those. Shown: the
/// descent is over.
enum Turn {
    Open,
    Asked,
    Answered,
    Opening,
    Picking,
    Shown
}

/// @dev How far a dispute is. root, leaves: the posted trace. node: the one to be opened, or the ordered root of those that
/// were; place, height: the picked node's. player: who moves for the node: the key that signed, then whoever has answered.
/// deadline: of the present turn; rest: what the other side's clock still has; proofs: until when anybody may prove whatever
/// happens in the descent.
struct Stand {
    bytes32 root;
    bytes32 node;
    address player;
    uint40 deadline;
    uint40 rest;
    uint40 proofs;
    uint64 leaves;
    uint64 place;
    uint8 height;
    Turn turn;
}

/// @dev All of it but the root, as it travels. clocks, from the top: player (160 bits), deadline, rest (48 each). step:
/// proofs (48), leaves, place (64 each), height, turn (8 each).
struct Play {
    bytes32 node;
    uint256 clocks;
    uint256 step;
}

/// @dev As it travels.
struct StandWords {
    bytes32 root;
    Play play;
}

/// @title A stand in four words: calldata is most of what an act of a descent costs
library Stands {
    function packed(Stand memory s) internal pure returns (Play memory play) {
        uint256 clocks = (uint256(uint160(s.player)) << 96) | (uint256(s.deadline) << 48) | s.rest;
        uint256 step = (uint256(s.proofs) << 144) | (uint256(s.leaves) << 80) | (uint256(s.place) << 16);
        return Play(s.node, clocks, step | (uint256(s.height) << 8) | uint8(s.turn));
    }

    /// @dev Only of words that were hashed when they were packed: whatever else they say is cut off.
    function unpacked(Play calldata play) internal pure returns (Stand memory s) {
        (uint256 clocks, uint256 step) = (play.clocks, play.step);
        s.node = play.node;
        (s.player, s.deadline, s.rest) = (address(uint160(clocks >> 96)), uint40(clocks >> 48), uint40(clocks));
        (s.proofs, s.leaves, s.place) = (uint40(step >> 144), uint64(step >> 80), uint64(step >> 16));
        (s.height, s.turn) = (uint8(step >> 8), Turn(uint8(step)));
    }

    /// @dev Together with what it is about.
    function hash(Play memory play, bytes32 about) internal pure returns (bytes32) {
        return keccak256(abi.encode(about, play));
    }

    /// @dev The same of calldata, as it lies there.
    function hashOf(Play calldata play, bytes32 about) internal pure returns (bytes32 found) {
        assembly ("memory-safe") {
            let free := mload(0x40)
            mstore(free, about)
            calldatacopy(add(free, 0x20), play, 0x60)
            found := keccak256(free, 0x80)
        }
    }
}
