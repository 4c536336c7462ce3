// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Ask, Fulfillment, Outcome, Request, Result} from "../types/Request.sol";
import {Status} from "../types/Status.sol";
import {IGovernance} from "./IGovernance.sol";
import {ILedger} from "./ILedger.sol";
import {IModelRegistry} from "./IModelRegistry.sol";
import {INodeRegistry} from "./INodeRegistry.sol";

/// @title Requests, escrow, fulfillment, delivery, pay and refunds
/// @notice `requestId = keccak256(abi.encode(chainid, coordinator, request))`. One word is stored per request; the
/// request itself comes back as calldata. An answer is a statement signed by the seats that the hash of the request's
/// block draws; anybody may carry it.
/// @dev Warning: **nothing here catches a drawn seat that signs a wrong answer.** Ask nothing on which more depends than
/// the fee, and read `docs/threat-model.md`.
/// @dev Warning: block producers can grind the hash of a request's block, and with it the draw. Sortition is for fairness.
/// @dev Warning: whoever carries an answer chooses the surroundings of the callback, flash loans included.
/// @dev Assumes of the chain: `blockhash` and the EIP-2935 contract tell the hashes of its own blocks, `block.number`
/// counts these (Arbitrum's does not), transient storage (EIP-1153) and `MCOPY` (EIP-5656) are there. On a fork that
/// changes the chain's id, the escrow of earlier requests is stranded: their ids hold the old one.
/// @dev Liveness ends where no seat of a model answers, where block producers leave answers out until the deadline, and,
/// for new requests, while the owner pauses. The escrow of what is not answered goes back in each of these cases.
interface IInferenceCoordinator is IGovernance, ILedger, IModelRegistry, INodeRegistry {
    /// @notice A request is open. Its words are `modelId`, keccak256 of `input`, `origin`, `escrow`, `payment`, `terms`.
    event Requested(
        bytes32 indexed requestId,
        address indexed consumer,
        bytes32 indexed modelId,
        bytes32 origin,
        bytes32 escrow,
        bytes32 payment,
        bytes32 terms,
        bytes input
    );
    /// @notice A request is answered.
    /// @param answer The outcome (1 byte), the number of signers (1), their seats (4 each, ascending by rank), and then the
    /// output: packed tensors, or nothing unless the outcome is `Ok`.
    event Fulfilled(bytes32 indexed requestId, bytes answer);
    /// @notice The consumer's callback reverted, or ran out of the gas it asked for; `redeliver` can try again.
    event DeliveryFailed(bytes32 indexed requestId, address indexed consumer);
    /// @notice An answer reached its consumer after all.
    event Redelivered(bytes32 indexed requestId);
    /// @notice An item of a batch was passed over.
    /// @param reason The selector of the error it would have reverted with.
    event Skipped(bytes32 indexed requestId, bytes4 reason);
    /// @notice The escrow went back after the deadline.
    event Refunded(bytes32 indexed requestId, address indexed account, uint256 amount);
    /// @notice Answers were paid: those of one `claim` that were not paid before.
    event Claimed(bytes32[] requestIds);

    /// @notice ETH attached must be the fee and the submit fee together, or nothing for a prepaid request.
    error WrongPayment(uint256 sent, uint256 needed);
    /// @notice An answer has one signer at least.
    error ZeroQuorum();
    /// @notice Fewer live seats than the quorum: nobody could answer.
    error TooFewSeats(uint256 live, uint256 quorum);
    /// @notice The deployment offers smaller quorums only.
    error QuorumTooLarge(uint256 quorum, uint256 max);
    /// @notice A deadline is 2 to 8,000 blocks away.
    error DeadlineOutOfRange(uint256 blocks, uint256 min, uint256 max);
    /// @notice The input is longer than the model's card allows.
    error InputTooLarge(uint256 length, uint256 max);
    /// @notice The deployment gives callbacks less gas.
    error CallbackGasTooLarge(uint256 gasLimit, uint256 max);
    /// @notice Element width must be 0, 1, 2, 4, 8 or 16, decimals at most 36, and 0 where the width is 0.
    error InvalidOutputFormat(uint256 width, uint256 decimals);

    /// @notice The request is not open: never made, answered already, or refunded.
    error NotOpen(bytes32 requestId);
    /// @notice The deadline has passed.
    error DeadlinePassed(uint256 blockNumber, uint256 deadline);
    /// @notice The deadline has not passed yet.
    error DeadlineNotPassed(uint256 blockNumber, uint256 deadline);
    /// @notice A request cannot be answered in its own block: its seed is not known.
    error SameBlock();
    /// @notice The hash of the request's block is out of reach.
    error BlockHashUnavailable(uint256 blockNumber);
    /// @notice There are as many signatures as the quorum says, no more and no fewer.
    error WrongAttestationCount(uint256 given, uint256 quorum);
    /// @notice Attestations and holes must ascend by rank, without repetition.
    error NotAscending(uint32 seat);
    /// @notice The seat holds no signer, joined too late, or left before the request.
    error SeatNotEligible(uint32 seat);
    /// @notice The seat listed as a hole is eligible.
    error NotAHole(uint32 seat);
    /// @notice The index was not a seat when the request was made.
    error UnknownSeat(uint32 seat, uint32 seatCount);
    /// @notice The seat's rank may not answer yet.
    error RankTooHigh(uint256 rank, uint256 allowed);
    /// @notice The signature is not the seat's signer's over this statement, or not in the lower half order.
    error WrongSignature(uint32 seat);
    /// @notice Only `Ok` carries an output.
    error UnexpectedOutput();
    /// @notice The transaction brings too little gas for the callback it has to make.
    error InsufficientGas(uint256 available, uint256 needed);
    /// @notice The result does not match what the chain knows of the request.
    error ResultMismatch(bytes32 requestId);
    /// @notice The consumer took the answer.
    error AlreadyDelivered(bytes32 requestId);
    /// @notice The request asked for no callback.
    error NoCallback(bytes32 requestId);
    /// @notice Only the consumer may redeliver after the vesting block.
    error NotConsumer(address caller);

    /// @notice Asks a model. The consumer is the caller.
    /// @dev With ETH attached, exactly `fee + submitFee`; without, the sum is drawn from the balance of
    /// `ask.refundTo`, which must be the caller or allow it. Callable from a callback. Alike requests of one block differ
    /// in their nonces: it is the smallest number under which the id is new, found in two reads (some 2,400 gas each) for
    /// each doubling of their number.
    /// @param ask What is asked, and on which terms.
    /// @param input Packed tensors in the model's input order (see `Tensor`).
    /// @return requestId The id under which the answer comes.
    function request(Ask calldata ask, bytes calldata input) external payable returns (bytes32 requestId);

    /// @notice Answers a request and calls its consumer. Anybody may carry the signatures.
    /// @dev Reverts if the callback cannot be given exactly its gas; a callback that fails does not revert this.
    function fulfill(Fulfillment calldata fulfillment) external;

    /// @notice Answers many requests. An item that cannot be answered is skipped with an event.
    /// @dev An item that is not ABI-valid (an outcome that is none, an offset past the end) reverts the whole batch.
    function fulfillBatch(Fulfillment[] calldata fulfillments) external;

    /// @notice Delivers an answer whose callback failed. The consumer may do so at any time, anybody else until the
    /// vesting block of the answer. A callback that fails again is an event, not a revert.
    /// @param gasLimit Gas of the callback, at least what the request asked for.
    /// @return delivered Whether the callback succeeded this time.
    function redeliver(Result calldata result, bytes calldata output, uint32 gasLimit) external returns (bool delivered);

    /// @notice Credits the escrow of an unanswered request to its refund account, after the deadline. Anybody may call.
    function refund(Request calldata request) external;

    /// @notice Pays answers whose vesting has passed: `fee / quorum` to the owner of each signer's seat, and the rest
    /// with the submit fee to the lowest rank's. Anybody may call. What is paid already is passed over; reverts if an item
    /// is not on record or has not vested.
    function claim(Result[] calldata results) external;

    /// @notice Whether a result is what the chain recorded for its request.
    function isResult(Result calldata result) external view returns (bool);

    /// @notice The id of a request.
    function requestIdOf(Request calldata request) external view returns (bytes32);

    /// @notice The stored word: flags (1 open, 2 fulfilled, 4 delivered, 8 paid, 16 refunded) in the lowest byte, and
    /// a 248-bit hash of the result above it. 0 means the request was never made.
    function statusOf(bytes32 requestId) external view returns (Status);

    /// @notice The rank that a block hash gives a seat of a request, among all seats, holes included.
    function rankOf(bytes32 requestId, bytes32 blockHash, uint32 seat, uint32 seatCount) external pure returns (uint256);

    /// @notice The EIP-712 digest that a seat signs.
    function digestOf(
        bytes32 requestId,
        bytes32 blockHash,
        bytes32 inputHash,
        Outcome outcome,
        bytes32 outputCommitment,
        uint32 seat
    ) external view returns (bytes32);

    /// @notice The domain that signatures are bound to (EIP-5267).
    function eip712Domain()
        external
        view
        returns (
            bytes1 fields,
            string memory name,
            string memory version,
            uint256 chainId,
            address verifyingContract,
            bytes32 salt,
            uint256[] memory extensions
        );
}
