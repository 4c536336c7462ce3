// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IInferenceCoordinator} from "../../src/interfaces/IInferenceCoordinator.sol";
import {Tensor} from "../../src/libraries/Tensor.sol";
import {DType} from "../../src/libraries/TensorView.sol";

/// @title The least that a request can cost: the same calldata in, the same event out, and nothing stored
contract RequestFloor {
    function classify(int32[4] calldata sizes) external payable {
        bytes memory input = Tensor.ints(DType.I32, 1, Tensor.dims(1, 4), abi.encodePacked(sizes));
        bytes32 word = bytes32(type(uint256).max);
        emit IInferenceCoordinator.Requested(word, msg.sender, word, word, word, word, word, input);
    }
}
