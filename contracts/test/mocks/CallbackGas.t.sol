// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {DigitMint} from "../../src/examples/DigitMint.sol";
import {IrisClassifier} from "../../src/examples/IrisClassifier.sol";
import {LendingDesk} from "../../src/examples/LendingDesk.sol";
import {IInferenceCoordinator} from "../../src/interfaces/IInferenceCoordinator.sol";
import {Tensor} from "../../src/libraries/Tensor.sol";
import {MockInferenceCoordinator} from "../../src/mocks/MockInferenceCoordinator.sol";
import {DType} from "../../src/types/DType.sol";
import {Ask, Request} from "../../src/types/Request.sol";
import {Fixture} from "../utils/Fixture.sol";

/// @notice The gas that the mock tells of a callback is what it needs on a real coordinator, for each example.
contract CallbackGasTest is Fixture {
    IInferenceCoordinator private mock;

    function setUp() public override {
        super.setUp();
        liveNode("node");
        mock = IInferenceCoordinator(address(new MockInferenceCoordinator()));
    }

    /// forge-config: default.isolate = true
    function test_TheMockTellsTheCallbackGasOfIrisClassifier() external {
        address mocked = address(new IrisClassifier(mock, modelId));
        address real = address(new IrisClassifier(coordinator, modelId));
        bytes memory ask = abi.encodeCall(IrisClassifier.classify, ([int32(51), 35, 14, 2]));
        _toldIsNeeded(mocked, real, ask, _probabilities(3, 1));
    }

    /// forge-config: default.isolate = true
    function test_TheMockTellsTheCallbackGasOfDigitMint() external {
        address mocked = address(new DigitMint(mock, modelId));
        address real = address(new DigitMint(coordinator, modelId));
        bytes memory ask = abi.encodeCall(DigitMint.claim, (7, new bytes(64)));
        _toldIsNeeded(mocked, real, ask, _probabilities(10, 7));
    }

    /// forge-config: default.isolate = true
    function test_TheMockTellsTheCallbackGasOfLendingDesk() external {
        LendingDesk mocked = new LendingDesk(mock, modelId, 1e12);
        LendingDesk real = new LendingDesk(coordinator, modelId, 1e12);
        mocked.setMember(address(this), true);
        real.setMember(address(this), true);
        uint32[5] memory figures;
        uint8[13] memory categories;
        bytes memory ask = abi.encodeCall(LendingDesk.applyForLoan, (24, 3_500, figures, categories));
        _toldIsNeeded(address(mocked), address(real), ask, Tensor.raw(DType.I32, 6, Tensor.dims(1, 1), hex"00030d40"));
    }

    /// @dev What the mock tells is enough; and 4,000 less are too little: the call itself, which the mock counts too, costs some 3,000.
    function _toldIsNeeded(address mocked, address real, bytes memory ask, bytes memory output) private {
        (bool asked,) = mocked.call(ask);
        assertTrue(asked);
        MockInferenceCoordinator(address(mock)).answerLast(output);
        uint256 told = MockInferenceCoordinator(address(mock)).lastCallbackGas();
        assertTrue(_delivered(real, ask, output, told), "as much as the mock tells is enough");
        assertFalse(_delivered(real, ask, output, told - 4_000), "the mock tells too much");
    }

    /// @dev Whether an answer arrives on the real coordinator with so much gas. The examples ask with the usual gas, so the
    /// coordinator is mocked to give them the id of a request that was made in their name with another limit.
    function _delivered(address consumer, bytes memory call, bytes memory output, uint256 gasLimit)
        private
        returns (bool delivered)
    {
        uint256 snapshot = vm.snapshotState();
        Ask memory ask = newAsk(consumer);
        ask.callbackGasLimit = uint32(gasLimit);
        Request memory r = send(consumer, ask, "input");
        bytes32 id = coordinator.requestIdOf(r);
        vm.mockCall(address(coordinator), abi.encodeWithSelector(coordinator.request.selector), abi.encode(id));
        (bool asked,) = consumer.call(call);
        assertTrue(asked);
        vm.clearMockedCalls();
        roll(1);
        fulfill(r, output);
        delivered = coordinator.statusOf(id).isDelivered();
        vm.revertToState(snapshot);
    }

    function _probabilities(uint256 count, uint256 winner) private pure returns (bytes memory) {
        int256[] memory millionths = new int256[](count);
        millionths[winner] = 1_000_000;
        return Tensor.ints(DType.I32, 6, Tensor.dims(1, uint32(count)), millionths);
    }
}
