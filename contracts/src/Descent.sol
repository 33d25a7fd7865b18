// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Docket} from "./Docket.sol";
import {Descending} from "./lib/Descending.sol";
import {Paths} from "./lib/Paths.sol";
import {Play, Stand, StandWords, Turn} from "./lib/Stands.sol";

/// @title The fight for a trace that was posted and not given out
/// @notice The challenger has computed the trace. The node opens its tree from the root, 32 nodes at a time; the
/// challenger picks the first that is not in its own. The leaf at the end has to be shown: then all that is left of it is
/// the challenger's own, what is right of it was opened, and the ordinary proof can be made.
/// @dev Each side has one clock for all its moves; who lets it run out loses. A node that opens its tree in another order
/// than it built it comes to a leaf that states another place, and cannot show it: a sorted tree lets it lie about the
/// order, and the leaf does not. An honest node opens the tree that it has, so it always comes to the leaf of that place.
abstract contract Descent is Docket {
    uint256 private constant LENGTH = 2;
    uint256 private constant INDEX_AT = 32;
    uint256 private constant ELEMENTS_AT = 40;
    /// @dev 128 numbers of eight bytes, behind mask and index.
    uint256 private constant MAX_LEAF = 1064;
    uint64 private constant ABORT = 1 << 63;
    uint64 private constant MAX_LEAVES = 1 << 40;

    uint40 private immutable _descent;
    uint40 private immutable _toProve;

    event DataAsked(bytes32 indexed id, uint40 deadline);
    /// @param ordered The root over the nodes as they stand. The nodes are in the transaction itself.
    event NodesOpened(bytes32 indexed id, bytes32 ordered, uint40 deadline);
    event NodePicked(bytes32 indexed id, bytes32 node, uint64 place, uint40 deadline);
    event LeavesShown(bytes32 indexed id, uint40 deadline);

    error NotDefender(address caller);
    /// @notice It is something else that is waited for.
    error TurnOther(Turn turn);
    /// @notice A trace has one to 2^40 leaves.
    error LeavesInvalid(uint64 leaves);
    /// @notice These are not all the nodes below that one.
    error NodesForeign();
    /// @notice That node is not among those that were opened, or not there.
    error PickForeign();
    /// @notice These are not the leaves in question, or one does not state its place.
    error LeafForeign();
    /// @notice What is opened has to stand in the transaction itself, for everybody to read: a plain key sends it here.
    error DataHidden(address caller);

    constructor(uint40 descent, uint40 toProve) {
        (_descent, _toProve) = (descent, toProve);
    }

    /// @notice Wants an answered trace opened. By the challenger, for a second bond.
    /// @param number The dispute's among those of the caller.
    /// @param matter matterOf the facts.
    function ask(uint96 number, bytes32 matter, StandWords calldata words) external {
        bytes32 id = idOf(msg.sender, number);
        bytes32 about = aboutOf(matter, words.root);
        Stand memory next = mustRun(id, about, words.play);
        if (next.turn != Turn.Answered) revert TurnOther(next.turn);
        takeBonds(msg.sender, 1);
        begin(next, words.root);
        next.deadline = uint40(block.timestamp) + _descent;
        keep(id, about, next);
        emit DataAsked(id, next.deadline);
    }

    /// @notice Opens the nodes below the one in question. By who has answered for the node.
    /// @param about aboutOf facts and root.
    function open(bytes32 id, bytes32 about, Play calldata play, bytes32[] calldata nodes) external {
        Stand memory next = mustBePlayers(id, about, play);
        passClock(next);
        opened(next, nodes);
        keep(id, about, next);
        emit NodesOpened(id, next.node, next.deadline);
    }

    /// @notice Says which of the opened nodes is the first that is wrong. By the challenger.
    /// @param node The one, and `child` its number among them.
    /// @param siblings Its path in the ordered tree over them.
    function pick(
        uint96 number,
        bytes32 about,
        Play calldata play,
        uint64 child,
        bytes32 node,
        bytes32[] calldata siblings
    ) external {
        bytes32 id = idOf(msg.sender, number);
        Stand memory next = mustRun(id, about, play);
        if (next.turn != Turn.Picking) revert TurnOther(next.turn);
        uint8 step = Descending.stepFrom(next.height);
        uint256 width = Descending.below(next.leaves, next.height, step, next.place);
        bool held = child < width && Descending.stands(node, child, width, siblings, next.node);
        if (!held) revert PickForeign();
        (next.node, next.place, next.height) = (node, (next.place << step) + child, next.height - step);
        next.turn = Turn.Opening;
        passClock(next);
        keep(id, about, next);
        emit NodePicked(id, node, next.place, next.deadline);
    }

    /// @notice Shows the picked leaf, or all leaves below the picked node where these are the next: each is two bytes with
    /// its length, mask, index, elements. By who has answered for the node. From then on the clock for proofs runs once more.
    function show(bytes32 id, bytes32 about, Play calldata play, bytes calldata leaves) external {
        Stand memory next = mustBePlayers(id, about, play);
        mustBePlain();
        uint8 step = Descending.stepFrom(next.height);
        if (step != next.height) revert LeafForeign();
        uint256 count = Descending.below(next.leaves, step, step, next.place);
        bytes32[] memory hashes = new bytes32[](count);
        for (uint256 k = 0; k < count; ++k) {
            (hashes[k], leaves) = leafOf(leaves, next, (uint256(next.place) << step) + k);
        }
        (bytes32 root,) = Descending.roots(hashes);
        if (leaves.length != 0 || root != next.node) revert LeafForeign();
        next.turn = Turn.Shown;
        next.deadline = uint40(block.timestamp) + _toProve;
        keep(id, about, next);
        emit LeavesShown(id, next.deadline);
    }

    /// @dev From the root. The descent's turn is the node's, with the whole of both clocks.
    function begin(Stand memory next, bytes32 root) private view {
        (next.node, next.place, next.height) = (root, 0, Descending.heightOf(next.leaves));
        (next.turn, next.rest) = (Turn.Opening, _descent);
    }

    function opened(Stand memory next, bytes32[] calldata nodes) private view {
        mustBePlain();
        if (next.height == 0 || nodes.length == 0) revert NodesForeign();
        uint8 step = Descending.stepFrom(next.height);
        bool all = nodes.length == Descending.below(next.leaves, next.height, step, next.place);
        (bytes32 sorted, bytes32 ordered) = Descending.roots(nodes);
        if (!all || sorted != next.node) revert NodesForeign();
        (next.node, next.turn) = (ordered, Turn.Picking);
    }

    /// @dev Where the answer opens the first nodes itself, each side's clock is whole.
    function answeredOpen(Stand memory next, bytes32 root, bytes32[] calldata nodes) internal view {
        begin(next, root);
        if (next.height != 0) opened(next, nodes);
        else if (nodes.length != 0) revert NodesForeign();
        next.deadline = uint40(block.timestamp) + _descent;
    }

    function mustCount(uint64 leaves) internal pure {
        if (leaves == 0 || leaves > MAX_LEAVES) revert LeavesInvalid(leaves);
    }

    /// @dev Seconds that each side has for its moves in a descent.
    function descentTime() internal view returns (uint40) {
        return _descent;
    }

    function mustBePlayers(bytes32 id, bytes32 about, Play calldata play) private view returns (Stand memory stand) {
        stand = mustRun(id, about, play);
        if (stand.turn != Turn.Opening) revert TurnOther(stand.turn);
        if (msg.sender != stand.player) revert NotDefender(msg.sender);
    }

    /// @dev Nothing is said a second time in the log, at a third of what it costs. Through a contract, a key with code
    /// among them, a node could open its tree in a way that only a full replay of the chain brings to light.
    function mustBePlain() private view {
        if (msg.sender != tx.origin || msg.sender.code.length != 0) revert DataHidden(msg.sender);
    }

    /// @dev What the mover has left is kept for its next move, and the other's clock starts.
    function passClock(Stand memory next) private view {
        uint40 now_ = uint40(block.timestamp);
        (next.deadline, next.rest) = (now_ + next.rest, next.deadline - now_);
    }

    /// @dev The hash of the next leaf, which has to state its place, and what follows it. A trace that ends for want of a
    /// value ends with a leaf that says so, and has it nowhere else.
    function leafOf(bytes calldata leaves, Stand memory stand, uint256 place)
        private
        pure
        returns (bytes32 hash, bytes calldata rest)
    {
        if (leaves.length < LENGTH) revert LeafForeign();
        uint256 end = LENGTH + uint16(bytes2(leaves));
        bool fits = end >= LENGTH + ELEMENTS_AT && end <= LENGTH + MAX_LEAF && end <= leaves.length;
        if (!fits) revert LeafForeign();
        bytes calldata leaf = leaves[LENGTH:end];
        uint64 index = uint64(bytes8(leaf[INDEX_AT:ELEMENTS_AT]));
        bool states = index == place || (index == place | ABORT && place + 1 == stand.leaves);
        if (!states) revert LeafForeign();
        return (Paths.leaf(leaf), leaves[end:]);
    }
}
