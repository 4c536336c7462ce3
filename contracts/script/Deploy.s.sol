// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Script, console} from "forge-std/Script.sol";
import {VmSafe} from "forge-std/Vm.sol";
import {InferenceCoordinator} from "../src/InferenceCoordinator.sol";
import {BlockHashes} from "../src/libraries/BlockHashes.sol";
import {Parameters} from "../src/types/Parameters.sol";
import {Defaults} from "./Defaults.sol";

/// @title Deploys a coordinator
/// @notice `ORACULUM_OWNER=0x… forge script script/Deploy.s.sol --rpc-url URL --account KEYSTORE --broadcast`
///
/// `ORACULUM_OWNER` may change future parameters and pause new requests; zero fixes the parameters for ever.
/// `ORACULUM_DEV=true` takes the short durations of a local chain.
///
/// What was broadcast is written down in `deployments/CHAINID.json`, which `oraculum init --deployment` reads.
contract Deploy is Script {
    /// @notice Sortition needs the hashes of up to 8,000 past blocks, and this chain lacks the contract of EIP-2935.
    error NoBlockHashHistory(uint256 chainId);

    /// @notice This chain's `block.number` counts another chain's blocks, as Arbitrum's does, and its `blockhash` is not
    /// theirs: neither draws nor deadlines would hold.
    error ForeignBlockNumbers(uint256 chainId);

    error NotDeployed();

    /// @notice The file tells of a deployment on this chain, which another must not overwrite: move it away first.
    error AlreadyWritten(string file);

    /// @dev Where chains of Arbitrum's kind have their system contract, and others have no code.
    address private constant ARB_SYS = address(0x64);

    /// @dev The committed, optimized bytecode, not what `forge test` compiles; `scripts/artifacts --check` shows that it
    /// is the sources'.
    string private constant ARTIFACT = "artifacts/InferenceCoordinator.json";

    function run() external returns (InferenceCoordinator coordinator) {
        bool writes = vm.isContext(VmSafe.ForgeContext.ScriptBroadcast);
        string memory file = string.concat("../deployments/", vm.toString(block.chainid), ".json");
        if (writes && vm.exists(file)) revert AlreadyWritten(file);
        address owner = vm.envAddress("ORACULUM_OWNER");
        coordinator = deploy(owner, vm.envOr("ORACULUM_DEV", false));
        if (writes) {
            vm.createDir("../deployments", true);
            vm.writeJson(describe(coordinator, owner), file);
            console.log("written to", file);
        }
    }

    /// @notice A deployment as JSON. `deploymentBlock` is a block at or before the coordinator's own.
    function describe(InferenceCoordinator coordinator, address owner) public returns (string memory json) {
        string memory key = "deployment";
        vm.serializeUint(key, "chainId", block.chainid);
        vm.serializeAddress(key, "owner", owner);
        vm.serializeUint(key, "deploymentBlock", block.number);
        json = vm.serializeAddress(key, "coordinator", address(coordinator));
    }

    function deploy(address owner, bool dev) public returns (InferenceCoordinator coordinator) {
        if (ARB_SYS.code.length != 0) revert ForeignBlockNumbers(block.chainid);
        if (BlockHashes.HISTORY.code.length == 0) revert NoBlockHashHistory(block.chainid);
        Parameters memory parameters = dev ? Defaults.dev() : Defaults.standard();
        vm.startBroadcast();
        bytes memory creation = abi.encodePacked(vm.getCode(ARTIFACT), abi.encode(owner, parameters));
        assembly ("memory-safe") {
            coordinator := create(0, add(creation, 0x20), mload(creation))
        }
        vm.stopBroadcast();
        if (address(coordinator) == address(0)) revert NotDeployed();
        console.log("InferenceCoordinator", address(coordinator));
        console.log("first block to scan ", block.number);
    }
}
