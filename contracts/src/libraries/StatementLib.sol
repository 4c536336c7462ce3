// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Outcome} from "../types/Request.sol";

/// @notice What a seat signs under an answer: its EIP-712 encoding, as it lies in memory.
/// @dev Made by `StatementLib.about`; each signer's differs in `seat` alone.
struct Statement {
    bytes32 typeHash;
    bytes32 requestId;
    /// The hash of the request's block: on another fork it is another statement.
    bytes32 blockHash;
    /// keccak256 of the packed tensors fed to the model.
    bytes32 inputHash;
    Outcome outcome;
    /// keccak256 of the output bytes.
    bytes32 outputCommitment;
    uint32 seat;
}

using StatementLib for Statement global;

/// @title The EIP-712 structs of the protocol and their digests
library StatementLib {
    string internal constant NAME = "Oraculum";
    string internal constant VERSION = "2";

    bytes32 internal constant DOMAIN_TYPEHASH =
        keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)");
    bytes32 internal constant STATEMENT_TYPEHASH = keccak256(
        "Statement(bytes32 requestId,bytes32 blockHash,bytes32 inputHash,uint8 outcome,bytes32 outputCommitment,uint32 seat)"
    );
    bytes32 internal constant SIGNER_TYPEHASH = keccak256("Signer(address owner)");

    /// @notice The separator of a coordinator's domain on a chain.
    function domainSeparator(uint256 chainId, address coordinator) internal pure returns (bytes32) {
        return
            keccak256(
                abi.encode(DOMAIN_TYPEHASH, keccak256(bytes(NAME)), keccak256(bytes(VERSION)), chainId, coordinator)
            );
    }

    /// @notice An answer's statement, of seat 0.
    function about(bytes32 requestId, bytes32 blockHash, bytes32 inputHash, Outcome outcome, bytes32 outputCommitment)
        internal
        pure
        returns (Statement memory)
    {
        return Statement({
            typeHash: STATEMENT_TYPEHASH,
            requestId: requestId,
            blockHash: blockHash,
            inputHash: inputHash,
            outcome: outcome,
            outputCommitment: outputCommitment,
            seat: 0
        });
    }

    /// @notice The digest that the statement's seat signs.
    function digest(Statement memory statement, bytes32 domain) internal pure returns (bytes32) {
        bytes32 structHash;
        assembly ("memory-safe") {
            // Seven words in memory, which are `abi.encode` of them.
            structHash := keccak256(statement, 0xe0)
        }
        return _digest(domain, structHash);
    }

    /// @notice What a signing key signs to prove itself for an owner.
    function signerDigest(bytes32 domain, address owner) internal pure returns (bytes32) {
        return _digest(domain, keccak256(abi.encode(SIGNER_TYPEHASH, owner)));
    }

    /// @dev `keccak256(0x1901 ‖ domain ‖ structHash)`, in the memory that is free.
    function _digest(bytes32 domain, bytes32 structHash) private pure returns (bytes32 hash) {
        assembly ("memory-safe") {
            let at := mload(0x40)
            mstore(at, shl(240, 0x1901))
            mstore(add(at, 0x02), domain)
            mstore(add(at, 0x22), structHash)
            hash := keccak256(at, 0x42)
        }
    }
}
