// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Committee} from "./base/Committee.sol";
import {Governance} from "./base/Governance.sol";
import {IInferenceCoordinator} from "./interfaces/IInferenceCoordinator.sol";
import {AnswerBuffer, AnswerBufferLib} from "./libraries/AnswerBuffer.sol";
import {AskChecks} from "./libraries/AskChecks.sol";
import {BlockHashes} from "./libraries/BlockHashes.sol";
import {ExactCall} from "./libraries/ExactCall.sol";
import {Fault, Faults} from "./libraries/Faults.sol";
import {PackedParameters} from "./libraries/PackedParameters.sol";
import {RequestBuffer, RequestBufferLib} from "./libraries/RequestBuffer.sol";
import {RequestLib} from "./libraries/RequestLib.sol";
import {ResultLib} from "./libraries/ResultLib.sol";
import {Sortition} from "./libraries/Sortition.sol";
import {Statement, StatementLib} from "./libraries/StatementLib.sol";
import {Parameters} from "./types/Parameters.sol";
import {Ask, Attestation, Fulfillment, Outcome, Request, Result} from "./types/Request.sol";
import {Status, StatusLib} from "./types/Status.sol";

/// @title Requests, escrow, fulfillment, delivery, pay and refunds
/// @dev The checks of an answer return a fault, the encoded error: a single answer reverts with it, a batch notes its
/// selector and goes on.
contract InferenceCoordinator is IInferenceCoordinator, Committee {
    using Faults for Fault;
    using RequestLib for Request;
    using ResultLib for Result;

    /// @dev Gas between the last check of an answer and its callback: the status word, the event and the encoding of
    /// the output, per byte of output (8 of the log, the rest copies and memory).
    uint256 private constant RECORDING = 15_000;
    uint256 private constant RECORDING_PER_BYTE = 16;

    /// @dev What `claim` keeps from item to item: neighbours are mostly of one seat and version, and pay one owner. No version
    /// and no model is 0, so it begins with neither.
    struct Payroll {
        uint256 version;
        uint256 vesting;
        bytes32 modelId;
        uint256 index;
        // Who holds that seat, and since when.
        address holder;
        uint256 since;
        // What is not credited yet.
        address payee;
        uint256 due;
    }

    mapping(bytes32 requestId => Status) private _status;

    constructor(address firstOwner, Parameters memory first) Governance(firstOwner, first) {}

    /// @inheritdoc IInferenceCoordinator
    function request(Ask calldata ask, bytes calldata input) external payable returns (bytes32 requestId) {
        PackedParameters p = _unpaused();
        AskChecks.check(ask, p.maxQuorum(), p.maxCallbackGas());
        uint32 seatCount = _checkModel(ask, input.length);

        uint256 sum = uint256(ask.fee) + ask.submitFee;
        if (msg.value != 0) {
            if (msg.value != sum) revert WrongPayment(msg.value, sum);
        } else if (sum != 0) {
            _draw(ask.refundTo, msg.sender, sum);
        }

        RequestBuffer buffer = RequestBufferLib.open(ask, input, seatCount, p.version());
        requestId = buffer.id();
        if (_status[requestId] != StatusLib.NONE) requestId = _freeId(buffer);
        _status[requestId] = StatusLib.OPEN;
        buffer.announce(requestId);
    }

    /// @inheritdoc IInferenceCoordinator
    function fulfill(Fulfillment calldata fulfillment) external locked {
        Fault memory fault;
        _fulfill(fulfillment, fault);
        if (fault.selector != 0) fault.raise();
    }

    /// @inheritdoc IInferenceCoordinator
    function fulfillBatch(Fulfillment[] calldata fulfillments) external locked {
        for (uint256 i = 0; i < fulfillments.length; ++i) {
            uint256 free;
            assembly ("memory-safe") {
                free := mload(0x40)
            }
            Fault memory fault;
            bytes32 requestId = _fulfill(fulfillments[i], fault);
            if (fault.selector != 0) emit Skipped(requestId, fault.selector);
            // The next item takes the same memory, whose price grows with the square of its size.
            assembly ("memory-safe") {
                mstore(0x40, free)
            }
        }
    }

    /// @inheritdoc IInferenceCoordinator
    function redeliver(Result calldata result, bytes calldata output, uint32 gasLimit)
        external
        locked
        returns (bool delivered)
    {
        Request calldata r = result.request;
        (bytes32 requestId, Status status) = _recorded(result);
        AnswerBuffer buffer = AnswerBufferLib.load(output);
        if (buffer.commitment() != result.outputCommitment) revert ResultMismatch(requestId);
        if (r.callbackGasLimit() == 0) revert NoCallback(requestId);
        if (status.isDelivered()) revert AlreadyDelivered(requestId);
        if (gasLimit < r.callbackGasLimit()) revert InsufficientGas(gasLimit, r.callbackGasLimit());
        if (msg.sender != r.consumer() && block.number > _vestingBlock(result)) revert NotConsumer(msg.sender);

        _status[requestId] = status.withDelivered(true);
        delivered = _deliver(requestId, r.consumer(), result.outcome, buffer, gasLimit);
        if (delivered) emit Redelivered(requestId);
    }

    /// @inheritdoc IInferenceCoordinator
    function refund(Request calldata r) external unlocked {
        bytes32 requestId = r.id();
        if (_status[requestId] != StatusLib.OPEN) revert NotOpen(requestId);
        uint256 deadline = r.deadline();
        if (block.number <= deadline) revert DeadlineNotPassed(block.number, deadline);
        _status[requestId] = StatusLib.REFUNDED;
        uint256 amount = uint256(r.fee()) + r.submitFee();
        _credit(r.refundTo(), amount);
        emit Refunded(requestId, r.refundTo(), amount);
    }

    /// @inheritdoc IInferenceCoordinator
    function claim(Result[] calldata results) external unlocked {
        bytes32[] memory paid = new bytes32[](results.length);
        uint256 count;
        Payroll memory roll;
        for (uint256 i = 0; i < results.length; ++i) {
            bytes32 requestId = _claim(results[i], roll);
            if (requestId != 0) paid[count++] = requestId;
        }
        if (roll.due != 0) _credit(roll.payee, roll.due);
        assembly ("memory-safe") {
            mstore(paid, count)
        }
        if (count != 0) emit Claimed(paid);
    }

    /// @inheritdoc IInferenceCoordinator
    function isResult(Result calldata result) external view returns (bool) {
        return _status[result.request.id()].records(result.hash());
    }

    /// @inheritdoc IInferenceCoordinator
    function requestIdOf(Request calldata r) external view returns (bytes32) {
        return r.id();
    }

    /// @inheritdoc IInferenceCoordinator
    function statusOf(bytes32 requestId) external view returns (Status) {
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
        bytes32 outputCommitment,
        uint32 seat
    ) external view returns (bytes32) {
        Statement memory s = StatementLib.about(requestId, blockHash, inputHash, outcome, outputCommitment);
        s.seat = seat;
        return s.digest(_domainSeparator());
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

    function _checkModel(Ask calldata ask, uint256 inputLength) private view returns (uint32) {
        Model storage m = _models[ask.modelId];
        if (!m.registered) revert UnknownModel(ask.modelId);
        if (inputLength > m.maxInputBytes) revert InputTooLarge(inputLength, m.maxInputBytes);
        if (m.liveSeats < ask.quorum) revert TooFewSeats(m.liveSeats, ask.quorum);
        return m.seatCount;
    }

    /// @dev The id under the smallest nonce that is free, of a request whose first one is taken. Alike requests take their
    /// nonces in turn and no word is ever zeroed, so the taken ones have no gaps: doubling, then halving, finds the end.
    function _freeId(RequestBuffer buffer) private view returns (bytes32 requestId) {
        uint256 taken = 0;
        uint256 free = 1;
        while (_isTaken(buffer, free)) {
            taken = free;
            free *= 2;
        }
        while (free - taken > 1) {
            uint256 middle = (taken + free) / 2;
            if (_isTaken(buffer, middle)) taken = middle;
            else free = middle;
        }
        buffer.setNonce(uint64(free));
        return buffer.id();
    }

    function _isTaken(RequestBuffer buffer, uint256 nonce) private view returns (bool) {
        buffer.setNonce(uint64(nonce));
        return _status[buffer.id()] != StatusLib.NONE;
    }

    /// @dev Checks an answer, records it and delivers it; or changes nothing and says why. The members of an answer are read
    /// once and handed on: each read of calldata checks its place anew.
    function _fulfill(Fulfillment calldata f, Fault memory fault) private returns (bytes32 requestId) {
        Request calldata r = f.request;
        requestId = r.id();
        Attestation[] calldata attestations = f.attestations;
        (bytes32 blockHash, AnswerBuffer buffer) = _checkOpen(f, requestId, attestations.length, fault);
        if (blockHash == 0) return requestId;
        Statement memory s = StatementLib.about(requestId, blockHash, r.inputHash, f.outcome, buffer.commitment());
        if (!_checkCommittee(r, attestations, f.holes, s, fault)) return requestId;

        uint256 gasLimit = r.callbackGasLimit();
        if (gasLimit != 0) {
            uint256 needed = _gasToRecord(buffer.length()) + ExactCall.needed(gasLimit);
            uint256 available = gasleft();
            if (available < needed) {
                fault.set(InsufficientGas.selector, available, needed);
                return requestId;
            }
        }

        uint256 resultHash = buffer.announce(s, attestations);
        _status[requestId] = StatusLib.fulfilled(resultHash, gasLimit != 0);
        if (gasLimit != 0) _deliver(requestId, r.consumer(), s.outcome, buffer, gasLimit);
    }

    /// @dev Whether the request waits for such an answer, cheapest first.
    /// @return blockHash The hash of the request's block; zero if there is a fault.
    /// @return buffer The output.
    function _checkOpen(Fulfillment calldata f, bytes32 requestId, uint256 count, Fault memory fault)
        private
        view
        returns (bytes32 blockHash, AnswerBuffer buffer)
    {
        Request calldata r = f.request;
        bytes calldata output = f.output;
        uint256 requestBlock = r.requestBlock();
        if (_status[requestId] != StatusLib.OPEN) {
            fault.set(NotOpen.selector, uint256(requestId));
        } else if (block.number == requestBlock) {
            fault.set(SameBlock.selector);
        } else if (block.number > r.deadline()) {
            fault.set(DeadlinePassed.selector, block.number, r.deadline());
        } else if (output.length != 0 && f.outcome != Outcome.Ok) {
            fault.set(UnexpectedOutput.selector);
        } else if (count != r.quorum()) {
            fault.set(WrongAttestationCount.selector, count, r.quorum());
        } else {
            blockHash = BlockHashes.get(requestBlock);
            if (blockHash == 0) fault.set(BlockHashUnavailable.selector, requestBlock);
            else buffer = AnswerBufferLib.load(output);
        }
    }

    /// @dev The gas between the last check of an answer and its callback.
    function _gasToRecord(uint256 outputLength) private pure returns (uint256) {
        unchecked {
            // What lies in memory is never so long that this overflows.
            return RECORDING + RECORDING_PER_BYTE * outputLength;
        }
    }

    /// @dev Calls the consumer with exactly `gasLimit`. The word already says delivered; a failure takes that back.
    function _deliver(bytes32 requestId, address consumer, Outcome outcome, AnswerBuffer buffer, uint256 gasLimit)
        private
        returns (bool delivered)
    {
        uint256 needed = ExactCall.needed(gasLimit);
        uint256 available = gasleft();
        if (available < needed) revert InsufficientGas(available, needed);
        delivered = buffer.deliver(consumer, requestId, outcome, gasLimit);
        if (!delivered) {
            _status[requestId] = _status[requestId].withDelivered(false);
            emit DeliveryFailed(requestId, consumer);
        }
    }

    /// @dev The last block in which an answer may still be contested.
    function _vestingBlock(Result calldata result) private view returns (uint256) {
        return result.fulfilledAt + _parametersAt(result.request.version()).vesting();
    }

    /// @dev Marks an answer as paid, and adds its pay to what is owed.
    /// @return requestId Zero if it was paid before.
    function _claim(Result calldata result, Payroll memory roll) private returns (bytes32 requestId) {
        Status status;
        (requestId, status) = _recorded(result);
        if (status.isPaid()) return 0;
        uint256 version = result.request.version();
        if (version != roll.version) {
            (roll.version, roll.vesting) = (version, _parametersAt(uint16(version)).vesting());
        }
        uint256 fulfilledAt = result.fulfilledAt;
        uint256 vestingBlock = fulfilledAt + roll.vesting;
        if (block.number <= vestingBlock) revert TooEarly(block.number, vestingBlock + 1);
        _status[requestId] = status.withPaid();
        _share(result.request, result.seats, fulfilledAt, roll);
    }

    /// @dev Each run of items that pay the same owner is credited in one write. Nothing overflows, and nothing is divided by
    /// zero: fees have 96 bits, and what is recorded has a quorum and as many seats.
    function _share(Request calldata r, bytes calldata seats, uint256 fulfilledAt, Payroll memory roll) private {
        unchecked {
            uint256 quorum = r.quorum();
            uint256 share = r.fee() / quorum;
            // To the lowest rank, on top.
            uint256 rest = r.fee() - share * quorum + r.submitFee();
            for (uint256 j = 0; j < quorum; ++j) {
                address owner = _ownerOf(r.modelId, ResultLib.seatAt(seats, j), fulfilledAt, roll);
                if (owner != roll.payee) {
                    if (roll.due != 0) _credit(roll.payee, roll.due);
                    (roll.payee, roll.due) = (owner, 0);
                }
                roll.due += share + rest;
                rest = 0;
            }
        }
    }

    /// @dev Who held a seat when it signed an answer of this block. A seat is released long after the last answer
    /// that it can sign, and taken anew after that, so `since` alone tells the tenures apart.
    function _ownerOf(bytes32 modelId, uint32 index, uint256 fulfilledAt, Payroll memory roll)
        private
        view
        returns (address)
    {
        if (modelId != roll.modelId || index != roll.index) {
            (roll.modelId, roll.index) = (modelId, index);
            (roll.holder, roll.since) = _holderOf(modelId, index);
        }
        return roll.since <= fulfilledAt ? roll.holder : _formerHolderAt(modelId, index, fulfilledAt);
    }

    /// @dev The id and status of a result, if it is the one recorded.
    function _recorded(Result calldata result) private view returns (bytes32 requestId, Status status) {
        requestId = result.request.id();
        status = _status[requestId];
        if (!status.records(result.hash())) revert ResultMismatch(requestId);
    }
}
