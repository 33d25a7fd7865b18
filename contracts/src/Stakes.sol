// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Debts} from "./lib/Debts.sol";
import {Signers} from "./lib/Signers.sol";
import {IToken, Permit, Transfers} from "./lib/Transfers.sol";

/// @title The nodes' bonds
/// @notice A node is the account that pays its stake (its owner, a cold key); the node's process signs with a signer (a
/// hot key). Who misbehaves loses stake; who leaves waits first.
/// @dev Invariants: the token balance is the sum of bonded, exiting and owed over all accounts (plus gifts); no voluntary
/// act leaves a node bonded between zero and the minimum; stake can be slashed until the very withdrawal; a signer belongs
/// to the first node that bound it, for ever, so that what a key has signed stays the node's guilt after any rotation.
contract Stakes is Signers, Debts {
    using Transfers for IToken;

    /// @dev Two slots; the second is only touched by an exit, or a dispute.
    struct Node {
        uint96 bonded;
        address signer;
        uint96 exiting;
        uint40 exitAt;
        uint40 heldUntil;
    }

    uint256 private constant WHOLE = 10_000;
    uint40 private constant MAX_UNBONDING = 3650 days;
    uint256 private constant MAX_ENDPOINT = 256;
    /// @dev Of what a slash takes; below half, so that denouncing oneself costs.
    uint256 private constant FINDERS_PART = 3_000;

    IToken private immutable _token;
    address private immutable _court;
    uint96 private immutable _minStake;
    uint40 private immutable _unbonding;
    uint96 private immutable _maxFee;

    mapping(address node => Node) private _nodes;

    event Joined(address indexed node, address indexed signer, bytes32 peer, uint96 amount);
    event Announced(
        address indexed node, bytes32 indexed manifest, uint32 start, uint32 end, uint96 ask, string endpoint
    );
    event Bonded(address indexed node, uint96 amount);
    event ExitStarted(address indexed node, uint96 amount, uint40 exitAt);
    event ExitCancelled(address indexed node, uint96 amount);
    event Withdrawn(address indexed node, uint96 amount);
    event SignerRotated(address indexed node, address indexed signer, bytes32 peer);
    /// @param fee Of what was taken, what the finder is owed.
    event Slashed(address indexed node, address indexed finder, uint96 exiting, uint96 bonded, uint256 fee);
    event StakeKept(address indexed node, uint40 heldUntil);

    /// @notice That would leave `amount` bonded, less than `minimum`.
    error StakeTooLow(uint256 amount, uint256 minimum);
    /// @notice The node has only `bonded` to take from.
    error StakeShort(uint96 bonded, uint96 amount);
    /// @notice An amount of zero changes nothing.
    error AmountZero();
    error AlreadyJoined(address node);
    error NotJoined(address node);
    /// @notice Stake is still leaving: cancel the exit, or withdraw once `exitAt` has come.
    error ExitPending(uint40 exitAt);
    error NothingExiting(address node);
    error ExitNotReady(uint40 exitAt);
    /// @notice A dispute about the node's work may last until then.
    error StakeHeld(uint40 heldUntil);
    error NothingToSlash(address node);
    error NotCourt(address caller);
    /// @notice Neither the node's owner nor its present signer.
    error NotNode(address caller);
    error SpanInvalid(uint32 start, uint32 end);
    error EndpointTooLong(uint256 length, uint256 limit);
    error UnbondingInvalid(uint40 unbonding);

    /// @param court_ May be an address whose contract is deployed next.
    /// @param unbonding_ Seconds between leaving and withdrawing; longer than any dispute.
    /// @param maxFee_ Most that a finder gets of one slash: some multiple of what a proof costs in gas, and its bond.
    constructor(IToken token_, address court_, uint96 minStake_, uint40 unbonding_, uint96 maxFee_) {
        token_.mustExist();
        if (court_ == address(0)) revert NotCourt(court_);
        if (minStake_ == 0) revert AmountZero();
        if (unbonding_ == 0 || unbonding_ > MAX_UNBONDING) revert UnbondingInvalid(unbonding_);
        _token = token_;
        _court = court_;
        _minStake = minStake_;
        _unbonding = unbonding_;
        _maxFee = maxFee_;
    }

    /// @notice Bonds `amount` as a new node, or again after everything was withdrawn or slashed.
    /// @param peer Hash of the TLS key that the node answers with.
    /// @param r First half of the signer's compact signature over SignerConsent(owner, peer).
    /// @param vs Second half.
    function join(uint96 amount, address signer, bytes32 peer, bytes32 r, bytes32 vs) external guarded {
        enlist(amount, signer, peer, r, vs);
    }

    /// @notice The same with an EIP-2612 permit instead of an earlier approval.
    function joinWithPermit(
        uint96 amount,
        address signer,
        bytes32 peer,
        bytes32 r,
        bytes32 vs,
        uint256 deadline,
        uint8 v,
        bytes32 permitR,
        bytes32 permitS
    ) external guarded {
        _token.tryPermit(amount, Permit(deadline, v, permitR, permitS));
        enlist(amount, signer, peer, r, vs);
    }

    /// @notice Says what the node serves. Kept in the log only; the newest announcement holds.
    /// @param manifest Root of the model's manifest.
    /// @param start First block served.
    /// @param end One past the last block served.
    /// @param ask Price of one block for one token, in the token's smallest unit.
    /// @param endpoint Where the node listens, 256 bytes at most.
    function announce(address node, bytes32 manifest, uint32 start, uint32 end, uint96 ask, string calldata endpoint)
        external
    {
        Node storage self = joined(node);
        if (msg.sender != node && msg.sender != self.signer) revert NotNode(msg.sender);
        if (self.bonded < _minStake) revert StakeTooLow(self.bonded, _minStake);
        if (start >= end) revert SpanInvalid(start, end);
        if (bytes(endpoint).length > MAX_ENDPOINT) revert EndpointTooLong(bytes(endpoint).length, MAX_ENDPOINT);
        emit Announced(node, manifest, start, end, ask, endpoint);
    }

    /// @notice Adds to the bond; after a slash it must reach the minimum again.
    function addStake(uint96 amount) external guarded {
        if (amount == 0) revert AmountZero();
        Node storage self = joined(msg.sender);
        self.bonded = sufficient(self.bonded + amount);
        emit Bonded(msg.sender, amount);
        _token.pull(amount);
    }

    /// @notice Starts to take stake out: all of it, or so much that the minimum stays.
    /// @dev There is one bucket; adding to it restarts the clock for all of it.
    function exit(uint96 amount) external {
        if (amount == 0) revert AmountZero();
        Node storage self = joined(msg.sender);
        uint96 bonded = self.bonded;
        if (amount > bonded) revert StakeShort(bonded, amount);
        uint96 rest = bonded - amount;
        uint40 exitAt = uint40(block.timestamp) + _unbonding;
        self.bonded = rest == 0 ? 0 : sufficient(rest);
        self.exiting += amount;
        self.exitAt = exitAt;
        emit ExitStarted(msg.sender, amount, exitAt);
    }

    /// @notice Bonds everything again that was leaving.
    function cancelExit() external {
        Node storage self = _nodes[msg.sender];
        uint96 amount = leaving(self);
        self.bonded = sufficient(self.bonded + amount);
        (self.exiting, self.exitAt) = (0, 0);
        emit ExitCancelled(msg.sender, amount);
    }

    /// @notice Pays out what has left, to the node's owner.
    function withdraw() external guarded {
        Node storage self = _nodes[msg.sender];
        uint96 amount = leaving(self);
        if (block.timestamp < self.exitAt) revert ExitNotReady(self.exitAt);
        if (block.timestamp <= self.heldUntil) revert StakeHeld(self.heldUntil);
        (self.exiting, self.exitAt) = (0, 0);
        emit Withdrawn(msg.sender, amount);
        _token.push(msg.sender, amount);
    }

    /// @notice Gives the node another signer, or its signer another TLS key.
    /// @dev The old binding stays: what the old key signed can still be proven against the node.
    function rotate(address signer, bytes32 peer, bytes32 r, bytes32 vs) external {
        Node storage self = joined(msg.sender);
        bindSigner(signer, peer, _bindings[self.signer].joinedAt, r, vs);
        self.signer = signer;
        emit SignerRotated(msg.sender, signer, peer);
    }

    /// @notice Takes `bps` ten-thousandths of all stake of the node. Only the Court may.
    /// @dev What is leaving first, so that an exit shelters nothing; rounded up, so that no slash vanishes; at most all.
    /// The finder is owed its fee, the grave the rest: nothing is sent here.
    /// @param finder Who gets the fee; zero for nobody.
    function slash(address node, uint256 bps, address finder) external returns (uint256 taken) {
        if (msg.sender != _court) revert NotCourt(msg.sender);
        Node storage self = _nodes[node];
        uint256 exiting = self.exiting;
        uint256 total = self.bonded + exiting;
        if (bps > WHOLE) bps = WHOLE;
        taken = (total * bps + WHOLE - 1) / WHOLE;
        if (taken == 0) revert NothingToSlash(node);
        uint96 fromExiting = uint96(taken < exiting ? taken : exiting);
        uint96 fromBonded = uint96(taken - fromExiting);
        if (fromExiting != 0) {
            self.exiting -= fromExiting;
            if (self.exiting == 0) self.exitAt = 0;
        }
        if (fromBonded != 0) self.bonded -= fromBonded;
        uint256 fee = reward(finder, taken);
        emit Slashed(node, finder, fromExiting, fromBonded, fee);
        owe(GRAVE, taken - fee);
    }

    /// @notice Names the node that answers for a key, zero where none does, and lets no stake of it leave until a time has
    /// passed. Only the Court may; it is bounded by its clocks.
    function hold(address signer, uint40 until) external returns (address node) {
        if (msg.sender != _court) revert NotCourt(msg.sender);
        node = _bindings[signer].node;
        Node storage self = _nodes[node];
        // what begins to leave from now on is away no sooner
        bool stays = self.exiting == 0 && until < block.timestamp + _unbonding;
        if (stays || until <= self.heldUntil) return node;
        self.heldUntil = until;
        emit StakeKept(node, until);
    }

    /// @notice Until when the node's stake is held for a dispute.
    function heldUntil(address node) external view returns (uint40) {
        return _nodes[node].heldUntil;
    }

    /// @notice All that is kept about a node but for that. `exitAt` is zero while nothing leaves.
    function stakeOf(address node)
        external
        view
        returns (uint96 bonded, address signer, uint96 exiting, uint40 exitAt, uint40 joinedAt)
    {
        Node storage self = _nodes[node];
        signer = self.signer;
        return (self.bonded, signer, self.exiting, self.exitAt, _bindings[signer].joinedAt);
    }

    function token() external view returns (address) {
        return address(_token);
    }

    function court() external view returns (address) {
        return _court;
    }

    function minStake() external view returns (uint96) {
        return _minStake;
    }

    function unbonding() external view returns (uint40) {
        return _unbonding;
    }

    function maxFee() external view returns (uint96) {
        return _maxFee;
    }

    function owedIn() internal view override returns (IToken) {
        return _token;
    }

    function reward(address finder, uint256 taken) private returns (uint256 fee) {
        if (finder == address(0)) return 0;
        fee = taken * FINDERS_PART / WHOLE;
        if (fee > _maxFee) fee = _maxFee;
        owe(finder, fee);
    }

    function enlist(uint96 amount, address signer, bytes32 peer, bytes32 r, bytes32 vs) private {
        Node storage self = _nodes[msg.sender];
        if (self.bonded != 0) revert AlreadyJoined(msg.sender);
        // Who never had a signer has nothing leaving: newcomers are spared the read of a cold slot.
        bool newcomer = self.signer == address(0);
        if (!newcomer && self.exiting != 0) revert ExitPending(self.exitAt);
        bindSigner(signer, peer, uint40(block.timestamp), r, vs);
        (self.bonded, self.signer) = (sufficient(amount), signer);
        emit Joined(msg.sender, signer, peer, amount);
        _token.pull(amount);
    }

    function joined(address node) private view returns (Node storage self) {
        self = _nodes[node];
        if (self.bonded == 0) revert NotJoined(node);
    }

    function leaving(Node storage self) private view returns (uint96 amount) {
        amount = self.exiting;
        if (amount == 0) revert NothingExiting(msg.sender);
    }

    function sufficient(uint96 amount) private view returns (uint96) {
        if (amount < _minStake) revert StakeTooLow(amount, _minStake);
        return amount;
    }
}
