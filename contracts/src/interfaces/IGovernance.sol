// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Parameters} from "../types/Parameters.sol";

/// @title Versioned, bounded, delayed parameters, and a pause
/// @notice The owner can change parameters for future requests after a delay, and pause new requests and joins. It
/// can touch no escrow, balance or bond, and no request in flight.
interface IGovernance {
    event ParametersScheduled(uint16 indexed version, Parameters parameters, uint256 effectiveBlock);
    event ParametersApplied(uint16 indexed version, Parameters parameters);
    event PauseSet(bool paused);
    event OwnershipOffered(address indexed owner, address indexed pendingOwner);
    event OwnershipTaken(address indexed owner);

    error NotOwner(address caller);
    /// @notice New requests and joins are paused.
    error Paused();
    /// @notice A parameter is outside its bounds.
    error ParameterOutOfBounds(string name, uint256 value, uint256 min, uint256 max);
    /// @notice No change is scheduled.
    error NothingScheduled();

    /// @notice Schedules parameters; they can be applied `parameterDelay` (of the present version) blocks later.
    /// A second schedule replaces the first and starts the delay anew. Owner only.
    function scheduleParameters(Parameters calldata next) external;

    /// @notice Applies the scheduled parameters as a new version. Anybody may call, once the delay has passed.
    function applyParameters() external;

    /// @notice Pauses or resumes new requests and joins. Answers, refunds, claims and exits never pause. Owner only.
    function setPaused(bool paused) external;

    /// @notice Offers the ownership; it passes when the other accepts. Offering zero withdraws the offer. Owner only.
    function offerOwnership(address pendingOwner) external;

    /// @notice Takes an offered ownership.
    function takeOwnership() external;

    function owner() external view returns (address);
    function paused() external view returns (bool);

    /// @notice The version that new requests get.
    function parameterVersion() external view returns (uint16);

    /// @notice The parameters of a version; reverts for one that was never applied.
    function parameters(uint16 version) external view returns (Parameters memory);
}
