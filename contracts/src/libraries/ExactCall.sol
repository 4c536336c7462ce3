// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

/// @title Calls that get exactly the gas they were promised, whatever they do with it
library ExactCall {
    /// @dev What a call costs besides the gas it hands on (a cold account and, by EIP-7702, a cold delegate: 5,200),
    /// and what the caller needs afterwards to note a failure (a warm store, for which the EVM asks 2,300 at hand, and a
    /// log).
    uint256 internal constant OVERHEAD = 12_000;

    /// @notice The gas to have at hand so that a call gets `gasLimit` in full: by EIP-150 a caller keeps a 64th.
    function needed(uint256 gasLimit) internal pure returns (uint256) {
        unchecked {
            return gasLimit + gasLimit / 63 + 1 + OVERHEAD;
        }
    }

    /// @notice Calls with `gasLimit` gas. Copies no return data, so that it cannot be made to cost the caller.
    /// @dev The caller must hold `needed(gasLimit)`; the EVM would silently hand on less.
    function tryCall(address target, uint256 gasLimit, bytes memory data) internal returns (bool success) {
        assembly ("memory-safe") {
            success := call(gasLimit, target, 0, add(data, 0x20), mload(data), 0, 0)
        }
    }
}
