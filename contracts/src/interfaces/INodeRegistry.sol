// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IErrors} from "../types/Errors.sol";

/// @notice Names a seat: an index on a model.
struct SeatRef {
    bytes32 modelId;
    uint32 index;
}

/// @title Nodes, their signing keys, and the bonded seats they answer from
/// @notice A node is an owner's account with one signing key. It buys seats on models, each with its own bond. The
/// owner's key moves money; the signing key only signs answers.
/// @dev Warning: **revoking a key takes it off the seats that the call lists, and off no others.** The key goes on
/// answering for every seat that is not listed, also for one that becomes eligible later. List all of them, and call
/// again for those that were forgotten.
/// @dev Warning: seats that left are holes until they are released, and answers list them: about 7,000 gas each above 16
/// indices. A hole below a seat that is held stays until somebody joins. Whoever keeps one bond at a high index keeps
/// the holes below it, up to the number of seats that were held at one time.
/// @dev Warning: a model whose seats are all silent is not answered; its requests are refunded after their deadlines.
interface INodeRegistry is IErrors {
    /// @notice A node's signing key is set.
    /// @param uri Where other nodes and clients reach it over HTTP; may be empty.
    event NodeRegistered(address indexed owner, address indexed signer, string uri);
    /// @notice A node's signing key is revoked.
    event SignerRevoked(address indexed owner, address indexed signer);
    /// @notice A seat is taken; it may answer requests from block `from` on.
    event SeatJoined(
        bytes32 indexed modelId, uint32 indexed index, address indexed owner, address signer, uint48 from, uint256 bond
    );
    /// @notice A seat counts as live.
    event SeatActivated(bytes32 indexed modelId, uint32 indexed index);
    /// @notice A seat lost its key and answers nothing, requests in flight included.
    event SeatRevoked(bytes32 indexed modelId, uint32 indexed index);
    /// @notice A seat with a new key may answer from block `from` on.
    event SeatRekeyed(bytes32 indexed modelId, uint32 indexed index, address signer, uint48 from);
    /// @notice A seat leaves: it answers no request made at or after block `until`.
    event SeatLeft(bytes32 indexed modelId, uint32 indexed index, uint48 until);
    /// @notice A seat's bond went to its owner's balance; its index can be taken again.
    event SeatReleased(bytes32 indexed modelId, uint32 indexed index, address indexed owner, uint256 bond);
    /// @notice The highest seat was released: a model has this many indices now.
    event SeatsTrimmed(bytes32 indexed modelId, uint32 seatCount);

    /// @notice The caller has registered no signing key, or revoked it.
    error NoSigner(address owner);
    /// @notice The signing key did not sign for this owner.
    error SignerNotProven(address signer, address owner);
    /// @notice The signing key belongs to another node.
    error SignerTaken(address signer, address owner);
    /// @notice The bond is exact.
    error WrongBond(uint256 sent, uint256 bond);
    /// @notice The caller does not own the seat.
    error NotSeatOwner(bytes32 modelId, uint32 index, address owner);
    /// @notice Another index is the next: this one is taken, some request could still name its former holder, or a lower
    /// one is free.
    error SeatNotFree(bytes32 modelId, uint32 index);
    /// @notice The seat is not in the state this call needs (empty, revoked, leaving or already live).
    error SeatNotReady(bytes32 modelId, uint32 index);

    /// @notice Registers the caller as a node, or gives it a new signing key. Seats keep the key they have until
    /// `rekeySeat`.
    /// @param signer The signing key's address. It must be no other node's.
    /// @param signature 65 bytes r‖s‖v by `signer` over the EIP-712 struct `Signer(address owner)`, owner the caller.
    /// @param uri Where the node is reached; only for the event.
    function registerNode(address signer, bytes calldata signature, string calldata uri) external;

    /// @notice Revokes a node's signing key at once, and takes it off the seats given. Callable by the owner and by
    /// the signing key itself. Bonds, liability and unclaimed pay stay with the owner.
    /// @dev Warning: **the key still answers for seats that are not given.** Their state is not read where answers are
    /// checked, since that would cost every answer 2,100 gas.
    /// @dev May be called again for further seats; seats not owned by the node, or with another key, revert. An owner
    /// revokes the key it has now; seats that still have an earlier one get another by `rekeySeat`. A revoked key can never
    /// be registered again. Anybody else's call reverts with `SignerNotProven`.
    function revokeSigner(address owner, SeatRef[] calldata seats) external;

    /// @notice Takes a seat on a model for the caller, with its node's signing key. Attach the bond exactly.
    /// @dev The index is the lowest one that is free, and a new one only if none is: indices that nobody holds make answers
    /// dearer, because these list them.
    /// @param expectedIndex `type(uint32).max`, or the only index that the caller will take.
    /// @return index The seat's index, stable until it is released.
    function joinSeat(bytes32 modelId, uint32 expectedIndex) external payable returns (uint32 index);

    /// @notice Counts a seat as live once its activation delay has passed, unless its key is revoked. Anybody may call.
    function activateSeat(bytes32 modelId, uint32 index) external;

    /// @notice Gives a seat its node's present signing key; it must be activated anew. Seat owner only.
    function rekeySeat(bytes32 modelId, uint32 index) external;

    /// @notice Announces that a seat leaves, from the next block on. Requests up to this block still count on it.
    function leaveSeat(bytes32 modelId, uint32 index) external;

    /// @notice Credits the bond of a seat to its owner's balance, once its exit delay is over. Anybody may call.
    /// @dev The delay is set when the seat leaves: the longest `exitDelay` of the versions that requests in flight can then have,
    /// a change that is due included.
    /// @dev If it was the highest, the model's `seatCount` falls to one above the highest that is held. Requests in flight
    /// keep the count that they were made with, and with it their draws.
    function releaseSeat(bytes32 modelId, uint32 index) external;

    /// @notice A node's signing key; zero if none.
    function signerOf(address owner) external view returns (address);

    /// @notice A seat as the sortition sees it: eligible for a request iff `from ≤ request block < until` and signer
    /// is not zero.
    function seat(bytes32 modelId, uint32 index) external view returns (address signer, uint48 from, uint48 until);

    /// @notice Who holds a seat and what for.
    /// @return owner The account that is paid and liable; zero if the seat is free.
    /// @return since The block in which it was taken.
    /// @return live Whether it is counted in the model's live seats.
    /// @return bond Its bond in wei.
    function seatHolder(bytes32 modelId, uint32 index)
        external
        view
        returns (address owner, uint48 since, bool live, uint256 bond);
}
