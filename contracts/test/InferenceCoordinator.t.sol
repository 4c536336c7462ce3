// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {stdStorage, StdStorage} from "forge-std/Test.sol";
import {IInferenceCoordinator} from "../src/interfaces/IInferenceCoordinator.sol";
import {RequestFields, RequestLib} from "../src/libraries/RequestLib.sol";
import {Statement, StatementLib} from "../src/libraries/StatementLib.sol";
import {Ask, Attestation, Fulfillment, Outcome, Request, Result} from "../src/types/Request.sol";
import {RecordingConsumer} from "./utils/Consumers.sol";
import {LiveNodeFixture, Node} from "./utils/Fixture.sol";

/// @notice Who may answer, with what, and when. Asking is in `Requests.t.sol`, delivery and batches in `Delivery.t.sol`, pay in
/// `Claims.t.sol`.
contract InferenceCoordinatorTest is LiveNodeFixture {
    using RequestLib for Request;
    using stdStorage for StdStorage;

    address private consumer = makeAddr("consumer");

    function expectNoAnswer(Fulfillment memory f, bytes memory fault) private {
        vm.expectRevert(fault);
        coordinator.fulfill(f);
        // In a batch it is skipped, for the same reason, and nothing changes.
        Fulfillment[] memory batch = new Fulfillment[](1);
        batch[0] = f;
        bytes32 id = coordinator.requestIdOf(f.request);
        uint256 before = wordOf(id);
        vm.expectEmit(address(coordinator));
        emit IInferenceCoordinator.Skipped(id, bytes4(fault));
        coordinator.fulfillBatch(batch);
        assertEq(wordOf(id), before);
    }

    function test_AnAnswerIsRecordedAndAnnounced() external {
        Request memory r = sendUsual(consumer);
        roll(1);
        Fulfillment memory f = answer(r, "output");
        vm.expectEmit(address(coordinator));
        emit IInferenceCoordinator.Fulfilled(coordinator.requestIdOf(r), abi.encodePacked(hex"000100000000", "output"));
        coordinator.fulfill(f);
        Result memory result = resultOf(f);
        assertTrue(coordinator.isResult(result));
        assertEq(wordOf(coordinator.requestIdOf(r)) & 0xff, 2);
        result.fulfilledAt += 1;
        assertFalse(coordinator.isResult(result));
    }

    function test_ARequestIsAnsweredOnce() external {
        Request memory r = sendUsual(consumer);
        roll(1);
        Fulfillment memory f = answer(r, "output");
        coordinator.fulfill(f);
        expectNoAnswer(f, abi.encodeWithSelector(IInferenceCoordinator.NotOpen.selector, coordinator.requestIdOf(r)));
    }

    function test_ARequestThatWasNeverMadeIsNotAnswered() external {
        Request memory r = sendUsual(consumer);
        roll(1);
        Fulfillment memory f = answer(r, "output");
        f.request.escrow = bytes32(uint256(f.request.escrow) + 1); // a higher fee
        expectNoAnswer(
            f, abi.encodeWithSelector(IInferenceCoordinator.NotOpen.selector, coordinator.requestIdOf(f.request))
        );
    }

    function test_ARequestIsNotAnsweredInItsOwnBlock() external {
        Request memory r = sendUsual(consumer);
        roll(1);
        Fulfillment memory f = answer(r, "output");
        vm.roll(vm.getBlockNumber() - 1);
        expectNoAnswer(f, abi.encodeWithSelector(IInferenceCoordinator.SameBlock.selector));
    }

    function test_TheDeadlineIsTheLastBlockForAnAnswerAndTheNextOneTheFirstForARefund() external {
        Request memory r = sendUsual(consumer);
        uint256 deadline = vm.getBlockNumber() + 100;
        vm.roll(deadline);
        Fulfillment memory f = answer(r, "output");
        vm.expectRevert(abi.encodeWithSelector(IInferenceCoordinator.DeadlineNotPassed.selector, deadline, deadline));
        coordinator.refund(r);
        uint256 snapshot = vm.snapshotState();
        coordinator.fulfill(f);
        vm.revertToState(snapshot);
        vm.roll(deadline + 1);
        expectNoAnswer(f, abi.encodeWithSelector(IInferenceCoordinator.DeadlinePassed.selector, deadline + 1, deadline));
        coordinator.refund(r);
        assertEq(coordinator.balanceOf(ETH, consumer), 0.011 ether);
        assertEq(wordOf(coordinator.requestIdOf(r)), 16);
        vm.expectRevert(abi.encodeWithSelector(IInferenceCoordinator.NotOpen.selector, coordinator.requestIdOf(r)));
        coordinator.refund(r);
    }

    function test_AnAnsweredRequestIsNotRefunded() external {
        Request memory r = sendUsual(consumer);
        roll(1);
        fulfill(r, "output");
        roll(200);
        vm.expectRevert(abi.encodeWithSelector(IInferenceCoordinator.NotOpen.selector, coordinator.requestIdOf(r)));
        coordinator.refund(r);
    }

    function test_AZeroBlockHashIsRefused() external {
        Ask memory ask = newAsk(consumer);
        ask.deadlineBlocks = 8000;
        Request memory r = send(consumer, ask, "input");
        uint256 asked = vm.getBlockNumber();
        roll(257);
        provideHistory(asked);
        Fulfillment memory f = answer(r, "output");
        vm.clearMockedCalls();
        expectNoAnswer(f, abi.encodeWithSelector(IInferenceCoordinator.BlockHashUnavailable.selector, asked));
        vm.mockCall(0x0000F90827F1C53a10cb7A02335B175320002935, abi.encode(asked), abi.encode(bytes32(0)));
        expectNoAnswer(f, abi.encodeWithSelector(IInferenceCoordinator.BlockHashUnavailable.selector, asked));
        provideHistory(asked);
        coordinator.fulfill(f);
    }

    function test_OnlyOkCarriesAnOutput() external {
        Request memory r = sendUsual(consumer);
        roll(1);
        uint32[] memory none;
        Outcome[2] memory failures = [Outcome.BadInput, Outcome.Unrepresentable];
        for (uint256 i = 0; i < 2; ++i) {
            expectNoAnswer(
                answerBy(r, failures[i], "output", 0, none),
                abi.encodeWithSelector(IInferenceCoordinator.UnexpectedOutput.selector)
            );
        }
        coordinator.fulfill(answerBy(r, Outcome.BadInput, "", 0, none));
    }

    function test_TheQuorumIsExact() external {
        Request memory r = sendUsual(consumer);
        roll(1);
        Fulfillment memory f = answer(r, "output");
        Attestation memory one = f.attestations[0];
        f.attestations = new Attestation[](0);
        expectNoAnswer(f, abi.encodeWithSelector(IInferenceCoordinator.WrongAttestationCount.selector, 0, 1));
        f.attestations = new Attestation[](2);
        (f.attestations[0], f.attestations[1]) = (one, one);
        expectNoAnswer(f, abi.encodeWithSelector(IInferenceCoordinator.WrongAttestationCount.selector, 2, 1));
    }

    function test_ASignatureCountsForItsRequestOutputOutcomeChainAndContractOnly() external {
        Request memory r = sendUsual(consumer);
        Request memory other = sendUsual(consumer);
        roll(1);
        bytes memory fault = abi.encodeWithSelector(IInferenceCoordinator.WrongSignature.selector, 0);
        Fulfillment memory f = answer(r, "output");

        Fulfillment memory moved = answer(r, "output");
        moved.request = other;
        expectNoAnswer(moved, fault);
        Fulfillment memory changed = answer(r, "output");
        changed.output = "0utput";
        expectNoAnswer(changed, fault);
        uint32[] memory none;
        Fulfillment memory failed = answerBy(r, Outcome.BadInput, "", 0, none);
        failed.outcome = Outcome.Unrepresentable;
        expectNoAnswer(failed, fault);

        // The same statement in another chain's, in another contract's and in the right domain.
        bytes32[3] memory domains = [
            StatementLib.domainSeparator(block.chainid + 1, address(coordinator)),
            StatementLib.domainSeparator(block.chainid, address(this)),
            domain()
        ];
        Fulfillment memory foreign = answer(r, "output");
        for (uint256 i = 0; i < 3; ++i) {
            Statement memory s = StatementLib.about(
                coordinator.requestIdOf(r),
                hashOf(vm.getBlockNumber() - 1),
                r.inputHash,
                Outcome.Ok,
                keccak256("output")
            );
            bytes32 digest = s.digest(domains[i]);
            (foreign.attestations[0].r, foreign.attestations[0].vs) = vm.signCompact(keyOf[node.signer], digest);
            if (i < 2) expectNoAnswer(foreign, fault);
        }
        coordinator.fulfill(foreign);
    }

    /// @dev Else whoever carries it would choose which of a node's seats is on record, and one signature would fill a quorum.
    function test_ASignatureCountsForTheSeatThatItNames() external {
        uint32 second = liveSeat(node);
        Request memory r = sendUsual(consumer);
        roll(50); // every rank may answer
        uint32[] memory none;
        Fulfillment memory f = answerBy(r, Outcome.Ok, "output", second, none);
        f.attestations[0].seat = 0;
        expectNoAnswer(f, abi.encodeWithSelector(IInferenceCoordinator.WrongSignature.selector, 0));
        f.attestations[0].seat = second;
        coordinator.fulfill(f);
    }

    function test_AStatementIsBoundToItsChain() external {
        Request memory r = sendUsual(consumer);
        roll(1);
        bytes32 id = coordinator.requestIdOf(r);
        bytes32 here = coordinator.digestOf(id, hashOf(START), r.inputHash, Outcome.Ok, 0, 0);
        vm.chainId(block.chainid + 1);
        assertNotEq(coordinator.digestOf(id, hashOf(START), r.inputHash, Outcome.Ok, 0, 0), here);
        assertNotEq(coordinator.requestIdOf(r), id);
    }

    function test_AStrangersSignatureIsRefused() external {
        Request memory r = sendUsual(consumer);
        roll(1);
        uint32[] memory none;
        expectNoAnswer(
            answerSigned(r, Outcome.Ok, "output", 0, none, newKey("stranger")),
            abi.encodeWithSelector(IInferenceCoordinator.WrongSignature.selector, 0)
        );
    }

    function test_AMalleableSignatureIsRefused() external {
        Request memory r = sendUsual(consumer);
        roll(1);
        Fulfillment memory f = answer(r, "output");
        uint256 order = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141;
        uint256 vs = uint256(f.attestations[0].vs);
        // The twin's s is the order less s, with the other parity; what of it fits into the word is no signature.
        uint256 mask = type(uint256).max >> 1;
        f.attestations[0].vs = bytes32((order - (vs & mask)) & mask | (~vs & 1 << 255));
        expectNoAnswer(f, abi.encodeWithSelector(IInferenceCoordinator.WrongSignature.selector, 0));
    }

    function testFuzz_NoOtherBytesAreASignature(bytes32 r_, bytes32 vs) external {
        Request memory r = sendUsual(consumer);
        roll(1);
        Fulfillment memory f = answer(r, "output");
        vm.assume(r_ != f.attestations[0].r || vs != f.attestations[0].vs);
        (f.attestations[0].r, f.attestations[0].vs) = (r_, vs);
        expectNoAnswer(f, abi.encodeWithSelector(IInferenceCoordinator.WrongSignature.selector, 0));
    }

    // Quorums: not offered yet, and ready

    /// @dev A request that is open though it wants more signers than `request` accepts.
    function openWithQuorum(uint8 quorum, address consumer_) private returns (Request memory r) {
        RequestFields memory f = sendUsual(consumer_).unpack();
        (f.quorum, f.callbackGasLimit) = (quorum, 300_000);
        r = RequestLib.pack(f);
        bytes32 id = coordinator.requestIdOf(r);
        stdstore.target(address(coordinator)).sig(coordinator.statusOf.selector).with_key(id).checked_write(uint256(1));
    }

    function test_SixteenSeatsAnswerTogetherAndNoneTwice() external {
        for (uint256 i = 1; i < 20; ++i) {
            liveSeat(node);
        }
        RecordingConsumer recording = new RecordingConsumer();
        Request memory r = openWithQuorum(16, address(recording));
        roll(1);
        uint32[] memory order = byRank(r);
        Fulfillment memory f;
        (f.request, f.output, f.attestations) = (r, "output", new Attestation[](16));
        for (uint256 i; i < 16; ++i) {
            f.attestations[i] = attest(r, Outcome.Ok, f.output, order[i], node.signer);
        }
        Attestation memory second = f.attestations[1];
        f.attestations[1] = f.attestations[0];
        expectNoAnswer(f, abi.encodeWithSelector(IInferenceCoordinator.NotAscending.selector, order[0]));
        f.attestations[1] = second;
        vm.expectEmit(address(coordinator));
        emit IInferenceCoordinator.Fulfilled(coordinator.requestIdOf(r), announced(f));
        coordinator.fulfill(f);
        assertEq(recording.output(), "output");
        assertTrue(coordinator.isResult(resultOf(f)));
    }

    // Ranks

    /// @notice Asks until a seat is drawn at a rank. Gives the seats by rank, too, in the block after the request.
    function sendUntilDrawn(uint32 seat, uint256 rank) private returns (Request memory r, uint32[] memory order) {
        do {
            r = sendUsual(consumer);
            roll(1);
            order = byRank(r);
        } while (order[rank] != seat);
    }

    function only(uint32 seat) private pure returns (uint32[] memory seats) {
        seats = new uint32[](1);
        seats[0] = seat;
    }

    function test_TheFirstWindowIsTheDrawnSeatsAndEachFurtherOneOneRankMore() external {
        liveSeat(node);
        liveSeat(node);
        Request memory r = sendUsual(consumer);
        uint256 asked = vm.getBlockNumber();
        roll(1);
        uint32[] memory order = byRank(r);
        uint32[] memory none;
        for (uint256 elapsed = 1; elapsed <= 6; ++elapsed) {
            vm.roll(asked + elapsed);
            uint256 allowed = 1 + (elapsed - 1) / 2; // a window of two blocks
            for (uint256 rank = 0; rank < 3; ++rank) {
                Fulfillment memory f = answerBy(r, Outcome.Ok, "output", order[rank], none);
                if (rank >= allowed) {
                    expectNoAnswer(f, abi.encodeWithSelector(IInferenceCoordinator.RankTooHigh.selector, rank, allowed));
                } else {
                    uint256 snapshot = vm.snapshotState();
                    coordinator.fulfill(f);
                    vm.revertToState(snapshot);
                }
            }
        }
    }

    function test_HolesLowerTheRankAndEveryOneIsChecked() external {
        (Node memory gone, uint32 index) = liveNode("gone");
        liveSeat(node);
        (Request memory r, uint32[] memory order) = sendUntilDrawn(index, 0);
        uint32[] memory hole = only(index);
        uint32[] memory none;
        expectNoAnswer(
            answerBy(r, Outcome.Ok, "output", order[1], hole),
            abi.encodeWithSelector(IInferenceCoordinator.NotAHole.selector, index)
        );
        vm.prank(gone.signer);
        coordinator.revokeSigner(gone.owner, refs(index));
        expectNoAnswer(
            answerBy(r, Outcome.Ok, "output", order[1], none),
            abi.encodeWithSelector(IInferenceCoordinator.RankTooHigh.selector, 1, 1)
        );
        uint32[] memory twice = new uint32[](2);
        (twice[0], twice[1]) = (index, index);
        expectNoAnswer(
            answerBy(r, Outcome.Ok, "output", order[2], twice),
            abi.encodeWithSelector(IInferenceCoordinator.NotAscending.selector, index)
        );
        expectNoAnswer(
            answerBy(r, Outcome.Ok, "output", order[1], only(3)),
            abi.encodeWithSelector(IInferenceCoordinator.UnknownSeat.selector, 3, 3)
        );
        coordinator.fulfill(answerBy(r, Outcome.Ok, "output", order[1], hole));
    }

    function test_AHoleOfAHigherRankLowersNothing() external {
        (Node memory gone, uint32 index) = liveNode("gone");
        liveSeat(node);
        (Request memory r, uint32[] memory order) = sendUntilDrawn(index, 2);
        vm.prank(gone.signer);
        coordinator.revokeSigner(gone.owner, refs(index));
        expectNoAnswer(
            answerBy(r, Outcome.Ok, "output", order[1], only(index)),
            abi.encodeWithSelector(IInferenceCoordinator.RankTooHigh.selector, 1, 1)
        );
        coordinator.fulfill(answerBy(r, Outcome.Ok, "output", order[0], only(index)));
    }

    function test_AnIneligibleOrUnknownSeatDoesNotAnswer() external {
        (Node memory gone, uint32 index) = liveNode("gone");
        Request memory r = sendUsual(consumer);
        roll(1);
        uint32[] memory none;
        Fulfillment memory f = answerBy(r, Outcome.Ok, "output", index, none);
        vm.prank(gone.owner);
        coordinator.revokeSigner(gone.owner, refs(index));
        roll(4);
        expectNoAnswer(f, abi.encodeWithSelector(IInferenceCoordinator.SeatNotEligible.selector, index));
        f.attestations[0].seat = 2;
        expectNoAnswer(f, abi.encodeWithSelector(IInferenceCoordinator.UnknownSeat.selector, 2, 2));
    }
}
