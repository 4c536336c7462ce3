// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IInferenceConsumer} from "./interfaces/IInferenceConsumer.sol";
import {IInferenceCoordinator} from "./interfaces/IInferenceCoordinator.sol";
import {Ask, InputKind, Level, Outcome, Result} from "./types/Request.sol";

/// @title Base of contracts that ask models
/// @notice `_request` asks, `_onInference` gets the answer.
///
/// The caller of your function pays for `_request(modelId, input)`: the ETH attached is the fee, and if nobody answers it is
/// credited to the caller's balance in the coordinator. The fee of `_requestPrepaid` is drawn from a balance there: this
/// contract's own, or that of an account that allows this contract so much per request.
abstract contract InferenceConsumer is IInferenceConsumer {
    /// @notice The only contract that may call `onInference`.
    IInferenceCoordinator public immutable coordinator;

    /// @notice The caller is not the coordinator.
    error NotCoordinator(address caller);

    constructor(IInferenceCoordinator coordinator_) {
        coordinator = coordinator_;
    }

    /// @inheritdoc IInferenceConsumer
    function onInference(bytes32 requestId, Outcome outcome, bytes calldata output) external override {
        if (msg.sender != address(coordinator)) revert NotCoordinator(msg.sender);
        _onInference(requestId, outcome, output);
    }

    /// @notice Receives the answer to a request of this contract.
    /// @dev A failure is an answer too: read `outcome` before `output`, which is empty unless the outcome is `Ok`. If this
    /// reverts or runs out of gas, the answer stays on record. Anybody can redeliver it until its vesting block; after
    /// that block only this contract can, by `_redeliver`.
    /// @dev Warning: whoever carries the answer chooses the surroundings of this call, flash loans included. Read nothing
    /// here that others can move within a transaction.
    function _onInference(bytes32 requestId, Outcome outcome, bytes calldata output) internal virtual;

    /// @notice Asks at the caller's expense, on the terms of `_ask`: the ETH attached is the fee.
    /// @param input Packed tensors in the model's input order (see `Tensor`).
    function _request(bytes32 modelId, bytes memory input) internal returns (bytes32 requestId) {
        // `_ask` makes what is attached the fee, so there is nothing to check.
        return coordinator.request{value: msg.value}(_ask(modelId), input);
    }

    /// @notice Asks on your own terms: `Ask memory ask = _ask(modelId); ask.outputDecimals = 9; _request(ask, input)`.
    /// @dev `fee` and `submitFee` come from the ETH attached to this call, which must be their exact sum: else this reverts
    /// with `WrongPayment`. To the coordinator a request without ETH is a prepaid one, so a stranger who attached nothing
    /// would spend the balance of `ask.refundTo`. Where that is meant, call `coordinator.request(ask, input)`, and guard it.
    /// @dev Warning: a second request in the same call attaches the same sum again, out of this contract's own ETH.
    /// In `_onInference` the caller is the coordinator and attaches nothing: ask with `_requestPrepaid` there.
    function _request(Ask memory ask, bytes memory input) internal returns (bytes32 requestId) {
        uint256 sum = uint256(ask.fee) + ask.submitFee;
        if (msg.value != sum) revert IInferenceCoordinator.WrongPayment(msg.value, sum);
        return coordinator.request{value: msg.value}(ask, input);
    }

    /// @notice Asks at the expense of an account's balance in the coordinator, which also gets the refund.
    /// @dev `deposit` fills the balance of this contract; another account first calls `allow(thisContract, cap)`. This
    /// contract's balance leaves only by `coordinator.withdraw`, which this contract has to call.
    /// @dev Warning: whoever reaches this function spends that balance. Guard it.
    function _requestPrepaid(bytes32 modelId, bytes memory input, address payer, uint96 fee)
        internal
        returns (bytes32 requestId)
    {
        Ask memory ask = _ask(modelId);
        (ask.refundTo, ask.fee) = (payer, fee);
        return coordinator.request(ask, input);
    }

    /// @notice Delivers an answer of this contract whose callback failed, at any time, with a gas limit of its own.
    /// @dev The coordinator calls `onInference` within this call: a guard against re-entrancy that both share makes the
    /// delivery fail.
    /// @dev Warning: a function that exposes this needs an access rule. Whoever calls it chooses when a late answer arrives
    /// and what surrounds its callback; without a rule anybody could, for ever.
    /// @param result What the chain recorded; the coordinator refuses another (`ResultMismatch`).
    /// @param gasLimit Gas of the callback, at least what the request asked for.
    /// @return delivered Whether the callback succeeded this time.
    function _redeliver(Result calldata result, bytes calldata output, uint32 gasLimit)
        internal
        returns (bool delivered)
    {
        return coordinator.redeliver(result, output, gasLimit);
    }

    /// @notice Returns the usual terms: one signer; float outputs as 4-byte integers with 6 decimals, all of them; 100,000 gas
    /// for the callback; refundable after 300 blocks; the ETH attached is the fee, and its refund is the caller's.
    function _ask(bytes32 modelId) internal view returns (Ask memory ask) {
        // `request` refuses a fee it does not get, so a value above 2^96 wei, were it possible, would revert there.
        ask.modelId = modelId;
        ask.refundTo = msg.sender;
        ask.fee = uint96(msg.value);
        ask.callbackGasLimit = 100_000;
        ask.deadlineBlocks = 300;
        ask.outputWidth = 4;
        ask.outputDecimals = 6;
        ask.quorum = 1;
        ask.level = Level.Fast;
        ask.inputKind = InputKind.Inline;
    }
}
