// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Domain} from "./lib/Domain.sol";
import {Guarded} from "./lib/Guarded.sol";
import {Signatures} from "./lib/Signatures.sol";
import {IToken, Permit, Transfers} from "./lib/Transfers.sol";

/// @title The nodes' bonds
/// @notice A node is the account that pays its stake (its owner, a cold key); the node's process
/// signs with a signer (a hot key). Who misbehaves loses stake; who leaves waits first.
/// @dev Invariants: the token balance is the sum of bonded and exiting over all nodes (plus gifts);
/// no voluntary act leaves a node bonded between zero and the minimum; stake can be slashed until
/// the very withdrawal; a signer belongs to the first node that bound it, for ever, so that what a
/// key has signed stays the node's guilt after any rotation.
contract Stakes is Domain, Guarded {
    using Transfers for IToken;

    /// @dev Two slots; the second is only touched by an exit.
    struct Node {
        uint96 bonded;
        address signer;
        uint96 exiting;
        uint40 exitAt;
    }

    /// @dev One slot. The date shares it to keep `join` at two new slots; rotation carries it over.
    struct Binding {
        address node;
        uint40 joinedAt;
    }

    bytes32 private constant CONSENT_TYPEHASH = keccak256("SignerConsent(address owner,bytes32 peer)");
    uint256 private constant WHOLE = 10_000;
    uint40 private constant MAX_UNBONDING = 3650 days;
    uint256 private constant MAX_ENDPOINT = 256;
    /// @dev Burning by transfer works with every token; nobody has a key for this address.
    address private constant GRAVE = 0x000000000000000000000000000000000000dEaD;

    IToken private immutable _token;
    address private immutable _court;
    uint96 private immutable _minStake;
    uint40 private immutable _unbonding;

    mapping(address node => Node) private _nodes;
    mapping(address signer => Binding) private _bindings;

    event Joined(address indexed node, address indexed signer, bytes32 peer, uint96 amount);
    event Announced(
        address indexed node, bytes32 indexed manifest, uint32 start, uint32 end, uint96 ask, string endpoint
    );
    event Bonded(address indexed node, uint96 amount);
    event ExitStarted(address indexed node, uint96 amount, uint40 exitAt);
    event ExitCancelled(address indexed node, uint96 amount);
    event Withdrawn(address indexed node, uint96 amount);
    event SignerRotated(address indexed node, address indexed signer, bytes32 peer);
    event Slashed(address indexed node, uint96 exiting, uint96 bonded);

    /// @notice The act would leave `amount` bonded, less than `minimum`.
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
    error NothingToSlash(address node);
    error NotCourt(address caller);
    /// @notice Neither the node's owner nor its present signer.
    error NotNode(address caller);
    /// @notice The key has signed for `node`; no other node can have it.
    error SignerTaken(address signer, address node);
    error SpanInvalid(uint32 start, uint32 end);
    error EndpointTooLong(uint256 length, uint256 limit);
    error UnbondingInvalid(uint40 unbonding);

    /// @param court_ May be an address whose contract is deployed next (known from the nonce).
    /// @param unbonding_ Seconds between leaving and withdrawing; longer than any dispute.
    constructor(IToken token_, address court_, uint96 minStake_, uint40 unbonding_) {
        token_.mustExist();
        if (court_ == address(0)) revert NotCourt(court_);
        if (minStake_ == 0) revert AmountZero();
        if (unbonding_ == 0 || unbonding_ > MAX_UNBONDING) revert UnbondingInvalid(unbonding_);
        _token = token_;
        _court = court_;
        _minStake = minStake_;
        _unbonding = unbonding_;
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
        uint256 length = bytes(endpoint).length;
        if (length > MAX_ENDPOINT) revert EndpointTooLong(length, MAX_ENDPOINT);
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

    /// @notice Burns `bps` ten-thousandths of all stake of the node. Only the Court may.
    /// @dev Takes what is leaving first, so that an exit shelters nothing; rounds up, so that no
    /// slash vanishes; more than the whole counts as the whole.
    function slash(address node, uint256 bps) external guarded returns (uint256 burnt) {
        if (msg.sender != _court) revert NotCourt(msg.sender);
        Node storage self = _nodes[node];
        uint256 exiting = self.exiting;
        uint256 total = self.bonded + exiting;
        if (bps > WHOLE) bps = WHOLE;
        burnt = (total * bps + WHOLE - 1) / WHOLE;
        if (burnt == 0) revert NothingToSlash(node);
        uint96 fromExiting = uint96(burnt < exiting ? burnt : exiting);
        uint96 fromBonded = uint96(burnt - fromExiting);
        if (fromExiting != 0) {
            self.exiting -= fromExiting;
            if (self.exiting == 0) self.exitAt = 0;
        }
        if (fromBonded != 0) self.bonded -= fromBonded;
        emit Slashed(node, fromExiting, fromBonded);
        _token.push(GRAVE, burnt);
    }

    /// @notice All that is kept about a node. `exitAt` is zero while nothing leaves.
    function stakeOf(address node)
        external
        view
        returns (uint96 bonded, address signer, uint96 exiting, uint40 exitAt, uint40 joinedAt)
    {
        Node storage self = _nodes[node];
        signer = self.signer;
        return (self.bonded, signer, self.exiting, self.exitAt, _bindings[signer].joinedAt);
    }

    /// @notice The node that answers for a signer, present or past; zero for an unknown key.
    function nodeOf(address signer) external view returns (address) {
        return _bindings[signer].node;
    }

    /// @notice What the signer of a node has to sign.
    function consentDigest(address owner, bytes32 peer) public view returns (bytes32) {
        return typedDigest(keccak256(abi.encode(CONSENT_TYPEHASH, owner, peer)));
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

    /// @notice Seconds between an exit and its withdrawal.
    function unbonding() external view returns (uint40) {
        return _unbonding;
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

    function bindSigner(address signer, bytes32 peer, uint40 joinedAt, bytes32 r, bytes32 vs) private {
        Binding storage binding = _bindings[signer];
        address holder = binding.node;
        if (holder != address(0) && holder != msg.sender) revert SignerTaken(signer, holder);
        Signatures.check(consentDigest(msg.sender, peer), signer, r, vs);
        (binding.node, binding.joinedAt) = (msg.sender, joinedAt);
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
