// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Outcome} from "../types/Request.sol";

/// @title What a contract implements to be told the answer
interface IInferenceConsumer {
    /// @notice Called by the coordinator with the answer to a request of this contract; again only if the call failed.
    /// @dev Must accept calls from its coordinator only. It gets exactly the gas that the request asked for; if it
    /// reverts, the answer stays fulfilled and can be redelivered.
    /// @dev Warning: whoever carries the answer chooses the surroundings of this call, flash loans included. Read
    /// nothing here that others can move within a transaction.
    /// @param requestId The request's id, as `request` returned it.
    /// @param outcome `Ok`, or why there is no output. A failure is an answer: handle it.
    /// @param output Packed tensors (see `Tensor`); empty unless `outcome` is `Ok`.
    function onInference(bytes32 requestId, Outcome outcome, bytes calldata output) external;
}
