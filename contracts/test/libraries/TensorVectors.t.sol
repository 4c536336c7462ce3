// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {TensorError} from "../../src/libraries/TensorError.sol";
import {DType} from "../../src/types/DType.sol";
import {Decoded, TensorHarness} from "../harness/TensorHarness.sol";
import {Vectors} from "../utils/Vectors.sol";

/// @notice The vectors of packed tensors and of what floats become.
contract TensorVectorsTest is Vectors {
    TensorHarness private harness = new TensorHarness();
    mapping(string name => DType) private dtypes;
    mapping(string reason => bytes4) private selectors;
    uint256 private wads;

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

    function test_EveryValidVectorReadsAndWritesAsItsStructure() external {
        eachCase("tensors.json", "valid", 60, _checkValid);
    }

    function _checkValid(string memory json, string memory path) private view {
        string memory name = textAt(json, path, ".name");
        bytes memory packed = bytesAt(json, path, ".hex");
        Decoded[] memory tensors = harness.decode(packed);
        assertEq(abi.encode(tensors), abi.encode(harness.decodeMemory(packed)), name);
        assertEq(harness.encode(tensors), packed, name);
        assertFalse(vm.keyExistsJson(json, _tensor(path, tensors.length)), name);
        for (uint256 t; t < tensors.length; ++t) {
            _check(json, _tensor(path, t), tensors[t], name);
        }
    }

    function test_EveryInvalidVectorIsRefusedForItsReason() external {
        eachCase("tensors.json", "invalid", 60, _checkInvalid);
    }

    function _checkInvalid(string memory json, string memory path) private view {
        string memory name = textAt(json, path, ".name");
        bytes memory packed = bytesAt(json, path, ".hex");
        bytes4 expected = selectors[textAt(json, path, ".reason")];
        assertNotEq(expected, bytes4(0), name);
        assertEq(_refusal(abi.encodeCall(harness.validate, packed)), expected, name);
        assertEq(_refusal(abi.encodeCall(harness.validateMemory, packed)), expected, name);
    }

    function test_AFloatToWadIsTheQuantisedVector() external {
        eachCase("tensors-quantise.json", "cases", 60, _checkWad);
        assertGe(wads, 60);
    }

    /// @dev A wad is a 16-byte integer with 18 decimals, where such an integer can hold it; other cases are passed over.
    function _checkWad(string memory json, string memory path) private {
        if (uintAt(json, path, ".decimals") != 18 || uintAt(json, path, ".width") != 16) return;
        bytes memory bits = bytesAt(json, path, ".bits");
        bytes memory packed = harness.raw(dtypes[textAt(json, path, ".dtype")], 0, new uint256[](0), bits);
        string memory expected = textAt(json, path, ".integer");
        ++wads;
        if (keccak256(bytes(expected)) != keccak256("unrepresentable")) {
            assertEq(harness.toWad(packed, 0, 0), vm.parseInt(expected), string.concat(path, vm.toString(bits)));
            return;
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

    function _check(string memory json, string memory path, Decoded memory d, string memory name) private view {
        assertEq(uint256(d.dtype), uint256(dtypes[textAt(json, path, ".dtype")]), name);
        assertEq(d.decimals, uintAt(json, path, ".decimals"), name);
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

    function _tensor(string memory path, uint256 t) private pure returns (string memory) {
        return string.concat(path, ".tensors[", vm.toString(t), "]");
    }
}
