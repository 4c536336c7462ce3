// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Outcome, Result} from "../types/Request.sol";

/// @title The hash under which a request's status keeps its result
/// @notice `keccak256(outcome u8 ‖ fulfilledAt u64 ‖ outputCommitment ‖ seats)`, the seats 4 bytes each.
library ResultLib {
    /// @notice The hash of a result that comes back as calldata.
    function hash(Result calldata result) internal pure returns (uint256 digest) {
        Outcome outcome = result.outcome;
        uint256 fulfilledAt = result.fulfilledAt;
        bytes32 commitment = result.outputCommitment;
        bytes calldata seats = result.seats;
        assembly ("memory-safe") {
            let at := mload(0x40)
            mstore(at, shl(248, outcome))
            mstore(add(at, 1), shl(192, fulfilledAt))
            mstore(add(at, 9), commitment)
            calldatacopy(add(at, 41), seats.offset, seats.length)
            digest := keccak256(at, add(41, seats.length))
        }
    }

    /// @notice The seat of one signer of a recorded result, which has as many as its request's quorum.
    function seatAt(bytes calldata seats, uint256 signer) internal pure returns (uint32 seat) {
        assembly ("memory-safe") {
            seat := shr(224, calldataload(add(seats.offset, shl(2, signer))))
        }
    }

    /// @notice The same from its parts, the seats lying in memory.
    function hash(Outcome outcome, uint64 fulfilledAt, bytes32 commitment, uint256 seats, uint256 length)
        internal
        pure
        returns (uint256 digest)
    {
        assembly ("memory-safe") {
            let at := mload(0x40)
            mstore(at, shl(248, outcome))
            mstore(add(at, 1), shl(192, fulfilledAt))
            mstore(add(at, 9), commitment)
            mcopy(add(at, 41), seats, length)
            digest := keccak256(at, add(41, length))
        }
    }
}
