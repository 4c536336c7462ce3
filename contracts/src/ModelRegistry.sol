// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Lock} from "./Lock.sol";
import {Feature, IInferenceCoordinator} from "./interfaces/IInferenceCoordinator.sol";
import {IModelRegistry} from "./interfaces/IModelRegistry.sol";
import {Agreement, AgreementKind, ModelCard} from "./types/ModelCard.sol";

/// @title Models by the hash of their card
abstract contract ModelRegistry is IModelRegistry, Lock {
    uint256 private constant MAX_BYTES = 131_072;
    uint256 private constant MAX_OUTPUTS = 16;
    uint256 private constant MAX_NAME = 64;

    /// @dev One word: what a request reads of its model. The card itself comes back as calldata where it is needed.
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
    mapping(string name => Name) private _names;

    /// @inheritdoc IModelRegistry
    function registerModel(ModelCard calldata card, string calldata hint) external locked returns (bytes32 modelId) {
        modelId = keccak256(abi.encode(card));
        Model storage entry = _models[modelId];
        if (entry.registered) return modelId;
        _checkCard(card);
        entry.registered = true;
        entry.maxInputBytes = card.maxInputBytes;
        entry.maxOutputBytes = card.maxOutputBytes;
        emit ModelRegistered(modelId, card, hint);
    }

    /// @inheritdoc IModelRegistry
    function claimName(string calldata name, bytes32 modelId) external locked {
        if (!_models[modelId].registered) revert UnknownModel(modelId);
        if (!_isName(bytes(name))) revert InvalidName(name);
        Name storage entry = _names[name];
        if (entry.owner == address(0)) entry.owner = msg.sender;
        else if (entry.owner != msg.sender) revert NameTaken(name, entry.owner);
        entry.modelId = modelId;
        emit NameClaimed(name, modelId, msg.sender);
    }

    /// @inheritdoc IModelRegistry
    function resolve(string calldata name) external view returns (bytes32 modelId, address owner) {
        Name storage entry = _names[name];
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

    function _checkCard(ModelCard calldata card) private pure {
        if (card.fileHash == 0) revert InvalidCard("fileHash");
        uint256 outputs = card.agreement.length;
        if (outputs == 0 || outputs > MAX_OUTPUTS) revert InvalidCard("agreement");
        for (uint256 i = 0; i < outputs; ++i) {
            Agreement calldata a = card.agreement[i];
            bool unusedAreZero = (a.kind == AgreementKind.Elementwise || a.atol | a.rtol == 0)
                && (a.kind == AgreementKind.Argmax || a.gap == 0);
            if (!unusedAreZero) revert InvalidCard("agreement");
        }
        if (card.verifier != address(0)) revert IInferenceCoordinator.NotOffered(Feature.Verifier);
        if (card.maxInputBytes == 0 || card.maxInputBytes > MAX_BYTES) revert InvalidCard("maxInputBytes");
        if (card.maxOutputBytes == 0 || card.maxOutputBytes > MAX_BYTES) revert InvalidCard("maxOutputBytes");
    }

    function _isName(bytes calldata name) private pure returns (bool) {
        if (name.length == 0 || name.length > MAX_NAME) return false;
        for (uint256 i = 0; i < name.length; ++i) {
            bytes1 c = name[i];
            bool letterOrDigit = (c >= "a" && c <= "z") || (c >= "0" && c <= "9");
            if (!letterOrDigit && c != "." && c != "_" && c != "-" && c != "/") return false;
        }
        return true;
    }
}
