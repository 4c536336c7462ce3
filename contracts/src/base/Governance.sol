// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IGovernance} from "../interfaces/IGovernance.sol";
import {PackedParameters, PackedParametersLib} from "../libraries/PackedParameters.sol";
import {ParameterBounds} from "../libraries/ParameterBounds.sol";
import {Parameters} from "../types/Parameters.sol";
import {Lock} from "./Lock.sol";
import {Validated} from "./Validated.sol";

/// @title Versioned, bounded, delayed parameters, and a pause
abstract contract Governance is IGovernance, Lock, Validated {
    /// @dev A week of 12-second blocks: a schedule that nobody applied is not sprung on anybody years later.
    uint256 private constant APPLY_WINDOW = 50_400;

    /// @dev The present parameters with their version and the pause: all that a request reads of them, in one word.
    PackedParameters private _head;
    PackedParameters private _scheduled;
    /// @dev The first block in which the scheduled ones can be applied; 0 if none are.
    uint256 private _effectiveBlock;
    mapping(uint16 version => PackedParameters) private _history;

    /// @inheritdoc IGovernance
    address public owner;
    /// @inheritdoc IGovernance
    address public pendingOwner;

    modifier onlyOwner() {
        if (msg.sender != owner) revert NotOwner(msg.sender);
        _;
    }

    /// @param firstOwner Zero fixes the parameters for ever.
    constructor(address firstOwner, Parameters memory first) {
        ParameterBounds.check(first);
        owner = firstOwner;
        emit OwnershipTransferred(address(0), firstOwner);
        _apply(PackedParametersLib.pack(first).withVersion(1));
    }

    /// @inheritdoc IGovernance
    function scheduleParameters(Parameters calldata next) external unlocked onlyOwner {
        PackedParameters packed = PackedParameters.wrap(uint256(_validate()));
        PackedParameters head = _head;
        uint16 version = head.version() + 1;
        _scheduled = packed.withVersion(version);
        _effectiveBlock = block.number + head.parameterDelay();
        emit ParametersScheduled(version, next, _effectiveBlock);
    }

    /// @inheritdoc IGovernance
    function cancelParameters() external unlocked onlyOwner {
        if (_effectiveBlock == 0) revert NothingScheduled();
        delete _effectiveBlock;
        emit ParametersCanceled(_head.version() + 1);
    }

    /// @inheritdoc IGovernance
    function applyParameters() external unlocked {
        uint256 effectiveBlock = _effectiveBlock;
        if (effectiveBlock == 0) revert NothingScheduled();
        if (block.number < effectiveBlock) revert TooEarly(block.number, effectiveBlock);
        uint256 lastBlock = effectiveBlock + APPLY_WINDOW;
        if (block.number > lastBlock) revert ScheduleExpired(block.number, lastBlock);
        delete _effectiveBlock;
        _apply(_scheduled);
    }

    /// @inheritdoc IGovernance
    function setPaused(bool on) external unlocked onlyOwner {
        _head = _head.withPaused(on);
        emit PauseSet(on);
    }

    /// @inheritdoc IGovernance
    function transferOwnership(address newOwner) external unlocked onlyOwner {
        pendingOwner = newOwner;
        emit OwnershipTransferStarted(msg.sender, newOwner);
    }

    /// @inheritdoc IGovernance
    function acceptOwnership() external unlocked {
        if (msg.sender != pendingOwner) revert NotOwner(msg.sender);
        delete pendingOwner;
        emit OwnershipTransferred(owner, msg.sender);
        owner = msg.sender;
    }

    /// @inheritdoc IGovernance
    function paused() external view returns (bool) {
        return _head.paused();
    }

    /// @inheritdoc IGovernance
    function parameterVersion() external view returns (uint16) {
        return _head.version();
    }

    /// @inheritdoc IGovernance
    function parameters(uint16 version) external view returns (Parameters memory) {
        uint16 current = _head.version();
        ParameterBounds.check("version", version, 1, current);
        return _parametersAt(version).unpack();
    }

    /// @dev The present parameters, for requests and joins: those that a pause stops.
    function _unpaused() internal view returns (PackedParameters head) {
        head = _head;
        if (head.paused()) revert Paused();
    }

    function _currentParameters() internal view returns (PackedParameters) {
        return _head;
    }

    /// @dev A version that was applied. The present one is the usual one, and its word the likelier to be warm.
    function _parametersAt(uint16 version) internal view returns (PackedParameters p) {
        p = _head;
        if (p.version() != version) p = _history[version];
    }

    /// @dev The longest exit delay of any request in flight: of the versions since `version` that one can still have, and
    /// of a change that is due, since it may be applied in this very block.
    function _longestExitDelaySince(uint16 version) internal view returns (uint256 delay) {
        uint256 current = _head.version();
        uint256 oldest = version;
        uint256 inFlight = ParameterBounds.VERSIONS_IN_FLIGHT;
        if (current >= oldest + inFlight) oldest = current + 1 - inFlight;
        uint256 effectiveBlock = _effectiveBlock;
        bool due = effectiveBlock <= block.number && block.number <= effectiveBlock + APPLY_WINDOW;
        if (effectiveBlock != 0 && due) delay = _scheduled.exitDelay();
        for (uint256 v = current; v >= oldest; --v) {
            uint256 d = _parametersAt(uint16(v)).exitDelay();
            if (d > delay) delay = d;
        }
    }

    function _apply(PackedParameters next) private {
        _history[next.version()] = next;
        _head = next.withPaused(_head.paused());
        emit ParametersApplied(next.version(), next.unpack());
    }
}
