// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IInferenceCoordinator} from "../interfaces/IInferenceCoordinator.sol";
import {Fault, Faults} from "../libraries/Faults.sol";
import {RequestLib} from "../libraries/RequestLib.sol";
import {Signatures} from "../libraries/Signatures.sol";
import {Sortition} from "../libraries/Sortition.sol";
import {Statement} from "../libraries/StatementLib.sol";
import {Attestation, Request} from "../types/Request.sol";
import {NodeRegistry} from "./NodeRegistry.sol";

/// @title Whose signatures count under an answer, and when
/// @dev Reads seats and parameters, and writes nothing.
abstract contract Committee is NodeRegistry {
    using Faults for Fault;
    using RequestLib for Request;

    /// @dev Holes and attestations, each ascending by rank. A hole lowers the ranks behind it, so that rank counts
    /// among the eligible seats.
    function _checkCommittee(
        Request calldata r,
        Attestation[] calldata attestations,
        uint32[] calldata holes,
        Statement memory s,
        Fault memory fault
    ) internal view returns (bool) {
        bytes32 seed = Sortition.seedOf(s.blockHash, s.requestId);
        uint256[] memory holeRanks;
        if (holes.length != 0) holeRanks = _holeRanks(r, holes, seed, fault);
        return fault.selector == 0 && _checkSigners(r, attestations, holeRanks, seed, s, fault);
    }

    function _checkSigners(
        Request calldata r,
        Attestation[] calldata attestations,
        uint256[] memory holeRanks,
        bytes32 seed,
        Statement memory s,
        Fault memory fault
    ) private view returns (bool) {
        uint256 next; // the least rank that still ascends
        uint256 holesBefore;
        for (uint256 i = 0; i < attestations.length; ++i) {
            Attestation calldata a = attestations[i];
            s.seat = a.seat;
            uint256 rank = _rankOf(r, s.seat, seed, next, fault);
            if (fault.selector != 0) return false;
            while (holesBefore < holeRanks.length && holeRanks[holesBefore] < rank) ++holesBefore;
            if (!_checkAttestation(r, a, rank - holesBefore, s, fault)) return false;
            next = rank + 1;
        }
        return true;
    }

    /// @dev The ranks of the holes, unless there is a fault.
    function _holeRanks(Request calldata r, uint32[] calldata holes, bytes32 seed, Fault memory fault)
        private
        view
        returns (uint256[] memory ranks)
    {
        ranks = new uint256[](holes.length);
        uint256 next; // the least rank that still ascends
        for (uint256 i = 0; i < holes.length; ++i) {
            uint32 hole = holes[i];
            ranks[i] = _rankOf(r, hole, seed, next, fault);
            if (fault.selector != 0) return ranks;
            if (_eligibleSigner(r.modelId, hole, r.requestBlock()) != address(0)) {
                fault.set(IInferenceCoordinator.NotAHole.selector, hole);
                return ranks;
            }
            next = ranks[i] + 1;
        }
    }

    /// @dev The rank of a seat; there is a fault unless the request knows the seat and the rank is at least `next`.
    function _rankOf(Request calldata r, uint32 index, bytes32 seed, uint256 next, Fault memory fault)
        private
        pure
        returns (uint256 rank)
    {
        uint256 seatCount = r.seatCount();
        if (index >= seatCount) {
            fault.set(IInferenceCoordinator.UnknownSeat.selector, index, seatCount);
            return 0;
        }
        rank = Sortition.rank(seed, index, seatCount);
        if (rank < next) fault.set(IInferenceCoordinator.NotAscending.selector, index);
    }

    /// @dev The signature of the seat that the statement names.
    function _checkAttestation(
        Request calldata r,
        Attestation calldata a,
        uint256 rank,
        Statement memory s,
        Fault memory fault
    ) private view returns (bool) {
        // The first window belongs to the first ranks: only later ones need to know its length.
        uint256 allowed = r.quorum();
        if (rank >= allowed) {
            allowed *= 1 + (block.number - r.requestBlock() - 1) / _parametersAt(r.version()).window();
            if (rank >= allowed) return fault.set(IInferenceCoordinator.RankTooHigh.selector, rank, allowed);
        }
        uint32 index = s.seat;
        address signer = _eligibleSigner(r.modelId, index, r.requestBlock());
        if (signer == address(0)) return fault.set(IInferenceCoordinator.SeatNotEligible.selector, index);
        bytes32 digest = s.digest(_domainSeparator());
        if (Signatures.recover(digest, a.r, a.vs) != signer) {
            return fault.set(IInferenceCoordinator.WrongSignature.selector, index);
        }
        return true;
    }
}
