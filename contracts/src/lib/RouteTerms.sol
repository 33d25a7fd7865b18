// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @dev A Route as verification/routes.py signs it, but for its stages, which stand as their structs' hashes.
struct RouteTerms {
    bytes32 nonce;
    bytes32 channel;
    uint32 epoch;
    bytes32 previous;
    bytes32[] stages;
    bytes32 manifest;
    bytes32 profile;
    bytes32 sampler;
    bytes32 promptRoot;
    uint32 window;
    bytes32 auditPolicy;
    uint40 expiry;
}

/// @dev One stage of it, opened.
struct RouteStage {
    address node;
    uint32 start;
    uint32 end;
    uint96 ask;
}

/// @title What a receipt's route says
library Routes {
    bytes32 private constant STAGE = keccak256("RouteStage(address node,uint32 start,uint32 end,uint96 ask)");
    bytes32 private constant ROUTE = keccak256(
        "Route(bytes32 nonce,bytes32 channel,uint32 epoch,bytes32 previous,RouteStage[] stages,bytes32 manifest,bytes32 profile,bytes32 sampler,bytes32 promptRoot,uint32 window,bytes32 auditPolicy,uint40 expiry)RouteStage(address node,uint32 start,uint32 end,uint96 ask)"
    );

    function structHash(RouteTerms calldata r) internal pure returns (bytes32) {
        bytes32 stages = keccak256(abi.encodePacked(r.stages));
        bytes memory head = abi.encode(ROUTE, r.nonce, r.channel, r.epoch, r.previous, stages, r.manifest);
        bytes memory tail = abi.encode(r.profile, r.sampler, r.promptRoot, r.window, r.auditPolicy, r.expiry);
        return keccak256(bytes.concat(head, tail));
    }

    /// @dev Whether the stage stands in that place.
    function holds(RouteTerms calldata r, uint256 place, RouteStage calldata stage) internal pure returns (bool) {
        return place < r.stages.length && r.stages[place] == keccak256(abi.encode(STAGE, stage));
    }
}
