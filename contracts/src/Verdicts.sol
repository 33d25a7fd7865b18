// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Stakes} from "./Stakes.sol";
import {Domain} from "./lib/Domain.sol";
import {Calendar, Epochs} from "./lib/Epochs.sol";
import {FaultCounts} from "./lib/FaultCounts.sol";
import {Record, Records} from "./lib/Records.sol";
import {Signatures} from "./lib/Signatures.sol";

/// @dev The contracts whose findings count. They are deployed after the Court, and obey nobody.
struct Arbiters {
    address disputes;
    address jury;
    address reliability;
    address demands;
}

/// @dev Receipt and route as they were signed, the key that signed the receipt, and the node that answers for it.
struct Summoned {
    address node;
    address signer;
    bytes32 receipt;
    bytes32 route;
}

/// @title What was found about nodes, and what it costs them
/// @notice The one door to the stakes. A node is convicted of wrong output once for a route: the first time it loses a
/// part of its stake, within the time after that all of it.
abstract contract Verdicts is Domain, Epochs {
    using FaultCounts for uint96;
    using Records for Record;

    uint256 internal constant WHOLE = 10_000;
    uint256 private constant FIRST_FAULT = 3_000;
    uint256 private constant PROBATION = 30 days;
    uint256 private constant FINE = 500;
    uint256 private constant OUTAGE = 1 days;

    Stakes internal immutable _stakes;
    address private immutable _disputes;
    address private immutable _jury;
    address private immutable _reliability;
    address private immutable _demands;

    mapping(address node => Record) private _records;
    /// @dev Those that another one followed within the probation; most nodes never have one.
    mapping(address node => mapping(uint96 mark => uint40 since)) private _earlier;
    mapping(address node => uint40 since) private _fines;

    event Convicted(address indexed node, bytes32 indexed route, bytes32 receipt, uint256 taken, uint256 epoch);
    event ConvictedWholly(address indexed node, bytes32 indexed route, uint256 taken);
    event PosterSlashed(address indexed node, uint256 taken);
    event Fined(address indexed node, uint256 taken);

    /// @notice The key that signed never belonged to a node.
    error SignerUnknown(address signer);
    error NodeConvicted(address node, bytes32 route);
    error NotArbiter(address caller);
    /// @notice The stakes obey another court.
    error StakesForeign(address stakes);
    error ArbiterMissing();
    /// @notice The stakes could not take what the verdict costs: bring more gas.
    error SlashFailed();

    modifier onlyArbiters() {
        if (msg.sender != _disputes && msg.sender != _jury) revert NotArbiter(msg.sender);
        _;
    }

    /// @param calendar_ That of the scores, into which faults go by epochs.
    constructor(Stakes stakes_, Arbiters memory named, Calendar memory calendar_) Epochs(calendar_) {
        if (stakes_.court() != address(this)) revert StakesForeign(address(stakes_));
        bool isMissing = named.disputes == address(0) || named.jury == address(0) || named.reliability == address(0);
        if (isMissing || named.demands == address(0)) revert ArbiterMissing();
        _stakes = stakes_;
        (_disputes, _jury, _reliability) = (named.disputes, named.jury, named.reliability);
        _demands = named.demands;
    }

    /// @notice Names the node that answers for a signed receipt, unless it is convicted on that route already, and holds its
    /// stake. Only arbiters and the demands may: their clocks bound the time.
    /// @param receipt The hash of the receipt's struct, without domain.
    /// @param route The same of the route that the receipt is said to be for.
    function summon(bytes32 receipt, bytes32 route, bytes32 r, bytes32 vs, uint40 until)
        external
        returns (Summoned memory found)
    {
        bool may = msg.sender == _disputes || msg.sender == _jury || msg.sender == _demands;
        if (!may) revert NotArbiter(msg.sender);
        (found.receipt, found.route) = (typedDigest(receipt), typedDigest(route));
        found.signer = Signatures.recover(found.receipt, r, vs);
        found.node = _stakes.hold(found.signer, until);
        if (found.node == address(0)) revert SignerUnknown(found.signer);
        if (convictedOf(found.route, found.node) != 0) revert NodeConvicted(found.node, found.route);
    }

    /// @notice Slashes a node for wrong output on a route, once. Not an error where no stake is left, nor a second time: a
    /// dispute must come to its end. Only arbiters may.
    function convict(address node, bytes32 route, bytes32 receipt, address finder)
        external
        onlyArbiters
        returns (uint256 taken)
    {
        Record record = _records[node];
        uint96 mark = markOf(route);
        if (since(record, node, mark) != 0) return 0;
        bool again = keepEarlier(record, node);
        uint256 epoch = epochNow();
        // After 2^24 epochs there are no scores any more, and what is counted is of no use.
        uint96 faults = record.faults().added(epoch - record.epoch());
        _records[node] = Records.made(block.timestamp, epoch, faults, mark);
        taken = slashIfAny(node, again ? WHOLE : FIRST_FAULT, finder);
        emit Convicted(node, route, receipt, taken, epoch);
    }

    /// @notice Takes a small part of the stake of a node that did not show what it was asked for; of one outage, that lasts
    /// a day at most, only once, however many ask: who is down for some hours is not ruined. Only the demands may.
    function fine(address node, address finder) external returns (uint256 taken) {
        if (msg.sender != _demands) revert NotArbiter(msg.sender);
        uint40 last = _fines[node];
        if (last != 0 && block.timestamp <= last + OUTAGE) return 0;
        _fines[node] = uint40(block.timestamp);
        taken = slashIfAny(node, FINE, finder);
        emit Fined(node, taken);
    }

    /// @notice Slashes the whole stake of who posted a wrong table of scores; not an error where none is left. Only
    /// Reliability may.
    function slashPoster(address node, address finder) external returns (uint256 taken) {
        if (msg.sender != _reliability) revert NotArbiter(msg.sender);
        taken = slashIfAny(node, WHOLE, finder);
        emit PosterSlashed(node, taken);
    }

    /// @notice When the node was convicted on the route; zero if it was not, or if it was convicted on another one since
    /// and the probation after that is over.
    function convictedOf(bytes32 route, address node) public view returns (uint40) {
        return since(_records[node], node, markOf(route));
    }

    /// @notice How often the node was convicted in an epoch: the running one, or one of those before. Those of more than
    /// eleven epochs before its last fault are forgotten.
    function faultsOf(uint256 epoch, address node) external view returns (uint8) {
        Record record = _records[node];
        return epoch > record.epoch() ? 0 : record.faults().countAt(record.epoch() - epoch);
    }

    function stakes() external view returns (address) {
        return address(_stakes);
    }

    function arbiters() external view returns (Arbiters memory) {
        return Arbiters(_disputes, _jury, _reliability, _demands);
    }

    /// @dev The node that answers for a key.
    function guilty(address signer) internal view returns (address node) {
        node = _stakes.nodeOf(signer);
        if (node == address(0)) revert SignerUnknown(signer);
    }

    /// @dev Of a fault that costs all, and is counted as no other one. Once for a route.
    function convictWholly(address node, bytes32 route) internal {
        Record record = _records[node];
        uint96 mark = markOf(route);
        if (since(record, node, mark) != 0) revert NodeConvicted(node, route);
        keepEarlier(record, node);
        _records[node] = Records.made(block.timestamp, record.epoch(), record.faults(), mark);
        emit ConvictedWholly(node, route, slashIfAny(node, WHOLE, address(0)));
    }

    /// @dev Whether the last conviction is within the probation: then another one must not take its place.
    function keepEarlier(Record record, address node) private returns (bool isRecent) {
        isRecent = isOnProbation(record);
        if (isRecent) _earlier[node][record.mark()] = record.lastFault();
    }

    function isOnProbation(Record record) private view returns (bool) {
        return record.lastFault() != 0 && block.timestamp <= record.lastFault() + PROBATION;
    }

    function slashIfAny(address node, uint256 bps, address finder) private returns (uint256) {
        try _stakes.slash(node, bps, finder) returns (uint256 taken) {
            return taken;
        } catch (bytes memory reason) {
            // no verdict without its slash, for want of gas or of anything else
            if (bytes4(reason) != Stakes.NothingToSlash.selector) revert SlashFailed();
            return 0;
        }
    }

    function since(Record record, address node, uint96 mark) private view returns (uint40) {
        if (record.mark() == mark) return record.lastFault();
        return isOnProbation(record) ? _earlier[node][mark] : 0;
    }

    /// @dev Of a route, among those of one node: its digest is a hash, and part of it will do.
    function markOf(bytes32 route) private pure returns (uint96) {
        return uint96(uint256(route)) | 1;
    }
}
