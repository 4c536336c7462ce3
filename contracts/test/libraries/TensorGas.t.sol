// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Test} from "forge-std/Test.sol";
import {VmSafe} from "forge-std/Vm.sol";
import {Tensor} from "../../src/libraries/Tensor.sol";
import {DType} from "../../src/libraries/TensorView.sol";

/// @notice What a consumer pays for the format itself, printed, and held below a bound.
contract TensorGasTest is Test {
    function buildIris(int32[4] calldata sizes) external view returns (uint256 used, bytes memory input) {
        uint256 before = gasleft();
        input = Tensor.ints(DType.I32, 1, Tensor.dims(1, 4), abi.encodePacked(sizes));
        used = before - gasleft();
    }

    function buildIrisRaw(int32 a, int32 b, int32 c, int32 d) external view returns (uint256 used, bytes memory input) {
        uint256 before = gasleft();
        input = Tensor.raw(DType.I32, 1, Tensor.dims(1, 4), abi.encodePacked(a, b, c, d));
        used = before - gasleft();
    }

    function readIris(bytes calldata output) external view returns (uint256 used, uint256 winner) {
        uint256 before = gasleft();
        winner = Tensor.argmax(output);
        used = before - gasleft();
    }

    function readOne(bytes calldata output) external view returns (uint256 used, int256 value) {
        uint256 before = gasleft();
        value = Tensor.intAt(output, 1);
        used = before - gasleft();
    }

    function test_BuildingFourNumbersStaysBelowItsBounds() external {
        (uint256 used, bytes memory input) = this.buildIris([int32(51), 35, 14, 2]);
        assertEq(input, hex"0103010200000001000000040000003300000023" hex"0000000e00000002");
        (uint256 usedRaw, bytes memory same) = this.buildIrisRaw(51, 35, 14, 2);
        assertEq(same, input);
        emit log_named_uint("four i32 from an array, gas", used);
        emit log_named_uint("four i32 packed by the caller, gas", usedRaw);
        if (_unoptimised()) return;
        assertLt(used, 2_100);
        assertLt(usedRaw, 1_100);
    }

    function test_ReadingThreeNumbersStaysBelowItsBounds() external {
        bytes memory output = hex"010306020000000100000003" hex"0000000a000f4227fffffff6";
        (uint256 used, uint256 winner) = this.readIris(output);
        assertEq(winner, 1);
        (uint256 usedOne, int256 value) = this.readOne(output);
        assertEq(value, 999_975);
        emit log_named_uint("argmax of three i32, gas", used);
        emit log_named_uint("one i32, gas", usedOne);
        if (_unoptimised()) return;
        assertLt(used, 1_800);
        assertLt(usedOne, 1_200);
    }

    function _unoptimised() private returns (bool yes) {
        yes = vm.isContext(VmSafe.ForgeContext.Coverage);
        if (yes) emit log("bounds are not checked: coverage is measured on code that is not optimised");
    }
}
