// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IModelRegistry} from "./interfaces/IModelRegistry.sol";
import {PackedParameters, PackedParametersLib} from "./libraries/PackedParameters.sol";
import {ParameterBounds} from "./libraries/ParameterBounds.sol";
import {Feature, IErrors} from "./types/Errors.sol";
import {Agreement, AgreementKind, ModelCard} from "./types/ModelCard.sol";
import {Parameters} from "./types/Parameters.sol";

/// @title What makes cards, names and parameters valid
/// @notice Stateless and powerless: the coordinator forwards the calldata of three rarely used functions here, and
/// reverts with what this reverts with. Only so does the coordinator stay small.
contract Validator {
    uint256 private constant MAX_BYTES = 131_072;
    uint256 private constant MAX_OUTPUTS = 16;
    uint256 private constant MAX_NAME = 64;
    /// @dev Bit c is set where c is a byte of names: a–z, 0–9, `.`, `_`, `-` and `/`.
    uint256 private constant NAME_BYTES = 0x7fffffe8000000003ffe00000000000;

    /// @notice Checks a card.
    /// @return modelId Its hash.
    function registerModel(ModelCard calldata card, string calldata) external pure returns (bytes32 modelId) {
        if (card.fileHash == 0) revert IModelRegistry.InvalidCard("fileHash");
        uint256 outputs = card.agreement.length;
        if (outputs == 0 || outputs > MAX_OUTPUTS) revert IModelRegistry.InvalidCard("agreement");
        for (uint256 i = 0; i < outputs; ++i) {
            Agreement calldata a = card.agreement[i];
            bool unusedAreZero = (a.kind == AgreementKind.Elementwise || a.atol | a.rtol == 0)
                && (a.kind == AgreementKind.Argmax || a.gap == 0);
            if (!unusedAreZero) revert IModelRegistry.InvalidCard("agreement");
        }
        if (card.verifier != address(0)) revert IErrors.NotOffered(Feature.Verifier);
        if (card.maxInputBytes == 0 || card.maxInputBytes > MAX_BYTES) {
            revert IModelRegistry.InvalidCard("maxInputBytes");
        }
        if (card.maxOutputBytes == 0 || card.maxOutputBytes > MAX_BYTES) {
            revert IModelRegistry.InvalidCard("maxOutputBytes");
        }
        return keccak256(abi.encode(card));
    }

    /// @notice Checks a name.
    /// @return key Its hash.
    function claimName(string calldata name, bytes32) external pure returns (bytes32 key) {
        bytes calldata text = bytes(name);
        bool valid = text.length != 0 && text.length <= MAX_NAME;
        for (uint256 i = 0; valid && i < text.length; ++i) {
            valid = NAME_BYTES >> uint8(text[i]) & 1 != 0;
        }
        if (!valid) revert IModelRegistry.InvalidName(name);
        return keccak256(text);
    }

    /// @notice Checks parameters.
    /// @return packed Their word, without a version.
    function scheduleParameters(Parameters calldata next) external pure returns (PackedParameters packed) {
        ParameterBounds.check(next);
        return PackedParametersLib.pack(next);
    }
}
