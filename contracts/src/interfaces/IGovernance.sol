// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IErrors} from "../types/Errors.sol";
import {Parameters} from "../types/Parameters.sol";

/// @title Versioned, bounded, delayed parameters, and a pause
/// @notice The owner can change parameters for future requests after a delay, and pause new requests and joins. It
/// can touch no escrow, balance or bond, and no request in flight.
/// @dev Warning: a pause has no end of its own. While it lasts nobody asks and nobody joins; answers, refunds, claims
/// and exits go on.
/// @dev Warning: within their bounds the parameters can make a deployment unattractive: a bond of 10,000 ETH, pay that
/// vests after 50,000 blocks. The delay is the time to leave, for seats that are held as well.
/// @dev Warning: the owner is one account. Whether it is a key, a multisig or a contract is not seen here.
interface IGovernance is IErrors {
    /// @notice Parameters can be applied as a version from a block on.
    event ParametersScheduled(uint16 indexed version, Parameters parameters, uint256 effectiveBlock);
    /// @notice Scheduled parameters will not be applied.
    event ParametersCanceled(uint16 indexed version);
    /// @notice New requests and seats get this version.
    event ParametersApplied(uint16 indexed version, Parameters parameters);
    event PauseSet(bool paused);
    /// @notice The ownership is offered; zero withdraws the offer.
    event OwnershipTransferStarted(address indexed previousOwner, address indexed newOwner);
    event OwnershipTransferred(address indexed previousOwner, address indexed newOwner);

    /// @notice The caller is not the owner, or not the one whom the ownership is offered.
    error NotOwner(address caller);
    /// @notice New requests and joins are paused.
    error Paused();
    /// @notice A parameter is outside its bounds.
    error ParameterOutOfBounds(string name, uint256 value, uint256 min, uint256 max);
    /// @notice No change is scheduled.
    error NothingScheduled();
    /// @notice The scheduled change was not applied in time; it has to be scheduled again.
    error ScheduleExpired(uint256 blockNumber, uint256 lastBlock);

    /// @notice Schedules parameters. They can be applied `parameterDelay` (of the present version) blocks later, and for
    /// 50,400 blocks from then on. A second schedule replaces the first and starts the delay anew. Owner only.
    function scheduleParameters(Parameters calldata next) external;

    /// @notice Withdraws the scheduled parameters. Owner only.
    function cancelParameters() external;

    /// @notice Applies the scheduled parameters as a new version. Anybody may call, once the delay has passed and before
    /// the schedule expires.
    function applyParameters() external;

    /// @notice Pauses or resumes new requests and joins. Answers, refunds, claims and exits never pause. Owner only.
    function setPaused(bool paused) external;

    /// @notice Offers the ownership; it passes when the other accepts. Offering it to zero withdraws the offer. Owner
    /// only.
    function transferOwnership(address newOwner) external;

    /// @notice Accepts an offered ownership.
    function acceptOwnership() external;

    /// @notice The account that governs; zero if the parameters are fixed for ever.
    function owner() external view returns (address);

    /// @notice The account that the ownership is offered to; zero if none.
    function pendingOwner() external view returns (address);

    /// @notice Whether new requests and joins are refused.
    function paused() external view returns (bool);

    /// @notice The version that new requests get.
    function parameterVersion() external view returns (uint16);

    /// @notice The parameters of a version; reverts for one that was never applied.
    function parameters(uint16 version) external view returns (Parameters memory);
}
