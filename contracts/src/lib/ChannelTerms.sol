// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Ages} from "./Maturing.sol";

/// @dev One slot. `locked` counts all ever locked, settled or not, less what was reclaimed.
struct Channel {
    uint96 locked;
    uint96 settled;
    Ages ages;
}

/// @dev Writes all of a channel at once. Field by field, the compiler would read the slot again for each.
library ChannelSlots {
    function put(Channel storage self, uint96 locked, uint96 settled, Ages ages) internal {
        uint256 word = uint256(Ages.unwrap(ages)) << 192 | uint256(settled) << 96 | locked;
        assembly ("memory-safe") {
            sstore(self.slot, word)
        }
    }
}

/// @dev A settled voucher, and what it says of one session: the leaf (route, amount, positions) under `work`.
/// amount: paid for that session so far, for the whole route.
struct PaidWork {
    uint96 cumulative;
    bytes32 work;
    bytes32 r;
    bytes32 vs;
    uint256 amount;
    uint256 positions;
    bytes32[] proof;
}

/// @dev A voucher with all that it takes to settle it, but for the payees, which its neighbours share.
struct Settlement {
    address payer;
    address signer;
    bytes32 salt;
    uint96 cumulative;
    bytes32 work;
    bytes32 r;
    bytes32 vs;
}

/// @dev Vouchers of channels with the same payees.
struct Settlements {
    bytes32 payees;
    Settlement[] rows;
}

/// @dev Places of one account among the payees of one pot.
struct Share {
    bytes32[] payees;
    uint256[] indexes;
}

/// @title What Channels logs and refuses
interface ChannelTerms {
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
    /// @notice What a node is not paid for a session in which it was convicted; it is the payer's free balance again.
    event Refunded(
        bytes32 indexed channel, bytes32 indexed route, address indexed node, uint256 index, uint256 amount
    );
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
    error NothingToCollect(bytes32 payees, uint256 index);
    /// @notice Nothing in the batch would move anything.
    error NothingInBatch();
    /// @notice A batch is one transfer to one account, `expected`.
    error PayeeDiffers(address expected, address actual);
    /// @notice The words are not those that the channel is locked to.
    error PayeesWrong(bytes32 expected, bytes32 actual);
    error ReleaseExpired(uint40 deadline);
    /// @notice Something was settled after the payees had signed.
    error ReleaseStale(uint96 settled, uint96 consented);
    error CloseDelayInvalid(uint40 closeDelay);
    error MaturityInvalid(uint40 maturity);
    /// @notice The address given as the court holds no code.
    error CourtMissing(address court);
    /// @notice The route is of another channel.
    error RouteForeign(bytes32 channel);
    error NotConvicted(bytes32 route, address node);
    error VoucherNotSettled(uint96 settled, uint96 cumulative);
    /// @notice The voucher's work does not hold that session with that amount.
    error WorkNotHeld(bytes32 work);
    /// @notice It is all refunded, or ripe.
    error NothingToRefund(bytes32 route, uint256 index);
}
