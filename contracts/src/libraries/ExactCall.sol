// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

/// @title What it takes that a call gets exactly the gas it was promised
library ExactCall {
    /// @dev What a call costs besides the gas it hands on (a cold account and, by EIP-7702, a cold delegate: 5,200),
    /// and what the caller needs afterwards to note a failure (a warm store, for which the EVM asks 2,300 at hand, and a
    /// log): some 8,200 in all.
    uint256 internal constant OVERHEAD = 12_000;

    /// @notice The gas to have at hand so that a call gets `gasLimit` in full: by EIP-150 a caller keeps a 64th.
    function needed(uint256 gasLimit) internal pure returns (uint256) {
        unchecked {
            return gasLimit + gasLimit / 63 + 1 + OVERHEAD;
        }
    }
}
