// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Short} from "./Short.sol";

/// @dev A pot in one slot: total (112) | window (16) | begun (64) | before (64). total: all that was ever settled; begun:
/// what it was when `window` began; before: what it was when the window before that one began. The last two are Short.
type Pot is uint256;

/// @dev What a channel's slot holds beside its amounts: mark (2) | window (16) | begun (23) | before (23). mark: whether
/// it is closing or closed; begun and before are as in a Pot, but of what is settled on this channel.
type Ages is uint64;

/// @title What is ripe: settled before the last window began
/// @dev Time runs in windows as long as the maturity, numbered modulo 2^16. Money is ripe one to two windows after it was
/// settled. Pots round what is ripe down, channels what is ripe up, so that nobody draws what is not ripe and nobody
/// is refunded what is; what rounding keeps back is ripe once nothing came for two windows.
/// Twin in incentives/maturing.py.
library Maturing {
    uint256 private constant WINDOWS = type(uint16).max;
    uint256 private constant SHORT = type(uint64).max;
    uint256 private constant DIGITS = 2 ** 23 - 1;

    /// @dev amount: of less than 2^112. Panics where the total has no room.
    function plus(Pot pot, uint256 amount, uint256 window) internal pure returns (Pot) {
        uint256 word = Pot.unwrap(pot);
        uint256 old = word >> 144;
        uint256 gone = passed(window, word >> 128);
        word += amount << 144; // its end is the word's end: checked
        if (gone == 0) return Pot.wrap(word);
        uint256 begun = Short.floorOf(old);
        uint256 before = gone == 1 ? word >> 64 & SHORT : begun;
        return Pot.wrap(word >> 144 << 144 | (window & WINDOWS) << 128 | begun << 64 | before);
    }

    function total(Pot pot) internal pure returns (uint256) {
        return Pot.unwrap(pot) >> 144;
    }

    function ripe(Pot pot, uint256 window) internal pure returns (uint256) {
        uint256 word = Pot.unwrap(pot);
        uint256 gone = passed(window, word >> 128);
        if (gone > 1) return word >> 144;
        return Short.expand((gone == 0 ? word : word >> 64) & SHORT);
    }

    /// @dev Into a window; settled: what it is before anything is settled in it.
    function moved(Ages ages, uint256 settled, uint256 window) internal pure returns (Ages) {
        uint256 word = Ages.unwrap(ages);
        uint256 gone = passed(window, word >> 46);
        if (gone == 0) return ages;
        uint256 begun = Short.ceilOf(settled);
        uint256 before = gone == 1 ? word >> 23 & DIGITS : begun;
        return Ages.wrap(uint64(word >> 62 << 62 | (window & WINDOWS) << 46 | begun << 23 | before));
    }

    /// @dev How much of what is settled on a channel is ripe. May be a little more than all of it.
    function ripe(Ages ages, uint256 settled, uint256 window) internal pure returns (uint256) {
        uint256 word = Ages.unwrap(ages);
        uint256 gone = passed(window, word >> 46);
        if (gone > 1) return settled;
        return Short.expand((gone == 0 ? word : word >> 23) & DIGITS);
    }

    function mark(Ages ages) internal pure returns (uint256) {
        return Ages.unwrap(ages) >> 62;
    }

    function marked(Ages ages, uint64 mark_) internal pure returns (Ages) {
        return Ages.wrap(Ages.unwrap(ages) << 2 >> 2 | mark_ << 62);
    }

    function passed(uint256 window, uint256 last) private pure returns (uint256) {
        unchecked {
            return window - last & WINDOWS;
        }
    }
}
