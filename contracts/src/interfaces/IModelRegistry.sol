// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IErrors} from "../types/Errors.sol";
import {ModelCard} from "../types/ModelCard.sol";

/// @title Models by the hash of their card
/// @notice Registration is open to anybody, idempotent, and gives no rights: a card names what it describes.
/// @dev Warning: a card is checked for its form only. Whether the file is any good, whether its hints lead to it, and
/// whether somebody serves it is for whoever asks to find out.
/// @dev Warning: whoever registers a model chooses its agreement policy; another policy makes another model.
interface IModelRegistry is IErrors {
    /// @notice A model can be asked and served from now on.
    /// @param modelId The hash of the card.
    /// @param card The card itself.
    /// @param hint Where the file may be fetched (`file:`, `https:`, `ipfs:`); not trusted, the card holds its hash.
    event ModelRegistered(bytes32 indexed modelId, ModelCard card, string hint);

    /// @notice A registered model's file may be fetched elsewhere, too; not trusted either.
    event HintAdded(bytes32 indexed modelId, address indexed from, string hint);

    /// @notice A human name points to a model.
    event NameClaimed(string name, bytes32 indexed modelId, address indexed owner);

    /// @notice The card breaks a rule.
    /// @param field The first field that does: `fileHash`, `agreement`, `maxInputBytes` or `maxOutputBytes`.
    error InvalidCard(string field);

    /// @notice The name belongs to somebody else.
    error NameTaken(string name, address owner);

    /// @notice Names are 1 to 64 bytes of a–z, 0–9, `.`, `_`, `-` and `/`.
    error InvalidName(string name);

    /// @notice Registers a model. Anybody may; a further registration only announces its hint.
    /// @dev Reverts `InvalidCard`, or `NotOffered` for a card with a verifier.
    /// @param card The card; `maxInputBytes` and `maxOutputBytes` are 1 to 131,072.
    /// @param hint Where to fetch the file, for the event; empty for none.
    /// @return modelId keccak256(abi.encode(card))
    function registerModel(ModelCard calldata card, string calldata hint) external returns (bytes32 modelId);

    /// @notice Points a name to a model. The name belongs to its first claimant, who may point it elsewhere.
    /// @dev A convenience for people. Contracts should hold the id: the owner of a name can move it.
    function claimName(string calldata name, bytes32 modelId) external;

    /// @notice The model a name points to, zero if it is unclaimed, and the name's owner.
    function resolve(string calldata name) external view returns (bytes32 modelId, address owner);

    /// @notice What requests need to know of a model.
    /// @return registered Whether the model is known.
    /// @return maxInputBytes The largest input a request may carry.
    /// @return maxOutputBytes The largest output; a larger one is `Unrepresentable`.
    /// @return seatCount One more than the highest seat index that is held: ranks are a permutation of `[0, seatCount)`.
    /// @return liveSeats Seats counted as live, conservatively.
    function model(bytes32 modelId)
        external
        view
        returns (bool registered, uint32 maxInputBytes, uint32 maxOutputBytes, uint32 seatCount, uint32 liveSeats);
}
