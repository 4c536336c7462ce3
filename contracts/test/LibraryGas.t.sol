// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Test, console} from "forge-std/Test.sol";
import {LibraryGas} from "./bench/LibraryGas.sol";
import {Build} from "./utils/Build.sol";

/// @notice What the tensor format and a rank cost, printed, and held below bounds.
contract LibraryGasTest is Test {
    LibraryGas private bench;

    function setUp() external {
        bench = LibraryGas(deployCode(Build.shipped("LibraryGas")));
    }

    function test_BuildingFourNumbersStaysBelowItsBounds() external {
        (uint256 used, bytes memory input) = bench.buildIris([int32(51), 35, 14, 2]);
        assertEq(input, hex"0103010200000001000000040000003300000023" hex"0000000e00000002");
        (uint256 usedRaw, bytes memory same) = bench.buildIrisRaw(51, 35, 14, 2);
        assertEq(same, input);
        emit log_named_uint("four i32 from an array, gas", used);
        emit log_named_uint("four i32 packed by the caller, gas", usedRaw);
        assertLt(used, 2_100);
        assertLt(usedRaw, 1_100);
    }

    function test_ReadingThreeNumbersStaysBelowItsBounds() external {
        bytes memory output = hex"010306020000000100000003" hex"0000000a000f4227fffffff6";
        (uint256 used, uint256 winner) = bench.readIris(output);
        assertEq(winner, 1);
        (uint256 usedOne, int256 value) = bench.readOne(output);
        assertEq(value, 999_975);
        emit log_named_uint("argmax of three i32, gas", used);
        emit log_named_uint("one i32, gas", usedOne);
        assertLt(used, 1_800);
        assertLt(usedOne, 1_200);
    }

    /// @dev Seeds are hashes of counters, so every figure is the same on every run.
    function test_ARankCostsAFewThousandGas() external {
        uint256[7] memory sizes = [uint256(1), 4, 16, 17, 100, 1000, 100_000];
        console.log("gas of one rank over 400 seeds: n, least, median, 99th of 100, most");
        for (uint256 i = 0; i < sizes.length; ++i) {
            uint256[] memory gas = new uint256[](400);
            for (uint256 j = 0; j < gas.length; ++j) {
                bytes32 seed = keccak256(abi.encode("gas", i, j));
                (gas[j],) = bench.rank(seed, uint256(seed) % sizes[i], sizes[i]);
            }
            gas = vm.sort(gas);
            console.log(string.concat(_pad(sizes[i]), _pad(gas[0]), _pad(gas[200]), _pad(gas[396]), _pad(gas[399])));
            assertLt(gas[399], 20_000, "a rank is dear");
        }
    }

    function _pad(uint256 value) private pure returns (string memory text) {
        text = vm.toString(value);
        while (bytes(text).length < 9) text = string.concat(" ", text);
    }
}
