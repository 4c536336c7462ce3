// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IInferenceConsumer} from "../interfaces/IInferenceConsumer.sol";
import {IInferenceCoordinator} from "../interfaces/IInferenceCoordinator.sol";
import {Attestation, Outcome} from "../types/Request.sol";
import {ResultLib} from "./ResultLib.sol";
import {Statement} from "./StatementLib.sol";

/// @notice An output in memory, with room before it for what the event and the callback put there: copied once, it is
/// hashed, announced and delivered from the same bytes. Points to its first byte; zeros fill its last word.
type AnswerBuffer is uint256;

using AnswerBufferLib for AnswerBuffer global;

/// @title Hashes, announces and delivers one answer
/// @dev The room is `length · 160 bytes` for the longer of the two heads: 132 bytes before the output of a callback, 130
/// of an event with 16 seats, the most that a quorum has.
library AnswerBufferLib {
    uint256 private constant ROOM = 0xc0;

    /// @notice Copies an output.
    function load(bytes calldata output) internal pure returns (AnswerBuffer buffer) {
        assembly ("memory-safe") {
            let start := mload(0x40)
            buffer := add(start, ROOM)
            let end := add(buffer, output.length)
            mstore(start, output.length)
            calldatacopy(buffer, output.offset, output.length)
            mstore(end, 0)
            mstore(0x40, and(add(end, 0x3f), not(0x1f)))
        }
    }

    function length(AnswerBuffer buffer) internal pure returns (uint256 size) {
        assembly ("memory-safe") {
            size := mload(sub(buffer, ROOM))
        }
    }

    /// @notice keccak256 of the output.
    function commitment(AnswerBuffer buffer) internal pure returns (bytes32 hash) {
        uint256 size = buffer.length();
        assembly ("memory-safe") {
            hash := keccak256(buffer, size)
        }
    }

    /// @notice Emits `Fulfilled`, whose bytes are `outcome u8 ‖ number of seats u8 ‖ seats u32 each ‖ output`.
    /// @return resultHash The hash of the result (`ResultLib`).
    function announce(AnswerBuffer buffer, Statement memory s, Attestation[] calldata attestations)
        internal
        returns (uint256 resultHash)
    {
        (bytes32 requestId, Outcome outcome) = (s.requestId, s.outcome);
        uint256 count = attestations.length;
        uint256 seats;
        assembly ("memory-safe") {
            seats := buffer
            // From the last, because each store zeroes what comes before it. An attestation is 96 bytes, the seat first.
            for { let a := mul(count, 0x60) } a {} {
                a := sub(a, 0x60)
                seats := sub(seats, 4)
                mstore(sub(seats, 28), and(calldataload(add(attestations.offset, a)), 0xffffffff))
            }
        }
        resultHash = ResultLib.hash(
            outcome, uint64(block.number), s.outputCommitment, seats, AnswerBuffer.unwrap(buffer) - seats
        );
        bytes32 topic = IInferenceCoordinator.Fulfilled.selector;
        uint256 size = buffer.length();
        assembly ("memory-safe") {
            size := add(size, sub(add(buffer, 2), seats))
            mstore(sub(seats, 32), or(shl(8, outcome), count))
            mstore(sub(seats, 34), size)
            mstore(sub(seats, 66), 0x20)
            log2(sub(seats, 66), add(0x40, and(add(size, 0x1f), not(0x1f))), topic, requestId)
        }
    }

    /// @notice Calls `onInference` with exactly this gas; the caller must hold `ExactCall.needed(gasLimit)`.
    /// @dev Copies no return data, so that it cannot be made to cost the caller.
    function deliver(AnswerBuffer buffer, address consumer, bytes32 requestId, Outcome outcome, uint256 gasLimit)
        internal
        returns (bool success)
    {
        uint256 size = buffer.length();
        uint256 selector = uint32(IInferenceConsumer.onInference.selector);
        assembly ("memory-safe") {
            mstore(sub(buffer, 0xa0), selector)
            mstore(sub(buffer, 0x80), requestId)
            mstore(sub(buffer, 0x60), outcome)
            mstore(sub(buffer, 0x40), 0x60)
            mstore(sub(buffer, 0x20), size)
            let padded := and(add(size, 0x1f), not(0x1f))
            success := call(gasLimit, consumer, 0, sub(buffer, 0x84), add(0x84, padded), 0, 0)
        }
    }
}
