// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Test, stdError} from "forge-std/Test.sol";
import {RequestFields, RequestLib} from "../../src/libraries/RequestLib.sol";
import {Ask, InputKind, Level, Request} from "../../src/types/Request.sol";

contract RequestLibTest is Test {
    using RequestLib for Request;

    function testFuzz_PackAndUnpackUndoEachOther(Request memory r, uint8 kind, uint8 level) external pure {
        RequestFields memory f = RequestLib.unpack(_withEnums(r, kind, level));
        Request memory again = RequestLib.pack(f);
        assertEq(keccak256(abi.encode(again)), keccak256(abi.encode(r)));
        assertEq(keccak256(abi.encode(RequestLib.unpack(again))), keccak256(abi.encode(f)));
    }

    function testFuzz_AccessorsReadTheFieldsThatPackWrote(Request memory r, uint8 kind, uint8 level) external view {
        RequestFields memory f = RequestLib.unpack(_withEnums(r, kind, level));
        this.checkAccessors(RequestLib.pack(f), f);
    }

    /// @dev Two bytes of the terms name enums; everything else may be anything. The fuzzer does not know enums.
    function _withEnums(Request memory r, uint8 kind, uint8 level) private pure returns (Request memory) {
        uint256 terms = uint256(r.terms) & ~uint256(0xff << 32 | 0xff);
        r.terms = bytes32(terms | uint256(kind % 3) << 32 | level % 2);
        return r;
    }

    function checkAccessors(Request calldata r, RequestFields calldata f) external view {
        assertEq(r.consumer(), f.consumer);
        assertEq(r.seatCount(), f.seatCount);
        assertEq(r.refundTo(), f.refundTo);
        assertEq(r.fee(), f.fee);
        assertEq(r.token(), f.token);
        assertEq(r.submitFee(), f.submitFee);
        assertEq(r.requestBlock(), f.requestBlock);
        assertEq(r.callbackGasLimit(), f.callbackGasLimit);
        assertEq(r.version(), f.version);
        assertEq(r.quorum(), f.quorum);
        assertEq(r.deadline(), uint256(f.requestBlock) + f.deadlineBlocks);
        bytes32 id = keccak256(abi.encode(block.chainid, address(this), r));
        assertEq(r.id(), id);
        assertEq(RequestLib.idOf(r), id);
    }

    function testFuzz_PackTermsAgreesWithPack(Request memory r, uint8 kind, uint8 level) external view {
        RequestFields memory f = RequestLib.unpack(_withEnums(r, kind, level));
        Ask memory ask;
        ask.valueAtRisk = f.valueAtRisk;
        ask.callbackGasLimit = f.callbackGasLimit;
        ask.outputMask = f.outputMask;
        ask.deadlineBlocks = f.deadlineBlocks;
        ask.inputKind = f.inputKind;
        ask.outputWidth = f.outputWidth;
        ask.outputDecimals = f.outputDecimals;
        ask.quorum = f.quorum;
        ask.level = f.level;
        assertEq(this.packTerms(ask, f.requestBlock, f.version), r.terms);
    }

    function packTerms(Ask calldata ask, uint256 blockNumber, uint16 version) external pure returns (bytes32) {
        return RequestLib.packTerms(ask, blockNumber, version);
    }

    function test_UnpackRefusesAKindOrLevelThatDoesNotExist() external {
        Request memory r;
        r.terms = bytes32(uint256(type(InputKind).max) + 1 << 32);
        vm.expectRevert(stdError.enumConversionError);
        this.unpack(r);
        r.terms = bytes32(uint256(type(Level).max) + 1);
        vm.expectRevert(stdError.enumConversionError);
        this.unpack(r);
    }

    function unpack(Request memory r) external pure returns (RequestFields memory) {
        return RequestLib.unpack(r);
    }
}
