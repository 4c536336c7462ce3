// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IInferenceCoordinator} from "../interfaces/IInferenceCoordinator.sol";
import {Ask} from "../types/Request.sol";
import {RequestLib} from "./RequestLib.sol";

/// @notice A request being made, in memory: `chainid · coordinator · its six words · 0xa0 · length · input`. The first
/// eight words are what its id hashes, and from `origin` on it is the event's data.
/// @dev A type of its own, as `TensorView` is: no other number passes for it, and its functions are found on it.
type RequestBuffer is uint256;

using RequestBufferLib for RequestBuffer global;

/// @title Names and announces one request from the same bytes
library RequestBufferLib {
    uint256 private constant ORIGIN = 0x80;
    uint256 private constant INPUT = 0x140;

    /// @notice Packs what is asked. Its nonce is 0.
    function open(Ask calldata ask, bytes calldata input, uint32 seatCount, uint16 version)
        internal
        view
        returns (RequestBuffer buffer)
    {
        bytes32 place = RequestLib.packOrigin(msg.sender, 0, seatCount);
        bytes32 escrow = RequestLib.packAmount(ask.refundTo, ask.fee);
        bytes32 payment = RequestLib.packAmount(ask.token, ask.submitFee);
        bytes32 terms = RequestLib.packTerms(ask, block.number, version);
        bytes32 modelId = ask.modelId;
        assembly ("memory-safe") {
            buffer := mload(0x40)
            let at := add(buffer, INPUT)
            let end := add(at, input.length)
            calldatacopy(at, input.offset, input.length)
            mstore(end, 0)
            mstore(0x40, and(add(end, 0x3f), not(0x1f)))

            mstore(buffer, chainid())
            mstore(add(buffer, 0x20), address())
            mstore(add(buffer, 0x40), modelId)
            mstore(add(buffer, 0x60), keccak256(at, input.length))
            mstore(add(buffer, ORIGIN), place)
            mstore(add(buffer, 0xa0), escrow)
            mstore(add(buffer, 0xc0), payment)
            mstore(add(buffer, 0xe0), terms)
            mstore(add(buffer, 0x100), 0xa0)
            mstore(add(buffer, 0x120), input.length)
        }
    }

    /// @notice The request's id.
    function id(RequestBuffer buffer) internal pure returns (bytes32 hash) {
        assembly ("memory-safe") {
            hash := keccak256(buffer, 0x100)
        }
    }

    /// @notice Gives the request another nonce, and by it another id.
    function setNonce(RequestBuffer buffer, uint64 nonce) internal pure {
        assembly ("memory-safe") {
            // consumer · nonce · seatCount: the 8 bytes before the last 4.
            let at := add(buffer, ORIGIN)
            let rest := and(mload(at), not(shl(32, 0xffffffffffffffff)))
            mstore(at, or(rest, shl(32, nonce)))
        }
    }

    /// @notice Emits `Requested`.
    function announce(RequestBuffer buffer, bytes32 requestId) internal {
        bytes32 topic = IInferenceCoordinator.Requested.selector;
        assembly ("memory-safe") {
            let padded := and(add(mload(add(buffer, 0x120)), 0x1f), not(0x1f))
            let size := add(sub(INPUT, ORIGIN), padded)
            log4(add(buffer, ORIGIN), size, topic, requestId, caller(), mload(add(buffer, 0x40)))
        }
    }
}
