// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ICourtVerdicts} from "./lib/ICourtVerdicts.sol";
import {Pots} from "./Pots.sol";
import {Refunds} from "./Refunds.sol";
import {ChannelKey} from "./lib/ChannelDigests.sol";
import {Channel, ChannelSlots, Settlement, Settlements} from "./lib/ChannelTerms.sol";
import {Ages, Maturing} from "./lib/Maturing.sol";
import {Consent, Payees} from "./lib/Payees.sol";
import {Signatures} from "./lib/Signatures.sol";
import {IToken, Permit, Transfers} from "./lib/Transfers.sol";

/// @title The clients' money, on its way to the nodes
/// @notice Free balance -> locked in a channel -> settled by a voucher into the payees' pot -> ripe ->
/// collected; or, of a convicted payee, refunded before it is ripe. One signature pays all payees, and a settlement costs the same however many they are.
/// @dev Invariants: the token balance is the sum of free balances, of locked minus settled, and of
/// pots minus what was drawn or refunded from them (plus gifts); settled <= locked and never falls; pots never
/// fall; a voucher within the lock settles until `reclaim` succeeds, or a `release` that all payees
/// but the audit pool have signed, whatever the payer does. Whether `payees` is a sound hash is for the payees to check
/// before they work: what is settled to weights that are not 10,000 together is never collected.
contract Channels is Refunds {
    using ChannelSlots for Channel;
    using Maturing for Ages;
    using Payees for bytes32[];
    using Transfers for IToken;

    uint40 private constant MAX_CLOSE_DELAY = 365 days;
    /// @dev What is told as `closesAt` of a reclaimed channel.
    uint40 private constant RECLAIMED = type(uint40).max;
    /// @dev Marks of a channel. A closed one stays so for ever, and no old voucher ever counts again.
    uint64 private constant CLOSING = 1;
    uint64 private constant CLOSED = 2;

    uint40 private immutable _closeDelay;
    address private immutable _pool;

    /// @dev Of a channel that is closing. Few ever are: their slot would be too full with it.
    mapping(bytes32 channel => uint40 timestamp) private _closesAt;

    /// @param closeDelay_ Seconds the payees have to settle after the payer wants out.
    /// @param maturity_ Seconds that what is settled can be refunded, at least.
    /// @param court_ Whose convictions have it refunded.
    /// @param pool_ The audit pool: a contract, that cannot consent to a release, and need not.
    constructor(IToken token_, uint40 closeDelay_, uint40 maturity_, ICourtVerdicts court_, address pool_)
        Pots(token_, maturity_)
        Refunds(court_)
    {
        if (closeDelay_ == 0 || closeDelay_ > MAX_CLOSE_DELAY) revert CloseDelayInvalid(closeDelay_);
        (_closeDelay, _pool) = (closeDelay_, pool_);
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
        (uint96 locked, uint96 settled, Ages ages) = live(id, self);
        if (cumulative <= settled) revert VoucherStale(settled, cumulative);
        if (cumulative > locked) revert VoucherExceedsLock(locked, cumulative);
        Signatures.check(voucherDigest(id, cumulative, work), key.signer, r, vs);
        uint256 window = windowNow();
        self.put(locked, cumulative, ages.moved(settled, window));
        fill(key.payees, cumulative - settled, window);
        emit Settled(id, key.payees, cumulative, work);
    }

    /// @notice Settles many vouchers. One that moves nothing any more or is beyond the lock is left
    /// out: nobody spoils a batch by settling or reclaiming before it. A bad signature undoes all.
    function settleMany(Settlements[] calldata batch) external {
        uint256 total;
        uint256 window = windowNow();
        for (uint256 i = 0; i < batch.length; ++i) {
            bytes32 payees = batch[i].payees;
            Settlement[] calldata rows = batch[i].rows;
            uint256 sum;
            for (uint256 k = 0; k < rows.length; ++k) {
                unchecked {
                    sum += settleRow(payees, rows[k], window); // of 96 bits each, and no block has room for 2^16
                }
            }
            fill(payees, sum, window);
            total += sum;
        }
        if (total == 0) revert NothingInBatch();
    }

    /// @notice Starts the clock after which the payer gets back what no voucher has claimed.
    function close(ChannelKey calldata key) external {
        (bytes32 id, Channel storage self) = owned(key);
        (,, Ages ages) = live(id, self);
        if (ages.mark() == CLOSING) revert ChannelClosing(_closesAt[id]);
        uint40 closesAt = uint40(block.timestamp) + _closeDelay;
        (self.ages, _closesAt[id]) = (ages.marked(CLOSING), closesAt);
        emit CloseStarted(id, closesAt);
    }

    /// @notice Ends a channel whose clock has run out; the rest returns to the free balance.
    function reclaim(ChannelKey calldata key) external {
        (bytes32 id, Channel storage self) = owned(key);
        (uint96 locked, uint96 settled, Ages ages) = live(id, self);
        if (ages.mark() != CLOSING) revert ChannelNotClosing(id);
        uint40 closesAt = _closesAt[id];
        if (block.timestamp < closesAt) revert CloseNotReady(closesAt);
        delete _closesAt[id];
        end(id, self, locked, settled);
    }

    /// @notice Ends a channel at once, with the consent of all its payees; what is settled stays theirs.
    /// @dev All, not one: a payer could be one of the payees, and would take back what its vouchers owe
    /// to the others. The audit pool has no word in it: it has its share of whatever they settle. A channel ends once, so
    /// a consent cannot be used twice.
    /// @param payees The words that the channel is locked to.
    /// @param consents Their signatures over `releaseDigest` of the other two, in the order of the words.
    function release(
        ChannelKey calldata key,
        bytes32[] calldata payees,
        uint96 settled,
        uint40 deadline,
        Consent[] calldata consents
    ) external {
        (bytes32 id, Channel storage self) = owned(key);
        (uint96 locked, uint96 current,) = live(id, self);
        if (block.timestamp > deadline) revert ReleaseExpired(deadline);
        if (settled != current) revert ReleaseStale(current, settled);
        if (payees.hash() != key.payees) revert PayeesWrong(key.payees, payees.hash());
        payees.mustSign(releaseDigest(id, settled, deadline), consents, _pool);
        end(id, self, locked, settled);
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

    /// @notice State of a channel. `closesAt`: zero if open, 2^40 - 1 once reclaimed.
    function channel(bytes32 id) external view returns (uint96 locked, uint96 settled, uint40 closesAt) {
        Channel storage self = _channels[id];
        closesAt = self.ages.mark() == CLOSED ? RECLAIMED : _closesAt[id];
        return (self.locked, self.settled, closesAt);
    }

    function freeOf(address payer) external view returns (uint256) {
        return _free[payer];
    }

    /// @notice Seconds between `close` and `reclaim`.
    function closeDelay() external view returns (uint40) {
        return _closeDelay;
    }

    /// @notice The payee that is not asked for its consent to a release.
    function poolAccount() external view returns (address) {
        return _pool;
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
        uint256 mark = self.ages.mark();
        if (mark == CLOSED) revert ChannelClosed(id);
        if (mark == CLOSING) revert ChannelClosing(_closesAt[id]);
        self.locked += amount;
        emit Opened(id, msg.sender, key.payees, key.signer, key.salt, amount);
    }

    function owned(ChannelKey calldata key) private view returns (bytes32 id, Channel storage self) {
        if (key.payer != msg.sender) revert NotPayer(msg.sender);
        id = channelId(key);
        self = _channels[id];
    }

    /// @dev The state of a channel that was opened and not yet reclaimed.
    function live(bytes32 id, Channel storage self) private view returns (uint96 locked, uint96 settled, Ages ages) {
        (locked, settled, ages) = (self.locked, self.settled, self.ages);
        if (ages.mark() == CLOSED) revert ChannelClosed(id);
        if (locked == 0) revert ChannelUnknown(id);
    }

    /// @dev The pot is the caller's to fill, once for all rows.
    function settleRow(bytes32 payees, Settlement calldata row, uint256 window) private returns (uint256) {
        (address signer, uint96 cumulative, bytes32 work) = (row.signer, row.cumulative, row.work);
        bytes32 id = channelId(row.payer, signer, payees, row.salt);
        Channel storage self = _channels[id];
        (uint96 locked, uint96 settled, Ages ages) = (self.locked, self.settled, self.ages);
        // Unknown and reclaimed channels as well: nothing is locked there beyond what is settled.
        if (cumulative <= settled || cumulative > locked) return 0;
        Signatures.check(voucherDigest(id, cumulative, work), signer, row.r, row.vs);
        self.put(locked, cumulative, ages.moved(settled, window));
        emit Settled(id, payees, cumulative, work);
        unchecked {
            return cumulative - settled; // compared above
        }
    }

    /// @dev The caller is the payer.
    function end(bytes32 id, Channel storage self, uint96 locked, uint96 settled) private {
        uint96 rest = locked - settled;
        (self.locked, self.ages) = (settled, self.ages.marked(CLOSED));
        _free[msg.sender] += rest;
        emit Reclaimed(id, msg.sender, rest);
    }
}
