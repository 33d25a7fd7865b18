// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Bench} from "../src/Bench.sol";
import {ChannelKey, Channels} from "../src/Channels.sol";
import {Court} from "../src/Court.sol";
import {DisputeTerms} from "../src/Challenges.sol";
import {Disputes} from "../src/Disputes.sol";
import {Judge} from "../src/Judge.sol";
import {Models} from "../src/Models.sol";
import {Rulebook} from "../src/Rulebook.sol";
import {Stakes} from "../src/Stakes.sol";
import {Arbiters} from "../src/Verdicts.sol";
import {Calendar} from "../src/lib/Epochs.sol";
import {PaidWork} from "../src/lib/ChannelTerms.sol";
import {RouteTerms} from "../src/lib/RouteTerms.sol";
import {IToken} from "../src/lib/Transfers.sol";
import {AnyCourt} from "../src/test/AnyCourt.sol";
import {AnyVerdicts} from "../src/test/AnyVerdicts.sol";
import {Token} from "../src/test/Token.sol";
import {Vm} from "./Vm.sol";

/// @title What every test starts from: keys, signatures, and the suite on a fresh chain
abstract contract Suite {
    Vm internal constant vm = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));

    /// @dev The chain's id. A constant: the compiler takes block.chainid to be one, and reads it wherever it likes.
    uint256 internal constant HOME = 31337;
    uint96 internal constant MIN_STAKE = 100;
    uint40 internal constant UNBONDING = 1000;
    uint96 internal constant MAX_FEE = 200;
    uint96 internal constant BOND = 10;
    uint40 internal constant CLOSE_DELAY = 600;
    uint40 internal constant EPOCH = 400;
    uint40 internal constant MATURITY = 150;
    uint256 internal constant SUPPLY = 1e30;
    address internal constant GRAVE = 0x000000000000000000000000000000000000dEaD;
    address internal constant POOL = address(uint160(uint256(keccak256("audit pool"))));
    bytes32 internal constant PEER = keccak256("peer");
    bytes32 internal constant WORK = keccak256("work");

    /// @dev The owner, or payer, number `i`.
    function actor(uint256 i) internal pure returns (address) {
        return vm.addr(actorKey(i));
    }

    function actorKey(uint256 i) internal pure returns (uint256) {
        return 0xac7000 + i;
    }

    /// @dev The hot key number `n` of actor `i`.
    function hotKey(uint256 i, uint256 n) internal pure returns (uint256) {
        return 0x407000 + 256 * i + n;
    }

    /// @dev A signature in the form of EIP-2098.
    function compact(uint256 key, bytes32 digest) internal pure returns (bytes32 r, bytes32 vs) {
        uint8 v;
        bytes32 s;
        (v, r, s) = vm.sign(key, digest);
        vs = bytes32(uint256(s) | (uint256(v - 27) << 255));
    }

    function bound(uint256 x, uint256 low, uint256 high) internal pure returns (uint256) {
        return x >= low && x <= high ? x : low + x % (high - low + 1);
    }

    function word(address payee, uint96 weight) internal pure returns (bytes32) {
        return bytes32((uint256(uint160(payee)) << 96) | weight);
    }

    /// @dev The next call is made by `who` and has to revert with exactly these bytes.
    function refused(address who, bytes memory reason) internal {
        vm.prank(who);
        vm.expectRevert(reason);
    }

    /// @dev The same for an error without arguments.
    function refused(address who, bytes4 reason) internal {
        refused(who, abi.encodePacked(reason));
    }

    /// @dev Constructors that have to revert do so here. A plain `new` in a test goes through a cheat code, and then
    /// expectRevert is content with anything.
    function unbuilt(string memory name, bytes memory arguments, bytes memory reason) internal {
        bytes memory code = abi.encodePacked(vm.getCode(name), arguments);
        address made;
        bytes memory answer;
        assembly ("memory-safe") {
            made := create(0, add(code, 32), mload(code))
            answer := mload(0x40)
            mstore(answer, returndatasize())
            returndatacopy(add(answer, 32), 0, returndatasize())
            mstore(0x40, add(add(answer, 64), returndatasize()))
        }
        assert(made == address(0) && keccak256(answer) == keccak256(reason));
    }

    /// @dev Stakes, the Court that judges it, and the disputes that it hears.
    function deployJudged(IToken token) internal returns (Stakes stakes, Court court, Disputes disputes) {
        Judge judge = new Judge(new Models(), new Rulebook(), new Bench());
        stakes = new Stakes(token, next(1), MIN_STAKE, UNBONDING, MAX_FEE);
        court = new Court(stakes, Arbiters(next(1), next(2), next(3), next(4)), Calendar(uint40(block.timestamp), EPOCH));
        disputes = new Disputes(court, judge, DisputeTerms(BOND, 5, 5, 5, 5));
    }

    /// @dev Where this contract creates the contract after so many others.
    function next(uint256 others) private view returns (address) {
        return vm.computeCreateAddress(address(this), vm.getNonce(address(this)) + others);
    }

    /// @dev Stakes and a court that slashes what it is told.
    function deployLenient(IToken token) internal returns (Stakes stakes, AnyCourt court) {
        court = new AnyCourt();
        stakes = new Stakes(token, address(court), MIN_STAKE, UNBONDING, MAX_FEE);
    }

    /// @dev Channels, and a court that convicts whom it is told to.
    function deployChannels(IToken token) internal returns (Channels channels, AnyVerdicts verdicts) {
        verdicts = new AnyVerdicts();
        channels = new Channels(token, CLOSE_DELAY, MATURITY, verdicts, POOL);
    }

    /// @dev Until all that is settled by now is ripe.
    function ripen() internal {
        vm.warp(block.timestamp + 2 * MATURITY);
    }

    /// @dev A session of a channel; what its stages are is of no account to a refund.
    function session(bytes32 channel, uint256 number) internal pure returns (RouteTerms memory) {
        bytes32[] memory stages = new bytes32[](1);
        return RouteTerms(bytes32(number), channel, 0, 0, stages, PEER, PEER, PEER, PEER, 16, PEER, type(uint40).max);
    }

    /// @dev A voucher of actor `i` that says so much was paid for one session, and nothing of others.
    function paidWork(Channels channels, uint256 i, ChannelKey memory key, uint96 cumulative, bytes32 route, uint256 amount)
        internal
        view
        returns (PaidWork memory)
    {
        bytes32 work = keccak256(bytes.concat(keccak256(abi.encode(route, amount, 7))));
        (bytes32 r, bytes32 vs) =
            compact(hotKey(i, 0), channels.voucherDigest(channels.channelId(key), cumulative, work));
        return PaidWork(cumulative, work, r, vs, amount, 7, new bytes32[](0));
    }

    /// @dev Money for the account, and an allowance for the contract without end.
    function fund(Token token, address who, address spender, uint256 amount) internal {
        token.transfer(who, amount);
        vm.prank(who);
        token.approve(spender, type(uint256).max);
    }

    /// @dev The owner's words for joining with its hot key number `n`.
    function consent(Stakes stakes, uint256 i, uint256 n) internal view returns (address, bytes32, bytes32) {
        (bytes32 r, bytes32 vs) = compact(hotKey(i, n), stakes.consentDigest(actor(i), PEER));
        return (vm.addr(hotKey(i, n)), r, vs);
    }

    function join(Stakes stakes, uint256 i, uint96 amount) internal {
        (address signer, bytes32 r, bytes32 vs) = consent(stakes, i, 0);
        vm.prank(actor(i));
        stakes.join(amount, signer, PEER, r, vs);
    }

    /// @dev A channel's key: the payer is actor `i`, and so is its hot key the signer.
    function channelKey(uint256 i, bytes32[] memory payees, uint256 salt) internal pure returns (ChannelKey memory) {
        return ChannelKey(actor(i), vm.addr(hotKey(i, 0)), keccak256(abi.encodePacked(payees)), bytes32(salt));
    }

    function voucher(Channels channels, uint256 i, ChannelKey memory key, uint96 cumulative)
        internal
        view
        returns (bytes32, bytes32)
    {
        return compact(hotKey(i, 0), channels.voucherDigest(channels.channelId(key), cumulative, WORK));
    }

    function permitted(Token token, uint256 i, address spender, uint256 amount, uint256 deadline)
        internal
        view
        returns (uint8 v, bytes32 r, bytes32 s)
    {
        bytes32 kind = keccak256("Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)");
        bytes32 content = keccak256(abi.encode(kind, actor(i), spender, amount, token.nonces(actor(i)), deadline));
        return vm.sign(actorKey(i), keccak256(abi.encodePacked(hex"1901", token.domainSeparator(), content)));
    }
}
