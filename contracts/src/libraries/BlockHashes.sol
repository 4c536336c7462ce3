// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

/// @title Hashes of the last 8,191 blocks
library BlockHashes {
    /// @dev The system contract of EIP-2935: 32 bytes of block number in, 32 bytes of hash out.
    address internal constant HISTORY = 0x0000F90827F1C53a10cb7A02335B175320002935;

    /// @notice The hash of a block: by opcode for the last 256 blocks, then from the history contract. Zero if neither
    /// knows it; a caller must refuse zero, since everybody can predict it.
    function get(uint256 blockNumber) internal view returns (bytes32 hash) {
        hash = blockhash(blockNumber);
        if (hash != 0 || blockNumber >= block.number) return hash;
        address history = HISTORY;
        assembly ("memory-safe") {
            mstore(0x00, blockNumber)
            // A chain without the contract answers with no data, which leaves the hash zero.
            // Arguments are evaluated from the right: the call comes before its size is read.
            if and(eq(returndatasize(), 0x20), staticcall(gas(), history, 0x00, 0x20, 0x00, 0x20)) {
                hash := mload(0x00)
            }
        }
    }
}
