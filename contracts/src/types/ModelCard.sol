// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

/// @notice When two outputs of a model agree.
enum AgreementKind {
    /// Every element is equal; for profiles with `lane=exact`, and for integer graphs.
    Exact,
    /// |a − b| ≤ atol + rtol·|b| + one output quantum for every element, b being the re-computed value.
    Elementwise,
    /// The same element is the largest; no verdict where the two largest are closer than `gap`.
    Argmax
}

/// @notice The agreement policy of one output. Tolerances are in units of 1e-18; those the kind does not use are 0.
struct Agreement {
    AgreementKind kind;
    uint128 atol;
    uint128 rtol;
    uint128 gap;
}

/// @notice Everything that names a model. `modelId = keccak256(abi.encode(card))`.
struct ModelCard {
    /// SHA-256 of the ONNX file.
    bytes32 fileHash;
    /// SHA-256 of the canonical JSON document that describes inputs, outputs, probes and licence.
    bytes32 detailsHash;
    /// SHA-256 of the reference profile string on which disputes are judged.
    bytes32 profileHash;
    /// One per output of the model, 1 to 16.
    Agreement[] agreement;
    /// Zero, or a contract that accepts a proof in place of audits (not offered yet).
    address verifier;
    uint32 maxInputBytes;
    uint32 maxOutputBytes;
}
