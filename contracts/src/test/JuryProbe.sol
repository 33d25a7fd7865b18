// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Ballot, Ballots, Count} from "../lib/Ballots.sol";
import {JuryPay, Rates} from "../lib/JuryPay.sol";

/// @title The jury's arithmetic, to be called one by one. For tests only.
contract JuryProbe {
    function count(uint256[] memory seats) external pure returns (Count memory) {
        return Ballots.count(seats);
    }

    /// @notice Many tables at once: what each comes to, as five words and a digest.
    function counts(uint256[][] memory tables) external pure returns (Count[] memory found) {
        found = new Count[](tables.length);
        for (uint256 i = 0; i < tables.length; ++i) {
            found[i] = Ballots.count(tables[i]);
        }
    }

    /// @notice Of a round that is upheld or not: fees, what is burnt, and what each seat is due.
    function pay(uint256[] memory seats, bool upheld, Rates memory rates)
        external
        pure
        returns (uint96 fees, uint96 burnt, uint96[] memory dues)
    {
        uint256 result = JuryPay.pack(Ballots.count(seats), upheld);
        (fees, burnt, dues) = (JuryPay.fees(result), JuryPay.burnt(result, rates), new uint96[](seats.length));
        for (uint256 i = 0; i < seats.length; ++i) {
            if (seats[i] != 0) dues[i] = JuryPay.due(result, seats[i], rates);
        }
    }

    function tickets(bytes32 seed, uint256 attempt, uint256 total) external pure returns (uint256[12] memory found) {
        for (uint256 seat = 0; seat < 12; ++seat) {
            found[seat] = Ballots.ticketOf(seed, seat, attempt, total);
        }
    }

    function seal(bytes32 id, uint256 seat, address juror, Ballot calldata ballot, bytes32 salt)
        external
        view
        returns (bytes32 commitment, uint256 concealed, uint256 opened)
    {
        commitment = Ballots.commitmentOf(id, seat, juror, ballot, salt);
        return (commitment, Ballots.concealed(juror, commitment), Ballots.opened(juror, ballot));
    }
}
