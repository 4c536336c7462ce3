// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IInferenceCoordinator} from "../interfaces/IInferenceCoordinator.sol";
import {Feature, IErrors} from "../types/Errors.sol";
import {Ask, InputKind, Level} from "../types/Request.sol";
import {ParameterBounds} from "./ParameterBounds.sol";

/// @title What a request may ask for, whatever its model
library AskChecks {
    uint256 private constant MIN_DEADLINE = 2;
    uint256 private constant MAX_DECIMALS = 36;
    /// @dev Bit w is set where w is an element width.
    uint256 private constant WIDTHS = 1 << 0 | 1 << 1 | 1 << 2 | 1 << 4 | 1 << 8 | 1 << 16;

    /// @notice Reverts with the first rule that is broken.
    function check(Ask calldata ask, uint256 maxQuorum, uint256 maxCallbackGas) internal view {
        checkAccount(ask.refundTo);
        if (ask.inputKind != InputKind.Inline) revert IErrors.NotOffered(Feature.InputKind);
        if (ask.token != address(0)) revert IErrors.NotOffered(Feature.Token);
        if (ask.level != Level.Fast) revert IErrors.NotOffered(Feature.Assured);
        if (ask.valueAtRisk != 0) revert IErrors.NotOffered(Feature.ValueAtRisk);
        if (ask.quorum != 1) {
            if (ask.quorum == 0) revert IInferenceCoordinator.ZeroQuorum();
            if (ask.quorum > maxQuorum) revert IInferenceCoordinator.QuorumTooLarge(ask.quorum, maxQuorum);
            revert IErrors.NotOffered(Feature.Quorum);
        }
        if (ask.deadlineBlocks < MIN_DEADLINE || ask.deadlineBlocks > ParameterBounds.MAX_DEADLINE) {
            revert IInferenceCoordinator.DeadlineOutOfRange(
                ask.deadlineBlocks, MIN_DEADLINE, ParameterBounds.MAX_DEADLINE
            );
        }
        if (ask.callbackGasLimit > maxCallbackGas) {
            revert IInferenceCoordinator.CallbackGasTooLarge(ask.callbackGasLimit, maxCallbackGas);
        }
        uint256 maxDecimals = ask.outputWidth == 0 ? 0 : MAX_DECIMALS;
        if (WIDTHS >> ask.outputWidth & 1 == 0 || ask.outputDecimals > maxDecimals) {
            revert IInferenceCoordinator.InvalidOutputFormat(ask.outputWidth, ask.outputDecimals);
        }
    }

    /// @notice Reverts for an account whose balance nobody could withdraw: zero, and the contract that keeps the balance.
    function checkAccount(address account) internal view {
        if (account == address(0) || account == address(this)) revert IErrors.InvalidAccount(account);
    }
}
