// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @dev The part of Foundry's cheat codes that these tests use.
interface Vm {
    function addr(uint256 key) external pure returns (address);
    function sign(uint256 key, bytes32 digest) external pure returns (uint8 v, bytes32 r, bytes32 s);
    function warp(uint256 timestamp) external;
    function roll(uint256 number) external;
    function store(address account, bytes32 slot, bytes32 value) external;
    function chainId(uint256 id) external;
    function prank(address sender) external;
    function prank(address sender, address origin) external;
    function assume(bool condition) external pure;
    function expectRevert(bytes calldata reason) external;
    function snapshotState() external returns (uint256);
    function revertToState(uint256 snapshot) external returns (bool);
    function computeCreateAddress(address deployer, uint256 nonce) external pure returns (address);
    function getCode(string calldata contractName) external view returns (bytes memory);
    function getNonce(address account) external view returns (uint64);
}
