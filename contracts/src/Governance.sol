// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Lock} from "./Lock.sol";
import {IGovernance} from "./interfaces/IGovernance.sol";
import {INodeRegistry} from "./interfaces/INodeRegistry.sol";
import {PackedParameters, PackedParametersLib} from "./libraries/PackedParameters.sol";
import {Parameters} from "./types/Parameters.sol";

/// @title Versioned, bounded, delayed parameters, and a pause
abstract contract Governance is IGovernance, Lock {
    /// @dev The longest deadline of a request: the reach of EIP-2935, rounded down.
    uint256 internal constant MAX_DEADLINE = 8000;
    /// @dev No delay can be set so long that it would hold bonds or parameters for ever.
    uint256 private constant MAX_DELAY = 1_000_000;

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
        _checkBounds(first);
        owner = firstOwner;
        emit OwnershipTaken(firstOwner);
        _apply(first, 1, false);
    }

    /// @inheritdoc IGovernance
    function scheduleParameters(Parameters calldata next) external locked onlyOwner {
        _checkBounds(next);
        PackedParameters head = _head;
        uint16 version = head.version() + 1;
        _scheduled = PackedParametersLib.pack(next, version);
        _effectiveBlock = block.number + head.parameterDelay();
        emit ParametersScheduled(version, next, _effectiveBlock);
    }

    /// @inheritdoc IGovernance
    function applyParameters() external locked {
        uint256 effectiveBlock = _effectiveBlock;
        if (effectiveBlock == 0) revert NothingScheduled();
        if (block.number < effectiveBlock) revert INodeRegistry.TooEarly(block.number, effectiveBlock);
        delete _effectiveBlock;
        _apply(_scheduled.unpack(), _scheduled.version(), _head.paused());
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
        _checkBound("version", version, 1, current);
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

    function _apply(Parameters memory next, uint16 version, bool isPaused) private {
        PackedParameters packed = PackedParametersLib.pack(next, version);
        _history[version] = packed;
        _head = packed.withPaused(isPaused);
        emit ParametersApplied(version, next);
    }

    function _checkBounds(Parameters memory p) private pure {
        _checkBound("window", p.window, 1, 100);
        _checkBound("activationDelay", p.activationDelay, 8, 50_000);
        _checkBound("vesting", p.vesting, 32, 50_000);
        _checkBound("exitDelay", p.exitDelay, MAX_DEADLINE + p.vesting, MAX_DELAY);
        _checkBound("parameterDelay", p.parameterDelay, 7200, MAX_DELAY);
        _checkBound("maxCallbackGas", p.maxCallbackGas, 0, 10_000_000);
        _checkBound("maxQuorum", p.maxQuorum, 1, 16);
        _checkBound("seatBondGwei", p.seatBondGwei, 1, type(uint64).max);
    }

    function _checkBound(string memory name, uint256 value, uint256 min, uint256 max) private pure {
        if (value < min || value > max) revert ParameterOutOfBounds(name, value, min, max);
    }
}
