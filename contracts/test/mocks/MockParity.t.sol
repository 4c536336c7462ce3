// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {RequestFields} from "../../src/libraries/RequestLib.sol";
import {MockInferenceCoordinator} from "../../src/mocks/MockInferenceCoordinator.sol";
import {Ask, Request} from "../../src/types/Request.sol";
import {Fixture} from "../utils/Fixture.sol";

/// @notice The same calls on the mock and on a real coordinator with a live seat.
contract MockParityTest is Fixture {
    MockInferenceCoordinator private mock;

    function setUp() public override {
        super.setUp();
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
        assertEq(mock.statusOf(mock.requestIdOf(mocked)) & 0xff, 2);
    }

    function test_ARefundIsOfBothFees() external {
        (Request memory mocked, Request memory real) = _askBoth();
        roll(101);
        mock.refund(mocked);
        coordinator.refund(real);
        assertEq(mock.balanceOf(ETH, address(this)), 0.011 ether);
        assertEq(coordinator.balanceOf(ETH, address(this)), 0.011 ether);
    }

    /// @dev The same request, of both.
    function _askBoth() private returns (Request memory mocked, Request memory real) {
        Ask memory ask = newAsk(address(this));
        mocked = mock.requestOf(mock.request{value: uint256(ask.fee) + ask.submitFee}(ask, hex"00"));
        real = send(address(this), ask, hex"00");
        assertEq(abi.encode(mocked), abi.encode(real));
    }
}
