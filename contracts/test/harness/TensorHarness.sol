// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Tensor} from "../../src/libraries/Tensor.sol";
import {TensorView} from "../../src/libraries/TensorView.sol";
import {DType} from "../../src/types/DType.sol";

/// @notice A tensor taken apart: what differential tests compare.
struct Decoded {
    DType dtype;
    uint8 decimals;
    uint256[] shape;
    /// The elements' bits, right-aligned, strings as their bytes.
    bytes[] elements;
}

/// @title The tensor library as external functions
contract TensorHarness {
    function validate(bytes calldata packed) external pure {
        Tensor.validate(packed);
    }

    function validateMemory(bytes memory packed) external pure {
        Tensor.validateMemory(packed);
    }

    function count(bytes calldata packed) external pure returns (uint256) {
        return Tensor.count(packed);
    }

    function dtype(bytes calldata packed, uint256 tensor) external pure returns (DType) {
        return tensor == 0 ? Tensor.dtype(packed) : Tensor.dtype(packed, tensor);
    }

    function length(bytes calldata packed, uint256 tensor) external pure returns (uint256) {
        return tensor == 0 ? Tensor.length(packed) : Tensor.length(packed, tensor);
    }

    function shape(bytes calldata packed, uint256 tensor) external pure returns (uint256[] memory) {
        return tensor == 0 ? Tensor.shape(packed) : Tensor.shape(packed, tensor);
    }

    function intAt(bytes calldata packed, uint256 tensor, uint256 i) external pure returns (int256) {
        return tensor == 0 ? Tensor.intAt(packed, i) : Tensor.intAt(packed, tensor, i);
    }

    function bitsAt(bytes calldata packed, uint256 tensor, uint256 i) external pure returns (uint256) {
        return Tensor.open(packed, tensor).bitsAt(i);
    }

    function stringAt(bytes calldata packed, uint256 tensor, uint256 i) external pure returns (string memory) {
        return Tensor.open(packed, tensor).stringAt(i);
    }

    function toWad(bytes calldata packed, uint256 tensor, uint256 i) external pure returns (int256) {
        return tensor == 0 ? Tensor.toWad(packed, i) : Tensor.toWad(packed, tensor, i);
    }

    function argmax(bytes calldata packed, uint256 tensor) external pure returns (uint256) {
        return tensor == 0 ? Tensor.argmax(packed) : Tensor.argmax(packed, tensor);
    }

    /// @notice Validates and takes apart, from calldata.
    function decode(bytes calldata packed) external pure returns (Decoded[] memory tensors) {
        Tensor.validate(packed);
        tensors = new Decoded[](Tensor.count(packed));
        for (uint256 t; t < tensors.length; ++t) {
            tensors[t] = _decode(Tensor.open(packed, t));
        }
    }

    /// @notice The same from memory.
    function decodeMemory(bytes memory packed) external pure returns (Decoded[] memory tensors) {
        Tensor.validateMemory(packed);
        tensors = new Decoded[](uint8(packed[0]));
        for (uint256 t; t < tensors.length; ++t) {
            tensors[t] = _decode(Tensor.openMemory(packed, t));
        }
    }

    function ints(DType t, uint256 decimals, uint256[] memory dims, int256[] memory values)
        external
        pure
        returns (bytes memory)
    {
        return Tensor.ints(t, decimals, dims, values);
    }

    function words(DType t, uint256 decimals, uint256[] memory dims, bytes memory values)
        external
        pure
        returns (bytes memory)
    {
        return Tensor.ints(t, decimals, dims, values);
    }

    function raw(DType t, uint256 decimals, uint256[] memory dims, bytes memory elements)
        external
        pure
        returns (bytes memory)
    {
        return Tensor.raw(t, decimals, dims, elements);
    }

    function strings(uint256[] memory dims, string[] memory texts) external pure returns (bytes memory) {
        return Tensor.strings(dims, texts);
    }

    /// @notice The dims 7, 8, 9 and 10, as many of them as asked.
    function sampleDims(uint256 rank) external pure returns (uint256[] memory) {
        if (rank == 0) return Tensor.dims();
        if (rank == 1) return Tensor.dims(7);
        if (rank == 2) return Tensor.dims(7, 8);
        return rank == 3 ? Tensor.dims(7, 8, 9) : Tensor.dims(7, 8, 9, 10);
    }

    function pack(bytes[] memory lists) external pure returns (bytes memory) {
        return Tensor.pack(lists);
    }

    /// @notice Builds the list anew from what `decode` gives.
    function encode(Decoded[] memory tensors) external pure returns (bytes memory) {
        bytes[] memory lists = new bytes[](tensors.length);
        for (uint256 t; t < tensors.length; ++t) {
            Decoded memory d = tensors[t];
            if (d.dtype == DType.String) {
                string[] memory texts = new string[](d.elements.length);
                for (uint256 i; i < texts.length; ++i) {
                    texts[i] = string(d.elements[i]);
                }
                lists[t] = Tensor.strings(d.shape, texts);
            } else {
                bytes memory elements;
                for (uint256 i; i < d.elements.length; ++i) {
                    elements = bytes.concat(elements, d.elements[i]);
                }
                lists[t] = Tensor.raw(d.dtype, d.decimals, d.shape, elements);
            }
        }
        return Tensor.pack(lists);
    }

    function _decode(TensorView v) private pure returns (Decoded memory d) {
        (d.dtype, d.decimals, d.shape) = (v.dtype(), uint8(v.decimals()), v.shape());
        d.elements = new bytes[](v.length());
        for (uint256 i; i < d.elements.length; ++i) {
            d.elements[i] = v.dtype() == DType.String ? bytes(v.stringAt(i)) : _bytes(v.bitsAt(i), _width(v.dtype()));
        }
    }

    function _width(DType t) private pure returns (uint256) {
        if (t == DType.Bool) return 1;
        if (t >= DType.F16) return 2 << (uint256(t) - uint256(DType.F16));
        return 1 << ((uint256(t) - 1) % 5);
    }

    function _bytes(uint256 bits, uint256 width) private pure returns (bytes memory b) {
        b = new bytes(width);
        for (uint256 i = width; i > 0; --i) {
            b[i - 1] = bytes1(uint8(bits));
            bits >>= 8;
        }
    }
}
