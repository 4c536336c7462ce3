// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Ledger} from "../base/Ledger.sol";
import {IInferenceConsumer} from "../interfaces/IInferenceConsumer.sol";
import {IInferenceCoordinator} from "../interfaces/IInferenceCoordinator.sol";
import {AskChecks} from "../libraries/AskChecks.sol";
import {ExactCall} from "../libraries/ExactCall.sol";
import {RequestFields, RequestLib} from "../libraries/RequestLib.sol";
import {Tensor} from "../libraries/Tensor.sol";
import {Feature, IErrors} from "../types/Errors.sol";
import {Ask, InputKind, Level, Outcome, Request, Result} from "../types/Request.sol";

/// @title A coordinator for your own tests, in which you are the node
/// @notice `request`, `redeliver`, `refund` and the ledger behave as the real ones do, with the same ids, events and errors.
/// You do what the network does: `answer`, `fail` or `expire` a request at any time, in its own block too.
/// Every model but zero is known and has a seat. Consumers take it as `IInferenceCoordinator(address(mock))`.
/// @dev Warning: a test tool. It holds no node to anything, and anybody may answer.
contract MockInferenceCoordinator is Ledger {
    using RequestLib for Request;

    uint256 private constant OPEN = 1;
    uint256 private constant FULFILLED = 2;
    uint256 private constant DELIVERED = 4;
    uint256 private constant REFUNDED = 16;
    /// @dev Gas between the check of an answer's gas and its callback, at most: the mock stores answers, per byte of output.
    uint256 private constant RECORDING = 400_000;
    uint256 private constant RECORDING_PER_BYTE = 1_000;

    uint256 public constant MAX_INPUT = 131_072;
    uint256 public constant MAX_CALLBACK_GAS = 2_000_000;
    uint256 public constant MAX_QUORUM = 16;
    uint256 public constant MIN_DEADLINE = 2;
    uint256 public constant MAX_DEADLINE = 8_000;
    uint256 public constant VESTING = 600;

    mapping(bytes32 requestId => uint256) public statusOf;
    /// @notice Id of the newest request; zero if there was none.
    bytes32 public lastRequestId;

    mapping(bytes32 requestId => Request) private _requests;
    mapping(bytes32 requestId => Result) private _results;
    mapping(bytes32 requestId => bytes) private _outputs;
    /// @notice Packed tensors of a request.
    mapping(bytes32 requestId => bytes) public inputOf;
    uint256 private _callbackGas;
    bool private _callbackWasCold;

    /// @notice The callback reverted with `reason`, or ran out of its gas if that is empty. The real coordinator keeps
    /// the answer for redelivery instead, and so does `tryAnswer`.
    error CallbackFailed(bytes32 requestId, bytes reason);
    /// @notice `Ok` is no failure: `answer` brings an output.
    error NotAFailure();
    /// @notice The newest callback was cheaper than on a chain, because the test touched the consumer in the same transaction;
    /// or there was no callback. Run the test with `isolate`.
    error NotIsolated();

    /// @notice As `IInferenceCoordinator.request`.
    function request(Ask calldata ask, bytes calldata input) external payable returns (bytes32 requestId) {
        _checkAsk(ask);
        if (ask.modelId == 0) revert IErrors.UnknownModel(0);
        if (input.length > MAX_INPUT) revert IInferenceCoordinator.InputTooLarge(input.length, MAX_INPUT);
        uint256 sum = uint256(ask.fee) + ask.submitFee;
        if (msg.value != 0) {
            if (msg.value != sum) revert IInferenceCoordinator.WrongPayment(msg.value, sum);
        } else if (sum != 0) {
            _draw(ask.refundTo, msg.sender, sum);
        }
        Request memory r = Request({
            modelId: ask.modelId,
            inputHash: keccak256(input),
            origin: 0,
            escrow: RequestLib.packAmount(ask.refundTo, ask.fee),
            payment: RequestLib.packAmount(ask.token, ask.submitFee),
            terms: RequestLib.packTerms(ask, block.number, 1)
        });
        // The smallest nonce under which the id is new.
        for (uint64 nonce = 0; requestId == 0 || statusOf[requestId] != 0; ++nonce) {
            r.origin = RequestLib.packOrigin(msg.sender, nonce, 1);
            requestId = RequestLib.idOf(r);
        }
        statusOf[requestId] = OPEN;
        _requests[requestId] = r;
        inputOf[requestId] = input;
        lastRequestId = requestId;
        emit IInferenceCoordinator.Requested(
            requestId, msg.sender, ask.modelId, r.origin, r.escrow, r.payment, r.terms, input
        );
    }

    // ------------------------------------------------------------------------------------------ you are the node

    /// @notice Answers a request. Reverts `CallbackFailed` if the consumer does not take it.
    /// @param output Packed tensors; like a node, the mock brings none that are not canonical.
    function answer(bytes32 requestId, bytes calldata output) public {
        _strict(requestId, Outcome.Ok, output);
    }

    function answerLast(bytes calldata output) external {
        answer(lastRequestId, output);
    }

    /// @notice Answers a request with a failure, which has no output. Reverts `CallbackFailed` if the consumer does not take it.
    function fail(bytes32 requestId, Outcome outcome) public {
        if (outcome == Outcome.Ok) revert NotAFailure();
        _strict(requestId, outcome, "");
    }

    function failLast(Outcome outcome) external {
        fail(lastRequestId, outcome);
    }

    /// @notice Answers as the real coordinator does: a callback that fails is an event, and its answer can be redelivered.
    /// @return delivered Whether the callback succeeded.
    /// @return reason Revert data of the callback.
    function tryAnswer(bytes32 requestId, Outcome outcome, bytes memory output)
        public
        locked
        returns (bool delivered, bytes memory reason)
    {
        Request memory r = _open(requestId);
        uint256 deadline = RequestLib.unpack(r).requestBlock + RequestLib.unpack(r).deadlineBlocks;
        if (block.number > deadline) revert IInferenceCoordinator.DeadlinePassed(block.number, deadline);
        if (outcome == Outcome.Ok) Tensor.validateMemory(output);
        else if (output.length != 0) revert IInferenceCoordinator.UnexpectedOutput();

        uint32 gasLimit = RequestLib.unpack(r).callbackGasLimit;
        if (gasLimit != 0) _needGas(ExactCall.needed(gasLimit) + RECORDING + RECORDING_PER_BYTE * output.length);

        Result memory result = Result(r, outcome, keccak256(output), abi.encodePacked(uint32(0)), uint64(block.number));
        _results[requestId] = result;
        _outputs[requestId] = output;
        statusOf[requestId] = _hash(result) | FULFILLED | (gasLimit == 0 ? 0 : DELIVERED);
        // One signer, on seat 0.
        emit IInferenceCoordinator.Fulfilled(requestId, abi.encodePacked(outcome, uint8(1), result.seats, output));
        if (gasLimit != 0) return _deliver(r, requestId, outcome, output, gasLimit);
    }

    /// @notice Refunds a request as if its deadline had passed.
    function expire(bytes32 requestId) external locked {
        _refund(requestId);
    }

    function expireLast() external locked {
        _refund(lastRequestId);
    }

    // ------------------------------------------------------------------- what a consumer may call besides `request`

    /// @notice As `IInferenceCoordinator.redeliver`; `resultOf` and `outputOf` give its arguments.
    function redeliver(Result calldata result, bytes calldata output, uint32 gasLimit)
        external
        locked
        returns (bool delivered)
    {
        bytes32 requestId = result.request.id();
        uint32 least = result.request.callbackGasLimit();
        if (!isResult(result) || keccak256(output) != result.outputCommitment) {
            revert IInferenceCoordinator.ResultMismatch(requestId);
        }
        if (least == 0) revert IInferenceCoordinator.NoCallback(requestId);
        if (statusOf[requestId] & DELIVERED != 0) revert IInferenceCoordinator.AlreadyDelivered(requestId);
        if (gasLimit < least) revert IInferenceCoordinator.InsufficientGas(gasLimit, least);
        uint256 vestingBlock = result.fulfilledAt + VESTING;
        if (msg.sender != result.request.consumer() && block.number > vestingBlock) {
            revert IInferenceCoordinator.NotConsumer(msg.sender);
        }
        statusOf[requestId] |= DELIVERED;
        (delivered,) = _deliver(result.request, requestId, result.outcome, output, gasLimit);
        if (delivered) emit IInferenceCoordinator.Redelivered(requestId);
    }

    /// @notice As `IInferenceCoordinator.refund`: only after the deadline.
    function refund(Request calldata r) external locked {
        bytes32 requestId = r.id();
        if (statusOf[requestId] != OPEN) revert IInferenceCoordinator.NotOpen(requestId);
        if (block.number <= r.deadline()) {
            revert IInferenceCoordinator.DeadlineNotPassed(block.number, r.deadline());
        }
        _refund(requestId);
    }

    function isResult(Result calldata result) public view returns (bool) {
        uint256 word = statusOf[result.request.id()];
        return word & FULFILLED != 0 && word >> 8 == _hash(result) >> 8;
    }

    function requestIdOf(Request calldata r) external view returns (bytes32) {
        return r.id();
    }

    /// @notice The six words of a request.
    function requestOf(bytes32 requestId) external view returns (Request memory) {
        return _requests[requestId];
    }

    /// @notice The fields of a request by name, to assert on.
    function fieldsOf(bytes32 requestId) external view returns (RequestFields memory) {
        return RequestLib.unpack(_requests[requestId]);
    }

    /// @notice The record of an answered request.
    function resultOf(bytes32 requestId) external view returns (Result memory) {
        return _results[requestId];
    }

    function outputOf(bytes32 requestId) external view returns (bytes memory) {
        return _outputs[requestId];
    }

    /// @notice Gas of the newest callback in a transaction of its own, and some 3,000 for the call itself: choose your callback gas
    /// limit above it.
    /// @dev The test needs forge's `isolate`, as in `test/examples/IrisClassifier.t.sol`, or this reverts `NotIsolated`. What a
    /// callback itself asks costs more here than on a chain, for the mock stores it.
    function lastCallbackGas() external view returns (uint256) {
        if (!_callbackWasCold) revert NotIsolated();
        return _callbackGas;
    }

    // ------------------------------------------------------------------------------------------------- private

    function _strict(bytes32 requestId, Outcome outcome, bytes memory output) private {
        (bool delivered, bytes memory reason) = tryAnswer(requestId, outcome, output);
        bool wanted = RequestLib.unpack(_requests[requestId]).callbackGasLimit != 0;
        if (wanted && !delivered) revert CallbackFailed(requestId, reason);
    }

    function _deliver(Request memory r, bytes32 requestId, Outcome outcome, bytes memory output, uint256 gasLimit)
        private
        returns (bool delivered, bytes memory reason)
    {
        address consumer = address(bytes20(r.origin));
        bytes memory call = abi.encodeCall(IInferenceConsumer.onInference, (requestId, outcome, output));
        _needGas(ExactCall.needed(gasLimit));
        uint256 before = gasleft();
        // The first look at an account in a transaction costs 2,600, each later one 100.
        bool cold = consumer.code.length != 0 && before - gasleft() > 2_500;
        (delivered, reason) = consumer.call{gas: gasLimit}(call);
        (_callbackGas, _callbackWasCold) = (before - gasleft(), cold);
        if (!delivered) {
            statusOf[requestId] &= ~DELIVERED;
            emit IInferenceCoordinator.DeliveryFailed(requestId, consumer);
        }
    }

    function _needGas(uint256 needed) private view {
        uint256 available = gasleft();
        if (available < needed) revert IInferenceCoordinator.InsufficientGas(available, needed);
    }

    function _refund(bytes32 requestId) private {
        RequestFields memory f = RequestLib.unpack(_open(requestId));
        statusOf[requestId] = REFUNDED;
        uint256 amount = uint256(f.fee) + f.submitFee;
        _credit(f.refundTo, amount);
        emit IInferenceCoordinator.Refunded(requestId, f.refundTo, amount);
    }

    function _open(bytes32 requestId) private view returns (Request memory) {
        if (statusOf[requestId] != OPEN) revert IInferenceCoordinator.NotOpen(requestId);
        return _requests[requestId];
    }

    function _hash(Result memory r) private pure returns (uint256) {
        return uint256(keccak256(abi.encodePacked(r.outcome, r.fulfilledAt, r.outputCommitment, r.seats))) << 8;
    }

    /// @dev The same checks as the coordinator's; a test compares the two.
    function _checkAsk(Ask calldata ask) private view {
        AskChecks.checkAccount(ask.refundTo);
        if (ask.inputKind != InputKind.Inline) revert IErrors.NotOffered(Feature.InputKind);
        if (ask.token != ETH) revert IErrors.NotOffered(Feature.Token);
        if (ask.level != Level.Fast) revert IErrors.NotOffered(Feature.Assured);
        if (ask.valueAtRisk != 0) revert IErrors.NotOffered(Feature.ValueAtRisk);
        if (ask.quorum == 0) revert IInferenceCoordinator.ZeroQuorum();
        if (ask.quorum > MAX_QUORUM) revert IInferenceCoordinator.QuorumTooLarge(ask.quorum, MAX_QUORUM);
        if (ask.quorum != 1) revert IErrors.NotOffered(Feature.Quorum);
        if (ask.deadlineBlocks < MIN_DEADLINE || ask.deadlineBlocks > MAX_DEADLINE) {
            revert IInferenceCoordinator.DeadlineOutOfRange(ask.deadlineBlocks, MIN_DEADLINE, MAX_DEADLINE);
        }
        if (ask.callbackGasLimit > MAX_CALLBACK_GAS) {
            revert IInferenceCoordinator.CallbackGasTooLarge(ask.callbackGasLimit, MAX_CALLBACK_GAS);
        }
        uint256 w = ask.outputWidth;
        bool known = w == 0 || w == 1 || w == 2 || w == 4 || w == 8 || w == 16;
        if (!known || ask.outputDecimals > (w == 0 ? 0 : 36)) {
            revert IInferenceCoordinator.InvalidOutputFormat(w, ask.outputDecimals);
        }
    }
}
