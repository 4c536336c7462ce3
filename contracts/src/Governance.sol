// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Lock} from "./Lock.sol";
import {Ruled} from "./Ruled.sol";
import {IGovernance} from "./interfaces/IGovernance.sol";
import {INodeRegistry} from "./interfaces/INodeRegistry.sol";
import {PackedParameters, PackedParametersLib} from "./libraries/PackedParameters.sol";
import {ParameterBounds} from "./libraries/ParameterBounds.sol";
import {Parameters} from "./types/Parameters.sol";

/// @title Versioned, bounded, delayed parameters, and a pause
abstract contract Governance is IGovernance, Lock, Ruled {
    /// @dev The present parameters with their version and the pause: all that a request reads of them, in one word.
    PackedParameters private _head;
    PackedParameters private _scheduled;
    uint256 private _effectiveBlock;
    mapping(uint16 version => PackedParameters) private _history;

    /// @inheritdoc IGovernance
    address public owner;
    address private _pendingOwner;

    modifier onlyOwner() {
        if (msg.sender != owner) revert NotOwner(msg.sender);
        _;
    }

    /// @param firstOwner Zero fixes the parameters for ever.
    constructor(address firstOwner, Parameters memory first) {
        ParameterBounds.check(first);
        owner = firstOwner;
        emit OwnershipTaken(firstOwner);
        _apply(PackedParametersLib.pack(first).withVersion(1));
    }

    /// @inheritdoc IGovernance
    function scheduleParameters(Parameters calldata next) external locked onlyOwner {
        PackedParameters packed = PackedParameters.wrap(uint256(_consult()));
        PackedParameters head = _head;
        uint16 version = head.version() + 1;
        _scheduled = packed.withVersion(version);
        _effectiveBlock = block.number + head.parameterDelay();
        emit ParametersScheduled(version, next, _effectiveBlock);
    }

    /// @inheritdoc IGovernance
    function applyParameters() external locked {
        uint256 effectiveBlock = _effectiveBlock;
        if (effectiveBlock == 0) revert NothingScheduled();
        if (block.number < effectiveBlock) revert INodeRegistry.TooEarly(block.number, effectiveBlock);
        delete _effectiveBlock;
        _apply(_scheduled);
    }

    /// @inheritdoc IGovernance
    function setPaused(bool on) external locked onlyOwner {
        _head = _head.withPaused(on);
        emit PauseSet(on);
    }

    /// @inheritdoc IGovernance
    function offerOwnership(address pendingOwner) external locked onlyOwner {
        _pendingOwner = pendingOwner;
        emit OwnershipOffered(msg.sender, pendingOwner);
    }

    /// @inheritdoc IGovernance
    function takeOwnership() external locked {
        if (msg.sender != _pendingOwner) revert NotOwner(msg.sender);
        delete _pendingOwner;
        owner = msg.sender;
        emit OwnershipTaken(msg.sender);
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

    /// @dev Of the change that anybody may apply in this block. If there is none, of the last that was applied, or zero.
    function _dueExitDelay() internal view returns (uint256) {
        return block.number < _effectiveBlock ? 0 : _scheduled.exitDelay();
    }

    function _apply(PackedParameters next) private {
        _history[next.version()] = next;
        _head = next.withPaused(_head.paused());
        emit ParametersApplied(next.version(), next.unpack());
    }
}
