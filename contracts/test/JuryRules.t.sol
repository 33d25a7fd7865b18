// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Ballot, Ballots, Count} from "../src/lib/Ballots.sol";
import {JuryPay, Rates} from "../src/lib/JuryPay.sol";
import {Suite} from "./Suite.sol";

/// @title What a jury says and earns, for whatever its seats hold
contract JuryRulesTest is Suite {
    uint256 private constant STRONG = 30;

    function opened(address juror, Ballot calldata ballot) external pure returns (uint256) {
        return Ballots.opened(juror, ballot);
    }

    function concealed(address juror, bytes32 commitment) external pure returns (uint256) {
        return Ballots.concealed(juror, commitment);
    }

    /// @dev Five seats or seven: some empty, some sealed, the others with one of three digests and evidence of some 30.
    function tableOf(uint256 seed) private pure returns (uint256[] memory seats) {
        seats = new uint256[](seed % 2 == 0 ? 5 : 7);
        for (uint256 i = 0; i < seats.length; ++i) {
            uint256 luck = uint256(keccak256(abi.encode(seed, i)));
            uint256 vote = luck % 8 < 4 ? Ballots.WRONG : luck % 8 < 6 ? Ballots.FINE : luck % 8 == 6 ? 3 : 0;
            uint256 digest = (luck >> 8) % 6 < 4 ? 1 : (luck >> 8) % 6 - 2;
            uint256 evidence = STRONG - 2 + (luck >> 16) % 5;
            if ((luck >> 24) % 12 != 0) seats[i] = (i + 1) << 96 | digest << 16 | evidence << 8 | vote;
        }
    }

    function votesOf(uint256[] memory seats, uint256 vote) private pure returns (uint256 many) {
        for (uint256 i = 0; i < seats.length; ++i) {
            if (seats[i] != 0 && Ballots.voteOf(seats[i]) == vote) ++many;
        }
    }

    /// @dev Those who say so with that digest, and those of them with strong evidence.
    function agreeing(uint256[] memory seats, uint256 vote, bytes10 digest)
        private
        pure
        returns (uint256 many, uint256 strong)
    {
        for (uint256 i = 0; i < seats.length; ++i) {
            if (Ballots.voteOf(seats[i]) != vote || Ballots.digestOf(seats[i]) != digest) continue;
            ++many;
            if (uint8(seats[i] >> 8) >= STRONG) ++strong;
        }
    }

    function testFuzz_a_seat_says_what_was_put_into_it(address juror, Ballot memory ballot, bytes32 sealing)
        public
        view
    {
        ballot.vote &= 3;
        uint256 seat = this.opened(juror, ballot);
        assert(Ballots.voteOf(seat) == ballot.vote && Ballots.jurorOf(seat) == juror);
        assert(Ballots.digestOf(seat) == bytes10(ballot.digest) && uint8(seat >> 8) == ballot.evidence);
        assert(Ballots.voteOf(this.concealed(juror, sealing)) == 0);
    }

    function testFuzz_a_ticket_is_one_of_the_table(bytes32 seed, uint256 seat, uint256 attempt, uint256 total)
        public
        pure
    {
        total = bound(total, 1, type(uint96).max);
        assert(Ballots.ticketOf(seed, seat, attempt, total) < total);
    }

    function testFuzz_each_outcome_is_what_its_definition_says(uint256 seed) public pure {
        uint256[] memory seats = tableOf(seed);
        Count memory c = Ballots.count(seats);
        (uint256 wrong, uint256 fine) = (votesOf(seats, Ballots.WRONG), votesOf(seats, Ballots.FINE));
        assert(c.silent == votesOf(seats, 0));
        bool isVoid = 2 * (wrong + fine) <= seats.length;
        assert((c.outcome == Ballots.VOID) == isVoid && (c.camp == 0) == isVoid);
        if (isVoid) return assert(c.paid == paidOfBoth(seats, c.digest) && c.against == 0);
        assert((c.outcome == Ballots.ACQUITTED) == (fine >= wrong));
        assert(c.camp == (wrong > fine ? Ballots.WRONG : Ballots.FINE) && c.against == (wrong > fine ? fine : wrong));
        (uint256 many, uint256 strong) = agreeing(seats, c.camp, c.digest);
        assert(many != 0 && c.paid == (many < 2 ? 0 : many));
        bool isProven = wrong > fine && many >= fine + 3 && 2 * strong > many;
        assert((c.outcome == Ballots.CONVICTED) == isProven);
    }

    /// @dev Of a void jury those are paid who had an opinion and one digest, whatever the opinion was; two at least.
    function paidOfBoth(uint256[] memory seats, bytes10 digest) private pure returns (uint256) {
        (uint256 wrong,) = agreeing(seats, Ballots.WRONG, digest);
        (uint256 fine,) = agreeing(seats, Ballots.FINE, digest);
        for (uint256 i = 0; i < seats.length; ++i) {
            bytes10 other = Ballots.digestOf(seats[i]);
            (uint256 more,) = agreeing(seats, Ballots.WRONG, other);
            (uint256 less,) = agreeing(seats, Ballots.FINE, other);
            assert(more + less <= wrong + fine);
        }
        return wrong + fine < 2 ? 0 : wrong + fine;
    }

    function testFuzz_no_other_digest_has_more_jurors_of_the_side(uint256 seed) public pure {
        uint256[] memory seats = tableOf(seed);
        Count memory c = Ballots.count(seats);
        (uint256 most,) = agreeing(seats, c.camp, c.digest);
        for (uint256 i = 0; i < seats.length; ++i) {
            (uint256 many,) = agreeing(seats, c.camp, Ballots.digestOf(seats[i]));
            assert(c.camp == 0 || many <= most);
        }
    }

    /// @dev With five seats and with seven; where two digests of equally many jurors can both convict it need not hold.
    function testFuzz_one_juror_more_for_the_node_is_never_worse_for_it(uint256 seed, uint256 seat) public pure {
        uint256[] memory seats = tableOf(seed);
        seat %= seats.length;
        uint8 before = Ballots.count(seats).outcome;
        if (Ballots.voteOf(seats[seat]) != Ballots.WRONG) return;
        seats[seat] ^= Ballots.WRONG ^ Ballots.FINE;
        assert(Ballots.count(seats).outcome <= before);
    }

    function testFuzz_without_three_who_agree_nobody_is_convicted(uint256 seed) public pure {
        uint256[] memory seats = tableOf(seed);
        for (uint256 i = 0; i < seats.length; ++i) {
            uint256 digest = 100 + i / 2; // two at most have the same
            seats[i] = seats[i] & ~(uint256(type(uint80).max) << 16) | digest << 16;
        }
        assert(Ballots.count(seats).outcome != Ballots.CONVICTED);
    }

    /// @dev Whatever was voted: bonds and fees that came in are what goes out, with what is burnt, to the last unit.
    function testFuzz_what_comes_in_for_a_jury_goes_out(uint256 seed, bool upheld, Rates memory rates) public pure {
        uint256[] memory seats = tableOf(seed);
        rates.bond = uint96(bound(rates.bond, 100, 1e27));
        rates.fee = uint96(bound(rates.fee, 1, 1e27));
        Count memory c = Ballots.count(seats);
        uint256 result = JuryPay.pack(c, upheld && c.camp != 0);
        uint256 moneyIn = uint256(JuryPay.fees(result)) * rates.fee;
        uint256 moneyOut = JuryPay.burnt(result, rates);
        for (uint256 i = 0; i < seats.length; ++i) {
            if (seats[i] == 0) continue;
            (moneyIn, moneyOut) = (moneyIn + rates.bond, moneyOut + JuryPay.due(result, seats[i], rates));
        }
        assert(moneyIn == moneyOut);
    }

    /// @dev Silence, and the losing side of what was upheld, cost the hundredth part; nothing costs more.
    function testFuzz_no_vote_costs_more_than_the_hundredth_part(uint256 seed, bool upheld, Rates memory rates)
        public
        pure
    {
        uint256[] memory seats = tableOf(seed);
        rates.bond = uint96(bound(rates.bond, 100, 1e27));
        rates.fee = uint96(bound(rates.fee, 1, 1e27));
        Count memory c = Ballots.count(seats);
        uint256 result = JuryPay.pack(c, upheld && c.camp != 0);
        for (uint256 i = 0; i < seats.length; ++i) {
            if (seats[i] == 0) continue;
            uint256 due = JuryPay.due(result, seats[i], rates);
            uint256 vote = Ballots.voteOf(seats[i]);
            bool loses = vote == 0 || (upheld && c.camp != 0 && vote != Ballots.ABSTAIN && vote != c.camp);
            assert(loses ? due == rates.bond - rates.bond / 100 : due >= rates.bond);
        }
    }
}
