// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Test} from "forge-std/Test.sol";
import {Tensor} from "../../src/libraries/Tensor.sol";
import {TensorError} from "../../src/libraries/TensorError.sol";
import {DType} from "../../src/types/DType.sol";
import {Decoded, TensorHarness} from "../harness/TensorHarness.sol";

contract TensorTest is Test {
    TensorHarness private h = new TensorHarness();

    // ------------------------------------------------------------------------------------------- round trips

    function testFuzz_IntegersOfAnyTypeAndShapeComeBack(uint256 seed, uint8 t, uint8 decimals) external view {
        DType dtype = DType(bound(t, 1, 10));
        decimals = uint8(bound(decimals, 0, 36));
        (uint256[] memory dims, uint256 n) = _dims(seed);
        int256[] memory values = new int256[](n);
        for (uint256 i; i < n; ++i) {
            values[i] = _value(dtype, uint256(keccak256(abi.encode(seed, i))));
        }
        bytes memory packed = h.ints(dtype, decimals, dims, values);
        h.validate(packed);
        h.validateMemory(packed);
        assertEq(h.words(dtype, decimals, dims, abi.encodePacked(values)), packed);
        assertEq(h.count(packed), 1);
        assertEq(uint256(h.dtype(packed, 0)), uint256(dtype));
        assertEq(h.shape(packed, 0), dims);
        assertEq(h.length(packed, 0), n);
        for (uint256 i; i < n; ++i) {
            assertEq(h.intAt(packed, 0, i), values[i]);
        }
        assertEq(h.decode(packed)[0].decimals, decimals);
    }

    function testFuzz_JoinedTensorsComeBackOneByOne(uint256 seed, string[3] memory texts) external view {
        // Random bytes are not UTF-8: any ASCII text of the same lengths.
        string[] memory all = new string[](3);
        for (uint256 i; i < 3; ++i) {
            for (uint256 j; j < bytes(texts[i]).length; ++j) {
                bytes(texts[i])[j] &= 0x7f;
            }
            all[i] = texts[i];
        }
        (uint256[] memory dims, uint256 n) = _dims(seed);
        int256[] memory bools = new int256[](n);
        for (uint256 i; i < n; ++i) {
            bools[i] = int256(uint256(keccak256(abi.encode(seed, i))) & 1);
        }
        bytes[] memory lists = new bytes[](3);
        lists[0] = h.strings(_shape(3), all);
        lists[1] = h.ints(DType.Bool, 0, dims, bools);
        lists[2] = h.raw(DType.F64, 0, _shape(1), abi.encodePacked(uint64(seed)));
        bytes memory packed = h.pack(lists);
        h.validate(packed);
        assertEq(h.count(packed), 3);
        for (uint256 i; i < 3; ++i) {
            assertEq(h.stringAt(packed, 0, i), all[i]);
        }
        for (uint256 i; i < n; ++i) {
            assertEq(h.intAt(packed, 1, i), bools[i]);
        }
        assertEq(h.length(packed, 1), n);
        assertEq(h.shape(packed, 1), dims);
        assertEq(uint256(h.dtype(packed, 2)), uint256(DType.F64));
        assertEq(h.bitsAt(packed, 2, 0), uint64(seed));
        assertEq(h.encode(h.decode(packed)), packed);
        assertEq(abi.encode(h.decodeMemory(packed)), abi.encode(h.decode(packed)));
    }

    // -------------------------------------------------------------------------------------------- strictness

    function testFuzz_AChangedByteIsRefusedOrAnotherValue(uint256 seed, uint256 position, uint8 change) external view {
        bytes memory packed = _sample(seed);
        Decoded[] memory before = h.decode(packed);
        position = bound(position, 0, packed.length - 1);
        packed[position] ^= bytes1(uint8(bound(change, 1, 255)));
        try h.decode(packed) returns (Decoded[] memory changed) {
            assertNotEq(keccak256(abi.encode(changed)), keccak256(abi.encode(before)));
            assertEq(h.encode(changed), packed);
        } catch (bytes memory reason) {
            _assertRefusal(reason);
        }
    }

    function testFuzz_ACutIsRefused(uint256 seed, uint256 cut) external view {
        bytes memory packed = _sample(seed);
        cut = bound(cut, 0, packed.length - 1);
        assembly ("memory-safe") {
            mstore(packed, cut)
        }
        assertEq(_refusal(abi.encodeCall(h.validate, packed)), TensorError.Truncated.selector);
        assertEq(_refusal(abi.encodeCall(h.validateMemory, packed)), TensorError.Truncated.selector);
    }

    function testFuzz_AnyBytesAreRefusedOrTheOnlyEncodingOfTheirValue(bytes memory noise, bool plausible)
        external
        view
    {
        if (plausible && noise.length > 4) {
            noise[0] = bytes1(uint8(noise[0]) % 3);
            noise[1] = bytes1(uint8(noise[1]) % 17);
            noise[2] = 0;
            noise[3] = bytes1(uint8(noise[3]) % 2);
        }
        try h.decode(noise) returns (Decoded[] memory tensors) {
            assertEq(h.encode(tensors), noise);
        } catch (bytes memory reason) {
            _assertRefusal(reason);
        }
    }

    function test_OpeningTheLastTensorRefusesTrailingBytes() external {
        bytes memory packed = bytes.concat(h.ints(DType.I32, 6, _shape(1), new int256[](1)), hex"00");
        vm.expectRevert(abi.encodeWithSelector(TensorError.TrailingBytes.selector, 1));
        h.intAt(packed, 0, 0);
    }

    function test_TrailingBytesAreCounted() external {
        bytes memory packed = bytes.concat(h.ints(DType.I32, 6, _shape(1), new int256[](1)), hex"000000");
        _expect(abi.encodeWithSelector(TensorError.TrailingBytes.selector, 3));
        h.validate(packed);
        _expect(abi.encodeWithSelector(TensorError.TrailingBytes.selector, 3));
        h.validateMemory(packed);
    }

    function test_AHeaderWithNothingBehindItIsRead() external {
        _expect(abi.encodeWithSelector(TensorError.UnknownType.selector, 0));
        h.validate(hex"01000000");
        _expect(abi.encodeWithSelector(TensorError.RankTooLarge.selector, 9, 8));
        h.validate(hex"01010009");
        _expect(abi.encodeWithSelector(TensorError.Truncated.selector));
        h.validate(hex"010000");
    }

    function test_AStringWhoseLengthIsCutIsTruncated() external {
        // Two strings: the first is "A", of the second only three bytes of the length are there.
        bytes memory packed = hex"010f0001000000020000000141000000";
        _expect(abi.encodeWithSelector(TensorError.Truncated.selector));
        h.validate(packed);
        _expect(abi.encodeWithSelector(TensorError.Truncated.selector));
        h.stringAt(packed, 0, 0);
        h.validate(bytes.concat(packed, hex"00"));
    }

    // ----------------------------------------------------------------------------------------------- reading

    function test_AStringLongerThanWhatIsBeforeItIsReadWhole() external view {
        bytes memory text = new bytes(700);
        for (uint256 i = 0; i < text.length; ++i) {
            text[i] = bytes1(uint8(0x20 + i % 90));
        }
        assertEq(h.stringAt(bytes.concat(hex"010f0000", bytes4(uint32(text.length)), text), 0, 0), string(text));
    }

    function test_EveryIntegerTypeGoesToWad() external view {
        int256[] memory one = new int256[](1);
        one[0] = 7;
        for (uint256 t = uint256(DType.I8); t <= uint256(DType.U128); ++t) {
            assertEq(h.toWad(h.ints(DType(t), 1, _shape(1), one), 0, 0), 0.7e18);
        }
        one[0] = int256(uint256(type(uint128).max));
        assertEq(h.toWad(h.ints(DType.U128, 0, _shape(1), one), 0, 0), one[0] * 1e18);
    }

    function testFuzz_AFixedPointNumberToWadIsRoundedHalfToEven(int128 value, uint8 decimals) external view {
        decimals = uint8(bound(decimals, 0, 36));
        int256[] memory one = new int256[](1);
        one[0] = value;
        int256 wad = h.toWad(h.ints(DType.I128, decimals, _shape(1), one), 0, 0);
        if (decimals <= 18) {
            assertEq(wad, int256(value) * int256(10 ** (18 - decimals)));
            return;
        }
        // |wad · divisor − value| is at most half a divisor, and at half the wad is even.
        int256 divisor = int256(10 ** (decimals - 18));
        int256 twice = (wad * divisor - value) * 2;
        if (twice < 0) twice = -twice;
        assertLe(twice, divisor);
        if (twice == divisor) assertEq(wad % 2, 0);
    }

    function test_TiesGoToTheEvenWad() external view {
        int256[] memory values = new int256[](5);
        (values[0], values[1], values[2], values[3], values[4]) = (5, 15, 25, -5, -15);
        bytes memory packed = h.ints(DType.I8, 19, _shape(5), values);
        assertEq(h.toWad(packed, 0, 0), 0);
        assertEq(h.toWad(packed, 0, 1), 2);
        assertEq(h.toWad(packed, 0, 2), 2);
        assertEq(h.toWad(packed, 0, 3), 0);
        assertEq(h.toWad(packed, 0, 4), -2);
    }

    function test_FloatsToWad() external {
        assertEq(h.toWad(_float(DType.F32, hex"bfc00000"), 0, 0), -1.5e18);
        assertEq(h.toWad(_float(DType.F16, hex"3c00"), 0, 0), 1e18);
        assertEq(h.toWad(_float(DType.F64, hex"3fb999999999999a"), 0, 0), 0.100000000000000006e18);
        assertEq(h.toWad(_float(DType.F64, hex"0000000000000001"), 0, 0), 0);
        // 2^195 · 1e18 is the last power of two that fits; 2^196 does not.
        assertEq(h.toWad(_float(DType.F64, hex"4c20000000000000"), 0, 0), int256(1e18) << 195);
        _expect(abi.encodeWithSelector(TensorError.WadOverflow.selector, 0x4c30000000000000));
        h.toWad(_float(DType.F64, hex"4c30000000000000"), 0, 0);
        _expect(abi.encodeWithSelector(TensorError.WadOverflow.selector, 0x7fefffffffffffff));
        h.toWad(_float(DType.F64, hex"7fefffffffffffff"), 0, 0);
        _expect(abi.encodeWithSelector(TensorError.NotFinite.selector, 0x7f800000));
        h.toWad(_float(DType.F32, hex"7f800000"), 0, 0);
        _expect(abi.encodeWithSelector(TensorError.NotFinite.selector, 0xfe00));
        h.toWad(_float(DType.F16, hex"fe00"), 0, 0);
    }

    function testFuzz_TheLargestIsTheFirstOfTheLargest(uint256 seed, uint8 t) external view {
        DType dtype = DType(bound(t, 1, 10));
        uint256 n = bound(seed, 1, 20);
        int256[] memory values = new int256[](n);
        uint256 winner;
        for (uint256 i; i < n; ++i) {
            // Few distinct values, so that many are equal.
            values[i] = _value(dtype, uint256(keccak256(abi.encode(seed, i))) % 4 * 0x5555555555555555555555555555);
            if (values[i] > values[winner]) winner = i;
        }
        assertEq(h.argmax(h.ints(dtype, 0, _shape(n), values), 0), winner);
    }

    function test_TheLargestOfFloatsMindsSignsZerosAndInfinities() external {
        // −0, +0: equal, so the first. −2, −1, −inf, then 1, inf.
        assertEq(h.argmax(_floats(hex"8000000000000000"), 0), 0);
        assertEq(h.argmax(_floats(hex"c0000000bf800000ff800000"), 0), 1);
        assertEq(h.argmax(_floats(hex"3f8000007f80000040000000"), 0), 1);
        _expect(abi.encodeWithSelector(TensorError.NotFinite.selector, 0x7f800001));
        h.argmax(_floats(hex"3f8000007f800001"), 0);
        _expect(abi.encodeWithSelector(TensorError.NoElements.selector));
        h.argmax(_floats(""), 0);
    }

    function test_WhatIsNotThereIsRefused() external {
        bytes[] memory lists = new bytes[](2);
        lists[0] = h.ints(DType.I16, 0, _shape(2), new int256[](2));
        lists[1] = h.strings(new uint256[](0), new string[](1));
        bytes memory packed = h.pack(lists);
        _expect(abi.encodeWithSelector(TensorError.NoSuchTensor.selector, 2, 2));
        h.intAt(packed, 2, 0);
        _expect(abi.encodeWithSelector(TensorError.NoSuchElement.selector, 2, 2));
        h.intAt(packed, 0, 2);
        _expect(abi.encodeWithSelector(TensorError.NoSuchElement.selector, type(uint256).max, 2));
        h.bitsAt(packed, 0, type(uint256).max);
        _expect(abi.encodeWithSelector(TensorError.NoSuchElement.selector, 1, 1));
        h.stringAt(packed, 1, 1);
        _expect(abi.encodeWithSelector(TensorError.WrongType.selector, DType.String));
        h.intAt(packed, 1, 0);
        _expect(abi.encodeWithSelector(TensorError.WrongType.selector, DType.String));
        h.bitsAt(packed, 1, 0);
        _expect(abi.encodeWithSelector(TensorError.WrongType.selector, DType.String));
        h.toWad(packed, 1, 0);
        _expect(abi.encodeWithSelector(TensorError.WrongType.selector, DType.String));
        h.argmax(packed, 1);
        _expect(abi.encodeWithSelector(TensorError.WrongType.selector, DType.I16));
        h.stringAt(packed, 0, 0);
        _expect(abi.encodeWithSelector(TensorError.WrongType.selector, DType.F32));
        h.intAt(_floats(hex"3f800000"), 0, 0);
        _expect(abi.encodeWithSelector(TensorError.WrongType.selector, DType.Bool));
        h.toWad(hex"010e000001", 0, 0);
        _expect(abi.encodeWithSelector(TensorError.InvalidBool.selector));
        h.intAt(hex"010e000002", 0, 0);
        _expect(abi.encodeWithSelector(TensorError.InvalidUtf8.selector));
        h.stringAt(hex"010f000000000001ff", 0, 0);
        _expect(abi.encodeWithSelector(TensorError.Truncated.selector));
        h.count("");
        _expect(abi.encodeWithSelector(TensorError.Truncated.selector));
        h.intAt("", 0, 0);
        _expect(abi.encodeWithSelector(TensorError.TooManyTensors.selector, 65, 64));
        h.count(hex"41");
    }

    // ---------------------------------------------------------------------------------------------- building

    function test_WhatDoesNotFitIsNotBuilt() external {
        int256[] memory one = new int256[](1);
        one[0] = 128;
        _expect(abi.encodeWithSelector(TensorError.OutOfRange.selector, DType.I8));
        h.ints(DType.I8, 0, _shape(1), one);
        one[0] = -129;
        _expect(abi.encodeWithSelector(TensorError.OutOfRange.selector, DType.I8));
        h.ints(DType.I8, 0, _shape(1), one);
        one[0] = -1;
        _expect(abi.encodeWithSelector(TensorError.OutOfRange.selector, DType.U128));
        h.ints(DType.U128, 0, _shape(1), one);
        one[0] = 2;
        _expect(abi.encodeWithSelector(TensorError.OutOfRange.selector, DType.Bool));
        h.ints(DType.Bool, 0, _shape(1), one);
        _expect(abi.encodeWithSelector(TensorError.WrongType.selector, DType.F32));
        h.ints(DType.F32, 0, _shape(1), one);
        _expect(abi.encodeWithSelector(TensorError.WrongType.selector, DType.String));
        h.raw(DType.String, 0, _shape(1), hex"00000000");
        _expect(abi.encodeWithSelector(TensorError.UnknownType.selector, 0));
        h.ints(DType.Invalid, 0, _shape(1), one);
        _expect(abi.encodeWithSelector(TensorError.UnknownType.selector, 16));
        h.raw(DType.BF16, 0, _shape(2), hex"0000");
        _expect(abi.encodeWithSelector(TensorError.DecimalsOutOfRange.selector, 37, 36));
        h.ints(DType.I8, 37, _shape(1), one);
        _expect(abi.encodeWithSelector(TensorError.DecimalsOutOfRange.selector, 1, 0));
        h.raw(DType.F16, 1, _shape(1), hex"0000");
        _expect(abi.encodeWithSelector(TensorError.SizeMismatch.selector, 1, 2));
        h.ints(DType.I8, 0, _shape(2), one);
        _expect(abi.encodeWithSelector(TensorError.SizeMismatch.selector, 33, 32));
        h.words(DType.I8, 0, _shape(1), new bytes(33));
        _expect(abi.encodeWithSelector(TensorError.SizeMismatch.selector, 5, 4));
        h.raw(DType.F32, 0, _shape(1), new bytes(5));
        _expect(abi.encodeWithSelector(TensorError.SizeMismatch.selector, 1, 0));
        h.strings(_shape(0), new string[](1));
        _expect(abi.encodeWithSelector(TensorError.RankTooLarge.selector, 9, 8));
        h.raw(DType.U8, 0, new uint256[](9), "");
        _expect(abi.encodeWithSelector(TensorError.DimensionTooLarge.selector, type(uint32).max));
        h.raw(DType.U8, 0, _shape(1 << 32), "");
        _expect(abi.encodeWithSelector(TensorError.InvalidBool.selector));
        h.raw(DType.Bool, 0, _shape(2), hex"0102");
        string[] memory bad = new string[](1);
        bad[0] = string(bytes(hex"c3"));
        _expect(abi.encodeWithSelector(TensorError.InvalidUtf8.selector));
        h.strings(_shape(1), bad);
        bytes[] memory lists = new bytes[](65);
        for (uint256 i; i < 65; ++i) {
            lists[i] = h.raw(DType.U8, 0, _shape(0), "");
        }
        _expect(abi.encodeWithSelector(TensorError.TooManyTensors.selector, 65, 64));
        h.pack(lists);
        _expect(abi.encodeWithSelector(TensorError.Truncated.selector));
        h.pack(new bytes[](1));
    }

    function test_DimsOfEveryLength() external view {
        assertEq(h.sampleDims(0), new uint256[](0));
        uint256[] memory expected = new uint256[](4);
        (expected[0], expected[1], expected[2], expected[3]) = (7, 8, 9, 10);
        for (uint256 rank = 4; rank != 0; --rank) {
            assertEq(h.sampleDims(rank), expected);
            assembly ("memory-safe") {
                mstore(expected, sub(rank, 1))
            }
        }
    }

    // ----------------------------------------------------------------------------------------------- private

    /// @dev One to three dims of 0 to 4.
    function _dims(uint256 seed) private pure returns (uint256[] memory dims, uint256 n) {
        dims = new uint256[](seed % 4);
        n = 1;
        for (uint256 i; i < dims.length; ++i) {
            dims[i] = uint256(keccak256(abi.encode("dim", seed, i))) % 5;
            n *= dims[i];
        }
    }

    /// @dev A list of an integer, a bool, a float and a string tensor, of random content.
    function _sample(uint256 seed) private view returns (bytes memory) {
        bytes[] memory lists = new bytes[](4);
        DType dtype = DType(1 + seed % 10);
        int256[] memory values = new int256[](3);
        for (uint256 i; i < 3; ++i) {
            values[i] = _value(dtype, uint256(keccak256(abi.encode(seed, i))));
        }
        lists[0] = h.ints(dtype, seed % 37, _shape(3), values);
        lists[1] = h.raw(DType.Bool, 0, _shape(2), hex"0100");
        lists[2] = h.raw(DType.F32, 0, _shape(1), abi.encodePacked(uint32(seed)));
        string[] memory texts = new string[](2);
        (texts[0], texts[1]) = ("", unicode"né€🦊");
        lists[3] = h.strings(_shape(2), texts);
        return h.pack(lists);
    }

    function _value(DType dtype, uint256 random) private pure returns (int256) {
        bool signed = dtype <= DType.I128;
        uint256 bits = 8 << ((uint256(dtype) - 1) % 5);
        uint256 low = random & ((1 << bits) - 1);
        return signed && low >> (bits - 1) == 1 ? int256(low) - int256(1 << bits) : int256(low);
    }

    function _shape(uint256 n) private pure returns (uint256[] memory dims) {
        dims = new uint256[](1);
        dims[0] = n;
    }

    function _float(DType dtype, bytes memory bits) private pure returns (bytes memory) {
        return Tensor.raw(dtype, 0, Tensor.dims(), bits);
    }

    function _floats(bytes memory bits) private pure returns (bytes memory) {
        return Tensor.raw(DType.F32, 0, Tensor.dims(bits.length / 4), bits);
    }

    function _expect(bytes memory reason) private {
        vm.expectRevert(reason);
    }

    function _refusal(bytes memory call) private view returns (bytes4) {
        (bool ok, bytes memory reason) = address(h).staticcall(call);
        assertFalse(ok);
        return bytes4(reason);
    }

    /// @dev Malformed bytes get one of these, never a panic.
    function _assertRefusal(bytes memory reason) private pure {
        bytes4 s = bytes4(reason);
        assertTrue(
            s == TensorError.Truncated.selector || s == TensorError.TrailingBytes.selector
                || s == TensorError.TooManyTensors.selector || s == TensorError.UnknownType.selector
                || s == TensorError.DecimalsOutOfRange.selector || s == TensorError.RankTooLarge.selector
                || s == TensorError.InvalidBool.selector || s == TensorError.InvalidUtf8.selector
        );
    }
}
