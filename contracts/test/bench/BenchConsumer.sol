// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IrisClassifier} from "../../src/examples/IrisClassifier.sol";
import {IInferenceCoordinator} from "../../src/interfaces/IInferenceCoordinator.sol";
import {Tensor} from "../../src/libraries/Tensor.sol";
import {DType} from "../../src/libraries/TensorView.sol";
import {Ask} from "../../src/types/Request.sol";

/// @title The iris classifier with the other ways to ask, for gas figures and end-to-end tests
contract BenchConsumer is IrisClassifier {
    constructor(IInferenceCoordinator coordinator_, bytes32 modelId_) IrisClassifier(coordinator_, modelId_) {}

    /// @notice `classify` at the expense of an account that allows this contract.
    function classifyPrepaid(int32[4] calldata sizes, address payer, uint96 fee) external returns (bytes32) {
        return
            _requestPrepaid(modelId, Tensor.ints(DType.I32, 1, Tensor.dims(1, 4), abi.encodePacked(sizes)), payer, fee);
    }

    /// @notice Asks any model with packed tensors as they are.
    function ask(bytes32 model, bytes calldata input) external payable returns (bytes32) {
        return _request(model, input);
    }

    /// @notice The same at the expense of an account that allows this contract.
    function askPrepaid(bytes32 model, bytes calldata input, address payer, uint96 fee) external returns (bytes32) {
        return _requestPrepaid(model, input, payer, fee);
    }

    /// @notice Asks on any terms.
    function askOn(Ask calldata terms, bytes calldata input) external payable returns (bytes32) {
        return _request(terms, input);
    }
}
