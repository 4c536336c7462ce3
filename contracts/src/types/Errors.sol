// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

/// @notice What the protocol describes and this version does not offer.
enum Feature {
    InputKind,
    Token,
    Quorum,
    Assured,
    ValueAtRisk,
    Verifier
}

/// @title The errors that several parts share
/// @notice Each part's own errors stand in its interface.
interface IErrors {
    /// @notice A callback may ask again, and call nothing else here that changes state.
    error Locked();
    /// @notice Part of the protocol, but not of this version.
    error NotOffered(Feature feature);
    /// @notice The call has to wait for a block.
    error TooEarly(uint256 blockNumber, uint256 needed);
    /// @notice Nobody could move what this account would get: it is zero, or the contract itself.
    error InvalidAccount(address account);
    /// @notice The model was never registered here.
    error UnknownModel(bytes32 modelId);
}
