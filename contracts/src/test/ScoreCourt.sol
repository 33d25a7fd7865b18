// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IEvidence, IPosterCourt} from "../lib/ScoreLeaves.sol";

interface IBonds {
    function slash(address node, uint256 bps, address finder) external returns (uint256);
    function stakeOf(address node) external view returns (uint96, address, uint96, uint40, uint40);
}

interface IDirect {
    function report(bytes calldata rows) external;
}

/// @title A court that believes whatever evidence it is given. For tests only.
contract ScoreCourt is IEvidence, IPosterCourt {
    struct Evidence {
        uint32 credit;
        uint16 faults;
        uint16 qos;
    }

    IBonds private _stakes;
    mapping(uint256 epoch => mapping(address node => Evidence)) private _evidence;

    event PosterSlashed(address node, address finder);

    function bind(IBonds stakes) external {
        _stakes = stakes;
    }

    function record(uint256 epoch, address node, uint32 credit, uint16 faults, uint16 qos) external {
        _evidence[epoch][node] = Evidence(credit, faults, qos);
    }

    function slash(address node, uint256 bps) external returns (uint256) {
        return _stakes.slash(node, bps, address(0));
    }

    function report(IDirect scores, bytes calldata rows) external {
        scores.report(rows);
    }

    function slashPoster(address node, address finder) external returns (uint256 burnt) {
        (uint96 bonded,, uint96 exiting,,) = _stakes.stakeOf(node);
        burnt = bonded + exiting == 0 ? 0 : _stakes.slash(node, 10_000, finder);
        emit PosterSlashed(node, finder);
    }

    function evidenceOf(uint256 epoch, address node) external view returns (uint32, uint16, uint16) {
        Evidence storage self = _evidence[epoch][node];
        return (self.credit, self.faults, self.qos);
    }
}
