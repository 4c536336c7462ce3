// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IModelRegistry} from "../interfaces/IModelRegistry.sol";
import {ModelCard} from "../types/ModelCard.sol";
import {Lock} from "./Lock.sol";
import {Validated} from "./Validated.sol";

/// @title Models by the hash of their card
abstract contract ModelRegistry is IModelRegistry, Lock, Validated {
    /// @dev One word, of which a request reads all but `maxOutputBytes`: that is for nodes, who keep to it. No card is stored.
    struct Model {
        bool registered;
        uint32 maxInputBytes;
        uint32 maxOutputBytes;
        uint32 seatCount;
        uint32 liveSeats;
    }

    struct Name {
        bytes32 modelId;
        address owner;
    }

    mapping(bytes32 modelId => Model) internal _models;
    mapping(bytes32 nameHash => Name) private _names;

    /// @inheritdoc IModelRegistry
    function registerModel(ModelCard calldata card, string calldata hint) external unlocked returns (bytes32 modelId) {
        modelId = _validate();
        Model storage entry = _models[modelId];
        if (entry.registered) {
            if (bytes(hint).length != 0) emit HintAdded(modelId, msg.sender, hint);
            return modelId;
        }
        entry.registered = true;
        entry.maxInputBytes = card.maxInputBytes;
        entry.maxOutputBytes = card.maxOutputBytes;
        emit ModelRegistered(modelId, card, hint);
    }

    /// @inheritdoc IModelRegistry
    function claimName(string calldata name, bytes32 modelId) external unlocked {
        if (!_models[modelId].registered) revert UnknownModel(modelId);
        Name storage entry = _names[_validate()];
        if (entry.owner == address(0)) entry.owner = msg.sender;
        else if (entry.owner != msg.sender) revert NameTaken(name, entry.owner);
        entry.modelId = modelId;
        emit NameClaimed(name, modelId, msg.sender);
    }

    /// @inheritdoc IModelRegistry
    function resolve(string calldata name) external view returns (bytes32 modelId, address owner) {
        Name storage entry = _names[keccak256(bytes(name))];
        return (entry.modelId, entry.owner);
    }

    /// @inheritdoc IModelRegistry
    function model(bytes32 modelId)
        external
        view
        returns (bool registered, uint32 maxInputBytes, uint32 maxOutputBytes, uint32 seatCount, uint32 liveSeats)
    {
        Model memory m = _models[modelId];
        return (m.registered, m.maxInputBytes, m.maxOutputBytes, m.seatCount, m.liveSeats);
    }
}
