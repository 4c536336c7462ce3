// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {InferenceConsumer} from "../../src/InferenceConsumer.sol";
import {IInferenceCoordinator} from "../../src/interfaces/IInferenceCoordinator.sol";
import {RequestLib} from "../../src/libraries/RequestLib.sol";
import {Tensor} from "../../src/libraries/Tensor.sol";
import {TensorView} from "../../src/libraries/TensorView.sol";
import {DType} from "../../src/types/DType.sol";
import {Ask, Outcome, Request, Result} from "../../src/types/Request.sol";

/// @notice The snippets of docs/guides/contract-author.md that are not in an example; a test holds the page to them.
contract GuideSnippets is InferenceConsumer {
    using RequestLib for Request;

    bytes32 public immutable modelId;
    int256 public sum;

    error WrongResult();

    constructor(IInferenceCoordinator coordinator_, bytes32 modelId_) InferenceConsumer(coordinator_) {
        modelId = modelId_;
    }

    function build(int32[4] calldata sizes, uint8[13] calldata codes, bytes calldata image, bytes4 floatBits)
        external
        pure
        returns (bytes[] memory built)
    {
        built = new bytes[](4);
        // An array of any integer type, each value checked: here four i32 with one decimal, 1 × 4.
        bytes memory a = Tensor.ints(DType.I32, 1, Tensor.dims(1, 4), abi.encodePacked(sizes));
        // Elements that are packed already: values of the element's own type, an image, the bits of a float.
        bytes memory b = Tensor.raw(DType.I32, 1, Tensor.dims(1, 2), abi.encodePacked(sizes[0], sizes[1]));
        bytes memory c = Tensor.raw(DType.U8, 0, Tensor.dims(1, 1, 8, 8), image);
        bytes memory d = Tensor.raw(DType.F32, 0, Tensor.dims(1), abi.encodePacked(floatBits));
        // Two inputs, in the model's order.
        bytes memory input = Tensor.pack(a, Tensor.ints(DType.U8, 0, Tensor.dims(1, 13), abi.encodePacked(codes)));
        (built[0], built[1], built[2], built[3]) = (input, b, c, d);
    }

    function read(bytes calldata output)
        external
        pure
        returns (uint256 winner, int256 first, int256 wad, int256 total)
    {
        winner = Tensor.argmax(output); // the index of the largest element
        first = Tensor.intAt(output, 0); // element 0 as it is stored: 1,000,000 is 1 with 6 decimals
        wad = Tensor.toWad(output, 0); // element 0 times 1e18, whatever its type and decimals
        TensorView scores = Tensor.open(output, 0); // opened once, read often
        for (uint256 i; i < scores.length(); ++i) {
            total += scores.toWad(i);
        }
    }

    function askLanguage(string calldata text) external payable returns (bytes32) {
        // `language/v1` reads rows of UTF-8 bytes: one row here.
        bytes memory row = Tensor.raw(DType.U8, 0, Tensor.dims(1, bytes(text).length), bytes(text));
        return _request(modelId, row);
    }

    function askText(string calldata text) external payable returns (bytes32) {
        // A model whose input is `BYTES` (strings in ONNX) takes texts as they are, here a batch of one.
        string[] memory texts = new string[](1);
        texts[0] = text;
        return _request(modelId, Tensor.strings(Tensor.dims(1), texts));
    }

    function readText(bytes calldata output) external pure returns (string memory text) {
        TensorView texts = Tensor.open(output, 0); // an output that is `BYTES`: strings, UTF-8 for certain
        text = texts.stringAt(0);
    }

    function askForMore(bytes memory input) external payable returns (bytes32) {
        Ask memory ask = _ask(modelId);
        (ask.outputWidth, ask.outputDecimals) = (16, 18); // float outputs as 16-byte integers of 18 decimals
        ask.callbackGasLimit = 250_000;
        ask.deadlineBlocks = 50;
        return _request(ask, input);
    }

    function askPrepaid(bytes memory input) external returns (bytes32) {
        // From the caller's balance in the coordinator: `deposit(caller)`, then `allow(thisContract, cap)`.
        return _requestPrepaid(modelId, input, msg.sender, 0.0001 ether);
    }

    function askWithoutCallback(bytes memory input) external payable returns (bytes32) {
        Ask memory ask = _ask(modelId);
        ask.callbackGasLimit = 0;
        return _request(ask, input);
    }

    function prove(Result calldata result, bytes calldata output) external {
        // Anybody may ask this model anything: only what this contract asked proves something here.
        if (result.request.consumer() != address(this) || result.request.modelId != modelId) revert WrongResult();
        if (!coordinator.isResult(result) || result.outcome != Outcome.Ok) revert WrongResult();
        if (keccak256(output) != result.outputCommitment) revert WrongResult();
        sum = Tensor.toWad(output, 0);
    }

    function _onInference(bytes32, Outcome outcome, bytes calldata output) internal override {
        if (outcome == Outcome.Ok) sum = Tensor.toWad(output, 0);
    }
}
