// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Test} from "forge-std/Test.sol";
import {TensorError} from "../../src/libraries/TensorError.sol";
import {DType} from "../../src/types/DType.sol";
import {Decoded, TensorHarness} from "../harness/TensorHarness.sol";

/// @notice The vectors that the relayer's codec is held to as well.
contract TensorVectorsTest is Test {
    TensorHarness private harness = new TensorHarness();
    mapping(string name => DType) private dtypes;
    mapping(string reason => bytes4) private selectors;

    function setUp() external {
        string[16] memory names = [
            "i8",
            "i16",
            "i32",
            "i64",
            "i128",
            "u8",
            "u16",
            "u32",
            "u64",
            "u128",
            "f16",
            "f32",
            "f64",
            "bool",
            "string",
            "bf16"
        ];
        for (uint256 i; i < names.length; ++i) {
            dtypes[names[i]] = DType(i + 1);
        }
        selectors["truncated"] = TensorError.Truncated.selector;
        selectors["trailing"] = TensorError.TrailingBytes.selector;
        selectors["dtype"] = TensorError.UnknownType.selector;
        selectors["decimals"] = TensorError.DecimalsOutOfRange.selector;
        selectors["rank"] = TensorError.RankTooLarge.selector;
        selectors["count"] = TensorError.TooManyTensors.selector;
        selectors["bool"] = TensorError.InvalidBool.selector;
        selectors["utf8"] = TensorError.InvalidUtf8.selector;
    }

    function test_EveryValidVectorReadsAndWritesAsItsStructure() external view {
        string memory json = vm.readFile("../tests/vectors/tensors.json");
        uint256 cases;
        for (; vm.keyExistsJson(json, _path("valid", cases)); ++cases) {
            string memory path = _path("valid", cases);
            string memory name = vm.parseJsonString(json, string.concat(path, ".name"));
            bytes memory packed = vm.parseJsonBytes(json, string.concat(path, ".hex"));
            Decoded[] memory tensors = harness.decode(packed);
            assertEq(abi.encode(tensors), abi.encode(harness.decodeMemory(packed)), name);
            assertEq(harness.encode(tensors), packed, name);
            assertFalse(vm.keyExistsJson(json, _tensor(path, tensors.length)), name);
            for (uint256 t; t < tensors.length; ++t) {
                _check(json, _tensor(path, t), tensors[t], name);
            }
        }
        assertGe(cases, 60);
    }

    function test_EveryInvalidVectorIsRefusedForItsReason() external view {
        string memory json = vm.readFile("../tests/vectors/tensors.json");
        uint256 cases;
        for (; vm.keyExistsJson(json, _path("invalid", cases)); ++cases) {
            string memory path = _path("invalid", cases);
            string memory name = vm.parseJsonString(json, string.concat(path, ".name"));
            bytes memory packed = vm.parseJsonBytes(json, string.concat(path, ".hex"));
            bytes4 expected = selectors[vm.parseJsonString(json, string.concat(path, ".reason"))];
            assertNotEq(expected, bytes4(0), name);
            assertEq(_refusal(abi.encodeCall(harness.validate, packed)), expected, name);
            assertEq(_refusal(abi.encodeCall(harness.validateMemory, packed)), expected, name);
        }
        assertGe(cases, 60);
    }

    /// @notice A wad is a 16-byte integer with 18 decimals, where such an integer can hold it.
    function test_AFloatToWadIsTheQuantisedVector() external view {
        string memory json = vm.readFile("../tests/vectors/tensors-quantise.json");
        uint256 compared;
        for (uint256 i; vm.keyExistsJson(json, _path("cases", i)); ++i) {
            string memory path = _path("cases", i);
            if (vm.parseJsonUint(json, string.concat(path, ".decimals")) != 18) continue;
            if (vm.parseJsonUint(json, string.concat(path, ".width")) != 16) continue;
            bytes memory bits = vm.parseJsonBytes(json, string.concat(path, ".bits"));
            DType t = dtypes[vm.parseJsonString(json, string.concat(path, ".dtype"))];
            bytes memory packed = harness.raw(t, 0, new uint256[](0), bits);
            string memory expected = vm.parseJsonString(json, string.concat(path, ".integer"));
            ++compared;
            if (keccak256(bytes(expected)) != keccak256("unrepresentable")) {
                assertEq(harness.toWad(packed, 0, 0), vm.parseInt(expected), string.concat(path, vm.toString(bits)));
                continue;
            }
            (bool ok, bytes memory result) =
                address(harness).staticcall(abi.encodeWithSignature("toWad(bytes,uint256,uint256)", packed, 0, 0));
            if (ok) {
                int256 wad = abi.decode(result, (int256));
                assertTrue(wad > type(int128).max || wad < type(int128).min);
            } else {
                bytes4 selector = bytes4(result);
                assertTrue(selector == TensorError.NotFinite.selector || selector == TensorError.WadOverflow.selector);
            }
        }
        assertGe(compared, 60);
    }

    function _check(string memory json, string memory path, Decoded memory d, string memory name) private view {
        string memory dtype = vm.parseJsonString(json, string.concat(path, ".dtype"));
        assertEq(uint256(d.dtype), uint256(dtypes[dtype]), name);
        assertEq(d.decimals, vm.parseJsonUint(json, string.concat(path, ".decimals")), name);
        assertEq(d.shape, vm.parseJsonUintArray(json, string.concat(path, ".shape")), name);
        string[] memory data = vm.parseJsonStringArray(json, string.concat(path, ".data"));
        assertEq(d.elements.length, data.length, name);
        for (uint256 i; i < data.length; ++i) {
            assertEq(d.elements[i], _element(d.dtype, data[i], d.elements[i].length), name);
        }
    }

    function _element(DType t, string memory datum, uint256 width) private pure returns (bytes memory) {
        if (t == DType.String) return bytes(datum);
        if (t == DType.Bool) return vm.parseBool(datum) ? bytes(hex"01") : bytes(hex"00");
        if (t >= DType.F16) return vm.parseBytes(datum);
        bytes32 word = t <= DType.I128 ? bytes32(uint256(vm.parseInt(datum))) : bytes32(vm.parseUint(datum));
        bytes memory low = new bytes(width);
        for (uint256 i; i < width; ++i) {
            low[i] = word[32 - width + i];
        }
        return low;
    }

    function _refusal(bytes memory call) private view returns (bytes4) {
        (bool ok, bytes memory reason) = address(harness).staticcall(call);
        return ok ? bytes4(0) : bytes4(reason);
    }

    function _path(string memory list, uint256 i) private pure returns (string memory) {
        return string.concat(".", list, "[", vm.toString(i), "]");
    }

    function _tensor(string memory path, uint256 t) private pure returns (string memory) {
        return string.concat(path, ".tensors[", vm.toString(t), "]");
    }
}
