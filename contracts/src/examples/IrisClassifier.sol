// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {InferenceConsumer} from "../InferenceConsumer.sol";
import {IInferenceCoordinator} from "../interfaces/IInferenceCoordinator.sol";
import {Tensor} from "../libraries/Tensor.sol";
import {DType} from "../types/DType.sol";
import {Outcome} from "../types/Request.sol";

/// @title Names the species of an iris: the hello world of asking a model
contract IrisClassifier is InferenceConsumer {
    enum Species {
        Unknown,
        Setosa,
        Versicolor,
        Virginica
    }

    struct Classification {
        Species species;
        uint48 atBlock;
    }

    bytes32 public immutable modelId;
    /// @notice The newest request: only its answer is kept. Until it arrives, `latest` belongs to an earlier request.
    bytes32 public latestRequest;
    Classification public latest;

    constructor(IInferenceCoordinator coordinator_, bytes32 modelId_) InferenceConsumer(coordinator_) {
        modelId = modelId_;
    }

    /// @param sizes Length and width of a sepal, then of a petal, in millimetres; the model counts centimetres.
    function classify(int32[4] calldata sizes) external payable returns (bytes32 requestId) {
        bytes memory elements = abi.encodePacked(sizes[0], sizes[1], sizes[2], sizes[3]);
        requestId = _request(modelId, Tensor.raw(DType.I32, 1, Tensor.dims(1, 4), elements));
        latestRequest = requestId;
    }

    function _onInference(bytes32 requestId, Outcome outcome, bytes calldata output) internal override {
        // Answers may arrive in another order than their requests.
        if (requestId != latestRequest) return;
        Species species = outcome == Outcome.Ok ? Species(Tensor.argmax(output) + 1) : Species.Unknown;
        latest = Classification(species, uint48(block.number));
    }
}
