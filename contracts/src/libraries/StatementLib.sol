// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Outcome} from "../types/Request.sol";

/// @title The EIP-712 structs of the protocol and their digests
library StatementLib {
    string internal constant NAME = "Oraculum";
    string internal constant VERSION = "1";

    bytes32 internal constant DOMAIN_TYPEHASH =
        keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)");
    bytes32 internal constant STATEMENT_TYPEHASH = keccak256(
        "Statement(bytes32 requestId,bytes32 blockHash,bytes32 inputHash,uint8 outcome,bytes32 outputCommitment)"
    );
    bytes32 internal constant SIGNER_TYPEHASH = keccak256("Signer(address owner)");

    /// @notice The separator of a coordinator's domain on a chain.
    function domainSeparator(uint256 chainId, address coordinator) internal pure returns (bytes32) {
        return
            keccak256(
                abi.encode(DOMAIN_TYPEHASH, keccak256(bytes(NAME)), keccak256(bytes(VERSION)), chainId, coordinator)
            );
    }

    /// @notice What a seat signs.
    function statementDigest(
        bytes32 domain,
        bytes32 requestId,
        bytes32 blockHash,
        bytes32 inputHash,
        Outcome outcome,
        bytes32 outputCommitment
    ) internal pure returns (bytes32) {
        return _digest(
            domain,
            keccak256(abi.encode(STATEMENT_TYPEHASH, requestId, blockHash, inputHash, outcome, outputCommitment))
        );
    }

    /// @notice What a signing key signs to prove itself for an owner.
    function signerDigest(bytes32 domain, address owner) internal pure returns (bytes32) {
        return _digest(domain, keccak256(abi.encode(SIGNER_TYPEHASH, owner)));
    }

    function _digest(bytes32 domain, bytes32 structHash) private pure returns (bytes32) {
        return keccak256(abi.encodePacked(hex"1901", domain, structHash));
    }
}
