// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {TensorError} from "./TensorError.sol";
import {TensorUtf8} from "./TensorUtf8.sol";

/// @notice Element types, by their codes on the wire. Integers may have decimals: value = integer / 10^decimals.
enum DType {
    Invalid,
    I8,
    I16,
    I32,
    I64,
    I128,
    U8,
    U16,
    U32,
    U64,
    U128,
    F16,
    F32,
    F64,
    Bool,
    String,
    BF16
}

/// @notice One tensor where it lies, in calldata or memory: what it is and where its elements are. It fits a word and
/// copies nothing. `Tensor.open` makes it; its header and extent are checked by then.
/// @dev From the lowest bit: pointer to the elements 64 · number of elements 64 · rank 8 · decimals 8 · dtype 8 ·
/// in memory 1. The dims lie right before the elements.
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
        return (TensorView.unwrap(v) >> 136) & 0xff;
    }

    function rank(TensorView v) internal pure returns (uint256) {
        return (TensorView.unwrap(v) >> 128) & 0xff;
    }

    /// @notice The number of elements.
    function length(TensorView v) internal pure returns (uint256) {
        return (TensorView.unwrap(v) >> 64) & 0xffffffffffffffff;
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
    function intAt(TensorView v, uint256 i) internal pure returns (int256) {
        uint256 code = _code(v);
        uint256 bits = bitsAt(v, i);
        if (code <= uint256(DType.I128)) return _signed(bits, code);
        if (code > uint256(DType.U128) && code != uint256(DType.Bool)) revert TensorError.WrongType(DType(code));
        if (code == uint256(DType.Bool) && bits > 1) revert TensorError.InvalidBool();
        return int256(bits);
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
            if (code > uint256(DType.F64)) revert TensorError.WrongType(DType(code));
            uint256 pointer = _pointer(v);
            uint256 step = 1 << log2Width(code);
            bool inMemory = _inMemory(v);
            int256 best = type(int256).min;
            for (uint256 i; i < n; ++i) {
                uint256 bits = load(pointer, inMemory) >> (256 - 8 * step);
                int256 key = code <= uint256(DType.I128)
                    ? _signed(bits, code)
                    : code <= uint256(DType.U128) ? int256(bits) : _floatOrder(bits, code);
                if (key > best) (best, winner) = (key, i);
                pointer += step;
            }
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
        unchecked {
            if (end - pointer < 3) revert TensorError.Truncated();
            uint256 head = load(pointer, inMemory);
            uint256 code = head >> 248;
            uint256 scale = (head >> 240) & 0xff;
            uint256 rank_ = (head >> 232) & 0xff;
            checkHeader(code, scale, rank_);

            next = pointer + 3 + 4 * rank_;
            if (next > end) revert TensorError.Truncated();
            // At most (2^32 − 1)^8 elements: no overflow.
            uint256 n = 1;
            uint256 dims = load(pointer + 3, inMemory);
            for (uint256 i; i < rank_; ++i) {
                n *= dims >> 224;
                dims <<= 32;
            }
            uint256 width = code == uint256(DType.String) ? 2 : log2Width(code);
            if (n > (end - next) >> width) revert TensorError.Truncated();
            v = TensorView.wrap(next | n << 64 | rank_ << 128 | scale << 136 | code << 144 | (inMemory ? 1 << 152 : 0));
            if (code != uint256(DType.String)) return (v, next + (n << width));
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

    function _code(TensorView v) private pure returns (uint256) {
        return (TensorView.unwrap(v) >> 144) & 0xff;
    }

    function _pointer(TensorView v) private pure returns (uint256) {
        return TensorView.unwrap(v) & 0xffffffffffffffff;
    }

    function _inMemory(TensorView v) private pure returns (bool) {
        return TensorView.unwrap(v) >> 152 != 0;
    }

    function _signed(uint256 bits, uint256 code) private pure returns (int256 value) {
        uint256 top = (1 << log2Width(code)) - 1;
        assembly ("memory-safe") {
            value := signextend(top, bits)
        }
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
