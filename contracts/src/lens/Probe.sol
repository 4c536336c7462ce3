// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

/// @notice How a call ended.
struct Ending {
    bool success;
    bytes answer;
}

/// @title Tries calls one after another, and reverts with how each ended
/// @notice Never deployed: relayers create it inside an `eth_call`, to find the items that a `fulfillBatch` would skip.
/// @dev A revert carries the endings out because it costs no gas by its length and has no limit of size.
contract Probe {
    /// @param target The contract to call.
    /// @param calls Calldata, in order; each call sees what the ones before it changed.
    constructor(address target, bytes[] memory calls) {
        Ending[] memory endings = new Ending[](calls.length);
        for (uint256 i = 0; i < calls.length; ++i) {
            (endings[i].success, endings[i].answer) = target.call(calls[i]);
        }
        bytes memory told = abi.encode(endings);
        assembly ("memory-safe") {
            revert(add(told, 0x20), mload(told))
        }
    }
}
