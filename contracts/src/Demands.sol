// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Models} from "./Models.sol";
import {Stakes} from "./Stakes.sol";
import {Summoned, Verdicts} from "./Verdicts.sol";
import {Bonds} from "./lib/Bonds.sol";
import {Parameters} from "./lib/Parameters.sol";
import {Paths} from "./lib/Paths.sol";
import {Receipt, Receipts} from "./lib/Receipts.sol";
import {RouteStage, RouteTerms, Routes} from "./lib/RouteTerms.sol";
import {IToken} from "./lib/Transfers.sol";

/// @dev bond: what a demand puts down. delay: seconds after a route's expiry. answer: for the draw, and again for the data.
struct DemandTerms {
    uint96 bond;
    uint40 delay;
    uint40 answer;
}

/// @dev Which of a receipt's roots.
enum Side {
    In,
    Out,
    Kept
}

/// @dev What a demand is about; its hash is the demand's id. Leaves stand for the positions [first, last), of each
/// `pieces` for the one row, or for each of the blocks [start, start + blocks) where blocks is not zero.
struct Wanted {
    bytes32 receipt;
    bytes32 root;
    address node;
    address demander;
    uint32 first;
    uint32 last;
    uint32 start;
    uint32 blocks;
    uint32 pieces;
}

/// @dev One leaf but for its index, which the beacon names.
struct Opened {
    bytes32 mask;
    bytes elements;
    bytes32[] path;
}

/// @title Demands for the data behind a signed receipt
/// @notice Who was refused them off chain puts down a bond and asks here. A later block's hash draws some leaves; the node
/// shows them in time, or is fined. Shown is shown to everybody.
/// @dev The demander cannot choose what is opened, nor the node what it keeps. The bond pays the answer, whoever was right
/// about the refusal: so a demand that is answered costs, and one that is not does not. Caps are per demander.
contract Demands is Bonds {
    /// @dev One slot. drawnBy: the block whose hash is the beacon; deadline: of the draw, then of the data; CLOSED after.
    struct Demand {
        uint128 beacon;
        uint64 drawnBy;
        uint40 deadline;
    }

    bytes32 private constant EXACT = keccak256("tallystick.profile.exact-1");
    uint40 private constant CLOSED = type(uint40).max;
    /// @dev A node that has lost a tenth of the leaves is caught by one demand in three.
    uint256 private constant LEAVES = 4;
    uint256 private constant PIECE = 128;
    uint256 private constant MAX_ELEMENTS = 1024;
    uint256 private constant HASHES_KEPT = 256;

    Verdicts private immutable _court;
    Models private immutable _models;
    uint40 private immutable _delay;
    uint40 private immutable _answer;

    mapping(bytes32 id => Demand) private _demands;

    event Demanded(bytes32 indexed id, address indexed node, Wanted wanted, Side side, uint40 deadline);
    event Drawn(bytes32 indexed id, uint128 beacon, uint40 deadline);
    event DrawMissed(bytes32 indexed id, uint64 drawnBy);
    event Served(bytes32 indexed id, address indexed node);
    event Lapsed(bytes32 indexed id, address indexed node);
    event Unserved(bytes32 indexed id, address indexed node, uint256 taken);

    /// @notice The terms are not those of the receipt's route, or the stage is not in its place of it.
    error RouteNotOpened();
    /// @notice Only in the exact profile it is known which leaves there are.
    error ProfileNotExact(bytes32 profile);
    /// @notice Demands about that route ended.
    error DemandTooLate(uint256 end);
    /// @notice The key that signed is not the stage's.
    error NotOnRoute(address node);
    /// @notice The receipt is about no position.
    error ReceiptEmpty();
    /// @notice The model's last stage gives out tokens, only where they were asked for: which leaves there are is not known.
    error TokensNotKnown();
    error DemandKnown(bytes32 id);
    /// @notice There is no such demand, or it has been closed.
    error DemandNotOpen(bytes32 id);
    /// @notice The block that draws has no hash yet.
    error DrawTooEarly(uint64 drawnBy);
    error DemandDrawn(bytes32 id);
    error DemandNotDrawn(bytes32 id);
    error ClockRunOut(uint40 deadline);
    error ClockRunning(uint40 deadline);
    /// @notice The leaves are not those that were drawn, or not under the receipt's root.
    error LeavesNotHeld();
    /// @notice The court obeys other demands.
    error CourtForeign(address court);
    /// @notice Stake could leave before a demand ends, or a clock or the bond is zero.
    error TermsInvalid(uint256 longest, uint256 unbonding);

    constructor(Verdicts court_, Models models_, DemandTerms memory terms)
        Bonds(IToken(Stakes(court_.stakes()).token()), terms.bond)
    {
        if (court_.arbiters().demands != address(this)) revert CourtForeign(address(court_));
        uint256 longest = uint256(terms.delay) + 2 * uint256(terms.answer);
        uint256 limit = Stakes(court_.stakes()).unbonding();
        if (terms.bond == 0 || terms.answer == 0 || longest >= limit) revert TermsInvalid(longest, limit);
        (_court, _models) = (court_, models_);
        (_delay, _answer) = (terms.delay, terms.answer);
    }

    /// @notice Asks for leaves under one of a receipt's roots. Puts down the bond.
    /// @param terms The fields of the receipt's route, its stages as the hashes of their structs.
    /// @param stage The receipt's stage of it, opened.
    function demand(
        Receipt calldata receipt,
        bytes32 r,
        bytes32 vs,
        RouteTerms calldata terms,
        RouteStage calldata stage,
        Side side
    ) external returns (bytes32 id) {
        if (receipt.first >= receipt.last) revert ReceiptEmpty();
        mustBeInTime(terms);
        uint40 deadline = uint40(block.timestamp) + _answer;
        Summoned memory found =
            _court.summon(Receipts.structHash(receipt), Routes.structHash(terms), r, vs, deadline + _answer);
        if (found.route != receipt.route || !Routes.holds(terms, receipt.stage, stage)) revert RouteNotOpened();
        if (found.node != stage.node) revert NotOnRoute(found.node);
        Wanted memory wanted = shape(receipt, terms.manifest, stage, side);
        (wanted.receipt, wanted.node, wanted.demander) = (found.receipt, found.node, msg.sender);
        id = keccak256(abi.encode(wanted));
        if (_demands[id].deadline != 0) revert DemandKnown(id);
        takeBonds(msg.sender, 1);
        _demands[id] = Demand(0, uint64(block.number) + 1, deadline);
        emit Demanded(id, found.node, wanted, side, deadline);
    }

    /// @notice Draws the leaves by the hash of the block after the demand's. By anybody, within 256 blocks; after that the
    /// next block draws. A demander that waits for a better one is forestalled by the node, which loses nothing by any.
    function draw(bytes32 id) external {
        Demand storage self = running(id);
        if (self.beacon != 0) revert DemandDrawn(id);
        uint64 drawnBy = self.drawnBy;
        if (block.number <= drawnBy) revert DrawTooEarly(drawnBy);
        if (block.number - drawnBy > HASHES_KEPT) {
            self.drawnBy = uint64(block.number) + 1;
            emit DrawMissed(id, self.drawnBy);
            return;
        }
        uint128 beacon = uint128(uint256(blockhash(drawnBy))) | 1; // zero stands for none
        uint40 deadline = uint40(block.timestamp) + _answer;
        (self.beacon, self.deadline) = (beacon, deadline);
        emit Drawn(id, beacon, deadline);
    }

    /// @notice Shows the drawn leaves, in the order of their draw. By anybody: they lie under what the node signed.
    function serve(Wanted calldata wanted, Opened[] calldata leaves) external {
        bytes32 id = keccak256(abi.encode(wanted));
        Demand storage self = running(id);
        uint128 beacon = self.beacon;
        if (beacon == 0) revert DemandNotDrawn(id);
        if (leaves.length != LEAVES) revert LeavesNotHeld();
        for (uint256 k = 0; k < LEAVES; ++k) {
            bytes memory data = abi.encodePacked(leaves[k].mask, drawn(wanted, beacon, k), leaves[k].elements);
            bool held = leaves[k].elements.length <= MAX_ELEMENTS && Paths.holds(wanted.root, data, leaves[k].path);
            if (!held) revert LeavesNotHeld();
        }
        self.deadline = CLOSED;
        forfeitBonds(wanted.demander, wanted.node, 1);
        emit Served(id, wanted.node);
    }

    /// @notice Ends a demand whose clock has run out: without a draw at the demander's cost, else at the node's. By anybody.
    function close(Wanted calldata wanted) external {
        bytes32 id = keccak256(abi.encode(wanted));
        Demand storage self = known(id);
        if (block.timestamp <= self.deadline) revert ClockRunning(self.deadline);
        self.deadline = CLOSED;
        if (self.beacon == 0) {
            forfeitBonds(wanted.demander, wanted.node, 1);
            emit Lapsed(id, wanted.node);
            return;
        }
        returnBonds(wanted.demander, 1);
        emit Unserved(id, wanted.node, _court.fine(wanted.node, wanted.demander));
    }

    /// @notice The beacon, zero before the draw; the block that draws; the clock, 2^40 - 1 once closed.
    function demandOf(bytes32 id) external view returns (uint128 beacon, uint64 drawnBy, uint40 deadline) {
        return (_demands[id].beacon, _demands[id].drawnBy, _demands[id].deadline);
    }

    /// @notice The index of the leaf that was drawn as number k of four.
    function drawn(Wanted calldata wanted, uint128 beacon, uint256 k) public pure returns (uint64) {
        uint256 blocks = wanted.blocks == 0 ? 1 : wanted.blocks;
        uint256 each = blocks * wanted.pieces;
        uint256 number = uint256(keccak256(abi.encode(beacon, wanted, k))) % ((wanted.last - wanted.first) * each);
        uint256 within = number % each;
        uint256 place = within % wanted.pieces;
        if (wanted.blocks != 0) place |= (wanted.start + within / wanted.pieces) << 16;
        return uint64(((wanted.first + number / each) << 32) | place);
    }

    function court() external view returns (address) {
        return address(_court);
    }

    /// @notice The registry of models, and the seconds for demands after a route's expiry, for a draw and for an answer.
    function demandTerms() external view returns (address models, uint40 delay, uint40 toAnswer) {
        return (address(_models), _delay, _answer);
    }

    function mustBeInTime(RouteTerms calldata terms) private view {
        if (terms.profile != EXACT) revert ProfileNotExact(terms.profile);
        uint256 end = uint256(terms.expiry) + _delay;
        if (block.timestamp > end) revert DemandTooLate(end);
    }

    /// @dev docs/TRACE.md section 2: rows in pieces of 128, a token where the model begins; each block's keys, then its values.
    /// A prompt's positions have no token where the model ends: an honest node could be fined for those.
    function shape(Receipt calldata receipt, bytes32 manifest, RouteStage calldata stage, Side side)
        private
        view
        returns (Wanted memory wanted)
    {
        (, Parameters memory p) = _models.model(manifest);
        (wanted.first, wanted.last) = (receipt.first, receipt.last);
        if (side == Side.Kept) {
            uint256 parts = (p.headDim + PIECE - 1) / PIECE;
            (wanted.root, wanted.start, wanted.blocks) = (receipt.kvRoot, stage.start, stage.end - stage.start);
            wanted.pieces = uint32(2 * p.kvHeads * parts);
            return wanted;
        }
        if (side == Side.Out && stage.end == p.blocks) revert TokensNotKnown();
        wanted.root = side == Side.In ? receipt.inRoot : receipt.outRoot;
        bool isToken = side == Side.In && stage.start == 0;
        wanted.pieces = isToken ? 1 : uint32((p.hidden + PIECE - 1) / PIECE);
    }

    function known(bytes32 id) private view returns (Demand storage self) {
        self = _demands[id];
        if (self.deadline == 0 || self.deadline == CLOSED) revert DemandNotOpen(id);
    }

    function running(bytes32 id) private view returns (Demand storage self) {
        self = known(id);
        if (block.timestamp > self.deadline) revert ClockRunOut(self.deadline);
    }
}
