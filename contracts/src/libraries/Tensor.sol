// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {DType} from "../types/DType.sol";
import {TensorError} from "./TensorError.sol";
import {TensorUtf8} from "./TensorUtf8.sol";
import {TensorReader, TensorView} from "./TensorView.sol";

/// @title Packed tensors: the one format of inputs and outputs
/// @notice Reads answers where they lie, and builds inputs. Bytes that are no packed tensors revert with a
/// `TensorError`, as does anything asked of them that they do not hold.
///
/// Reading, from calldata: `Tensor.argmax(output)`, `Tensor.intAt(output, 2)`, `Tensor.toWad(output, 0)`. Without a tensor's
/// index these read the first one. For many reads, or for bytes in memory, open a view once: `Tensor.open(output, 0)`,
/// `Tensor.openMemory(data, 0)`.
///
/// Building: `Tensor.ints(DType.I32, 1, Tensor.dims(1, 4), abi.encodePacked(centimetres))` takes an array of any integer type;
/// `Tensor.raw` takes elements that are packed already; `Tensor.pack(a, b)` joins tensors for a model with several inputs.
///
/// @dev Opening a tensor checks its header, its extent, and those of the tensors before it; of the last one also that
/// nothing follows. `validate` checks everything: what passes is the only encoding of its value.
library Tensor {
    uint256 internal constant MAX_TENSORS = 64;

    // ------------------------------------------------------------------------------------------------- reading

    /// @notice Tensor number `tensor`, in calldata.
    function open(bytes calldata packed, uint256 tensor) internal pure returns (TensorView) {
        uint256 start;
        assembly ("memory-safe") {
            start := packed.offset
        }
        return _open(start, packed.length, tensor, false);
    }

    /// @notice Tensor number `tensor`, in memory.
    function openMemory(bytes memory packed, uint256 tensor) internal pure returns (TensorView) {
        uint256 start;
        assembly ("memory-safe") {
            start := add(packed, 32)
        }
        return _open(start, packed.length, tensor, true);
    }

    /// @notice The number of tensors.
    function count(bytes calldata packed) internal pure returns (uint256) {
        if (packed.length == 0) revert TensorError.Truncated();
        return _checkCount(uint8(packed[0]));
    }

    /// @notice Element `i` of an integer tensor as it is stored, without its decimals; 0 or 1 of a bool tensor.
    function intAt(bytes calldata packed, uint256 i) internal pure returns (int256) {
        return open(packed, 0).intAt(i);
    }

    function intAt(bytes calldata packed, uint256 tensor, uint256 i) internal pure returns (int256) {
        return open(packed, tensor).intAt(i);
    }

    /// @notice Element `i` times 1e18, rounded half to even; of integers, fixed-point numbers and floats.
    function toWad(bytes calldata packed, uint256 i) internal pure returns (int256) {
        return open(packed, 0).toWad(i);
    }

    function toWad(bytes calldata packed, uint256 tensor, uint256 i) internal pure returns (int256) {
        return open(packed, tensor).toWad(i);
    }

    /// @notice The index of the largest element, in row-major order; of equal ones the first.
    function argmax(bytes calldata packed) internal pure returns (uint256) {
        return open(packed, 0).argmax();
    }

    function argmax(bytes calldata packed, uint256 tensor) internal pure returns (uint256) {
        return open(packed, tensor).argmax();
    }

    /// @notice The number of elements.
    function length(bytes calldata packed) internal pure returns (uint256) {
        return open(packed, 0).length();
    }

    function length(bytes calldata packed, uint256 tensor) internal pure returns (uint256) {
        return open(packed, tensor).length();
    }

    /// @notice The dims, outermost first.
    function shape(bytes calldata packed) internal pure returns (uint256[] memory) {
        return open(packed, 0).shape();
    }

    function shape(bytes calldata packed, uint256 tensor) internal pure returns (uint256[] memory) {
        return open(packed, tensor).shape();
    }

    function dtype(bytes calldata packed) internal pure returns (DType) {
        return open(packed, 0).dtype();
    }

    function dtype(bytes calldata packed, uint256 tensor) internal pure returns (DType) {
        return open(packed, tensor).dtype();
    }

    /// @notice Reverts unless the bytes are canonical packed tensors, to the last bool and UTF-8 sequence.
    function validate(bytes calldata packed) internal pure {
        uint256 start;
        assembly ("memory-safe") {
            start := packed.offset
        }
        _validate(start, packed.length, false);
    }

    function validateMemory(bytes memory packed) internal pure {
        uint256 start;
        assembly ("memory-safe") {
            start := add(packed, 32)
        }
        _validate(start, packed.length, true);
    }

    // ------------------------------------------------------------------------------------------------ building

    /// @notice The dims of a scalar.
    function dims() internal pure returns (uint256[] memory d) {}

    function dims(uint256 a) internal pure returns (uint256[] memory d) {
        assembly ("memory-safe") {
            d := mload(0x40)
            mstore(0x40, add(d, 0x40))
            mstore(d, 1)
            mstore(add(d, 0x20), a)
        }
    }

    function dims(uint256 a, uint256 b) internal pure returns (uint256[] memory d) {
        assembly ("memory-safe") {
            d := mload(0x40)
            mstore(0x40, add(d, 0x60))
            mstore(d, 2)
            mstore(add(d, 0x20), a)
            mstore(add(d, 0x40), b)
        }
    }

    function dims(uint256 a, uint256 b, uint256 c) internal pure returns (uint256[] memory d) {
        d = new uint256[](3);
        (d[0], d[1], d[2]) = (a, b, c);
    }

    function dims(uint256 a, uint256 b, uint256 c, uint256 e) internal pure returns (uint256[] memory d) {
        d = new uint256[](4);
        (d[0], d[1], d[2], d[3]) = (a, b, c, e);
    }

    /// @notice A tensor of integers, fixed-point numbers or bools, each checked against the dtype's range.
    /// @param scale Decimals: value = integer / 10^scale.
    /// @param d The dims, `Tensor.dims(1, 4)`; up to eight.
    /// @param words 32 bytes per element, which `abi.encodePacked` makes of an array of any integer type.
    function ints(DType t, uint256 scale, uint256[] memory d, bytes memory words)
        internal
        pure
        returns (bytes memory packed)
    {
        uint256 from;
        assembly ("memory-safe") {
            from := add(words, 32)
        }
        return _ints(t, scale, d, from, words.length);
    }

    function ints(DType t, uint256 scale, uint256[] memory d, int256[] memory values)
        internal
        pure
        returns (bytes memory packed)
    {
        uint256 from;
        assembly ("memory-safe") {
            from := add(values, 32)
        }
        return _ints(t, scale, d, from, values.length * 32);
    }

    /// @notice A tensor of elements that are packed already, big-endian: `abi.encodePacked(a, b)` of values of the
    /// element's own type, the bytes of an image, the bits of floats.
    function raw(DType t, uint256 scale, uint256[] memory d, bytes memory elements)
        internal
        pure
        returns (bytes memory packed)
    {
        if (t == DType.String) revert TensorError.WrongType(t);
        uint256 size = elements.length;
        uint256 width = TensorReader.log2Width(uint256(t));
        uint256 n = size >> width;
        if (n << width != size) revert TensorError.SizeMismatch(size, n << width);
        uint256 to;
        (packed, to) = _begin(t, scale, d, n, size);
        assembly ("memory-safe") {
            mcopy(to, add(elements, 32), size)
        }
        if (t == DType.Bool) TensorReader.checkBools(to, n, true);
    }

    /// @notice A tensor of strings, which must be UTF-8.
    function strings(uint256[] memory d, string[] memory texts) internal pure returns (bytes memory packed) {
        uint256 n = texts.length;
        uint256 size = 4 * n;
        for (uint256 i; i < n; ++i) {
            size += bytes(texts[i]).length;
        }
        uint256 to;
        (packed, to) = _begin(DType.String, 0, d, n, size);
        for (uint256 i; i < n; ++i) {
            bytes memory text = bytes(texts[i]);
            uint256 from;
            assembly ("memory-safe") {
                from := add(text, 32)
                mstore(to, shl(224, mload(text)))
                to := add(to, 4)
                mcopy(to, from, mload(text))
                to := add(to, mload(text))
            }
            if (!TensorUtf8.isValid(from, from + text.length, true)) revert TensorError.InvalidUtf8();
        }
    }

    /// @notice Joins tensors into one list, in order.
    /// @dev The arguments are lists made here; their counts add up, the rest is not looked at.
    function pack(bytes memory a, bytes memory b) internal pure returns (bytes memory packed) {
        bytes[] memory lists = new bytes[](2);
        (lists[0], lists[1]) = (a, b);
        return pack(lists);
    }

    function pack(bytes[] memory lists) internal pure returns (bytes memory packed) {
        uint256 tensors;
        uint256 size = 1;
        for (uint256 i; i < lists.length; ++i) {
            if (lists[i].length == 0) revert TensorError.Truncated();
            tensors += uint8(lists[i][0]);
            size += lists[i].length - 1;
        }
        packed = new bytes(size);
        packed[0] = bytes1(uint8(_checkCount(tensors)));
        uint256 to;
        assembly ("memory-safe") {
            to := add(packed, 33)
        }
        for (uint256 i; i < lists.length; ++i) {
            bytes memory list = lists[i];
            assembly ("memory-safe") {
                let n := sub(mload(list), 1)
                mcopy(to, add(list, 33), n)
                to := add(to, n)
            }
        }
    }

    // ------------------------------------------------------------------------------------------------- private

    function _open(uint256 start, uint256 size, uint256 tensor, bool inMemory) private pure returns (TensorView v) {
        unchecked {
            if (size == 0) revert TensorError.Truncated();
            uint256 tensors = _checkCount(TensorReader.load(start, inMemory) >> 248);
            if (tensor >= tensors) revert TensorError.NoSuchTensor(tensor, tensors);
            uint256 end = start + size;
            uint256 next = start + 1;
            uint256 i;
            do {
                (v, next) = TensorReader.parse(next, end, inMemory);
            } while (i++ != tensor);
            if (i == tensors && next != end) revert TensorError.TrailingBytes(end - next);
        }
    }

    function _validate(uint256 start, uint256 size, bool inMemory) private pure {
        unchecked {
            if (size == 0) revert TensorError.Truncated();
            uint256 end = start + size;
            uint256 next = start + 1;
            for (uint256 left = _checkCount(TensorReader.load(start, inMemory) >> 248); left != 0; --left) {
                TensorView v;
                (v, next) = TensorReader.parse(next, end, inMemory);
                v.checkElements();
            }
            if (next != end) revert TensorError.TrailingBytes(end - next);
        }
    }

    function _checkCount(uint256 tensors) private pure returns (uint256) {
        if (tensors > MAX_TENSORS) revert TensorError.TooManyTensors(tensors, MAX_TENSORS);
        return tensors;
    }

    function _ints(DType t, uint256 scale, uint256[] memory d, uint256 from, uint256 size)
        private
        pure
        returns (bytes memory packed)
    {
        unchecked {
            uint256 code = uint256(t);
            if (code > uint256(DType.U128) && t != DType.Bool) revert TensorError.WrongType(t);
            if (size & 31 != 0) revert TensorError.SizeMismatch(size, size & ~uint256(31));
            uint256 width = 1 << TensorReader.log2Width(code);
            uint256 to;
            (packed, to) = _begin(t, scale, d, size >> 5, (size >> 5) * width);
            // What is left of a value that does not fit, of all of them.
            uint256 excess;
            assembly ("memory-safe") {
                let up := sub(256, shl(3, width))
                let end := add(from, size)
                // Writes up to 31 bytes past the end, into the spare word that `_begin` allocates.
                switch lt(code, 6)
                case 0 {
                    let bits := shl(3, width)
                    if eq(code, 14) { bits := 1 }
                    for {} lt(from, end) { from := add(from, 32) } {
                        let value := mload(from)
                        excess := or(excess, shr(bits, value))
                        mstore(to, shl(up, value))
                        to := add(to, width)
                    }
                }
                default {
                    let top := sub(width, 1)
                    for {} lt(from, end) { from := add(from, 32) } {
                        let value := mload(from)
                        excess := or(excess, xor(value, signextend(top, value)))
                        mstore(to, shl(up, value))
                        to := add(to, width)
                    }
                }
            }
            if (excess != 0) revert TensorError.OutOfRange(t);
        }
    }

    /// @dev Allocates a list of one tensor and writes its header. The dims must make up `given` elements.
    /// @return packed The list; a spare word follows it.
    /// @return to Where its elements belong, `size` bytes.
    function _begin(DType t, uint256 scale, uint256[] memory d, uint256 given, uint256 size)
        private
        pure
        returns (bytes memory packed, uint256 to)
    {
        TensorReader.checkHeader(uint256(t), scale, d.length);
        uint256 n = 1;
        uint256 all;
        assembly ("memory-safe") {
            packed := mload(0x40)
            let rank := mload(d)
            to := add(packed, 32)
            mstore(to, or(or(shl(248, 1), shl(240, t)), or(shl(232, scale), shl(224, rank))))
            to := add(to, 4)
            let from := add(d, 32)
            for { let end := add(from, shl(5, rank)) } lt(from, end) { from := add(from, 32) } {
                let dim := mload(from)
                all := or(all, dim)
                n := mul(n, dim)
                mstore(to, shl(224, dim))
                to := add(to, 4)
            }
        }
        // At most (2^32 − 1)^8 elements then: the product has not overflowed.
        if (all > type(uint32).max) revert TensorError.DimensionTooLarge(type(uint32).max);
        if (n != given) revert TensorError.SizeMismatch(given, n);
        assembly ("memory-safe") {
            let end := add(to, size)
            mstore(packed, sub(sub(end, packed), 32))
            mstore(0x40, and(add(end, 63), not(31)))
        }
    }
}
