// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Vm} from "forge-std/Vm.sol";
import {IInferenceCoordinator} from "../src/interfaces/IInferenceCoordinator.sol";
import {IErrors} from "../src/types/Errors.sol";
import {Parameters} from "../src/types/Parameters.sol";
import {Ask, Fulfillment, Outcome, Request, Result} from "../src/types/Request.sol";
import {
    BurningConsumer,
    LoudConsumer,
    QuietConsumer,
    RecordingConsumer,
    ReentrantConsumer
} from "./utils/Consumers.sol";
import {LiveNodeFixture} from "./utils/Fixture.sol";
import {SwitchConsumer} from "./utils/Receivers.sol";

/// @notice Callbacks, batches and redelivery.
contract DeliveryTest is LiveNodeFixture {
    address private stranger = makeAddr("stranger");

    // Delivery

    function test_TheConsumerIsToldTheAnswer() external {
        RecordingConsumer consumer = new RecordingConsumer();
        Request memory r = askFor(address(consumer), 300_000);
        roll(1);
        fulfill(r, "output");
        assertEq(consumer.requestId(), coordinator.requestIdOf(r));
        assertEq(consumer.output(), "output");
        assertEq(flagsOf(r), 2 | 4);
    }

    function test_AFailureIsToldToo() external {
        RecordingConsumer consumer = new RecordingConsumer();
        Request memory r = askFor(address(consumer), 300_000);
        roll(1);
        uint32[] memory none;
        coordinator.fulfill(answerBy(r, Outcome.BadInput, "", 0, none));
        assertTrue(consumer.outcome() == Outcome.BadInput);
        assertEq(consumer.output(), "");
    }

    function testFuzz_TheCallbackGetsExactlyItsGasOrTheAnswerReverts(uint32 gasLimit, uint256 brought) external {
        gasLimit = uint32(bound(gasLimit, 100_000, 2_000_000));
        brought = bound(brought, 30_000, 2_500_000);
        RecordingConsumer consumer = new RecordingConsumer();
        Request memory r = askFor(address(consumer), gasLimit);
        roll(1);
        Fulfillment memory f = answer(r, "output");
        (bool done,) = address(coordinator).call{gas: brought}(abi.encodeCall(coordinator.fulfill, (f)));
        if (done) {
            // A few hundred go to the callee's dispatch before it looks.
            assertLe(consumer.gasAtStart(), gasLimit);
            assertGe(consumer.gasAtStart() + 2_000, gasLimit);
        } else {
            assertEq(flagsOf(r), 1, "it stays open");
        }
    }

    function test_ACallbackThatFailsFailsNothingElse() external {
        address[3] memory consumers =
            [address(new BurningConsumer()), address(new LoudConsumer(true)), address(new SwitchConsumer())];
        SwitchConsumer(consumers[2]).setRefusing(true);
        for (uint256 i = 0; i < consumers.length; ++i) {
            Request memory r = askFor(consumers[i], 200_000);
            roll(1);
            Fulfillment memory f = answer(r, "output");
            vm.expectEmit(address(coordinator));
            emit IInferenceCoordinator.DeliveryFailed(coordinator.requestIdOf(r), consumers[i]);
            uint256 before = gasleft();
            coordinator.fulfill(f);
            assertLt(before - gasleft(), 400_000, "what it does costs no more than the gas it asked for");
            assertEq(flagsOf(r), 2);
            Result memory result = resultOf(f);
            roll(33);
            uint256 balance = coordinator.balanceOf(ETH, node.owner);
            claim(result);
            assertEq(coordinator.balanceOf(ETH, node.owner) - balance, 0.011 ether, "the node is paid");
        }
    }

    function test_AHundredKilobytesOfReturnDataAreNotCopied() external {
        uint256 loud = gasOfDeliveryTo(address(new LoudConsumer(false)));
        uint256 quiet = gasOfDeliveryTo(address(new QuietConsumer()));
        // A copy would cost some 40,000.
        assertApproxEqAbs(loud, quiet, 1_000);
    }

    function gasOfDeliveryTo(address consumer) private returns (uint256 gas) {
        Request memory r = askFor(consumer, 200_000);
        roll(1);
        Fulfillment memory f = answer(r, "output");
        gas = gasleft();
        coordinator.fulfill(f);
        gas -= gasleft();
        assertEq(flagsOf(r), 2 | 4);
    }

    function test_ACallbackMayAskAndDepositAndChangeNothingElse() external {
        ReentrantConsumer consumer = new ReentrantConsumer(coordinator);
        Request memory open = askFor(address(consumer), 0);
        Request memory r = askFor(address(consumer), 2_000_000);
        roll(1);
        Fulfillment[] memory batch = new Fulfillment[](1);
        batch[0] = answer(open, "output");
        Ask memory free = newAsk(address(consumer));
        (free.fee, free.submitFee) = (0, 0);
        Result memory result = resultOf(batch[0]);
        Result[] memory results = new Result[](1);
        results[0] = result;
        bytes[7] memory locked = [
            abi.encodeCall(coordinator.fulfill, (batch[0])),
            abi.encodeCall(coordinator.fulfillBatch, (batch)),
            abi.encodeCall(coordinator.claim, (results)),
            abi.encodeCall(coordinator.redeliver, (result, "output", 100_000)),
            abi.encodeCall(coordinator.refund, (open)),
            abi.encodeCall(coordinator.withdraw, (payable(address(consumer)), 0)),
            abi.encodeCall(coordinator.releaseSeat, (modelId, 0))
        ];
        for (uint256 i = 0; i < locked.length; ++i) {
            consumer.prepare(locked[i]);
        }
        consumer.prepare(abi.encodeCall(coordinator.request, (free, "again")));
        consumer.prepare(abi.encodeCall(coordinator.deposit, (address(consumer))));
        fulfill(r, "output");
        for (uint256 i = 0; i < locked.length; ++i) {
            assertFalse(consumer.succeeded(i));
            assertEq(consumer.answers(i), abi.encodeWithSelector(IErrors.Locked.selector));
        }
        assertTrue(consumer.succeeded(locked.length), "it may ask again");
        assertTrue(consumer.succeeded(locked.length + 1), "and deposit");
        assertEq(flagsOf(r), 2 | 4);
        assertEq(flagsOf(open), 1);
    }

    function test_AConsumerThatAskedForNoCallbackIsNotCalled() external {
        Request memory r = askFor(address(new RecordingConsumer()), 0);
        roll(1);
        Fulfillment memory f = answer(r, "output");
        vm.recordLogs();
        coordinator.fulfill(f);
        assertEq(vm.getRecordedLogs().length, 1, "no delivery that fails");
        assertEq(flagsOf(r), 2);
    }

    function test_ACallbackOfOneGasIsTriedAndFails() external {
        RecordingConsumer consumer = new RecordingConsumer();
        Request memory r = askFor(address(consumer), 1);
        roll(1);
        Fulfillment memory f = answer(r, "output");
        vm.expectEmit(address(coordinator));
        emit IInferenceCoordinator.DeliveryFailed(coordinator.requestIdOf(r), address(consumer));
        coordinator.fulfill(f);
        assertEq(flagsOf(r), 2);
    }

    // Redelivery

    function failedDelivery(SwitchConsumer consumer) private returns (Result memory) {
        consumer.setRefusing(true);
        Request memory r = askFor(address(consumer), 100_000);
        roll(1);
        Result memory result = fulfill(r, "output");
        consumer.setRefusing(false);
        return result;
    }

    function test_AFailedDeliveryCanBeRepeatedOnce() external {
        SwitchConsumer consumer = new SwitchConsumer();
        Result memory result = failedDelivery(consumer);
        vm.prank(stranger);
        assertTrue(coordinator.redeliver(result, "output", 150_000));
        assertEq(consumer.answers(), 1);
        bytes32 id = coordinator.requestIdOf(result.request);
        vm.expectRevert(abi.encodeWithSelector(IInferenceCoordinator.AlreadyDelivered.selector, id));
        coordinator.redeliver(result, "output", 150_000);
    }

    function test_ARedeliveryThatFailsCanBeRepeated() external {
        SwitchConsumer consumer = new SwitchConsumer();
        Result memory result = failedDelivery(consumer);
        consumer.setRefusing(true);
        vm.recordLogs();
        assertFalse(coordinator.redeliver(result, "output", 100_000));
        Vm.Log[] memory logs = vm.getRecordedLogs();
        assertEq(logs.length, 1);
        assertEq(logs[0].topics[0], IInferenceCoordinator.DeliveryFailed.selector);
        assertEq(flagsOf(result.request), 2);
        consumer.setRefusing(false);
        assertTrue(coordinator.redeliver(result, "output", 100_000));
        assertEq(consumer.answers(), 1);
    }

    function test_ARedeliveryBringsTheRecordedOutputAndAtLeastTheGasAskedFor() external {
        SwitchConsumer consumer = new SwitchConsumer();
        Result memory result = failedDelivery(consumer);
        bytes32 id = coordinator.requestIdOf(result.request);
        vm.expectRevert(abi.encodeWithSelector(IInferenceCoordinator.ResultMismatch.selector, id));
        coordinator.redeliver(result, "another", 100_000);
        vm.expectRevert(abi.encodeWithSelector(IInferenceCoordinator.InsufficientGas.selector, 99_999, 100_000));
        coordinator.redeliver(result, "output", 99_999);
        (bool done,) =
            address(coordinator).call{gas: 112_000}(abi.encodeCall(coordinator.redeliver, (result, "output", 100_000)));
        assertFalse(done, "the transaction must bring that gas");
        result.outcome = Outcome.BadInput;
        vm.expectRevert(abi.encodeWithSelector(IInferenceCoordinator.ResultMismatch.selector, id));
        coordinator.redeliver(result, "output", 100_000);
    }

    function test_ARedeliveryGivesTheGasItNames() external {
        RecordingConsumer consumer = new RecordingConsumer();
        Request memory r = askFor(address(consumer), 10_000); // too little to record anything
        roll(1);
        Result memory result = fulfill(r, "output");
        assertEq(flagsOf(r), 2);
        vm.expectEmit(address(coordinator));
        emit IInferenceCoordinator.Redelivered(coordinator.requestIdOf(r));
        assertTrue(coordinator.redeliver(result, "output", 300_000));
        assertLe(consumer.gasAtStart(), 300_000);
        assertGe(consumer.gasAtStart(), 298_000);
        assertEq(flagsOf(r), 2 | 4);
    }

    function test_AFailureIsRedeliveredAsAFailure() external {
        RecordingConsumer consumer = new RecordingConsumer();
        Request memory r = askFor(address(consumer), 10_000);
        roll(1);
        uint32[] memory none;
        Fulfillment memory f = answerBy(r, Outcome.Unrepresentable, "", 0, none);
        coordinator.fulfill(f);
        assertTrue(coordinator.redeliver(resultOf(f), "", 300_000));
        assertTrue(consumer.outcome() == Outcome.Unrepresentable);
    }

    function test_ARedeliveryGivesAllTheGasOrReverts() external {
        RecordingConsumer consumer = new RecordingConsumer();
        Request memory r = askFor(address(consumer), 10_000);
        roll(1);
        bytes memory call = abi.encodeCall(coordinator.redeliver, (fulfill(r, "output"), "output", 2_000_000));
        uint256 refused;
        for (uint256 brought = 2_000_000; flagsOf(r) == 2; brought += 1_000) {
            (bool done,) = address(coordinator).call{gas: brought}(call);
            if (!done) ++refused;
        }
        assertGe(consumer.gasAtStart(), 1_998_000);
        assertGe(refused, 30);
    }

    function test_AfterTheVestingBlockOnlyTheConsumerRedelivers() external {
        SwitchConsumer consumer = new SwitchConsumer();
        Result memory result = failedDelivery(consumer);
        roll(32);
        uint256 snapshot = vm.snapshotState();
        vm.prank(stranger);
        assertTrue(coordinator.redeliver(result, "output", 100_000), "in the vesting block");
        vm.revertToState(snapshot);
        roll(1);
        vm.prank(stranger);
        vm.expectRevert(abi.encodeWithSelector(IInferenceCoordinator.NotConsumer.selector, stranger));
        coordinator.redeliver(result, "output", 100_000);
        vm.prank(address(consumer));
        assertTrue(coordinator.redeliver(result, "output", 100_000));
    }

    function test_TheVestingBlockIsThatOfTheRequestsVersion() external {
        Parameters memory next = parameters();
        (next.vesting, next.exitDelay) = (1000, 9000);
        vm.prank(governor);
        coordinator.scheduleParameters(next);
        roll(7200);
        Result memory result = failedDelivery(new SwitchConsumer());
        coordinator.applyParameters();
        roll(33);
        vm.expectRevert(abi.encodeWithSelector(IInferenceCoordinator.NotConsumer.selector, address(this)));
        coordinator.redeliver(result, "output", 100_000);
    }

    /// @dev The dearest call there is: a cold account whose code is a cold delegate's (EIP-7702), and which fails. Of so little
    /// gas a 64th is nothing: all that is left for afterwards is what was asked for beforehand. `isolate` makes each call a
    /// transaction of its own, or nothing would be cold.
    /// forge-config: default.isolate = true
    function test_ACallOfADelegateThatFailsLeavesEnoughToNoteIt() external {
        address implementation = address(new BurningConsumer());
        address consumer = makeAddr("delegated");
        vm.etch(consumer, abi.encodePacked(hex"ef0100", implementation));
        Request memory r = askFor(consumer, 1);
        roll(1);
        bytes memory call = abi.encodeCall(coordinator.redeliver, (fulfill(r, "output"), "output", 1));
        bytes4 short = IInferenceCoordinator.InsufficientGas.selector;
        uint256 refused;
        bool done;
        for (uint256 brought = 10_000; !done; brought += 20) {
            bytes memory reason;
            (done, reason) = address(coordinator).call{gas: brought}(call);
            if (!done && bytes4(reason) == short) ++refused;
            else if (!done) assertEq(refused, 0, "out of gas, though the check found enough");
        }
        assertGe(refused, 100);
    }

    function test_ARequestWithoutCallbackIsProvenAndNotRedelivered() external {
        Request memory r = askFor(stranger, 0);
        roll(1);
        Result memory result = fulfill(r, "output");
        assertTrue(coordinator.isResult(result));
        vm.expectRevert(abi.encodeWithSelector(IInferenceCoordinator.NoCallback.selector, coordinator.requestIdOf(r)));
        coordinator.redeliver(result, "output", 100_000);
    }

    // Batches

    function test_ABatchAnswersWhatCanBeAnsweredAndSkipsTheRest() external {
        RecordingConsumer consumer = new RecordingConsumer();
        Request[3] memory asked;
        for (uint256 i = 0; i < 3; ++i) {
            asked[i] = askFor(address(consumer), 300_000);
        }
        roll(1);
        Fulfillment[] memory batch = new Fulfillment[](4);
        for (uint256 i = 0; i < 3; ++i) {
            batch[i] = answer(asked[i], "output");
        }
        batch[1].output = "forged";
        batch[3] = batch[0]; // twice in one batch
        coordinator.fulfillBatch(batch);
        assertEq(flagsOf(asked[0]), 2 | 4);
        assertEq(flagsOf(asked[1]), 1);
        assertEq(flagsOf(asked[2]), 2 | 4);
    }

    function test_ConsumersThatMisbehaveHarmNoNeighbourInTheirBatch() external {
        ReentrantConsumer reentrant = new ReentrantConsumer(coordinator);
        RecordingConsumer neighbour = new RecordingConsumer();
        address[5] memory consumers = [
            address(new BurningConsumer()),
            address(new LoudConsumer(true)),
            address(new LoudConsumer(false)),
            address(reentrant),
            address(neighbour)
        ];
        Request[5] memory asked;
        for (uint256 i = 0; i < 5; ++i) {
            asked[i] = askFor(consumers[i], 1_000_000);
        }
        roll(1);
        Fulfillment[] memory batch = new Fulfillment[](5);
        for (uint256 i = 0; i < 5; ++i) {
            batch[i] = answer(asked[i], "output");
        }
        reentrant.prepare(abi.encodeCall(coordinator.fulfill, (batch[4])));
        reentrant.prepare(abi.encodeCall(coordinator.refund, (asked[4])));
        coordinator.fulfillBatch(batch);
        uint8[5] memory flags = [2, 2, 2 | 4, 2 | 4, 2 | 4];
        for (uint256 i = 0; i < 5; ++i) {
            assertEq(flagsOf(asked[i]), flags[i]);
        }
        assertFalse(reentrant.succeeded(0));
        assertFalse(reentrant.succeeded(1));
        assertEq(neighbour.requestId(), coordinator.requestIdOf(asked[4]));
    }

    function test_AnItemForWhichTheGasIsShortStaysOpen() external {
        RecordingConsumer consumer = new RecordingConsumer();
        Request memory small = askFor(address(consumer), 150_000);
        Request memory large = askFor(address(consumer), 2_000_000);
        roll(1);
        Fulfillment[] memory batch = new Fulfillment[](2);
        (batch[0], batch[1]) = (answer(small, "output"), answer(large, "output"));
        coordinator.fulfillBatch{gas: 1_500_000}(batch);
        assertEq(flagsOf(small), 2 | 4);
        assertEq(flagsOf(large), 1);
    }

    /// @dev Whatever gas a batch brings, its own check finds that it is short before anything is written.
    function test_AnItemForWhichTheGasIsShortNeverRevertsItsBatch() external {
        uint16[3] memory lengths = [0, 1_000, 20_000];
        for (uint256 i = 0; i < 3; ++i) {
            Request memory r = askFor(address(new SwitchConsumer()), 100_000);
            roll(1);
            Fulfillment[] memory batch = new Fulfillment[](1);
            batch[0] = answer(r, new bytes(lengths[i]));
            bytes memory call = abi.encodeCall(coordinator.fulfillBatch, (batch));
            uint256 skipped;
            for (uint256 brought = 110_000; flagsOf(r) == 1; brought += 1_000) {
                (bool done, bytes memory reason) = address(coordinator).call{gas: brought}(call);
                assertEq(reason, "", "out of gas, or not reverted");
                if (!done) assertEq(skipped, 0, "out of gas, though less was enough to skip the item");
                else if (flagsOf(r) == 1) ++skipped;
            }
            assertEq(flagsOf(r), 2 | 4);
            assertGe(skipped, 5);
        }
    }

    /// @dev The ABI is the caller's to keep to: what cannot be read is not skipped.
    function test_AnItemThatIsNotAbiValidRevertsItsBatch() external {
        Request[2] memory asked = [askFor(stranger, 0), askFor(address(this), 0)];
        roll(1);
        Fulfillment[] memory batch = new Fulfillment[](2);
        (batch[0], batch[1]) = (answer(asked[0], "output"), answer(asked[1], "output"));
        bytes memory data = abi.encodeCall(coordinator.fulfillBatch, (batch));
        assembly ("memory-safe") {
            // After the selector: an offset, the count, two offsets from here on; an outcome follows the request's six words.
            let list := add(data, 0x64)
            mstore(add(add(list, mload(add(list, 0x20))), 0xc0), 3)
        }
        (bool done, bytes memory reason) = address(coordinator).call(data);
        assertFalse(done);
        assertEq(reason, "");
        assertEq(flagsOf(asked[0]), 1);
    }

    /// @dev The price of memory grows with the square of its size: eight outputs beside each other would cost 1.2 M more.
    function test_ABatchOfLargeOutputsPaysForItsMemoryOnce() external {
        uint256 one = gasOfBatch(1);
        assertLt(gasOfBatch(8), 8 * one);
    }

    function gasOfBatch(uint256 items) private returns (uint256 gas) {
        Request[] memory asked = new Request[](items);
        for (uint256 i = 0; i < items; ++i) {
            asked[i] = askFor(stranger, 0);
        }
        roll(1);
        Fulfillment[] memory batch = new Fulfillment[](items);
        for (uint256 i = 0; i < items; ++i) {
            batch[i] = answer(asked[i], new bytes(100_000));
        }
        bytes memory data = abi.encodeCall(coordinator.fulfillBatch, (batch));
        address target = address(coordinator);
        gas = gasleft();
        // Solidity's own call would copy the calldata first, in the test's memory.
        assembly ("memory-safe") {
            pop(call(gas(), target, 0, add(data, 0x20), mload(data), 0, 0))
        }
        gas -= gasleft();
        for (uint256 i = 0; i < items; ++i) {
            assertEq(flagsOf(asked[i]), 2);
        }
    }
}
