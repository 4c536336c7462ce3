// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

/// @notice How the input bytes of a request reach the nodes.
enum InputKind {
    /// The packed tensors themselves; they are in the `Requested` event.
    Inline,
    /// `abi.encode(address target, bytes callData)` of a view call that returns packed tensors. Not offered yet.
    ChainCall,
    /// `abi.encode(bytes32 sha256, string locator)` of packed tensors kept elsewhere. Not offered yet.
    Uri
}

/// @notice What a request is secured for.
enum Level {
    /// Delivered with the answer; no claim about what a wrong answer is worth elsewhere.
    Fast,
    /// Delivered after a verdict, secured for `valueAtRisk`. Not offered yet.
    Assured
}

/// @notice What the nodes found. Every outcome is attested and paid; only `Ok` carries an output.
enum Outcome {
    /// The model ran and its output fits the asked format.
    Ok,
    /// The input fails under the model's reference profile: wrong shape, type, count or value.
    BadInput,
    /// The model ran and its output cannot be written: NaN, infinity, overflow of the format, or too large.
    Unrepresentable
}

/// @notice What a consumer asks for. `request` turns it into a `Request`.
struct Ask {
    /// The model's id: the hash of its card.
    bytes32 modelId;
    /// The account that is refunded after the deadline, and that pays when no ETH is attached.
    address refundTo;
    /// The token of both fees; zero is ETH, the only one offered yet.
    address token;
    /// What the signers of the answer share, in wei.
    uint96 fee;
    /// What the lowest-ranked signer gets on top, for carrying the answer, in wei.
    uint96 submitFee;
    /// What a wrong answer could be worth to a cheat, in wei. Must be 0 for `Level.Fast`.
    uint96 valueAtRisk;
    /// Gas of the callback, exactly; 0 means no callback: the result is proven on demand.
    uint32 callbackGasLimit;
    /// Blocks until the request can be refunded, 2 to 8,000.
    uint16 deadlineBlocks;
    /// Outputs wanted, bit i for output i of the model; 0 means all.
    uint16 outputMask;
    /// Bytes of each element of a float output, as signed fixed-point: 1, 2, 4, 8 or 16; 0 keeps the model's float type.
    uint8 outputWidth;
    /// Decimals of that fixed-point: value = integer / 10^decimals, at most 36.
    uint8 outputDecimals;
    /// Signers wanted; 1 is the only number offered yet.
    uint8 quorum;
    Level level;
    InputKind inputKind;
}

/// @notice A request, in six words. The chain stores only that its id is open; these words come back as calldata.
/// Byte order is big-endian, the first field in the highest bytes. `RequestLib` reads them.
struct Request {
    bytes32 modelId;
    /// keccak256 of the input bytes.
    bytes32 inputHash;
    /// consumer (20 bytes) · nonce (8), which tells alike requests of one block apart · seats of the model at the request (4)
    bytes32 origin;
    /// refundTo (20) · fee (12)
    bytes32 escrow;
    /// token (20) · submitFee (12)
    bytes32 payment;
    /// valueAtRisk (12) · requestBlock (5) · callbackGasLimit (4) · outputMask (2) · parameter version (2) ·
    /// deadlineBlocks (2) · inputKind (1) · outputWidth (1) · outputDecimals (1) · quorum (1) · level (1)
    bytes32 terms;
}

/// @notice One signature under an answer, by the signer of a seat (EIP-2098 compact form).
struct Attestation {
    uint32 seat;
    bytes32 r;
    bytes32 vs;
}

/// @notice An answer on its way to the chain.
struct Fulfillment {
    Request request;
    Outcome outcome;
    /// Packed tensors; empty unless `outcome` is `Ok`.
    bytes output;
    /// As many as the quorum, ascending by rank.
    Attestation[] attestations;
    /// Ineligible seats of lower rank, ascending by rank; each lowers the rank of those behind it.
    uint32[] holes;
}

/// @notice An answer that the chain knows, as needed to claim, redeliver or prove it.
struct Result {
    Request request;
    Outcome outcome;
    /// keccak256 of the output bytes.
    bytes32 outputCommitment;
    /// The signers' seats, 4 bytes each, ascending by rank.
    bytes seats;
    /// The block of the fulfillment.
    uint64 fulfilledAt;
}
