// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Sortition} from "../../src/libraries/Sortition.sol";
import {Tensor} from "../../src/libraries/Tensor.sol";
import {DType} from "../../src/types/DType.sol";

/// @title What calls of the libraries cost inside a contract, without the call into it
contract LibraryGas {
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

    function rank(bytes32 seed, uint256 seat, uint256 n) external view returns (uint256 used, uint256 found) {
        uint256 before = gasleft();
        found = Sortition.rank(seed, seat, n);
        used = before - gasleft();
    }
}
