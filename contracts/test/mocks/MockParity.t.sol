// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Defaults} from "../../script/Defaults.sol";
import {InferenceCoordinator} from "../../src/InferenceCoordinator.sol";
import {IInferenceCoordinator} from "../../src/interfaces/IInferenceCoordinator.sol";
import {RequestFields, RequestLib} from "../../src/libraries/RequestLib.sol";
import {MockInferenceCoordinator} from "../../src/mocks/MockInferenceCoordinator.sol";
import {Ask, Fulfillment, Outcome, Request, Result} from "../../src/types/Request.sol";
import {Status} from "../../src/types/Status.sol";
import {Fixture} from "../utils/Fixture.sol";
import {SwitchConsumer} from "../utils/Receivers.sol";

/// @notice The same calls on the mock and on a real coordinator with a live seat.
contract MockParityTest is Fixture {
    MockInferenceCoordinator private mock;

    function setUp() public override {
        super.setUp();
        // With the parameters of a deployment, which the mock has, too.
        coordinator = InferenceCoordinator(deployCode(bytecode(), abi.encode(governor, Defaults.standard())));
        modelId = coordinator.registerModel(card("model"), "file:model.onnx");
        liveNode("node");
        mock = new MockInferenceCoordinator();
        vm.deal(address(this), 100 ether);
    }

    function testFuzz_PaymentIsTakenOrRefusedAlike(uint96 fee, uint96 submitFee, uint96 value, uint8 how) external {
        Ask memory ask = newAsk(how % 2 == 0 ? address(this) : makeAddr("payer"));
        (ask.fee, ask.submitFee) = (uint96(bound(fee, 0, 10 ether)), uint96(bound(submitFee, 0, 10 ether)));
        // Exact, none, or anything.
        value = how % 3 == 0 ? ask.fee + ask.submitFee : how % 3 == 1 ? 0 : uint96(bound(value, 0, 20 ether));
        uint256 balance = uint256(how % 5) * 5 ether;
        mock.deposit{value: balance}(ask.refundTo);
        coordinator.deposit{value: balance}(ask.refundTo);
        if (how % 7 < 3) {
            vm.startPrank(ask.refundTo);
            mock.allow(address(this), 5 ether);
            coordinator.allow(address(this), 5 ether);
            vm.stopPrank();
        }

        bytes memory call = abi.encodeCall(mock.request, (ask, hex"00"));
        (bool ok, bytes memory mocked) = address(mock).call{value: value}(call);
        (bool realOk, bytes memory real) = address(coordinator).call{value: value}(call);
        assertEq(ok, realOk);
        if (!ok) assertEq(mocked, real);
        assertEq(mock.balanceOf(ETH, ask.refundTo), coordinator.balanceOf(ETH, ask.refundTo));
    }

    function test_ARequestHasTheSameWords() external {
        Ask memory ask = newAsk(address(this));
        ask.callbackGasLimit = 77_777;
        uint256 sum = uint256(ask.fee) + ask.submitFee;
        bytes32 id = mock.request{value: sum}(ask, hex"00");
        assertEq(
            coordinator.request{value: sum}(ask, hex"00"),
            keccak256(abi.encode(block.chainid, address(coordinator), mock.requestOf(id)))
        );
        RequestFields memory f = mock.fieldsOf(id);
        assertEq(f.version, coordinator.parameterVersion());
        assertEq(f.seatCount, 1);
    }

    function test_TheDeadlineIsTheLastBlockForAnAnswer() external {
        (Request memory mocked, Request memory real) = _askBoth();
        roll(100);
        mock.answer(mock.requestIdOf(mocked), hex"00");
        fulfill(real, hex"00");
        uint256 word = mock.statusOf(mock.requestIdOf(mocked));
        assertEq(word & 0xff, 2);
        assertEq(word, Status.unwrap(coordinator.statusOf(coordinator.requestIdOf(real))), "the same hash of the result");
    }

    function test_ARefundIsOfBothFees() external {
        (Request memory mocked, Request memory real) = _askBoth();
        roll(101);
        mock.refund(mocked);
        coordinator.refund(real);
        assertEq(mock.balanceOf(ETH, address(this)), 0.011 ether);
        assertEq(coordinator.balanceOf(ETH, address(this)), 0.011 ether);
    }

    function testFuzz_AnAnswerIsTakenOrRefusedAlike(uint8 later, uint8 before, bool ok, bool empty) external {
        (Request memory mocked, Request memory real) = _askBoth();
        roll(1 + later % 130);
        _endBoth(mocked, real, before);
        (Outcome outcome, bytes memory output) = (Outcome(ok ? 0 : 1), empty ? bytes("") : bytes(hex"00"));
        // The mock, like a node, brings no `Ok` without tensors.
        if (ok) output = hex"00";
        uint32[] memory none;
        Fulfillment memory f = answerBy(real, outcome, output, 0, none);
        bytes32 id = mock.requestIdOf(mocked);
        _same(
            abi.encodeCall(mock.tryAnswer, (id, outcome, output)),
            abi.encodeCall(coordinator.fulfill, (f)),
            id,
            coordinator.requestIdOf(real)
        );
    }

    function testFuzz_ARefundIsMadeOrRefusedAlike(uint8 later, uint8 before) external {
        (Request memory mocked, Request memory real) = _askBoth();
        roll(1);
        _endBoth(mocked, real, before);
        roll(uint256(later) % 130);
        if (before % 7 == 0) real.modelId = mocked.modelId = 0;
        _same(
            abi.encodeCall(mock.refund, (mocked)),
            abi.encodeCall(coordinator.refund, (real)),
            mock.requestIdOf(mocked),
            coordinator.requestIdOf(real)
        );
    }

    function testFuzz_ARedeliveryIsMadeOrRefusedAlike(uint8 change, uint8 when, bool asConsumer) external {
        SwitchConsumer consumer = new SwitchConsumer();
        consumer.setRefusing(change % 5 != 0);
        Ask memory ask = newAsk(address(consumer));
        ask.callbackGasLimit = change % 9 == 0 ? 0 : 100_000;
        Request memory real = send(address(consumer), ask, hex"00");
        vm.deal(address(consumer), 1 ether);
        vm.prank(address(consumer));
        Request memory mocked = mock.requestOf(mock.request{value: uint256(ask.fee) + ask.submitFee}(ask, hex"00"));
        roll(1);
        bytes32 id = mock.requestIdOf(mocked);
        Result memory result;
        if (change % 8 != 0) {
            mock.tryAnswer(id, Outcome.Ok, hex"00");
            result = fulfill(real, hex"00");
        } else {
            result = Result(real, Outcome.Ok, keccak256(hex"00"), hex"00000000", uint64(vm.getBlockNumber()));
        }
        consumer.setRefusing(change % 3 == 0);
        roll(when % 4 == 0 ? 0 : 598 + when % 4);

        bytes memory output = hex"00";
        uint32 gasLimit = 100_000;
        if (change % 7 == 0) gasLimit -= 1;
        if (change % 11 == 0) output = hex"0000";
        if (change % 13 == 0) result.outcome = Outcome.BadInput;
        if (change % 17 == 0) result.fulfilledAt -= 1;
        address caller = asConsumer ? address(consumer) : address(this);
        result.request = mocked;
        bytes memory ofMock = abi.encodeCall(mock.redeliver, (result, output, gasLimit));
        result.request = real;
        bytes memory ofReal = abi.encodeCall(coordinator.redeliver, (result, output, gasLimit));
        _sameBy(caller, ofMock, ofReal, id, coordinator.requestIdOf(real));
        assertEq(mock.statusOf(id) & 0xff, coordinator.statusOf(coordinator.requestIdOf(real)).flags());
    }

    function test_AfterTheVestingBlockOnlyTheConsumerRedelivers() external {
        SwitchConsumer consumer = new SwitchConsumer();
        consumer.setRefusing(true);
        Ask memory ask = newAsk(address(this));
        (ask.fee, ask.submitFee, ask.callbackGasLimit) = (0, 0, 100_000);
        vm.prank(address(consumer));
        bytes32 id = mock.request(ask, hex"00");
        mock.tryAnswer(id, Outcome.Ok, hex"00");
        consumer.setRefusing(false);
        Result memory result = mock.resultOf(id);
        roll(Defaults.standard().vesting + 1);
        vm.expectRevert(abi.encodeWithSelector(IInferenceCoordinator.NotConsumer.selector, address(this)));
        mock.redeliver(result, hex"00", 100_000);
        vm.prank(address(consumer));
        assertTrue(mock.redeliver(result, hex"00", 100_000));
    }

    function test_TooLittleGasForACallbackIsNamedByBoth() external {
        Ask memory ask = newAsk(address(this));
        (ask.fee, ask.submitFee, ask.callbackGasLimit) = (0, 0, 100_000);
        address consumer = address(new SwitchConsumer());
        Request memory real = send(consumer, ask, hex"00");
        vm.prank(consumer);
        bytes32 id = mock.request(ask, hex"00");
        roll(1);
        _namesTooLittleGas(address(coordinator), abi.encodeCall(coordinator.fulfill, (answer(real, hex"00"))));
        _namesTooLittleGas(address(mock), abi.encodeCall(mock.tryAnswer, (id, Outcome.Ok, hex"00")));
    }

    /// @dev From the gas of the callback alone to what is enough.
    function _namesTooLittleGas(address target, bytes memory call) private {
        bool ok;
        for (uint256 brought = 100_000; !ok; brought += 5_000) {
            bytes memory reason;
            (ok, reason) = target.call{gas: brought}(call);
            if (!ok) assertEq(bytes4(reason), IInferenceCoordinator.InsufficientGas.selector);
        }
    }

    /// @dev Nothing, an answer, or a refund long after the deadline.
    function _endBoth(Request memory mocked, Request memory real, uint8 how) private {
        bytes32 id = mock.requestIdOf(mocked);
        uint256 asked = RequestLib.unpack(real).requestBlock;
        if (how % 3 == 1 && vm.getBlockNumber() <= asked + 100) {
            mock.answer(id, hex"00");
            fulfill(real, hex"00");
        } else if (how % 3 == 2) {
            uint256 present = vm.getBlockNumber();
            vm.roll(asked + 101);
            mock.refund(mocked);
            coordinator.refund(real);
            vm.roll(present);
        }
    }

    function _same(bytes memory ofMock, bytes memory ofReal, bytes32 mockId, bytes32 realId) private {
        _sameBy(address(this), ofMock, ofReal, mockId, realId);
    }

    /// @dev The same end of two calls; an id in an error is of the contract that was called.
    function _sameBy(address caller, bytes memory ofMock, bytes memory ofReal, bytes32 mockId, bytes32 realId) private {
        vm.prank(caller);
        (bool ok, bytes memory mocked) = address(mock).call(ofMock);
        vm.prank(caller);
        (bool realOk, bytes memory real) = address(coordinator).call(ofReal);
        assertEq(ok, realOk);
        if (ok) return;
        if (mocked.length == 36 && abi.encodePacked(bytes4(real), realId).length == real.length) {
            bytes memory withMockId = abi.encodePacked(bytes4(real), mockId);
            if (keccak256(abi.encodePacked(bytes4(real), realId)) == keccak256(real)) real = withMockId;
        }
        assertEq(mocked, real);
    }

    /// @dev The same request, of both.
    function _askBoth() private returns (Request memory mocked, Request memory real) {
        Ask memory ask = newAsk(address(this));
        mocked = mock.requestOf(mock.request{value: uint256(ask.fee) + ask.submitFee}(ask, hex"00"));
        real = send(address(this), ask, hex"00");
        assertEq(abi.encode(mocked), abi.encode(real));
    }
}
