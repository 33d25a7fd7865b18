// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @dev What a juror says. evidence: log2 of the e-value against the node. digest: of a tensor that only the work gives, at
/// a place which the seed chose.
struct Ballot {
    uint8 vote;
    uint8 evidence;
    bytes32 digest;
}

/// @dev What a jury said. camp: the side that prevails, ties are FINE's; a void jury has none. paid: its jurors with the
/// same digest; where there is no side, those of either. silent: those who committed and did not reveal. against: those
/// of the other side.
struct Count {
    uint8 outcome;
    uint8 camp;
    uint8 paid;
    uint8 silent;
    uint8 against;
    bytes10 digest;
}

/// @title Ballots of one jury, sealed and open, and what they come to
/// @dev A seat is one word. Sealed: 254 bits of a hash, then 00. Open: juror, 80 bits of the digest, evidence, vote.
library Ballots {
    uint8 internal constant WRONG = 1;
    uint8 internal constant FINE = 2;
    uint8 internal constant ABSTAIN = 3;

    /// @dev In the order of what the accuser would like.
    uint8 internal constant VOID = 0;
    uint8 internal constant ACQUITTED = 1;
    uint8 internal constant UNPROVEN = 2;
    uint8 internal constant CONVICTED = 3;

    /// @dev 2^30 > 10^9.
    uint256 private constant STRONG = 30;
    uint256 private constant LEAD = 3;
    uint256 private constant AGREEING = 2;

    /// @dev What a juror commits to; it holds for this dispute and seat only.
    function commitmentOf(bytes32 id, uint256 seat, address juror, Ballot calldata ballot, bytes32 salt)
        internal
        view
        returns (bytes32)
    {
        return keccak256(abi.encode(block.chainid, address(this), id, seat, juror, ballot, salt));
    }

    function concealed(address juror, bytes32 commitment) internal pure returns (uint256) {
        return uint256(keccak256(abi.encode(juror, commitment))) & ~uint256(3);
    }

    function opened(address juror, Ballot calldata ballot) internal pure returns (uint256) {
        uint256 digest = uint80(bytes10(ballot.digest));
        return uint256(uint160(juror)) << 96 | digest << 16 | uint256(ballot.evidence) << 8 | ballot.vote;
    }

    function voteOf(uint256 seat) internal pure returns (uint256) {
        return seat & 3;
    }

    function jurorOf(uint256 seat) internal pure returns (address) {
        return address(uint160(seat >> 96));
    }

    function digestOf(uint256 seat) internal pure returns (bytes10) {
        return bytes10(uint80(seat >> 16));
    }

    /// @dev Which ticket of the table is drawn for a seat.
    function ticketOf(bytes32 seed, uint256 seat, uint256 attempt, uint256 total) internal pure returns (uint256) {
        return uint256(keccak256(abi.encode(seed, seat, attempt))) % total;
    }

    /// @dev Convicted: those who say WRONG with the same digest are three ahead of all who say FINE, and more than half of
    /// them have strong evidence. Void: no more than half of the seats have an opinion.
    function count(uint256[] memory seats) internal pure returns (Count memory found) {
        uint256[4] memory votes;
        for (uint256 i = 0; i < seats.length; ++i) {
            if (seats[i] != 0) ++votes[voteOf(seats[i])];
        }
        found.silent = uint8(votes[0]);
        (uint256 wrong, uint256 fine) = (votes[WRONG], votes[FINE]);
        bool isVoid = 2 * (wrong + fine) <= seats.length;
        bool guilty = wrong > fine;
        if (!isVoid) (found.camp, found.against) = guilty ? (WRONG, uint8(fine)) : (FINE, uint8(wrong));
        uint256 agreed;
        (agreed, found.digest) = largest(seats, found.camp);
        found.paid = agreed < AGREEING ? 0 : uint8(agreed);
        if (isVoid) return found;
        bool proven = agreed >= fine + LEAD && 2 * strong(seats, found.digest) > agreed;
        found.outcome = !guilty ? ACQUITTED : proven ? CONVICTED : UNPROVEN;
    }

    /// @dev The most jurors of a side, or with an opinion, with one digest; of equally many those whose first seat is lower.
    function largest(uint256[] memory seats, uint256 side) private pure returns (uint256 most, bytes10 digest) {
        uint256 sides = side == 0 ? 1 << WRONG | 1 << FINE : 1 << side;
        for (uint256 i = 0; i < seats.length; ++i) {
            if (!isOf(seats[i], sides)) continue;
            uint256 same = 0;
            for (uint256 j = 0; j < seats.length; ++j) {
                if (isOf(seats[j], sides) && digestOf(seats[j]) == digestOf(seats[i])) ++same;
            }
            if (same > most) (most, digest) = (same, digestOf(seats[i]));
        }
    }

    /// @param sides A bit for each vote that counts.
    function isOf(uint256 seat, uint256 sides) private pure returns (bool) {
        return sides >> voteOf(seat) & 1 != 0;
    }

    function strong(uint256[] memory seats, bytes10 digest) private pure returns (uint256 many) {
        for (uint256 i = 0; i < seats.length; ++i) {
            bool agrees = voteOf(seats[i]) == WRONG && digestOf(seats[i]) == digest;
            if (agrees && uint8(seats[i] >> 8) >= STRONG) ++many;
        }
    }
}
