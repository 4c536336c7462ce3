// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {InferenceConsumer} from "../../src/InferenceConsumer.sol";
import {IInferenceCoordinator} from "../../src/interfaces/IInferenceCoordinator.sol";
import {Tensor} from "../../src/libraries/Tensor.sol";
import {DType} from "../../src/types/DType.sol";
import {Ask, Outcome} from "../../src/types/Request.sol";

/// @title Asks any model in every way there is, for gas figures and end-to-end tests
/// @notice It does the one job of the benchmarks: it keeps the largest output and the block in one word, and writes nothing
/// when it asks. (`IrisClassifier` also writes which request is its newest.)
contract BenchConsumer is InferenceConsumer {
    struct Latest {
        uint208 largest;
        uint48 atBlock;
    }

    bytes32 public immutable modelId;
    Latest public latest;

    constructor(IInferenceCoordinator coordinator_, bytes32 modelId_) InferenceConsumer(coordinator_) {
        modelId = modelId_;
    }

    /// @notice The same call as `IrisClassifier.classify`.
    function classify(int32[4] calldata sizes) external payable returns (bytes32) {
        return _request(modelId, _pack(sizes));
    }

    /// @notice The same at the expense of an account that allows this contract.
    function classifyPrepaid(int32[4] calldata sizes, address payer, uint96 fee) external returns (bytes32) {
        return _requestPrepaid(modelId, _pack(sizes), payer, fee);
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

    function _onInference(bytes32, Outcome outcome, bytes calldata output) internal override {
        uint256 largest = outcome == Outcome.Ok ? Tensor.argmax(output) + 1 : 0;
        latest = Latest(uint208(largest), uint48(block.number));
    }

    function _pack(int32[4] calldata sizes) private pure returns (bytes memory) {
        bytes memory elements = abi.encodePacked(sizes[0], sizes[1], sizes[2], sizes[3]);
        return Tensor.raw(DType.I32, 1, Tensor.dims(1, 4), elements);
    }
}
