// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Test} from "forge-std/Test.sol";
import {InferenceConsumer} from "../src/InferenceConsumer.sol";
import {IInferenceCoordinator} from "../src/interfaces/IInferenceCoordinator.sol";
import {ILedger} from "../src/interfaces/ILedger.sol";
import {RequestFields} from "../src/libraries/RequestLib.sol";
import {Tensor} from "../src/libraries/Tensor.sol";
import {DType} from "../src/types/DType.sol";
import {MockInferenceCoordinator} from "../src/mocks/MockInferenceCoordinator.sol";
import {Ask, InputKind, Level, Outcome, Request, Result} from "../src/types/Request.sol";
import {Fixture} from "./utils/Fixture.sol";

contract Asker is InferenceConsumer {
    bytes32 public constant MODEL = keccak256("model");
    bytes32 public answered;
    Outcome public outcome;
    bytes public output;
    bool public refusing;

    constructor(IInferenceCoordinator coordinator_) InferenceConsumer(coordinator_) {}

    function ask(bytes memory input) external payable returns (bytes32) {
        return _request(MODEL, input);
    }

    function askOnOwnTerms(bytes memory input, uint96 submitFee) external payable returns (bytes32) {
        Ask memory terms = _ask(MODEL);
        (terms.outputWidth, terms.outputDecimals, terms.callbackGasLimit) = (16, 18, 300_000);
        (terms.fee, terms.submitFee) = (uint96(msg.value) - submitFee, submitFee);
        return _request(terms, input);
    }

    /// @notice Asks at a fixed price, at this contract's own risk.
    function askAtAPrice(bytes memory input, uint96 fee, uint96 submitFee) external payable returns (bytes32) {
        Ask memory terms = _ask(MODEL);
        (terms.refundTo, terms.fee, terms.submitFee) = (address(this), fee, submitFee);
        return _request(terms, input);
    }

    function askPrepaid(bytes memory input, address payer, uint96 fee) external returns (bytes32) {
        return _requestPrepaid(MODEL, input, payer, fee);
    }

    function setRefusing(bool on) external {
        refusing = on;
    }

    function redeliver(Result calldata result, bytes calldata output_, uint32 gasLimit) external returns (bool) {
        return _redeliver(result, output_, gasLimit);
    }

    function _onInference(bytes32 requestId, Outcome outcome_, bytes calldata output_) internal override {
        require(!refusing, "refusing");
        (answered, outcome, output) = (requestId, outcome_, output_);
    }
}

contract InferenceConsumerTest is Test {
    MockInferenceCoordinator private mock = new MockInferenceCoordinator();
    Asker private asker = new Asker(IInferenceCoordinator(address(mock)));
    address private user = makeAddr("user");
    bytes private input = Tensor.raw(DType.U8, 0, Tensor.dims(1), hex"07");

    function setUp() external {
        vm.deal(user, 10 ether);
    }

    function test_TheCallerPaysWhatItAttaches() external {
        vm.prank(user);
        bytes32 id = asker.ask{value: 1 gwei}(input);
        RequestFields memory f = mock.fieldsOf(id);
        assertEq(f.modelId, asker.MODEL());
        assertEq(f.consumer, address(asker));
        assertEq(f.refundTo, user);
        assertEq(f.fee, 1 gwei);
        assertEq(f.submitFee, 0);
        assertEq(f.callbackGasLimit, 100_000);
        assertEq(f.deadlineBlocks, 300);
        assertEq(f.outputMask, 0);
        assertEq(f.outputWidth, 4);
        assertEq(f.outputDecimals, 6);
        assertEq(f.quorum, 1);
        assertEq(uint256(f.level), uint256(Level.Fast));
        assertEq(uint256(f.inputKind), uint256(InputKind.Inline));
        assertEq(f.token, address(0));
        assertEq(f.valueAtRisk, 0);
        assertEq(mock.inputOf(id), input);
    }

    function test_TheCallerGetsTheRefund() external {
        vm.startPrank(user);
        bytes32 id = asker.ask{value: 1 ether}(input);
        mock.expire(id);
        assertEq(mock.balanceOf(address(0), user), 1 ether);
        mock.withdraw(payable(user), 1 ether);
        assertEq(user.balance, 10 ether);
    }

    function test_TermsCanBeOnesOwn() external {
        vm.prank(user);
        bytes32 id = asker.askOnOwnTerms{value: 10}(input, 4);
        RequestFields memory f = mock.fieldsOf(id);
        assertEq(f.outputWidth, 16);
        assertEq(f.outputDecimals, 18);
        assertEq(f.callbackGasLimit, 300_000);
        assertEq(f.fee, 6);
        assertEq(f.submitFee, 4);
    }

    function test_NobodyAsksAtAPriceOutOfAPrepaidBalance() external {
        mock.deposit{value: 100}(address(asker));
        uint256[3] memory wrong = [uint256(0), 59, 61];
        for (uint256 i; i < 3; ++i) {
            vm.prank(user);
            vm.expectRevert(abi.encodeWithSelector(IInferenceCoordinator.WrongPayment.selector, wrong[i], 60));
            asker.askAtAPrice{value: wrong[i]}(input, 50, 10);
        }
        vm.prank(user);
        asker.askAtAPrice{value: 60}(input, 50, 10);
        assertEq(mock.balanceOf(address(0), address(asker)), 100);
    }

    function test_TheContractsOwnBalancePays() external {
        mock.deposit{value: 100}(address(asker));
        bytes32 id = asker.askPrepaid(input, address(asker), 60);
        assertEq(mock.balanceOf(address(0), address(asker)), 40);
        mock.expire(id);
        assertEq(mock.balanceOf(address(0), address(asker)), 100);
        vm.expectRevert(abi.encodeWithSelector(ILedger.InsufficientBalance.selector, address(asker), 100, 101));
        asker.askPrepaid(input, address(asker), 101);
    }

    function test_AnotherAccountPaysAsMuchAsItAllows() external {
        mock.deposit{value: 100}(user);
        vm.expectRevert(abi.encodeWithSelector(ILedger.NotAllowed.selector, user, address(asker), 0, 50));
        asker.askPrepaid(input, user, 50);
        vm.prank(user);
        mock.allow(address(asker), 50);
        asker.askPrepaid(input, user, 50);
        assertEq(mock.balanceOf(address(0), user), 50);
    }

    function test_TheAnswerArrives() external {
        bytes32 id = asker.ask(input);
        bytes memory output = Tensor.raw(DType.I32, 6, Tensor.dims(1), hex"000f4240");
        mock.answer(id, output);
        assertEq(asker.answered(), id);
        assertEq(uint256(asker.outcome()), uint256(Outcome.Ok));
        assertEq(asker.output(), output);
    }

    function test_AFailureArrivesWithoutAnOutput() external {
        bytes32 id = asker.ask(input);
        mock.fail(id, Outcome.Unrepresentable);
        assertEq(asker.answered(), id);
        assertEq(uint256(asker.outcome()), uint256(Outcome.Unrepresentable));
        assertEq(asker.output(), "");
    }

    function testFuzz_NobodyElseBringsAnswers(address stranger, bytes32 id, bytes calldata output) external {
        vm.assume(stranger != address(mock));
        vm.prank(stranger);
        vm.expectRevert(abi.encodeWithSelector(InferenceConsumer.NotCoordinator.selector, stranger));
        asker.onInference(id, Outcome.Ok, output);
    }
}

/// @notice On a real coordinator: an answer whose callback failed is not lost.
contract RedeliveryTest is Fixture {
    Asker private asker;

    function setUp() public override {
        super.setUp();
        liveNode("node");
        asker = new Asker(coordinator);
    }

    /// @dev An answer that the consumer refused, long after anybody could redeliver it.
    function _failed(uint32 callbackGasLimit) private returns (Result memory result) {
        Ask memory ask = newAsk(address(this));
        ask.callbackGasLimit = callbackGasLimit;
        Request memory r = send(address(asker), ask, "input");
        roll(1);
        asker.setRefusing(true);
        result = fulfill(r, "output");
        asker.setRefusing(false);
        roll(parameters().vesting + 1);
    }

    function test_AConsumerRedeliversAfterTheVestingBlock() external {
        Result memory result = _failed(300_000);
        vm.expectRevert(abi.encodeWithSelector(IInferenceCoordinator.NotConsumer.selector, address(this)));
        coordinator.redeliver(result, "output", 300_000);
        assertTrue(asker.redeliver(result, "output", 300_000));
        assertEq(asker.answered(), coordinator.requestIdOf(result.request));
        assertEq(asker.output(), "output");
    }

    function test_ARedeliveryByTheConsumerMayBringMoreGas() external {
        Result memory result = _failed(10_000);
        assertFalse(asker.redeliver(result, "output", 10_000));
        assertTrue(asker.redeliver(result, "output", 300_000));
    }

    function test_AConsumerRedeliversOnlyWhatIsRecorded() external {
        Result memory result = _failed(300_000);
        bytes32 id = coordinator.requestIdOf(result.request);
        vm.expectRevert(abi.encodeWithSelector(IInferenceCoordinator.ResultMismatch.selector, id));
        asker.redeliver(result, "another", 300_000);
    }
}
