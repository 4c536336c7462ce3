// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Script, console} from "forge-std/Script.sol";
import {InferenceCoordinator} from "../src/InferenceCoordinator.sol";
import {BlockHashes} from "../src/libraries/BlockHashes.sol";
import {Parameters} from "../src/types/Parameters.sol";
import {Defaults} from "./Defaults.sol";

/// @title Deploys a coordinator
/// @notice `ORACULUM_OWNER=0x… forge script script/Deploy.s.sol --rpc-url URL --account KEYSTORE --broadcast`
///
/// `ORACULUM_OWNER` may change future parameters and pause new requests; zero fixes the parameters for ever.
/// `ORACULUM_DEV=true` takes the short durations of a local chain.
contract Deploy is Script {
    /// @notice Sortition needs the hashes of up to 8,000 past blocks, and this chain lacks the contract of EIP-2935.
    error NoBlockHashHistory(uint256 chainId);

    /// @notice This chain's `block.number` counts another chain's blocks, as Arbitrum's does, and its `blockhash` is not
    /// theirs: neither draws nor deadlines would hold.
    error ForeignBlockNumbers(uint256 chainId);

    error NotDeployed();

    /// @dev Where chains of Arbitrum's kind have their system contract, and others have no code.
    address private constant ARB_SYS = address(0x64);

    /// @dev The committed, optimized bytecode, not what `forge test` compiles; `scripts/artifacts --check` shows that it
    /// is the sources'.
    string private constant ARTIFACT = "artifacts/InferenceCoordinator.json";

    function run() external returns (InferenceCoordinator) {
        return deploy(vm.envAddress("ORACULUM_OWNER"), vm.envOr("ORACULUM_DEV", false));
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
