// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Ballots, Count} from "./Ballots.sol";

/// @dev What a juror gets for a vote, and puts down for it.
struct Rates {
    uint96 fee;
    uint96 bond;
}

/// @title What the jurors of a round have earned and lost
/// @dev A result is one word: digest, then a byte each for upheld, camp, paid, silent, against. A round is upheld where the
/// last word in the case is its side's, and on appeal always: a void one has no side, and pays who did the work. Nobody is
/// paid for another round, and nobody loses by it for having been of the other side.
library JuryPay {
    /// @dev The hundredth part of a bond is what silence costs, and the losing side.
    uint96 internal constant PARTS = 100;

    function pack(Count memory c, bool upheld) internal pure returns (uint256) {
        uint256 counts = uint256(c.camp) << 24 | uint256(c.paid) << 16 | uint256(c.silent) << 8 | c.against;
        return uint256(uint80(c.digest)) << 40 | (upheld ? 1 << 32 : 0) | counts;
    }

    /// @dev Paid by those who had the jury called: so many fees.
    function fees(uint256 result) internal pure returns (uint96) {
        return upheldOf(result) ? paidOf(result) : 0;
    }

    /// @dev What is left of the fines once they are shared.
    function burnt(uint256 result, Rates memory rates) internal pure returns (uint96) {
        uint96 paid = fees(result);
        uint96 pool = finesOf(result, rates);
        return paid == 0 ? pool : pool % paid;
    }

    /// @dev What a seat gets back, with its fee and its part of the fines.
    function due(uint256 result, uint256 seat, Rates memory rates) internal pure returns (uint96) {
        uint256 vote = Ballots.voteOf(seat);
        if (vote == 0) return rates.bond - rates.bond / PARTS;
        if (vote == Ballots.ABSTAIN || !upheldOf(result)) return rates.bond;
        uint8 camp = uint8(result >> 24);
        if (camp != 0 && vote != camp) return rates.bond - rates.bond / PARTS;
        uint96 paid = paidOf(result);
        if (paid == 0 || Ballots.digestOf(seat) != bytes10(uint80(result >> 40))) return rates.bond;
        return rates.bond + rates.fee + finesOf(result, rates) / paid;
    }

    function finesOf(uint256 result, Rates memory rates) private pure returns (uint96) {
        uint96 fined = uint8(result >> 8);
        if (upheldOf(result)) fined += uint8(result);
        return fined * (rates.bond / PARTS);
    }

    function upheldOf(uint256 result) private pure returns (bool) {
        return uint8(result >> 32) != 0;
    }

    function paidOf(uint256 result) private pure returns (uint96) {
        return uint8(result >> 16);
    }
}
