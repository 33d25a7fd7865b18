// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Court} from "../src/Court.sol";
import {Stakes} from "../src/Stakes.sol";
import {Arbiters, Verdicts} from "../src/Verdicts.sol";
import {Calendar} from "../src/lib/Epochs.sol";
import {IToken} from "../src/lib/Transfers.sol";
import {Token} from "../src/test/Token.sol";
import {Suite} from "./Suite.sol";

/// @title What verdicts cost, as this contract, which is every arbiter, hands them down
contract VerdictsTest is Suite {
    uint96 private constant STAKE = 1e24;
    uint256 private constant PROBATION = 30 days;
    uint256 private constant OUTAGE = 1 days;

    Token internal token;
    Stakes internal stakes;
    Court internal court;

    function setUp() public {
        token = new Token(SUPPLY);
        address next = vm.computeCreateAddress(address(this), vm.getNonce(address(this)) + 1);
        stakes = new Stakes(IToken(address(token)), next, MIN_STAKE, UNBONDING, MAX_FEE);
        Arbiters memory all = Arbiters(address(this), address(this), address(this), address(this));
        court = new Court(stakes, all, Calendar(uint40(block.timestamp), EPOCH));
        for (uint256 i = 0; i < 2; ++i) {
            fund(token, actor(i), address(stakes), 1e29);
            join(stakes, i, STAKE);
        }
    }

    function total(uint256 i) internal view returns (uint256) {
        (uint96 bonded,, uint96 exiting,,) = stakes.stakeOf(actor(i));
        return uint256(bonded) + exiting;
    }

    function handed(uint256 kind, bytes32 route, uint256 limit) internal returns (bool done) {
        bytes memory data = kind == 0
            ? abi.encodeCall(Verdicts.convict, (actor(0), route, PEER, actor(1)))
            : kind == 1
                ? abi.encodeCall(Verdicts.fine, (actor(0), actor(1)))
                : abi.encodeCall(Verdicts.slashPoster, (actor(0), actor(1)));
        (done,) = address(court).call{gas: limit}(data);
    }

    /// @dev The Court goes on where the stakes refuse, for a verdict must come to its end. Gas may not be what they refuse
    /// for: else who brings just so much has a node convicted, once and for all, that loses nothing.
    /// forge-config: default.fuzz.runs = 2000
    function testFuzz_no_limit_of_gas_parts_a_verdict_from_its_slash(uint256 kind, uint256 limit) public {
        uint256 bps = kind % 3 == 0 ? 3_000 : kind % 3 == 1 ? 500 : 10_000;
        bool done = handed(kind % 3, WORK, bound(limit, 20_000, 200_000));
        uint256 lost = STAKE - total(0);
        assert(lost == (done ? STAKE * bps / 10_000 : 0));
        assert((court.convictedOf(WORK, actor(0)) != 0) == (done && kind % 3 == 0));
    }

    /// forge-config: default.fuzz.runs = 500
    function testFuzz_a_route_convicts_once_and_a_second_one_soon_takes_all(uint256 pause) public {
        pause = bound(pause, 0, 2 * PROBATION);
        court.convict(actor(0), WORK, PEER, address(0));
        uint256 left = total(0);
        assert(left == STAKE * 7 / 10 && court.convict(actor(0), WORK, PEER, address(0)) == 0);
        vm.warp(block.timestamp + pause);
        assert(court.convict(actor(0), WORK, PEER, address(0)) == 0 && total(0) == left);
        court.convict(actor(0), PEER, PEER, address(0));
        assert(total(0) == (pause <= PROBATION ? 0 : left * 7 / 10));
        assert(total(1) == STAKE);
    }

    /// forge-config: default.fuzz.runs = 500
    function testFuzz_one_outage_is_fined_once(uint256 pause) public {
        pause = bound(pause, 0, 2 * OUTAGE);
        assert(court.fine(actor(0), address(0)) == STAKE / 20);
        vm.warp(block.timestamp + pause);
        uint256 left = total(0);
        uint256 taken = court.fine(actor(0), address(0));
        assert(taken == (pause <= OUTAGE ? 0 : (left + 19) / 20) && total(0) == left - taken);
    }

    /// @dev Twelve epochs back at the most, whatever else is convicted in between.
    /// forge-config: default.fuzz.runs = 500
    function testFuzz_faults_stay_with_the_epoch_they_were_found_in(uint256 seed) public {
        uint256[6] memory epochs;
        uint256 epoch = 1;
        for (uint256 i = 0; i < epochs.length; ++i) {
            epochs[i] = epoch;
            court.convict(actor(0), keccak256(abi.encode(i)), PEER, address(0));
            epoch += (seed >> 8 * i) % 5;
            vm.warp(1 + (epoch - 1) * EPOCH);
        }
        uint256 last = epochs[epochs.length - 1];
        for (uint256 e = last < 12 ? 1 : last - 11; e <= last + 1; ++e) {
            uint256 many;
            for (uint256 i = 0; i < epochs.length; ++i) {
                if (epochs[i] == e) ++many;
            }
            assert(court.faultsOf(e, actor(0)) == many && court.faultsOf(e, actor(1)) == 0);
        }
    }
}
