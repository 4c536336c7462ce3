// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Vm} from "forge-std/Vm.sol";

/// @title Which bytecode tests deploy
/// @dev `forge test` compiles quickly, without the optimizer; what is deployed for real is in `artifacts/`, optimized and
/// compiled contract by contract. Gas is measured on those alone.
library Build {
    Vm private constant VM = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));

    /// @notice The coordinator of the sources; with `ORACULUM_SHIPPED=true` the committed artifact.
    function coordinator() internal view returns (string memory) {
        return VM.envOr("ORACULUM_SHIPPED", false) ? shipped("InferenceCoordinator") : "InferenceCoordinator.sol";
    }

    /// @notice The committed artifact of a contract.
    function shipped(string memory name) internal pure returns (string memory) {
        return string.concat("artifacts/", name, ".json");
    }
}
