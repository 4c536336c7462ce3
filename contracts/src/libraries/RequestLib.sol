// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Ask, InputKind, Level, Request} from "../types/Request.sol";

/// @notice Every field of a request by name, for those who build or read requests off the hot path.
struct RequestFields {
    bytes32 modelId;
    bytes32 inputHash;
    address consumer;
    uint64 nonce;
    uint32 seatCount;
    address refundTo;
    uint96 fee;
    address token;
    uint96 submitFee;
    uint96 valueAtRisk;
    uint40 requestBlock;
    uint32 callbackGasLimit;
    uint16 outputMask;
    uint16 version;
    uint16 deadlineBlocks;
    InputKind inputKind;
    uint8 outputWidth;
    uint8 outputDecimals;
    uint8 quorum;
    Level level;
}

/// @title Reads and writes the six words of a request
/// @dev A field's place is written once, as the shift of its lowest bit. Each field that contracts read has a getter alike
/// but for word, place and width: a cast is the cheapest mask, and takes its width from no argument.
library RequestLib {
    uint256 private constant NONCE = 32;
    uint256 private constant ACCOUNT = 96;

    uint256 private constant VALUE_AT_RISK = 160;
    uint256 private constant REQUEST_BLOCK = 120;
    uint256 private constant CALLBACK_GAS = 88;
    uint256 private constant OUTPUT_MASK = 72;
    uint256 private constant VERSION = 56;
    uint256 private constant DEADLINE = 40;
    uint256 private constant INPUT_KIND = 32;
    uint256 private constant WIDTH = 24;
    uint256 private constant DECIMALS = 16;
    uint256 private constant QUORUM = 8;

    /// @notice The id of a request made at this coordinator, on this chain:
    /// `keccak256(abi.encode(block.chainid, address(this), request))`, the six words copied as one.
    function id(Request calldata request) internal view returns (bytes32 hash) {
        assembly ("memory-safe") {
            let at := mload(0x40)
            mstore(at, chainid())
            mstore(add(at, 0x20), address())
            calldatacopy(add(at, 0x40), request, 0xc0)
            hash := keccak256(at, 0x100)
        }
    }

    /// @notice The same of a request in memory, which another opcode copies.
    function idOf(Request memory request) internal view returns (bytes32 hash) {
        assembly ("memory-safe") {
            let at := mload(0x40)
            mstore(at, chainid())
            mstore(add(at, 0x20), address())
            mcopy(add(at, 0x40), request, 0xc0)
            hash := keccak256(at, 0x100)
        }
    }

    function consumer(Request calldata request) internal pure returns (address) {
        return address(bytes20(request.origin));
    }

    function seatCount(Request calldata request) internal pure returns (uint32) {
        return uint32(uint256(request.origin));
    }

    function refundTo(Request calldata request) internal pure returns (address) {
        return address(bytes20(request.escrow));
    }

    function fee(Request calldata request) internal pure returns (uint96) {
        return uint96(uint256(request.escrow));
    }

    function token(Request calldata request) internal pure returns (address) {
        return address(bytes20(request.payment));
    }

    function submitFee(Request calldata request) internal pure returns (uint96) {
        return uint96(uint256(request.payment));
    }

    function requestBlock(Request calldata request) internal pure returns (uint40) {
        return uint40(uint256(request.terms) >> REQUEST_BLOCK);
    }

    function callbackGasLimit(Request calldata request) internal pure returns (uint32) {
        return uint32(uint256(request.terms) >> CALLBACK_GAS);
    }

    function version(Request calldata request) internal pure returns (uint16) {
        return uint16(uint256(request.terms) >> VERSION);
    }

    /// @notice The last block in which the request can be answered.
    function deadline(Request calldata request) internal pure returns (uint256) {
        return uint256(requestBlock(request)) + uint16(uint256(request.terms) >> DEADLINE);
    }

    function quorum(Request calldata request) internal pure returns (uint8) {
        return uint8(uint256(request.terms) >> QUORUM);
    }

    /// @notice The word `consumer · nonce · seatCount`.
    function packOrigin(address account, uint64 nonce, uint32 seats) internal pure returns (bytes32) {
        return bytes32(uint256(uint160(account)) << ACCOUNT | uint256(nonce) << NONCE | seats);
    }

    /// @notice The words `refundTo · fee` and `token · submitFee`.
    function packAmount(address account, uint96 amount) internal pure returns (bytes32) {
        return bytes32(uint256(uint160(account)) << ACCOUNT | amount);
    }

    /// @notice The last word, from what was asked and what the coordinator fills in.
    function packTerms(Ask calldata ask, uint256 blockNumber, uint16 parameterVersion) internal pure returns (bytes32) {
        return bytes32(
            uint256(ask.valueAtRisk) << VALUE_AT_RISK | blockNumber << REQUEST_BLOCK | uint256(ask.callbackGasLimit)
                << CALLBACK_GAS | uint256(ask.outputMask) << OUTPUT_MASK | uint256(parameterVersion) << VERSION
                | uint256(ask.deadlineBlocks) << DEADLINE | uint256(ask.inputKind) << INPUT_KIND
                | uint256(ask.outputWidth) << WIDTH | uint256(ask.outputDecimals) << DECIMALS | uint256(ask.quorum)
                << QUORUM | uint256(ask.level)
        );
    }

    /// @notice The six words of all fields.
    function pack(RequestFields memory f) internal pure returns (Request memory) {
        uint256 terms = uint256(f.valueAtRisk) << VALUE_AT_RISK | uint256(f.requestBlock) << REQUEST_BLOCK;
        terms |= uint256(f.callbackGasLimit) << CALLBACK_GAS | uint256(f.outputMask) << OUTPUT_MASK;
        terms |= uint256(f.version) << VERSION | uint256(f.deadlineBlocks) << DEADLINE;
        terms |= uint256(f.inputKind) << INPUT_KIND | uint256(f.outputWidth) << WIDTH;
        terms |= uint256(f.outputDecimals) << DECIMALS | uint256(f.quorum) << QUORUM | uint256(f.level);
        return Request({
            modelId: f.modelId,
            inputHash: f.inputHash,
            origin: packOrigin(f.consumer, f.nonce, f.seatCount),
            escrow: packAmount(f.refundTo, f.fee),
            payment: packAmount(f.token, f.submitFee),
            terms: bytes32(terms)
        });
    }

    /// @notice All fields of the six words. Reverts on an input kind or level that does not exist.
    function unpack(Request memory request) internal pure returns (RequestFields memory f) {
        f.modelId = request.modelId;
        f.inputHash = request.inputHash;
        f.consumer = address(bytes20(request.origin));
        f.nonce = uint64(uint256(request.origin) >> NONCE);
        f.seatCount = uint32(uint256(request.origin));
        f.refundTo = address(bytes20(request.escrow));
        f.fee = uint96(uint256(request.escrow));
        f.token = address(bytes20(request.payment));
        f.submitFee = uint96(uint256(request.payment));
        uint256 terms = uint256(request.terms);
        f.valueAtRisk = uint96(terms >> VALUE_AT_RISK);
        f.requestBlock = uint40(terms >> REQUEST_BLOCK);
        f.callbackGasLimit = uint32(terms >> CALLBACK_GAS);
        f.outputMask = uint16(terms >> OUTPUT_MASK);
        f.version = uint16(terms >> VERSION);
        f.deadlineBlocks = uint16(terms >> DEADLINE);
        f.inputKind = InputKind(uint8(terms >> INPUT_KIND));
        f.outputWidth = uint8(terms >> WIDTH);
        f.outputDecimals = uint8(terms >> DECIMALS);
        f.quorum = uint8(terms >> QUORUM);
        f.level = Level(uint8(terms));
    }
}
