// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {DType} from "../types/DType.sol";
import {TensorError} from "./TensorError.sol";
import {TensorUtf8} from "./TensorUtf8.sol";

/// @notice One tensor where it lies, in calldata or memory: what it is and where its elements are. It fits a word and
/// copies nothing. `Tensor.open` makes it; its header and extent are checked by then.
/// @dev From the highest bit: number of elements 64 · in memory 8 · dtype 8 · decimals 8 · rank 8 · pointer to the
/// elements 160. The dims lie right before the elements. A type of its own, as `RequestBuffer` is: no other number passes
/// for it, and its functions are found on it.
type TensorView is uint256;

using TensorReader for TensorView global;

/// @title Reading one tensor
library TensorReader {
    uint256 internal constant MAX_RANK = 8;
    uint256 internal constant MAX_DECIMALS = 36;

    uint256 private constant ONES = 0x0101010101010101010101010101010101010101010101010101010101010101;

    function dtype(TensorView v) internal pure returns (DType) {
        return DType(_code(v));
    }

    function decimals(TensorView v) internal pure returns (uint256) {
        return (TensorView.unwrap(v) >> 168) & 0xff;
    }

    function rank(TensorView v) internal pure returns (uint256) {
        return (TensorView.unwrap(v) >> 160) & 0xff;
    }

    /// @notice The number of elements.
    function length(TensorView v) internal pure returns (uint256) {
        return TensorView.unwrap(v) >> 192;
    }

    /// @notice The dims, outermost first.
    function shape(TensorView v) internal pure returns (uint256[] memory dims) {
        unchecked {
            dims = new uint256[](rank(v));
            uint256 packed = load(_pointer(v) - 4 * dims.length, _inMemory(v));
            for (uint256 i; i < dims.length; ++i) {
                dims[i] = packed >> 224;
                packed <<= 32;
            }
        }
    }

    /// @notice Element `i` of an integer tensor as it is stored, without its decimals; 0 or 1 of a bool tensor.
    function intAt(TensorView v, uint256 i) internal pure returns (int256 value) {
        if (i >= length(v)) revert TensorError.NoSuchElement(i, length(v));
        unchecked {
            uint256 code = _code(v);
            uint256 width = log2Width(code);
            uint256 word = load(_pointer(v) + (i << width), _inMemory(v));
            uint256 down = 256 - (8 << width);
            if (code <= uint256(DType.I128)) return int256(word) >> down;
            if (code <= uint256(DType.U128)) return int256(word >> down);
            if (code != uint256(DType.Bool)) revert TensorError.WrongType(DType(code));
            if (word >> 248 > 1) revert TensorError.InvalidBool();
            return int256(word >> 248);
        }
    }

    /// @notice The bits of element `i`, right-aligned. The only way to a float as it is stored.
    function bitsAt(TensorView v, uint256 i) internal pure returns (uint256) {
        uint256 code = _code(v);
        if (i >= length(v)) revert TensorError.NoSuchElement(i, length(v));
        if (code == uint256(DType.String)) revert TensorError.WrongType(DType.String);
        unchecked {
            return load(_pointer(v) + (i << log2Width(code)), _inMemory(v)) >> (256 - (8 << log2Width(code)));
        }
    }

    /// @notice Element `i` times 1e18, rounded half to even; of integers, fixed-point numbers and floats.
    /// @dev Reverts `NotFinite` for NaN and infinities, and `WadOverflow` where an f64 is too large for an int256.
    function toWad(TensorView v, uint256 i) internal pure returns (int256) {
        uint256 code = _code(v);
        if (code > uint256(DType.U128) && code != uint256(DType.Bool)) return _floatToWad(bitsAt(v, i), code);
        if (code == uint256(DType.Bool)) revert TensorError.WrongType(DType.Bool);
        int256 value = intAt(v, i);
        uint256 scale = decimals(v);
        unchecked {
            // |value| < 2^128 and 10^18 < 2^60: no overflow.
            if (scale <= 18) return value * int256(10 ** (18 - scale));
            uint256 divisor = 10 ** (scale - 18);
            uint256 magnitude = uint256(value < 0 ? -value : value);
            uint256 quotient = magnitude / divisor;
            uint256 twice = (magnitude % divisor) * 2;
            if (twice > divisor || (twice == divisor && quotient & 1 == 1)) ++quotient;
            return value < 0 ? -int256(quotient) : int256(quotient);
        }
    }

    /// @notice The index of the largest element, in row-major order; of equal ones the first.
    /// @dev Reverts `NoElements` if there is none, and `NotFinite` for NaN.
    function argmax(TensorView v) internal pure returns (uint256 winner) {
        unchecked {
            uint256 n = length(v);
            if (n == 0) revert TensorError.NoElements();
            uint256 code = _code(v);
            if (code > uint256(DType.U128)) return _floatArgmax(v, n, code);
            uint256 pointer = _pointer(v);
            uint256 step = 1 << log2Width(code);
            bool inMemory = _inMemory(v);
            // Elements compare as they lie, in the upper bits of a word; with the sign bit flipped signed ones do too.
            uint256 mask = ~(type(uint256).max >> (8 * step));
            uint256 flip = code <= uint256(DType.I128) ? 1 << 255 : 0;
            uint256 best;
            uint256 i;
            do {
                uint256 key = (load(pointer, inMemory) & mask) ^ flip;
                if (key > best) (best, winner) = (key, i);
                pointer += step;
            } while (++i != n);
        }
    }

    /// @notice Element `i` of a string tensor, copied.
    function stringAt(TensorView v, uint256 i) internal pure returns (string memory text) {
        if (_code(v) != uint256(DType.String)) revert TensorError.WrongType(DType(_code(v)));
        if (i >= length(v)) revert TensorError.NoSuchElement(i, length(v));
        unchecked {
            bool inMemory = _inMemory(v);
            uint256 pointer = _pointer(v);
            uint256 size = load(pointer, inMemory) >> 224;
            for (; i != 0; --i) {
                pointer += 4 + size;
                size = load(pointer, inMemory) >> 224;
            }
            pointer += 4;
            if (!TensorUtf8.isValid(pointer, pointer + size, inMemory)) revert TensorError.InvalidUtf8();
            text = new string(size);
            assembly ("memory-safe") {
                switch inMemory
                case 0 { calldatacopy(add(text, 32), pointer, size) }
                default { mcopy(add(text, 32), pointer, size) }
            }
        }
    }

    /// @dev Reads the tensor at `pointer`, which must not be past `end`, and checks its header and extent.
    /// @return v The tensor.
    /// @return next Where the next one begins.
    function parse(uint256 pointer, uint256 end, bool inMemory) internal pure returns (TensorView v, uint256 next) {
        uint256 head = load(pointer, inMemory);
        uint256 code;
        bool bad;
        assembly ("memory-safe") {
            code := byte(0, head)
            // Three bytes there; codes 1 to 15; 36 decimals for the integers, codes up to 10; rank 8.
            bad := or(gt(byte(1, head), mul(lt(code, 11), 36)), gt(byte(2, head), 8))
            bad := or(bad, or(gt(sub(code, 1), 14), gt(add(pointer, 3), end)))
        }
        if (bad) _refuse(head, end - pointer);
        uint256 last;
        uint256 n = 1;
        // The word holds the first seven dims; all eight fill another.
        uint256 dims = (head >> 232) & 0xff == 8 ? load(pointer + 3, inMemory) : head << 24;
        assembly ("memory-safe") {
            let rank_ := byte(2, head)
            next := add(pointer, add(3, shl(2, rank_)))
            // At most (2^32 − 1)^8 elements: no overflow.
            for {} rank_ { rank_ := sub(rank_, 1) } {
                n := mul(n, shr(224, dims))
                dims := shl(32, dims)
            }
            // A string takes four bytes at least.
            let width := byte(code, 0x0000010203040001020304010203000200000000000000000000000000000000)
            bad := or(gt(next, end), gt(n, shr(width, sub(end, next))))
            v := or(or(shl(192, n), shl(184, inMemory)), or(shl(160, shr(232, head)), next))
            last := add(next, shl(width, n))
        }
        if (bad) revert TensorError.Truncated();
        if (code != uint256(DType.String)) return (v, last);
        unchecked {
            for (; n != 0; --n) {
                if (end - next < 4) revert TensorError.Truncated();
                uint256 size = load(next, inMemory) >> 224;
                next += 4;
                if (end - next < size) revert TensorError.Truncated();
                next += size;
            }
        }
    }

    /// @dev Checks the elements that have rules of their own: bools and strings.
    function checkElements(TensorView v) internal pure {
        unchecked {
            uint256 code = _code(v);
            if (code < uint256(DType.Bool)) return;
            bool inMemory = _inMemory(v);
            uint256 pointer = _pointer(v);
            uint256 n = length(v);
            if (code == uint256(DType.Bool)) return checkBools(pointer, n, inMemory);
            for (; n != 0; --n) {
                uint256 size = load(pointer, inMemory) >> 224;
                pointer += 4 + size;
                if (!TensorUtf8.isValid(pointer - size, pointer, inMemory)) revert TensorError.InvalidUtf8();
            }
        }
    }

    function checkBools(uint256 pointer, uint256 n, bool inMemory) internal pure {
        unchecked {
            for (; n >= 32; n -= 32) {
                if (load(pointer, inMemory) & ~ONES != 0) revert TensorError.InvalidBool();
                pointer += 32;
            }
            // A shift by 256 leaves nothing, as it should for n = 0.
            if ((load(pointer, inMemory) & ~ONES) >> (256 - 8 * n) != 0) revert TensorError.InvalidBool();
        }
    }

    function checkHeader(uint256 code, uint256 scale, uint256 rank_) internal pure {
        if (code == 0 || code > uint256(DType.String)) revert TensorError.UnknownType(code);
        uint256 max = code <= uint256(DType.U128) ? MAX_DECIMALS : 0;
        if (scale > max) revert TensorError.DecimalsOutOfRange(scale, max);
        if (rank_ > MAX_RANK) revert TensorError.RankTooLarge(rank_, MAX_RANK);
    }

    /// @dev log2 of the bytes of an element; 0 for strings, which have none.
    function log2Width(uint256 code) internal pure returns (uint256 result) {
        assembly ("memory-safe") {
            result := byte(code, 0x0000010203040001020304010203000000000000000000000000000000000000)
        }
    }

    function load(uint256 pointer, bool inMemory) internal pure returns (uint256 word) {
        assembly ("memory-safe") {
            switch inMemory
            case 0 { word := calldataload(pointer) }
            default { word := mload(pointer) }
        }
    }

    function _refuse(uint256 head, uint256 available) private pure {
        if (available < 3) revert TensorError.Truncated();
        checkHeader(head >> 248, (head >> 240) & 0xff, (head >> 232) & 0xff);
    }

    function _code(TensorView v) private pure returns (uint256) {
        return (TensorView.unwrap(v) >> 176) & 0xff;
    }

    function _pointer(TensorView v) private pure returns (uint256) {
        return uint160(TensorView.unwrap(v));
    }

    function _inMemory(TensorView v) private pure returns (bool) {
        return (TensorView.unwrap(v) >> 184) & 1 != 0;
    }

    /// @dev IEEE 754: the bits of the exponent are all ones for NaN and infinities, zero for zero and subnormals.
    function _float(uint256 bits, uint256 code)
        private
        pure
        returns (bool negative, uint256 magnitude, uint256 infinity, uint256 fractionBits)
    {
        unchecked {
            uint256 sign = (8 << log2Width(code)) - 1;
            fractionBits = code == uint256(DType.F16) ? 10 : code == uint256(DType.F32) ? 23 : 52;
            negative = bits >> sign != 0;
            magnitude = bits & ((1 << sign) - 1);
            infinity = (1 << sign) - (1 << fractionBits);
        }
    }

    /// @dev An integer that is ordered as the floats are: their magnitudes compare like their bits.
    function _floatOrder(uint256 bits, uint256 code) private pure returns (int256) {
        (bool negative, uint256 magnitude, uint256 infinity,) = _float(bits, code);
        if (magnitude > infinity) revert TensorError.NotFinite(bits);
        unchecked {
            return negative ? -int256(magnitude) : int256(magnitude);
        }
    }

    function _floatArgmax(TensorView v, uint256 n, uint256 code) private pure returns (uint256 winner) {
        unchecked {
            if (code > uint256(DType.F64)) revert TensorError.WrongType(DType(code));
            int256 best = type(int256).min;
            for (uint256 i; i < n; ++i) {
                int256 key = _floatOrder(bitsAt(v, i), code);
                if (key > best) (best, winner) = (key, i);
            }
        }
    }

    function _floatToWad(uint256 bits, uint256 code) private pure returns (int256) {
        if (code == uint256(DType.String)) revert TensorError.WrongType(DType.String);
        (bool negative, uint256 magnitude, uint256 infinity, uint256 fractionBits) = _float(bits, code);
        if (magnitude >= infinity) revert TensorError.NotFinite(bits);
        unchecked {
            uint256 biased = magnitude >> fractionBits;
            uint256 significand = magnitude & ((1 << fractionBits) - 1);
            // Subnormals have the exponent of the smallest normals, and no hidden one.
            if (biased == 0) biased = 1;
            else significand |= 1 << fractionBits;
            // value = significand · 2^(biased − point); below 2^113 after scaling.
            uint256 point = (infinity >> (fractionBits + 1)) + fractionBits;
            uint256 scaled = significand * 1e18;
            uint256 result;
            if (biased >= point) {
                uint256 up = biased - point;
                result = scaled << up;
                if (up > 254 || result >> 255 != 0 || result >> up != scaled) revert TensorError.WadOverflow(bits);
            } else {
                uint256 down = point - biased;
                // 2^113 / 2^down is less than a half from 115 on.
                if (down < 115) {
                    result = scaled >> down;
                    uint256 rest = scaled & ((1 << down) - 1);
                    uint256 half = 1 << (down - 1);
                    if (rest > half || (rest == half && result & 1 == 1)) ++result;
                }
            }
            return negative ? -int256(result) : int256(result);
        }
    }
}
