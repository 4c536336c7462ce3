// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {stdStorage, StdStorage} from "forge-std/Test.sol";
import {IInferenceCoordinator} from "../src/interfaces/IInferenceCoordinator.sol";
import {RequestFields, RequestLib} from "../src/libraries/RequestLib.sol";
import {Feature, IErrors} from "../src/types/Errors.sol";
import {Ask, InputKind, Level, Request} from "../src/types/Request.sol";
import {LiveNodeFixture} from "./utils/Fixture.sol";

/// @notice Asks many times in one transaction, for nothing.
contract EagerConsumer {
    function ask(IInferenceCoordinator coordinator, Ask calldata terms, uint256 times)
        external
        returns (bytes32[] memory ids)
    {
        ids = new bytes32[](times);
        for (uint256 i = 0; i < times; ++i) {
            ids[i] = coordinator.request(terms, "input");
        }
    }
}

/// @notice Asking: what is refused, what is announced, and how requests are named.
contract RequestsTest is LiveNodeFixture {
    using RequestLib for Request;
    using stdStorage for StdStorage;

    address private consumer = makeAddr("consumer");

    function expectRefused(Ask memory ask, bytes memory input, bytes memory fault) private {
        uint256 sum = uint256(ask.fee) + ask.submitFee;
        vm.deal(consumer, sum);
        vm.prank(consumer);
        vm.expectRevert(fault);
        coordinator.request{value: sum}(ask, input);
    }

    function test_WhatIsNotOfferedYetIsRefusedByName() external {
        Ask memory ask = newAsk(consumer);
        ask.inputKind = InputKind.ChainCall;
        expectRefused(ask, "", abi.encodeWithSelector(IErrors.NotOffered.selector, Feature.InputKind));
        ask.inputKind = InputKind.Uri;
        expectRefused(ask, "", abi.encodeWithSelector(IErrors.NotOffered.selector, Feature.InputKind));
        ask = newAsk(consumer);
        ask.token = address(1);
        expectRefused(ask, "", abi.encodeWithSelector(IErrors.NotOffered.selector, Feature.Token));
        ask = newAsk(consumer);
        ask.level = Level.Assured;
        expectRefused(ask, "", abi.encodeWithSelector(IErrors.NotOffered.selector, Feature.Assured));
        ask = newAsk(consumer);
        ask.valueAtRisk = 1;
        expectRefused(ask, "", abi.encodeWithSelector(IErrors.NotOffered.selector, Feature.ValueAtRisk));
        ask = newAsk(consumer);
        ask.quorum = 2;
        expectRefused(ask, "", abi.encodeWithSelector(IErrors.NotOffered.selector, Feature.Quorum));
    }

    function test_ABadRequestIsRefusedWithItsValues() external {
        Ask memory ask = newAsk(consumer);
        ask.quorum = 0;
        expectRefused(ask, "", abi.encodeWithSelector(IInferenceCoordinator.ZeroQuorum.selector));
        ask.quorum = 5;
        expectRefused(ask, "", abi.encodeWithSelector(IInferenceCoordinator.QuorumTooLarge.selector, 5, 4));
        ask.quorum = 4;
        expectRefused(ask, "", abi.encodeWithSelector(IErrors.NotOffered.selector, Feature.Quorum));
        ask = newAsk(address(0));
        expectRefused(ask, "", abi.encodeWithSelector(IErrors.InvalidAccount.selector, address(0)));
        ask = newAsk(consumer);
        ask.modelId = keccak256("no model");
        expectRefused(ask, "", abi.encodeWithSelector(IErrors.UnknownModel.selector, ask.modelId));
        ask = newAsk(consumer);
        expectRefused(
            ask, new bytes(4097), abi.encodeWithSelector(IInferenceCoordinator.InputTooLarge.selector, 4097, 4096)
        );
        ask.callbackGasLimit = 2_000_001;
        expectRefused(
            ask, "", abi.encodeWithSelector(IInferenceCoordinator.CallbackGasTooLarge.selector, 2_000_001, 2_000_000)
        );
        ask = newAsk(consumer);
        uint16[4] memory deadlines = [0, 1, 8001, type(uint16).max];
        for (uint256 i = 0; i < 4; ++i) {
            ask.deadlineBlocks = deadlines[i];
            expectRefused(
                ask,
                "",
                abi.encodeWithSelector(IInferenceCoordinator.DeadlineOutOfRange.selector, deadlines[i], 2, 8000)
            );
        }
    }

    function test_ARequestMayGoToEveryBound() external {
        Ask memory ask = newAsk(consumer);
        ask.callbackGasLimit = 2_000_000;
        ask.deadlineBlocks = 8000;
        send(consumer, ask, new bytes(4096));
        ask.deadlineBlocks = 2;
        send(consumer, ask, "");
    }

    function testFuzz_OutputFormatsAreTheListedOnes(uint8 width, uint8 decimals) external {
        Ask memory ask = newAsk(consumer);
        (ask.outputWidth, ask.outputDecimals) = (width, decimals);
        bool fixedPoint = width == 1 || width == 2 || width == 4 || width == 8 || width == 16;
        if (fixedPoint ? decimals <= 36 : width == 0 && decimals == 0) {
            send(consumer, ask, "input");
        } else {
            expectRefused(
                ask, "", abi.encodeWithSelector(IInferenceCoordinator.InvalidOutputFormat.selector, width, decimals)
            );
        }
    }

    function test_AModelWithoutLiveSeatsIsNotAsked() external {
        Ask memory ask = newAsk(consumer);
        ask.modelId = coordinator.registerModel(card("empty"), "");
        expectRefused(ask, "", abi.encodeWithSelector(IInferenceCoordinator.TooFewSeats.selector, 0, 1));
    }

    function testFuzz_ThePaymentIsExact(uint96 sent) external {
        Ask memory ask = newAsk(consumer);
        uint256 sum = uint256(ask.fee) + ask.submitFee;
        vm.assume(sent != 0 && sent != sum);
        vm.deal(consumer, sent);
        vm.prank(consumer);
        vm.expectRevert(abi.encodeWithSelector(IInferenceCoordinator.WrongPayment.selector, sent, sum));
        coordinator.request{value: sent}(ask, "");
    }

    function test_ARefundThatNobodyCouldWithdrawIsRefused() external {
        Ask memory ask = newAsk(address(coordinator));
        expectRefused(ask, "", abi.encodeWithSelector(IErrors.InvalidAccount.selector, address(coordinator)));
    }

    // Names

    function test_AlikeRequestsOfOneBlockHaveTheirOwnIds() external {
        bytes32[40] memory ids;
        for (uint64 i = 0; i < 40; ++i) {
            Request memory r = sendUsual(consumer);
            assertEq(r.unpack().nonce, i, "the smallest that is free");
            ids[i] = coordinator.requestIdOf(r);
            assertEq(wordOf(ids[i]), 1);
            for (uint256 j = 0; j < i; ++j) {
                assertNotEq(ids[i], ids[j]);
            }
        }
        Request memory other = send(consumer, newAsk(consumer), "another input");
        assertEq(other.unpack().nonce, 0);
        roll(1);
        assertEq(sendUsual(consumer).unpack().nonce, 0);
    }

    function test_AlikeRequestsOfOneTransactionHaveTheirOwnIds() external {
        EagerConsumer eager = new EagerConsumer();
        Ask memory ask = newAsk(address(eager));
        (ask.fee, ask.submitFee) = (0, 0);
        bytes32[] memory ids = eager.ask(coordinator, ask, 20);
        for (uint256 i = 0; i < ids.length; ++i) {
            assertEq(wordOf(ids[i]), 1);
            for (uint256 j = 0; j < i; ++j) {
                assertNotEq(ids[i], ids[j]);
            }
        }
    }

    /// @dev An ended request keeps its word, and with it its nonce.
    function test_AnIdIsNotUsedAgainAfterItsRequestEnded() external {
        Request memory r = sendUsual(consumer);
        uint256 asked = vm.getBlockNumber();
        roll(101);
        coordinator.refund(r);
        vm.roll(asked);
        assertEq(sendUsual(consumer).unpack().nonce, 1);
    }

    function test_AlikeRequestsCostLittleMore() external {
        Request memory r = sendUsual(consumer);
        RequestFields memory f = r.unpack();
        Ask memory ask = newAsk(consumer);
        for (uint64 nonce = 1; nonce < 65_536; nonce *= 2) {
            f.nonce = nonce;
            _occupy(RequestLib.pack(f));
        }
        vm.deal(consumer, 1 ether);
        vm.prank(consumer);
        vm.cool(address(coordinator));
        uint256 before = gasleft();
        bytes32 id = coordinator.request{value: 0.011 ether}(ask, "input");
        assertLt(before - gasleft(), 200_000, "some 2,400 gas for each doubling and each halving");
        f.nonce = 32_769;
        assertEq(id, coordinator.requestIdOf(RequestLib.pack(f)));
    }

    function _occupy(Request memory r) private {
        bytes32 id = coordinator.requestIdOf(r);
        stdstore.target(address(coordinator)).sig(coordinator.statusOf.selector).with_key(id).checked_write(uint256(1));
    }

    function test_ARequestIsAnnouncedWholeAndStoredInOneWord() external {
        vm.recordLogs();
        Request memory r = sendUsual(consumer);
        bytes32 id = coordinator.requestIdOf(r);
        assertEq(vm.getRecordedLogs()[0].data, abi.encode(r.origin, r.escrow, r.payment, r.terms, bytes("input")));
        assertEq(wordOf(id), 1);
        assertEq(id, keccak256(abi.encode(block.chainid, address(coordinator), r)));
    }

    function test_AnInputOfAnyLengthIsAnnouncedAsTheAbiEncodesIt() external {
        for (uint256 length = 0; length <= 97; ++length) {
            bytes memory input = new bytes(length);
            for (uint256 i = 0; i < length; ++i) {
                input[i] = 0xff;
            }
            vm.recordLogs();
            Request memory r = send(consumer, newAsk(consumer), input);
            assertEq(vm.getRecordedLogs()[0].data, abi.encode(r.origin, r.escrow, r.payment, r.terms, input));
        }
    }
}
