// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Test} from "forge-std/Test.sol";
import {Defaults} from "../../script/Defaults.sol";
import {InferenceCoordinator} from "../../src/InferenceCoordinator.sol";
import {IInferenceConsumer} from "../../src/interfaces/IInferenceConsumer.sol";
import {IInferenceCoordinator} from "../../src/interfaces/IInferenceCoordinator.sol";
import {TensorError} from "../../src/libraries/TensorError.sol";
import {MockInferenceCoordinator} from "../../src/mocks/MockInferenceCoordinator.sol";
import {Feature, IErrors} from "../../src/types/Errors.sol";
import {Parameters} from "../../src/types/Parameters.sol";
import {Ask, InputKind, Level, Outcome, Request, Result} from "../../src/types/Request.sol";
import {Build} from "../utils/Build.sol";

/// @notice Does in its callback what a test tells it to.
contract Puppet is IInferenceConsumer {
    error Unhappy(uint256 why);

    uint256 public calls;
    uint256 public gasAtStart;
    bytes private _does;
    bool private _burns;
    uint256 private _unhappy;

    function will(bytes memory does) external {
        _does = does;
    }

    function willBurn(bool burns) external {
        _burns = burns;
    }

    function willRevert(uint256 why) external {
        _unhappy = why;
    }

    function ask(MockInferenceCoordinator mock, Ask memory a, bytes memory input) external payable returns (bytes32) {
        return mock.request{value: msg.value}(a, input);
    }

    function onInference(bytes32, Outcome, bytes calldata) external {
        uint256 before = gasleft();
        if (_unhappy != 0) revert Unhappy(_unhappy);
        while (_burns) {}
        ++calls;
        gasAtStart = before;
        if (_does.length == 0) return;
        (bool ok, bytes memory reason) = msg.sender.call(_does);
        if (!ok) {
            assembly ("memory-safe") {
                revert(add(reason, 0x20), mload(reason))
            }
        }
    }
}

contract MockInferenceCoordinatorTest is Test {
    MockInferenceCoordinator private mock = new MockInferenceCoordinator();
    Puppet private puppet = new Puppet();
    InferenceCoordinator private real;
    bytes private constant OUTPUT = hex"0106000007";

    function setUp() external {
        Parameters memory p = Defaults.standard();
        p.maxQuorum = uint8(mock.MAX_QUORUM());
        // By name, not `new`: else the compiler builds the coordinator anew inside this contract.
        real = InferenceCoordinator(deployCode(Build.coordinator(), abi.encode(address(this), p)));
    }

    function _ask() private view returns (Ask memory a) {
        a.modelId = keccak256("model");
        a.refundTo = address(this);
        a.callbackGasLimit = 200_000;
        a.deadlineBlocks = 10;
        a.outputWidth = 4;
        a.outputDecimals = 6;
        a.quorum = 1;
    }

    function _requested() private returns (bytes32) {
        return puppet.ask(mock, _ask(), OUTPUT);
    }

    // --------------------------------------------------------------------------------------- like the real one

    /// @notice Both refuse the same terms with the same words; what the real one lets pass fails later, on the model.
    function testFuzz_TheSameAsksAreRefusedInTheSameWords(address account, uint256 knob, uint256 knobs) external {
        Ask memory good = _ask();
        // One to two fields of a good ask become arbitrary, near their bounds or far.
        for (uint256 i; i <= knobs % 2; ++i) {
            uint256 field = uint256(keccak256(abi.encode(knob, i))) % 9;
            if (field == 0) good.refundTo = account;
            if (field == 1) good.token = address(uint160(knob % 2));
            if (field == 2) good.valueAtRisk = uint96(knob % 2);
            if (field == 3) good.callbackGasLimit = uint32(2_000_000 - 1 + knob % 3);
            if (field == 4) good.deadlineBlocks = uint16(knob % 2 == 0 ? knob % 4 : 7_999 + knob % 3);
            if (field == 5) good.outputWidth = uint8(knob % 20);
            if (field == 6) good.outputDecimals = uint8(30 + knob % 10);
            if (field == 7) good.quorum = uint8(knob % 20);
            if (field == 8) (good.level, good.inputKind) = (Level(knob % 2), InputKind(knob % 3));
        }
        if (knobs % 7 == 0) good.refundTo = address(0);
        if (knobs % 5 == 0) (good.outputWidth, good.outputDecimals) = (0, uint8(knob % 2));

        (bool ok, bytes memory mocked) = address(mock).call(abi.encodeCall(mock.request, (good, OUTPUT)));
        (bool taken, bytes memory refused) = address(real).call(abi.encodeCall(real.request, (good, OUTPUT)));
        assertFalse(taken, "the real one knows no model");
        if (ok) {
            assertEq(refused, abi.encodeWithSelector(IErrors.UnknownModel.selector, good.modelId));
        } else {
            assertEq(mocked, refused);
        }
    }

    function test_EveryTermHasItsOwnRefusal() external {
        Ask memory a = _ask();
        a.refundTo = address(0);
        _refuses(a, abi.encodeWithSelector(IErrors.InvalidAccount.selector, address(0)));
        a = _ask();
        a.inputKind = InputKind.Uri;
        _refuses(a, abi.encodeWithSelector(IErrors.NotOffered.selector, Feature.InputKind));
        a = _ask();
        a.token = address(1);
        _refuses(a, abi.encodeWithSelector(IErrors.NotOffered.selector, Feature.Token));
        a = _ask();
        a.level = Level.Assured;
        _refuses(a, abi.encodeWithSelector(IErrors.NotOffered.selector, Feature.Assured));
        a = _ask();
        a.valueAtRisk = 1;
        _refuses(a, abi.encodeWithSelector(IErrors.NotOffered.selector, Feature.ValueAtRisk));
        a = _ask();
        a.quorum = 0;
        _refuses(a, abi.encodeWithSelector(IInferenceCoordinator.ZeroQuorum.selector));
        a.quorum = 17;
        _refuses(a, abi.encodeWithSelector(IInferenceCoordinator.QuorumTooLarge.selector, 17, 16));
        a.quorum = 2;
        _refuses(a, abi.encodeWithSelector(IErrors.NotOffered.selector, Feature.Quorum));
        a = _ask();
        a.deadlineBlocks = 1;
        _refuses(a, abi.encodeWithSelector(IInferenceCoordinator.DeadlineOutOfRange.selector, 1, 2, 8_000));
        a = _ask();
        a.callbackGasLimit = 2_000_001;
        _refuses(a, abi.encodeWithSelector(IInferenceCoordinator.CallbackGasTooLarge.selector, 2_000_001, 2_000_000));
        a = _ask();
        a.outputWidth = 3;
        _refuses(a, abi.encodeWithSelector(IInferenceCoordinator.InvalidOutputFormat.selector, 3, 6));
        a.outputWidth = 0;
        _refuses(a, abi.encodeWithSelector(IInferenceCoordinator.InvalidOutputFormat.selector, 0, 6));
    }

    function test_NoModelHasTheIdZero() external {
        Ask memory a = _ask();
        a.modelId = 0;
        bytes memory unknown = abi.encodeWithSelector(IErrors.UnknownModel.selector, 0);
        _refuses(a, unknown);
        vm.expectRevert(unknown);
        real.request(a, OUTPUT);
    }

    function test_ThePaymentIsExact() external {
        Ask memory a = _ask();
        (a.fee, a.submitFee) = (3, 4);
        for (uint256 value = 6; value <= 8; value += 2) {
            vm.expectRevert(abi.encodeWithSelector(IInferenceCoordinator.WrongPayment.selector, value, 7));
            puppet.ask{value: value}(mock, a, OUTPUT);
        }
        puppet.ask{value: 7}(mock, a, OUTPUT);
    }

    function test_AnInputHasABound() external {
        vm.expectRevert(abi.encodeWithSelector(IInferenceCoordinator.InputTooLarge.selector, 131_073, 131_072));
        puppet.ask(mock, _ask(), new bytes(131_073));
    }

    function test_EveryRequestHasAnIdOfItsOwn() external {
        bytes32 first = _requested();
        bytes32 second = _requested();
        assertNotEq(first, second);
        assertEq(mock.lastRequestId(), second);
        assertEq(mock.fieldsOf(second).nonce, 1);
        Request memory r = mock.requestOf(second);
        assertEq(second, keccak256(abi.encode(block.chainid, address(mock), r)));
        assertEq(mock.requestIdOf(r), second);
        assertEq(real.requestIdOf(r), keccak256(abi.encode(block.chainid, address(real), r)));
    }

    // --------------------------------------------------------------------------------------------- answering

    function test_ARequestIsAnsweredOnce() external {
        bytes32 id = _requested();
        mock.answer(id, OUTPUT);
        assertEq(puppet.calls(), 1);
        assertEq(mock.statusOf(id) & 0xff, 2 | 4);
        assertTrue(mock.isResult(mock.resultOf(id)));
        assertEq(mock.outputOf(id), OUTPUT);
        bytes memory notOpen = abi.encodeWithSelector(IInferenceCoordinator.NotOpen.selector, id);
        vm.expectRevert(notOpen);
        mock.answer(id, OUTPUT);
        vm.expectRevert(notOpen);
        mock.failLast(Outcome.BadInput);
        vm.expectRevert(notOpen);
        mock.expire(id);
    }

    function test_AnAnswerComesByItsDeadline() external {
        bytes32 id = _requested();
        vm.roll(block.number + 11);
        vm.expectRevert(
            abi.encodeWithSelector(IInferenceCoordinator.DeadlinePassed.selector, block.number, block.number - 1)
        );
        mock.answerLast(OUTPUT);
        mock.refund(mock.requestOf(id));
        assertEq(mock.statusOf(id), 16);
    }

    function test_ARefundWaitsForTheDeadline() external {
        Ask memory a = _ask();
        a.fee = 9;
        bytes32 id = puppet.ask{value: 9}(mock, a, OUTPUT);
        Request memory r = mock.requestOf(id);
        vm.roll(block.number + 10);
        vm.expectRevert(
            abi.encodeWithSelector(IInferenceCoordinator.DeadlineNotPassed.selector, block.number, block.number)
        );
        mock.refund(r);
        vm.roll(block.number + 1);
        mock.refund(r);
        assertEq(mock.balanceOf(address(0), address(this)), 9);
        vm.expectRevert(abi.encodeWithSelector(IInferenceCoordinator.NotOpen.selector, id));
        mock.refund(r);
    }

    function test_TheCallbackGetsItsGasExactly() external {
        bytes32 id = _requested();
        mock.answer(id, OUTPUT);
        // Less what the callee spends before its first line.
        assertLt(puppet.gasAtStart(), 200_000);
        assertGt(puppet.gasAtStart(), 199_000);
    }

    /// forge-config: default.isolate = true
    function test_TheGasOfACallbackIsThatOfATransactionOfItsOwn() external {
        mock.answer(_requested(), OUTPUT);
        // Two fresh words, three reads of the same account's storage.
        assertGt(mock.lastCallbackGas(), 2 * 22_100 + 3 * 2_100);
        assertLt(mock.lastCallbackGas(), 2 * 22_100 + 3 * 2_100 + 5_000);
    }

    function test_TheGasOfAWarmCallbackIsNotTold() external {
        mock.answer(_requested(), OUTPUT);
        vm.expectRevert(MockInferenceCoordinator.NotIsolated.selector);
        mock.lastCallbackGas();
    }

    /// forge-config: default.isolate = true
    function test_TheGasOfNoCallbackIsNotTold() external {
        vm.expectRevert(MockInferenceCoordinator.NotIsolated.selector);
        mock.lastCallbackGas();
        vm.prank(makeAddr("account without code"));
        mock.request(_ask(), OUTPUT);
        mock.answerLast(OUTPUT);
        vm.expectRevert(MockInferenceCoordinator.NotIsolated.selector);
        mock.lastCallbackGas();
    }

    function test_TooLittleGasForTheCallbackReverts() external {
        bytes32 id = _requested();
        (bool ok, bytes memory reason) = address(mock).call{gas: 400_000}(abi.encodeCall(mock.answer, (id, OUTPUT)));
        assertFalse(ok);
        assertEq(bytes4(reason), IInferenceCoordinator.InsufficientGas.selector);
        uint256 available;
        uint256 needed;
        assembly ("memory-safe") {
            available := mload(add(reason, 0x24))
            needed := mload(add(reason, 0x44))
        }
        assertLt(available, 400_000);
        assertGt(needed, 400_000, "what would do");
        assertEq(mock.statusOf(id), 1);
    }

    function test_AFailingCallbackIsVisible() external {
        bytes32 id = _requested();
        puppet.willRevert(5);
        vm.expectRevert(
            abi.encodeWithSelector(
                MockInferenceCoordinator.CallbackFailed.selector, id, abi.encodeWithSelector(Puppet.Unhappy.selector, 5)
            )
        );
        mock.answer(id, OUTPUT);
        puppet.willRevert(0);
        puppet.willBurn(true);
        vm.expectRevert(abi.encodeWithSelector(MockInferenceCoordinator.CallbackFailed.selector, id, ""));
        mock.fail(id, Outcome.BadInput);
    }

    function test_AFailedCallbackIsRedelivered() external {
        bytes32 id = _requested();
        puppet.willRevert(5);
        vm.expectEmit();
        emit IInferenceCoordinator.DeliveryFailed(id, address(puppet));
        (bool delivered, bytes memory reason) = mock.tryAnswer(id, Outcome.Ok, OUTPUT);
        assertFalse(delivered);
        assertEq(reason, abi.encodeWithSelector(Puppet.Unhappy.selector, 5));
        assertEq(mock.statusOf(id) & 0xff, 2);

        Result memory result = mock.resultOf(id);
        assertFalse(mock.redeliver(result, OUTPUT, 200_000));
        puppet.willRevert(0);
        vm.expectRevert(abi.encodeWithSelector(IInferenceCoordinator.InsufficientGas.selector, 199_999, 200_000));
        mock.redeliver(result, OUTPUT, 199_999);
        vm.expectRevert(abi.encodeWithSelector(IInferenceCoordinator.ResultMismatch.selector, id));
        mock.redeliver(result, hex"00", 200_000);
        assertTrue(mock.redeliver(result, OUTPUT, 300_000));
        assertEq(puppet.calls(), 1);
        vm.expectRevert(abi.encodeWithSelector(IInferenceCoordinator.AlreadyDelivered.selector, id));
        mock.redeliver(result, OUTPUT, 300_000);
        result.outcome = Outcome.BadInput;
        assertFalse(mock.isResult(result));
        vm.expectRevert(abi.encodeWithSelector(IInferenceCoordinator.ResultMismatch.selector, id));
        mock.redeliver(result, OUTPUT, 300_000);
    }

    function test_WithoutCallbackTheResultIsProven() external {
        Ask memory a = _ask();
        a.callbackGasLimit = 0;
        bytes32 id = puppet.ask(mock, a, OUTPUT);
        mock.answer(id, OUTPUT);
        assertEq(puppet.calls(), 0);
        assertEq(mock.statusOf(id) & 0xff, 2);
        assertTrue(mock.isResult(mock.resultOf(id)));
        Result memory result = mock.resultOf(id);
        vm.expectRevert(abi.encodeWithSelector(IInferenceCoordinator.NoCallback.selector, id));
        mock.redeliver(result, OUTPUT, 0);
    }

    function test_LikeANodeItBringsNothingMalformed() external {
        bytes32 id = _requested();
        vm.expectRevert(TensorError.Truncated.selector);
        mock.answer(id, hex"01");
        vm.expectRevert(IInferenceCoordinator.UnexpectedOutput.selector);
        mock.tryAnswer(id, Outcome.BadInput, OUTPUT);
        vm.expectRevert(MockInferenceCoordinator.NotAFailure.selector);
        mock.fail(id, Outcome.Ok);
    }

    function test_ACallbackMayAskAgainAndDepositAndNothingElse() external {
        Ask memory a = _ask();
        a.callbackGasLimit = 2_000_000;
        bytes32 id = puppet.ask(mock, a, OUTPUT);
        puppet.will(abi.encodeCall(mock.request, (a, OUTPUT)));
        mock.answer(id, OUTPUT);
        assertNotEq(mock.lastRequestId(), id);
        puppet.will(abi.encodeCall(mock.deposit, (address(puppet))));
        mock.answerLast(OUTPUT);

        id = _requested();
        bytes[4] memory locked = [
            abi.encodeCall(mock.withdraw, (payable(address(puppet)), 0)),
            abi.encodeCall(mock.answerLast, (OUTPUT)),
            abi.encodeCall(mock.expireLast, ()),
            abi.encodeCall(mock.refund, (mock.requestOf(id)))
        ];
        for (uint256 i; i < locked.length; ++i) {
            puppet.will(locked[i]);
            vm.expectRevert(
                abi.encodeWithSelector(
                    MockInferenceCoordinator.CallbackFailed.selector,
                    id,
                    abi.encodeWithSelector(IErrors.Locked.selector)
                )
            );
            mock.answer(id, OUTPUT);
        }
        mock.expireLast();
        assertEq(mock.statusOf(id), 16);
    }

    function _refuses(Ask memory a, bytes memory reason) private {
        vm.expectRevert(reason);
        puppet.ask(mock, a, OUTPUT);
    }
}
