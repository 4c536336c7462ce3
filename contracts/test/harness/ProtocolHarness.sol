// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {AnswerBuffer, AnswerBufferLib} from "../../src/libraries/AnswerBuffer.sol";
import {RequestFields, RequestLib} from "../../src/libraries/RequestLib.sol";
import {ResultLib} from "../../src/libraries/ResultLib.sol";
import {Sortition} from "../../src/libraries/Sortition.sol";
import {Statement, StatementLib} from "../../src/libraries/StatementLib.sol";
import {Attestation, Outcome, Request, Result} from "../../src/types/Request.sol";

/// @title The protocol's pure parts as external functions, for any chain and coordinator
contract ProtocolHarness {
    function requestId(uint256 chainId, address coordinator, Request calldata request) external pure returns (bytes32) {
        return keccak256(abi.encode(chainId, coordinator, request));
    }

    /// @notice The id as the library computes it, of a request made here.
    function requestIdHere(Request calldata request) external view returns (bytes32) {
        return RequestLib.id(request);
    }

    function packRequest(RequestFields calldata fields) external pure returns (Request memory) {
        return RequestLib.pack(fields);
    }

    function unpackRequest(Request calldata request) external pure returns (RequestFields memory) {
        return RequestLib.unpack(request);
    }

    function domainSeparator(uint256 chainId, address coordinator) external pure returns (bytes32) {
        return StatementLib.domainSeparator(chainId, coordinator);
    }

    /// @notice `digestOf` of a coordinator with this domain: the same arguments behind it.
    function statementDigest(
        bytes32 domain,
        bytes32 id,
        bytes32 blockHash,
        bytes32 inputHash,
        Outcome outcome,
        bytes32 outputCommitment,
        uint32 seat
    ) external pure returns (bytes32) {
        Statement memory s = StatementLib.about(id, blockHash, inputHash, outcome, outputCommitment);
        s.seat = seat;
        return s.digest(domain);
    }

    function resultHash(Result calldata result) external pure returns (uint256) {
        return ResultLib.hash(result);
    }

    /// @notice Emits `Fulfilled` of an answer of this block, under the id 0.
    /// @return The result's hash.
    function announce(bytes calldata output, Outcome outcome, Attestation[] calldata attestations)
        external
        returns (uint256)
    {
        AnswerBuffer buffer = AnswerBufferLib.load(output);
        return buffer.announce(StatementLib.about(0, 0, 0, outcome, buffer.commitment()), attestations);
    }

    function signerDigest(bytes32 domain, address owner) external pure returns (bytes32) {
        return StatementLib.signerDigest(domain, owner);
    }

    function seedOf(bytes32 blockHash, bytes32 id) external pure returns (bytes32) {
        return Sortition.seedOf(blockHash, id);
    }

    function rank(bytes32 seed, uint256 seat, uint256 n) external pure returns (uint256) {
        return Sortition.rank(seed, seat, n);
    }

    /// @notice The ranks of seats 0 to n − 1.
    function ranks(bytes32 seed, uint256 n) external pure returns (uint256[] memory all) {
        all = new uint256[](n);
        for (uint256 seat; seat < n; ++seat) {
            all[seat] = Sortition.rank(seed, seat, n);
        }
    }
}
