// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Stakes} from "../src/Stakes.sol";
import {IToken} from "../src/lib/Transfers.sol";
import {Token} from "../src/test/Token.sol";

/// @dev Foundry's cheat codes that halmos knows as well.
interface Cheats {
    function assume(bool condition) external pure;
    function prank(address sender) external;
    function warp(uint256 timestamp) external;
}

/// @dev halmos's own.
interface Symbols {
    function enableSymbolicStorage(address account) external;
}

/// @title For halmos: stake is conserved, not for many numbers but for all. ANALYSIS.md says how to run it
/// @notice One step of whoever it be, from any storage that the contract and its token can hold, also such as no
/// sequence of calls leads to: the contract's balance moves by what bonded + leaving + owed of all accounts move by. A new
/// contract has and owes nothing; so they are the same after any sequence of steps, but for gifts.
/// @dev Four accounts stand for all: who acts, a finder, the grave, and everybody else, who must not be touched.
contract StakesProof {
    /// @dev What is the node's, the finder's and the grave's; the contract's money; the bystander's word.
    struct Books {
        uint256 kept;
        uint256 money;
        bytes32 others;
    }

    Cheats internal constant vm = Cheats(address(uint160(uint256(keccak256("hevm cheat code")))));
    Symbols internal constant svm = Symbols(address(uint160(uint256(keccak256("svm cheat code")))));

    address internal constant NODE = address(0x1001);
    address internal constant FINDER = address(0x1002);
    address internal constant OTHER = address(0x1003);
    address internal constant GRAVE = 0x000000000000000000000000000000000000dEaD;
    uint96 internal constant MIN_STAKE = 100;
    uint40 internal constant UNBONDING = 1000;
    uint256 internal constant WHOLE = 10_000;
    uint256 internal constant FINDERS_PART = 3_000;
    /// @dev No token that the suite is for has so many units; sums of a few balances then have room.
    uint256 internal constant MANY = 1 << 128;

    Token internal token;
    Stakes internal stakes;
    Books internal before;

    /// @dev This contract is the court.
    function setUp() public {
        token = new Token(0);
        stakes = new Stakes(IToken(address(token)), address(this), MIN_STAKE, UNBONDING, 200);
    }

    /// @dev Any storage at all, at any time.
    modifier conserves(uint40 time) {
        arrange(time);
        _;
        Books memory now_ = books();
        assert(now_.money + before.kept == before.money + now_.kept);
        assert(now_.others == before.others);
        mustBeOrderly();
    }

    function check_a_new_contract_owes_nothing() external view {
        Books memory first = books();
        assert(first.kept == 0 && first.money == 0);
    }

    function check_join(uint40 time, uint96 amount, address signer, bytes32 r, bytes32 vs) external conserves(time) {
        vm.prank(NODE);
        stakes.join(amount, signer, bytes32(0), r, vs);
    }

    function check_join_with_permit(uint40 time, uint96 amount, address signer, bytes32 r, bytes32 vs, bytes32 s)
        external
        conserves(time)
    {
        vm.prank(NODE);
        stakes.joinWithPermit(amount, signer, bytes32(0), r, vs, type(uint256).max, 27, r, s);
    }

    function check_add_stake(uint40 time, uint96 amount) external conserves(time) {
        vm.prank(NODE);
        stakes.addStake(amount);
    }

    function check_announce(uint40 time, address node, uint32 start, uint32 end) external conserves(time) {
        vm.prank(NODE);
        stakes.announce(node, bytes32(0), start, end, 0, "");
    }

    function check_exit(uint40 time, uint96 amount) external conserves(time) {
        vm.prank(NODE);
        stakes.exit(amount);
    }

    function check_cancel_exit(uint40 time) external conserves(time) {
        vm.prank(NODE);
        stakes.cancelExit();
    }

    function check_withdraw(uint40 time) external conserves(time) {
        vm.prank(NODE);
        stakes.withdraw();
    }

    function check_rotate(uint40 time, address signer, bytes32 r, bytes32 vs) external conserves(time) {
        vm.prank(NODE);
        stakes.rotate(signer, bytes32(0), r, vs);
    }

    function check_hold(uint40 time, address signer, uint40 until) external conserves(time) {
        stakes.hold(signer, until);
    }

    function check_pay_out_to_a_node(uint40 time) external conserves(time) {
        stakes.payOut(NODE);
    }

    function check_pay_out_to_a_finder(uint40 time) external conserves(time) {
        stakes.payOut(FINDER);
    }

    function check_burn(uint40 time) external conserves(time) {
        stakes.payOut(GRAVE);
    }

    /// @dev The three parts that the Court takes, to all that a finder can be: nobody, a stranger, the node, the grave.
    function check_slash_5_percent(uint40 time, uint8 who) external conserves(time) {
        slashed(500, who);
    }

    function check_slash_30_percent(uint40 time, uint8 who) external conserves(time) {
        slashed(3_000, who);
    }

    function check_slash_the_whole(uint40 time, uint8 who) external conserves(time) {
        slashed(WHOLE, who);
    }

    /// @dev Never a refusal where there is anything to take, and never more than there is. Solvers are lost in divisions
    /// of 256 bits, so they are told about both quotients: with 0 < bps <= 10,000, floor((total bps + 9,999) / 10,000) is
    /// below total + 1, and not zero since total bps is not; three tenths of anything are no more than all of it.
    function slashed(uint256 bps, uint8 who) internal {
        address finder = who == 0 ? address(0) : who == 1 ? FINDER : who == 2 ? NODE : GRAVE;
        (uint96 bonded,, uint96 exiting,,) = stakes.stakeOf(NODE);
        uint256 total = uint256(bonded) + exiting;
        uint256 part = (total * bps + WHOLE - 1) / WHOLE;
        vm.assume(total != 0 && part != 0 && part <= total && part * FINDERS_PART / WHOLE <= part);
        try stakes.slash(NODE, bps, finder) returns (uint256 taken) {
            (uint96 left,, uint96 leaving,,) = stakes.stakeOf(NODE);
            assert(taken == part && uint256(left) + leaving + taken == total);
            assert(leaving == 0 || left == bonded);
        } catch {
            assert(false);
        }
    }

    function arrange(uint40 time) internal {
        svm.enableSymbolicStorage(address(stakes));
        svm.enableSymbolicStorage(address(token));
        vm.warp(time);
        before = books();
        vm.assume(before.kept <= before.money && before.money < MANY && token.balanceOf(NODE) < MANY);
        vm.assume(token.balanceOf(FINDER) < MANY && token.balanceOf(GRAVE) < MANY);
        vm.assume(isOrderly());
    }

    function books() internal view returns (Books memory) {
        (uint96 bonded,, uint96 exiting,,) = stakes.stakeOf(NODE);
        uint256 owed = stakes.owedTo(NODE) + stakes.owedTo(FINDER) + stakes.owedTo(GRAVE);
        (uint96 theirs, address signer, uint96 leaving, uint40 exitAt,) = stakes.stakeOf(OTHER);
        bytes32 others = keccak256(abi.encode(theirs, signer, leaving, exitAt, stakes.owedTo(OTHER)));
        return Books(owed + bonded + exiting, token.balanceOf(address(stakes)), others);
    }

    function mustBeOrderly() internal view {
        assert(isOrderly());
    }

    /// @dev A clock runs if and only if something leaves.
    function isOrderly() internal view returns (bool) {
        (,, uint96 exiting, uint40 exitAt,) = stakes.stakeOf(NODE);
        return (exiting == 0) == (exitAt == 0);
    }
}
