// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ChannelTerms, Share} from "./lib/ChannelTerms.sol";
import {Guarded} from "./lib/Guarded.sol";
import {Maturing, Pot} from "./lib/Maturing.sol";
import {Payees} from "./lib/Payees.sol";
import {IToken, Transfers} from "./lib/Transfers.sol";

/// @title What is settled, until it is ripe and collected
/// @dev One pot for all channels with the same payees. It only grows; who is paid from it is remembered by what it has
/// drawn in all. A refund is a draw ahead of what is not ripe yet, for somebody else.
abstract contract Pots is ChannelTerms, Guarded {
    using Maturing for Pot;
    using Payees for bytes32[];
    using Payees for uint256;
    using Transfers for IToken;

    uint40 private constant MAX_MATURITY = 365 days;

    IToken internal immutable _token;
    uint40 private immutable _maturity;

    mapping(bytes32 payees => Pot) private _pots;
    mapping(bytes32 payees => mapping(uint256 index => uint256 amount)) private _drawn;

    constructor(IToken token_, uint40 maturity_) {
        token_.mustExist();
        if (maturity_ == 0 || maturity_ > MAX_MATURITY) revert MaturityInvalid(maturity_);
        (_token, _maturity) = (token_, maturity_);
    }

    /// @notice Pays one payee all that is ripe of what it has earned in a pot, and not yet drawn. Anybody may call.
    /// @param payees The words behind the hash: address (high 160 bits), weight (low 96 bits).
    /// @param index Which of them to pay.
    function collect(bytes32[] calldata payees, uint256 index) external guarded {
        uint256 word = payees.wordAt(index);
        payees.mustBeWhole();
        bytes32 hash = payees.hash();
        uint256 amount = draw(hash, index, word);
        if (amount == 0) revert NothingToCollect(hash, index);
        _token.push(word.account(), amount);
    }

    /// @notice The same from many pots, in one transfer. Shares without anything to collect now are left out.
    /// @param payee Whom all the words behind `shares` pay.
    function collectMany(address payee, Share[] calldata shares) external guarded {
        uint256 amount;
        for (uint256 i = 0; i < shares.length; ++i) {
            bytes32[] calldata words = shares[i].payees;
            uint256[] calldata indexes = shares[i].indexes;
            words.mustBeWhole();
            bytes32 hash = words.hash();
            for (uint256 k = 0; k < indexes.length; ++k) {
                uint256 word = words.wordAt(indexes[k]);
                if (word.account() != payee) revert PayeeDiffers(payee, word.account());
                amount += draw(hash, indexes[k], word);
            }
        }
        if (amount == 0) revert NothingInBatch();
        _token.push(payee, amount);
    }

    /// @notice All that was ever settled for these payees.
    function potOf(bytes32 payees) external view returns (uint256) {
        return _pots[payees].total();
    }

    /// @notice How much of it can be collected in a block of that second, if nothing is settled before.
    function ripeOf(bytes32 payees, uint256 timestamp) external view returns (uint256) {
        return _pots[payees].ripe(timestamp / _maturity);
    }

    /// @notice All that payee number `index` has collected, and what was refunded of its share.
    function drawnOf(bytes32 payees, uint256 index) external view returns (uint256) {
        return _drawn[payees][index];
    }

    function token() external view returns (address) {
        return address(_token);
    }

    /// @notice Seconds after which what is settled is ripe at the earliest; at the latest after twice as many.
    function maturity() external view returns (uint40) {
        return _maturity;
    }

    /// @dev Fills a pot. `window` is windowNow().
    function fill(bytes32 payees, uint256 amount, uint256 window) internal {
        _pots[payees] = _pots[payees].plus(amount, window);
    }

    /// @dev Takes at most `amount` from what is neither ripe nor drawn of a share. The caller books it.
    function drawAhead(bytes32 payees, uint256 index, uint256 word, uint256 amount) internal returns (uint256) {
        Pot pot = _pots[payees];
        uint256 drawn = _drawn[payees][index];
        uint256 floor = word.share(pot.ripe(windowNow()));
        uint256 left = word.share(pot.total()) - (drawn > floor ? drawn : floor);
        if (amount > left) amount = left;
        _drawn[payees][index] = drawn + amount;
        return amount;
    }

    function windowNow() internal view returns (uint256) {
        return block.timestamp / _maturity;
    }

    /// @dev Records what a payee is paid now; the caller transfers it. After a refund a payee may have drawn more than is
    /// ripe: it is paid again when that is made good.
    function draw(bytes32 payees, uint256 index, uint256 word) private returns (uint256 amount) {
        uint256 earned = word.share(_pots[payees].ripe(windowNow()));
        uint256 drawn = _drawn[payees][index];
        if (earned <= drawn) return 0;
        unchecked {
            amount = earned - drawn; // compared one line above
        }
        _drawn[payees][index] = earned;
        emit Collected(payees, word.account(), index, amount);
    }
}
