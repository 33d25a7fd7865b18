// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Domain} from "./lib/Domain.sol";
import {Guarded} from "./lib/Guarded.sol";
import {Signatures} from "./lib/Signatures.sol";
import {IToken, Permit, Transfers} from "./lib/Transfers.sol";

/// @dev Names a channel. It travels in calldata only; the chain keeps its EIP-712 digest, the id.
/// `payees` is the hash of the payee words that share what is paid.
struct ChannelKey {
    address payer;
    address signer;
    bytes32 payees;
    bytes32 salt;
}

/// @title The clients' money, on its way to the nodes
/// @notice Free balance -> locked in a channel -> settled by a voucher into the payees' pot ->
/// collected. One signature pays all payees, and a settlement costs the same however many they are.
/// @dev Invariants: the token balance is the sum of free balances, of locked minus settled, and of
/// pots minus what was drawn from them (plus gifts); settled <= locked and never falls; pots never
/// fall; a voucher within the lock settles until `reclaim` succeeds, whatever the payer does.
/// Whether `payees` is a sound hash is for the payees to check before they work: money settled to
/// words whose weights are not 10,000 together can never be collected.
contract Channels is Domain, Guarded {
    using Transfers for IToken;

    /// @dev One slot. `locked` counts all ever locked, settled or not, less what was reclaimed.
    struct Channel {
        uint96 locked;
        uint96 settled;
        uint40 closesAt;
    }

    bytes32 private constant KEY_TYPEHASH =
        keccak256("ChannelKey(address payer,address signer,bytes32 payees,bytes32 salt)");
    bytes32 private constant VOUCHER_TYPEHASH = keccak256("Voucher(bytes32 channel,uint96 cumulative,bytes32 work)");
    uint256 private constant WHOLE = 10_000;
    uint40 private constant MAX_CLOSE_DELAY = 365 days;
    /// @dev `closesAt` of a reclaimed channel. It stays for ever, so no old voucher ever counts again.
    uint40 private constant RECLAIMED = type(uint40).max;

    IToken private immutable _token;
    uint40 private immutable _closeDelay;

    mapping(address payer => uint256 amount) private _free;
    mapping(bytes32 channel => Channel) private _channels;
    mapping(bytes32 payees => uint256 amount) private _pots;
    mapping(bytes32 payees => mapping(uint256 index => uint256 amount)) private _drawn;

    event Deposited(address indexed payer, uint96 amount);
    event Opened(
        bytes32 indexed channel,
        address indexed payer,
        bytes32 indexed payees,
        address signer,
        bytes32 salt,
        uint96 amount
    );
    event Settled(bytes32 indexed channel, bytes32 indexed payees, uint96 cumulative, bytes32 work);
    event Collected(bytes32 indexed payees, address indexed payee, uint256 index, uint256 amount);
    event CloseStarted(bytes32 indexed channel, uint40 closesAt);
    event Reclaimed(bytes32 indexed channel, address indexed payer, uint96 amount);
    event Withdrawn(address indexed payer, uint96 amount);

    /// @notice An amount of zero changes nothing.
    error AmountZero();
    /// @notice The payer has only `free` that is in no channel.
    error FundsShort(uint256 free, uint256 amount);
    error NotPayer(address caller);
    /// @notice A channel without a signer could never pay.
    error SignerMissing();
    error ChannelUnknown(bytes32 channel);
    error ChannelClosing(uint40 closesAt);
    /// @notice The channel was reclaimed; use another salt for a new one.
    error ChannelClosed(bytes32 channel);
    error ChannelNotClosing(bytes32 channel);
    error CloseNotReady(uint40 closesAt);
    /// @notice At least as much as the voucher says was settled before.
    error VoucherStale(uint96 settled, uint96 cumulative);
    error VoucherExceedsLock(uint96 locked, uint96 cumulative);
    /// @notice The weights have to be 10,000 together, not `total`.
    error PayeesInvalid(uint256 total);
    error PayeeUnknown(uint256 index, uint256 count);
    error NothingToCollect(bytes32 payees, uint256 index);
    error CloseDelayInvalid(uint40 closeDelay);

    /// @param closeDelay_ Seconds the payees have to settle after the payer wants out.
    constructor(IToken token_, uint40 closeDelay_) {
        token_.mustExist();
        if (closeDelay_ == 0 || closeDelay_ > MAX_CLOSE_DELAY) {
            revert CloseDelayInvalid(closeDelay_);
        }
        _token = token_;
        _closeDelay = closeDelay_;
    }

    /// @notice Adds to the caller's free balance.
    function deposit(uint96 amount) external guarded {
        credit(amount);
    }

    /// @notice The same with an EIP-2612 permit instead of an earlier approval.
    function depositWithPermit(uint96 amount, uint256 deadline, uint8 v, bytes32 r, bytes32 s) external guarded {
        _token.tryPermit(amount, Permit(deadline, v, r, s));
        credit(amount);
    }

    /// @notice Opens a channel, or adds to one, from the free balance.
    function open(ChannelKey calldata key, uint96 amount) external {
        uint256 free = _free[msg.sender];
        if (free < amount) revert FundsShort(free, amount);
        unchecked {
            _free[msg.sender] = free - amount; // compared one line above
        }
        lock(key, amount);
    }

    /// @notice Opens a channel, or adds to one, with money straight from the caller's account.
    function depositAndOpen(ChannelKey calldata key, uint96 amount) external guarded {
        lock(key, amount);
        _token.pull(amount);
    }

    /// @notice The same with an EIP-2612 permit instead of an earlier approval.
    function depositAndOpenWithPermit(
        ChannelKey calldata key,
        uint96 amount,
        uint256 deadline,
        uint8 v,
        bytes32 r,
        bytes32 s
    ) external guarded {
        _token.tryPermit(amount, Permit(deadline, v, r, s));
        lock(key, amount);
        _token.pull(amount);
    }

    /// @notice Moves what a voucher newly grants into the payees' pot. Anybody may bring it.
    /// @param cumulative All that the channel has paid so far, in the token's smallest unit.
    /// @param work Says what was paid for; only logged.
    /// @param r First half of the channel signer's compact signature over the voucher.
    /// @param vs Second half.
    function settle(ChannelKey calldata key, uint96 cumulative, bytes32 work, bytes32 r, bytes32 vs) external {
        bytes32 id = channelId(key);
        Channel storage self = _channels[id];
        (uint96 locked, uint96 settled,) = live(id, self);
        if (cumulative <= settled) revert VoucherStale(settled, cumulative);
        if (cumulative > locked) revert VoucherExceedsLock(locked, cumulative);
        Signatures.check(voucherDigest(id, cumulative, work), key.signer, r, vs);
        self.settled = cumulative;
        _pots[key.payees] += cumulative - settled;
        emit Settled(id, key.payees, cumulative, work);
    }

    /// @notice Pays one payee all it has earned in a pot and not yet drawn. Anybody may call.
    /// @param payees The words behind the hash: address (high 160 bits), weight (low 96 bits).
    /// @param index Which of them to pay.
    function collect(bytes32[] calldata payees, uint256 index) external guarded {
        if (index >= payees.length) revert PayeeUnknown(index, payees.length);
        uint256 total = weigh(payees);
        if (total != WHOLE) revert PayeesInvalid(total);
        bytes32 hash = keccak256(abi.encodePacked(payees));
        uint256 word = uint256(payees[index]);
        // Rounded down: the shares together never exceed the pot.
        uint256 earned = _pots[hash] * uint96(word) / WHOLE;
        uint256 amount = earned - _drawn[hash][index];
        if (amount == 0) revert NothingToCollect(hash, index);
        _drawn[hash][index] = earned;
        address payee = address(uint160(word >> 96));
        emit Collected(hash, payee, index, amount);
        _token.push(payee, amount);
    }

    /// @notice Starts the clock after which the payer gets back what no voucher has claimed.
    function close(ChannelKey calldata key) external {
        (bytes32 id, Channel storage self) = owned(key);
        (,, uint40 closesAt) = live(id, self);
        if (closesAt != 0) revert ChannelClosing(closesAt);
        closesAt = uint40(block.timestamp) + _closeDelay;
        self.closesAt = closesAt;
        emit CloseStarted(id, closesAt);
    }

    /// @notice Ends a channel whose clock has run out; the rest returns to the free balance.
    function reclaim(ChannelKey calldata key) external {
        (bytes32 id, Channel storage self) = owned(key);
        (uint96 locked, uint96 settled, uint40 closesAt) = live(id, self);
        if (closesAt == 0) revert ChannelNotClosing(id);
        if (block.timestamp < closesAt) revert CloseNotReady(closesAt);
        uint96 rest = locked - settled;
        (self.locked, self.closesAt) = (settled, RECLAIMED);
        _free[msg.sender] += rest;
        emit Reclaimed(id, msg.sender, rest);
    }

    /// @notice Pays out free balance to its owner, at once.
    function withdraw(uint96 amount) external guarded {
        if (amount == 0) revert AmountZero();
        uint256 free = _free[msg.sender];
        if (free < amount) revert FundsShort(free, amount);
        unchecked {
            _free[msg.sender] = free - amount; // compared one line above
        }
        emit Withdrawn(msg.sender, amount);
        _token.push(msg.sender, amount);
    }

    /// @notice The id of a channel: it holds on this chain and for this contract only.
    function channelId(ChannelKey calldata key) public view returns (bytes32) {
        return typedDigest(keccak256(abi.encode(KEY_TYPEHASH, key)));
    }

    /// @notice What a channel's signer signs to pay.
    function voucherDigest(bytes32 id, uint96 cumulative, bytes32 work) public view returns (bytes32) {
        return typedDigest(keccak256(abi.encode(VOUCHER_TYPEHASH, id, cumulative, work)));
    }

    /// @notice State of a channel. `closesAt`: zero if open, 2^40 - 1 once reclaimed.
    function channel(bytes32 id) external view returns (uint96 locked, uint96 settled, uint40 closesAt) {
        Channel storage self = _channels[id];
        return (self.locked, self.settled, self.closesAt);
    }

    function freeOf(address payer) external view returns (uint256) {
        return _free[payer];
    }

    /// @notice All that was ever settled for these payees.
    function potOf(bytes32 payees) external view returns (uint256) {
        return _pots[payees];
    }

    /// @notice All that payee number `index` has collected.
    function drawnOf(bytes32 payees, uint256 index) external view returns (uint256) {
        return _drawn[payees][index];
    }

    function token() external view returns (address) {
        return address(_token);
    }

    /// @notice Seconds between `close` and `reclaim`.
    function closeDelay() external view returns (uint40) {
        return _closeDelay;
    }

    function credit(uint96 amount) private {
        if (amount == 0) revert AmountZero();
        _free[msg.sender] += amount;
        emit Deposited(msg.sender, amount);
        _token.pull(amount);
    }

    function lock(ChannelKey calldata key, uint96 amount) private {
        if (amount == 0) revert AmountZero();
        if (key.payer != msg.sender) revert NotPayer(msg.sender);
        if (key.signer == address(0)) revert SignerMissing();
        bytes32 id = channelId(key);
        Channel storage self = _channels[id];
        uint40 closesAt = self.closesAt;
        if (closesAt == RECLAIMED) revert ChannelClosed(id);
        if (closesAt != 0) revert ChannelClosing(closesAt);
        self.locked += amount;
        emit Opened(id, msg.sender, key.payees, key.signer, key.salt, amount);
    }

    function owned(ChannelKey calldata key) private view returns (bytes32 id, Channel storage self) {
        if (key.payer != msg.sender) revert NotPayer(msg.sender);
        id = channelId(key);
        self = _channels[id];
    }

    /// @dev The state of a channel that was opened and not yet reclaimed.
    function live(bytes32 id, Channel storage self)
        private
        view
        returns (uint96 locked, uint96 settled, uint40 closesAt)
    {
        (locked, settled, closesAt) = (self.locked, self.settled, self.closesAt);
        if (closesAt == RECLAIMED) revert ChannelClosed(id);
        if (locked == 0) revert ChannelUnknown(id);
    }

    function weigh(bytes32[] calldata payees) private pure returns (uint256 total) {
        unchecked {
            // No block's calldata has room for the 2^160 weights of 96 bits that could overflow.
            for (uint256 i = 0; i < payees.length; ++i) {
                total += uint96(uint256(payees[i]));
            }
        }
    }
}
