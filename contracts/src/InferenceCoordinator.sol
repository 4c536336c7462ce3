// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Governance} from "./Governance.sol";
import {NodeRegistry} from "./NodeRegistry.sol";
import {IInferenceConsumer} from "./interfaces/IInferenceConsumer.sol";
import {Feature, IInferenceCoordinator} from "./interfaces/IInferenceCoordinator.sol";
import {BlockHashes} from "./libraries/BlockHashes.sol";
import {ExactCall} from "./libraries/ExactCall.sol";
import {Fault, Faults} from "./libraries/Faults.sol";
import {PackedParameters} from "./libraries/PackedParameters.sol";
import {ParameterBounds} from "./libraries/ParameterBounds.sol";
import {RequestLib} from "./libraries/RequestLib.sol";
import {Signatures} from "./libraries/Signatures.sol";
import {Sortition} from "./libraries/Sortition.sol";
import {StatementLib} from "./libraries/StatementLib.sol";
import {Parameters} from "./types/Parameters.sol";
import {Ask, Attestation, Fulfillment, InputKind, Level, Outcome, Request, Result} from "./types/Request.sol";

/// @title Requests, escrow, fulfillment, delivery, pay and refunds
/// @dev The checks of an answer return a fault, the encoded error: a single answer reverts with it, a batch notes its
/// selector and goes on.
contract InferenceCoordinator is IInferenceCoordinator, NodeRegistry {
    using Faults for Fault;
    using RequestLib for Request;

    uint256 private constant OPEN = 1;
    uint256 private constant FULFILLED = 2;
    uint256 private constant DELIVERED = 4;
    uint256 private constant PAID = 8;
    uint256 private constant REFUNDED = 16;
    uint256 private constant FLAGS = 0xff;

    uint256 private constant MIN_DEADLINE = 2;
    uint256 private constant MAX_DECIMALS = 36;
    /// @dev Bit w is set where w is an element width.
    uint256 private constant WIDTHS = 1 << 0 | 1 << 1 | 1 << 2 | 1 << 4 | 1 << 8 | 1 << 16;

    /// @dev Gas between the last check of an answer and its callback: the status word, the event and the encoding of
    /// the output, per byte of output (8 of the log, the rest copies and memory).
    uint256 private constant RECORDING = 15_000;
    uint256 private constant RECORDING_PER_BYTE = 16;

    mapping(bytes32 requestId => uint256) private _status;

    /// @inheritdoc IInferenceCoordinator
    mapping(address consumer => uint64) public nonceOf;

    constructor(address firstOwner, Parameters memory first) Governance(firstOwner, first) {}

    /// @inheritdoc IInferenceCoordinator
    function request(Ask calldata ask, bytes calldata input) external payable returns (bytes32 requestId) {
        PackedParameters p = _unpaused();
        _checkAsk(ask, p);
        uint32 seatCount = _checkModel(ask, input.length);

        uint256 sum = uint256(ask.fee) + ask.submitFee;
        if (msg.value != 0) {
            if (msg.value != sum) revert WrongPayment(msg.value, sum);
        } else if (sum != 0) {
            _draw(ask.refundTo, msg.sender, sum);
        }

        Request memory r = Request({
            modelId: ask.modelId,
            inputHash: keccak256(input),
            origin: RequestLib.packOrigin(msg.sender, nonceOf[msg.sender]++, seatCount),
            escrow: RequestLib.packAmount(ask.refundTo, ask.fee),
            payment: RequestLib.packAmount(ask.token, ask.submitFee),
            terms: RequestLib.packTerms(ask, block.number, p.version())
        });
        requestId = RequestLib.idOf(r);
        _status[requestId] = OPEN;
        emit Requested(requestId, msg.sender, ask.modelId, r, input);
    }

    /// @inheritdoc IInferenceCoordinator
    function fulfill(Fulfillment calldata fulfillment) external locked {
        (, Fault memory fault) = _fulfill(fulfillment);
        if (fault.selector != 0) fault.raise();
    }

    /// @inheritdoc IInferenceCoordinator
    function fulfillBatch(Fulfillment[] calldata fulfillments) external locked {
        for (uint256 i = 0; i < fulfillments.length; ++i) {
            (bytes32 requestId, Fault memory fault) = _fulfill(fulfillments[i]);
            if (fault.selector != 0) emit Skipped(requestId, fault.selector);
        }
    }

    /// @inheritdoc IInferenceCoordinator
    function redeliver(Result calldata result, bytes calldata output, uint32 gasLimit)
        external
        locked
        returns (bool delivered)
    {
        Request calldata r = result.request;
        (bytes32 requestId, uint256 word) = _recorded(result);
        if (keccak256(output) != result.outputCommitment) revert ResultMismatch(requestId);
        if (r.callbackGasLimit() == 0) revert NoCallback(requestId);
        if (word & DELIVERED != 0) revert AlreadyDelivered(requestId);
        if (gasLimit < r.callbackGasLimit()) revert InsufficientGas(gasLimit, r.callbackGasLimit());
        if (msg.sender != r.consumer() && block.number > _vestingBlock(result)) revert NotConsumer(msg.sender);

        _status[requestId] = word | DELIVERED;
        delivered = _deliver(r, requestId, result.outcome, output, gasLimit);
        if (delivered) emit Redelivered(requestId);
    }

    /// @inheritdoc IInferenceCoordinator
    function refund(Request calldata r) external locked {
        bytes32 requestId = r.id();
        if (_status[requestId] != OPEN) revert NotOpen(requestId);
        uint256 deadline = r.deadline();
        if (block.number <= deadline) revert DeadlineNotPassed(block.number, deadline);
        _status[requestId] = REFUNDED;
        uint256 amount = uint256(r.fee()) + r.submitFee();
        _credit(r.refundTo(), amount);
        emit Refunded(requestId, r.refundTo(), amount);
    }

    /// @inheritdoc IInferenceCoordinator
    function claim(Result[] calldata results) external locked {
        // Neighbours often pay the same owner: one write for each run of them.
        address payee;
        uint256 due;
        for (uint256 i = 0; i < results.length; ++i) {
            Result calldata result = results[i];
            (bytes32 requestId, uint256 word) = _recorded(result);
            if (word & PAID != 0) revert AlreadyPaid(requestId);
            uint256 vestingBlock = _vestingBlock(result);
            if (block.number <= vestingBlock) revert TooEarly(block.number, vestingBlock + 1);
            _status[requestId] = word | PAID;

            uint256 quorum = result.request.quorum();
            uint256 fee = result.request.fee();
            uint256 share = fee / quorum;
            for (uint256 j = 0; j < quorum; ++j) {
                uint32 index = uint32(bytes4(result.seats[4 * j:]));
                address owner = _ownerAt(result.request.modelId, index, result.fulfilledAt);
                if (owner != payee) {
                    if (due != 0) _credit(payee, due);
                    (payee, due) = (owner, 0);
                }
                due += j == 0 ? fee - share * (quorum - 1) + result.request.submitFee() : share;
            }
            emit Claimed(requestId);
        }
        if (due != 0) _credit(payee, due);
    }

    /// @inheritdoc IInferenceCoordinator
    function isResult(Result calldata result) external view returns (bool) {
        uint256 word = _status[result.request.id()];
        return word & FULFILLED != 0 && word & ~FLAGS == _hashOf(result);
    }

    /// @inheritdoc IInferenceCoordinator
    function requestIdOf(Request calldata r) external view returns (bytes32) {
        return r.id();
    }

    /// @inheritdoc IInferenceCoordinator
    function statusOf(bytes32 requestId) external view returns (uint256) {
        return _status[requestId];
    }

    /// @inheritdoc IInferenceCoordinator
    function rankOf(bytes32 requestId, bytes32 blockHash, uint32 seat, uint32 seatCount)
        external
        pure
        returns (uint256)
    {
        if (seat >= seatCount) revert UnknownSeat(seat, seatCount);
        return Sortition.rank(Sortition.seedOf(blockHash, requestId), seat, seatCount);
    }

    /// @inheritdoc IInferenceCoordinator
    function digestOf(
        bytes32 requestId,
        bytes32 blockHash,
        bytes32 inputHash,
        Outcome outcome,
        bytes32 outputCommitment
    ) external view returns (bytes32) {
        return StatementLib.statementDigest(
            _domainSeparator(), requestId, blockHash, inputHash, outcome, outputCommitment
        );
    }

    /// @inheritdoc IInferenceCoordinator
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
        )
    {
        return (
            hex"0f", StatementLib.NAME, StatementLib.VERSION, block.chainid, address(this), bytes32(0), new uint256[](0)
        );
    }

    function _checkAsk(Ask calldata ask, PackedParameters p) private pure {
        if (ask.refundTo == address(0)) revert ZeroRefundAccount();
        if (ask.inputKind != InputKind.Inline) revert NotOffered(Feature.InputKind);
        if (ask.token != ETH) revert NotOffered(Feature.Token);
        if (ask.level != Level.Fast) revert NotOffered(Feature.Assured);
        if (ask.valueAtRisk != 0) revert NotOffered(Feature.ValueAtRisk);
        if (ask.quorum != 1) {
            if (ask.quorum == 0) revert ZeroQuorum();
            if (ask.quorum > p.maxQuorum()) revert QuorumTooLarge(ask.quorum, p.maxQuorum());
            revert NotOffered(Feature.Quorum);
        }
        if (ask.deadlineBlocks < MIN_DEADLINE || ask.deadlineBlocks > ParameterBounds.MAX_DEADLINE) {
            revert DeadlineOutOfRange(ask.deadlineBlocks, MIN_DEADLINE, ParameterBounds.MAX_DEADLINE);
        }
        if (ask.callbackGasLimit > p.maxCallbackGas()) {
            revert CallbackGasTooLarge(ask.callbackGasLimit, p.maxCallbackGas());
        }
        uint256 maxDecimals = ask.outputWidth == 0 ? 0 : MAX_DECIMALS;
        if (WIDTHS >> ask.outputWidth & 1 == 0 || ask.outputDecimals > maxDecimals) {
            revert InvalidOutputFormat(ask.outputWidth, ask.outputDecimals);
        }
    }

    function _checkModel(Ask calldata ask, uint256 inputLength) private view returns (uint32 seatCount) {
        Model memory m = _models[ask.modelId];
        if (!m.registered) revert UnknownModel(ask.modelId);
        if (inputLength > m.maxInputBytes) revert InputTooLarge(inputLength, m.maxInputBytes);
        if (m.liveSeats < ask.quorum) revert TooFewSeats(m.liveSeats, ask.quorum);
        return m.seatCount;
    }

    /// @dev Checks an answer, records it and delivers it; or changes nothing and says why.
    function _fulfill(Fulfillment calldata f) private returns (bytes32 requestId, Fault memory fault) {
        Request calldata r = f.request;
        requestId = r.id();
        bytes32 commitment = keccak256(f.output);
        if (!_check(f, requestId, commitment, fault)) return (requestId, fault);

        uint256 gasLimit = r.callbackGasLimit();
        if (gasLimit != 0) {
            uint256 needed = RECORDING + RECORDING_PER_BYTE * f.output.length + ExactCall.needed(gasLimit);
            uint256 available = gasleft();
            if (available < needed) {
                fault.set(InsufficientGas.selector, available, needed);
                return (requestId, fault);
            }
        }

        bytes memory seats = _seatsOf(f.attestations);
        uint256 word = _hash(f.outcome, commitment, seats, uint64(block.number)) | FULFILLED;
        _status[requestId] = gasLimit == 0 ? word : word | DELIVERED;
        emit Fulfilled(requestId, f.outcome, seats, f.output);
        if (gasLimit != 0) _deliver(r, requestId, f.outcome, f.output, gasLimit);
    }

    /// @dev Everything that decides whether an answer counts, cheapest first.
    function _check(Fulfillment calldata f, bytes32 requestId, bytes32 commitment, Fault memory fault)
        private
        view
        returns (bool)
    {
        Request calldata r = f.request;
        if (_status[requestId] != OPEN) return fault.set(NotOpen.selector, uint256(requestId));
        uint256 requestBlock = r.requestBlock();
        uint256 deadline = r.deadline();
        if (block.number == requestBlock) return fault.set(SameBlock.selector);
        if (block.number > deadline) return fault.set(DeadlinePassed.selector, block.number, deadline);
        if (f.outcome != Outcome.Ok && f.output.length != 0) return fault.set(UnexpectedOutput.selector);
        if (f.attestations.length != r.quorum()) {
            return fault.set(WrongAttestationCount.selector, f.attestations.length, r.quorum());
        }
        bytes32 blockHash = BlockHashes.get(requestBlock);
        if (blockHash == 0) return fault.set(BlockHashUnavailable.selector, requestBlock);
        bytes32 digest =
            StatementLib.statementDigest(_domainSeparator(), requestId, blockHash, r.inputHash, f.outcome, commitment);
        return _checkCommittee(f, Sortition.seedOf(blockHash, requestId), digest, fault);
    }

    /// @dev Holes and attestations, each ascending by rank. A hole lowers the ranks behind it, so that rank counts
    /// among the eligible seats.
    function _checkCommittee(Fulfillment calldata f, bytes32 seed, bytes32 digest, Fault memory fault)
        private
        view
        returns (bool)
    {
        Request calldata r = f.request;
        uint256[] memory holeRanks = new uint256[](f.holes.length);
        uint256 next; // the least rank that still ascends
        for (uint256 i = 0; i < holeRanks.length; ++i) {
            uint32 hole = f.holes[i];
            if (hole >= r.seatCount()) return fault.set(UnknownSeat.selector, hole, r.seatCount());
            holeRanks[i] = Sortition.rank(seed, hole, r.seatCount());
            if (holeRanks[i] < next) return fault.set(NotAscending.selector, hole);
            if (_eligibleSigner(r.modelId, hole, r.requestBlock()) != address(0)) {
                return fault.set(NotAHole.selector, hole);
            }
            next = holeRanks[i] + 1;
        }

        next = 0;
        uint256 holesBefore;
        for (uint256 i = 0; i < f.attestations.length; ++i) {
            Attestation calldata a = f.attestations[i];
            if (a.seat >= r.seatCount()) return fault.set(UnknownSeat.selector, a.seat, r.seatCount());
            uint256 rank = Sortition.rank(seed, a.seat, r.seatCount());
            if (rank < next) return fault.set(NotAscending.selector, a.seat);
            while (holesBefore < holeRanks.length && holeRanks[holesBefore] < rank) ++holesBefore;
            if (!_checkAttestation(r, a, rank - holesBefore, digest, fault)) return false;
            next = rank + 1;
        }
        return true;
    }

    function _checkAttestation(
        Request calldata r,
        Attestation calldata a,
        uint256 rank,
        bytes32 digest,
        Fault memory fault
    ) private view returns (bool) {
        // The first window belongs to the first ranks: only later ones need to know its length.
        uint256 allowed = r.quorum();
        if (rank >= allowed) {
            allowed *= 1 + (block.number - r.requestBlock() - 1) / _parametersAt(r.version()).window();
            if (rank >= allowed) return fault.set(RankTooHigh.selector, rank, allowed);
        }
        address signer = _eligibleSigner(r.modelId, a.seat, r.requestBlock());
        if (signer == address(0)) return fault.set(SeatNotEligible.selector, a.seat);
        if (Signatures.recover(digest, a.r, a.vs) != signer) return fault.set(WrongSignature.selector, a.seat);
        return true;
    }

    function _seatsOf(Attestation[] calldata attestations) private pure returns (bytes memory seats) {
        for (uint256 i = 0; i < attestations.length; ++i) {
            seats = abi.encodePacked(seats, attestations[i].seat);
        }
    }

    /// @dev Calls the consumer with exactly `gasLimit`. The word already says delivered; a failure takes that back.
    function _deliver(Request calldata r, bytes32 requestId, Outcome outcome, bytes calldata output, uint256 gasLimit)
        private
        returns (bool delivered)
    {
        address consumer = r.consumer();
        bytes memory call = abi.encodeCall(IInferenceConsumer.onInference, (requestId, outcome, output));
        uint256 needed = ExactCall.needed(gasLimit);
        uint256 available = gasleft();
        if (available < needed) revert InsufficientGas(available, needed);
        delivered = ExactCall.tryCall(consumer, gasLimit, call);
        if (!delivered) {
            _status[requestId] &= ~DELIVERED;
            emit DeliveryFailed(requestId, consumer);
        }
    }

    /// @dev The id and word of a result, if it is the one recorded.
    function _recorded(Result calldata result) private view returns (bytes32 requestId, uint256 word) {
        requestId = result.request.id();
        word = _status[requestId];
        if (word & FULFILLED == 0 || word & ~FLAGS != _hashOf(result)) revert ResultMismatch(requestId);
    }

    /// @dev The last block in which an answer may still be contested; it is paid after it.
    function _vestingBlock(Result calldata result) private view returns (uint256) {
        return result.fulfilledAt + _parametersAt(result.request.version()).vesting();
    }

    /// @dev The same as `_hash`, without copying the seats first.
    function _hashOf(Result calldata r) private pure returns (uint256) {
        return uint256(keccak256(abi.encode(r.outcome, r.outputCommitment, r.seats, r.fulfilledAt))) << 8;
    }

    /// @dev Of a result, the low 248 bits in place above the flags.
    function _hash(Outcome outcome, bytes32 commitment, bytes memory seats, uint64 fulfilledAt)
        private
        pure
        returns (uint256)
    {
        return uint256(keccak256(abi.encode(outcome, commitment, seats, fulfilledAt))) << 8;
    }
}
