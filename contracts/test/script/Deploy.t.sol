// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Test} from "forge-std/Test.sol";
import {Defaults} from "../../script/Defaults.sol";
import {Deploy} from "../../script/Deploy.s.sol";
import {InferenceCoordinator} from "../../src/InferenceCoordinator.sol";
import {BlockHashes} from "../../src/libraries/BlockHashes.sol";
import {Parameters} from "../../src/types/Parameters.sol";

contract DeployTest is Test {
    Deploy private script = new Deploy();
    address private owner = makeAddr("owner");

    function test_StandardParametersAreWithinBounds() external {
        _assertDeploys(false, Defaults.standard());
    }

    function test_DevParametersAreWithinBounds() external {
        _assertDeploys(true, Defaults.dev());
    }

    function test_AChainWithoutBlockHashHistoryIsRefused() external {
        vm.etch(BlockHashes.HISTORY, "");
        vm.expectRevert(abi.encodeWithSelector(Deploy.NoBlockHashHistory.selector, block.chainid));
        script.deploy(owner, true);
    }

    function test_AChainThatCountsAnothersBlocksIsRefused() external {
        vm.etch(BlockHashes.HISTORY, hex"00");
        vm.etch(address(0x64), hex"fe"); // as on Arbitrum One
        vm.expectRevert(abi.encodeWithSelector(Deploy.ForeignBlockNumbers.selector, block.chainid));
        script.deploy(owner, true);
    }

    function test_ADeploymentIsDescribedAsNodesReadIt() external {
        vm.etch(BlockHashes.HISTORY, hex"00");
        vm.roll(1_000);
        InferenceCoordinator coordinator = script.deploy(owner, true);
        string memory json = script.describe(coordinator, owner);
        assertEq(vm.parseJsonUint(json, ".chainId"), block.chainid);
        assertEq(vm.parseJsonAddress(json, ".coordinator"), address(coordinator));
        assertEq(vm.parseJsonUint(json, ".deploymentBlock"), 1_000);
        assertEq(vm.parseJsonAddress(json, ".owner"), owner);
    }

    function _assertDeploys(bool dev, Parameters memory expected) private {
        vm.etch(BlockHashes.HISTORY, hex"00");
        InferenceCoordinator coordinator = script.deploy(owner, dev);
        assertEq(coordinator.owner(), owner);
        assertEq(coordinator.parameterVersion(), 1);
        assertEq(keccak256(abi.encode(coordinator.parameters(1))), keccak256(abi.encode(expected)));
    }
}
