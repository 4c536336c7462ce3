// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IGovernance} from "../../src/interfaces/IGovernance.sol";
import {IInferenceCoordinator} from "../../src/interfaces/IInferenceCoordinator.sol";
import {ILedger} from "../../src/interfaces/ILedger.sol";
import {IModelRegistry} from "../../src/interfaces/IModelRegistry.sol";
import {INodeRegistry, SeatRef} from "../../src/interfaces/INodeRegistry.sol";
import {IErrors} from "../../src/types/Errors.sol";
import {Ask, Fulfillment, Request, Result} from "../../src/types/Request.sol";
import {Fixture} from "../utils/Fixture.sol";
import {Reenterer, Refuser} from "../utils/Receivers.sol";

contract LedgerTest is Fixture {
    address private alice = makeAddr("alice");
    address private bob = makeAddr("bob");
    address payable private carol = payable(makeAddr("carol"));
    uint256 private constant SUM = 0.011 ether;

    function setUp() public override {
        super.setUp();
        liveNode("node");
        vm.deal(alice, 10 ether);
    }

    // Deposits and withdrawals

    function test_ADepositIsCreditedToTheAccountNamed() external {
        vm.expectEmit(address(coordinator));
        emit ILedger.Deposited(ETH, bob, alice, 3 ether);
        vm.prank(alice);
        coordinator.deposit{value: 3 ether}(bob);
        assertEq(coordinator.balanceOf(ETH, bob), 3 ether);
        assertEq(coordinator.balanceOf(ETH, alice), 0);
        assertEq(coordinator.balanceOf(alice, bob), 0, "another token");
    }

    function test_AWithdrawalSendsFromTheCallersBalanceToAnybody() external {
        _deposit(alice, 3 ether);
        vm.expectEmit(address(coordinator));
        emit ILedger.Withdrawn(ETH, alice, carol, 2 ether);
        vm.prank(alice);
        coordinator.withdraw(carol, 2 ether);
        assertEq(carol.balance, 2 ether);
        assertEq(coordinator.balanceOf(ETH, alice), 1 ether);
    }

    function test_AWithdrawalAboveTheBalanceReverts() external {
        _deposit(alice, 1 ether);
        vm.expectRevert(abi.encodeWithSelector(ILedger.InsufficientBalance.selector, alice, 1 ether, 1 ether + 1));
        vm.prank(alice);
        coordinator.withdraw(carol, 1 ether + 1);
        vm.expectRevert(abi.encodeWithSelector(ILedger.InsufficientBalance.selector, bob, 0, 1));
        vm.prank(bob);
        coordinator.withdraw(carol, 1);
    }

    function test_AWithdrawalToAReceiverThatRevertsChangesNothing() external {
        _deposit(alice, 1 ether);
        address payable refuser = payable(address(new Refuser()));
        vm.expectRevert(abi.encodeWithSelector(ILedger.TransferFailed.selector, refuser, 1 ether));
        vm.prank(alice);
        coordinator.withdraw(refuser, 1 ether);
        assertEq(coordinator.balanceOf(ETH, alice), 1 ether);
    }

    function testFuzz_WhatIsDepositedIsWhatCanBeWithdrawn(uint96 first, uint96 second, uint256 part) external {
        vm.deal(alice, uint256(first) + second);
        _deposit(bob, first);
        _deposit(bob, second);
        uint256 total = uint256(first) + second;
        part = bound(part, 0, total);
        vm.startPrank(bob);
        coordinator.withdraw(carol, part);
        coordinator.withdraw(carol, total - part);
        vm.stopPrank();
        assertEq(carol.balance, total);
        assertEq(coordinator.balanceOf(ETH, bob), 0);
    }

    function test_WhatNobodyCouldWithdrawIsNotCredited() external {
        address[2] memory accounts = [address(0), address(coordinator)];
        for (uint256 i; i < 2; ++i) {
            vm.expectRevert(abi.encodeWithSelector(IErrors.InvalidAccount.selector, accounts[i]));
            vm.prank(alice);
            coordinator.deposit{value: 1}(accounts[i]);
        }
    }

    // Prepaid requests

    function test_AConsumerSpendsItsOwnBalanceWithoutLeave() external {
        _deposit(bob, SUM);
        send(bob, newAsk(bob), "input", 0);
        assertEq(coordinator.balanceOf(ETH, bob), 0);
    }

    function test_AnAllowanceLetsAConsumerSpendItsCapAtEveryRequest() external {
        _deposit(alice, 3 * SUM);
        vm.expectEmit(address(coordinator));
        emit ILedger.AllowanceSet(alice, bob, SUM);
        vm.prank(alice);
        coordinator.allow(bob, uint96(SUM));
        assertEq(coordinator.allowance(alice, bob), SUM);
        send(bob, newAsk(alice), "input", 0);
        send(bob, newAsk(alice), "input", 0);
        assertEq(coordinator.balanceOf(ETH, alice), SUM);
        assertEq(coordinator.allowance(alice, bob), SUM);
    }

    function test_ARequestAboveTheCapReverts() external {
        _deposit(alice, 3 * SUM);
        vm.prank(alice);
        coordinator.allow(bob, uint96(SUM - 1));
        Ask memory ask = newAsk(alice);
        vm.expectRevert(abi.encodeWithSelector(ILedger.NotAllowed.selector, alice, bob, SUM - 1, SUM));
        vm.prank(bob);
        coordinator.request(ask, "input");
    }

    function test_AnAllowanceOfZeroWithdrawsTheLeave() external {
        _deposit(alice, 3 * SUM);
        vm.startPrank(alice);
        coordinator.allow(bob, type(uint96).max);
        coordinator.allow(bob, 0);
        vm.stopPrank();
        Ask memory ask = newAsk(alice);
        vm.expectRevert(abi.encodeWithSelector(ILedger.NotAllowed.selector, alice, bob, 0, SUM));
        vm.prank(bob);
        coordinator.request(ask, "input");
    }

    function test_AnAllowanceIsForOneConsumerOfOneAccount() external {
        _deposit(alice, SUM);
        _deposit(bob, SUM);
        vm.prank(alice);
        coordinator.allow(bob, type(uint96).max);
        Ask memory ask = newAsk(alice);
        vm.expectRevert(abi.encodeWithSelector(ILedger.NotAllowed.selector, alice, carol, 0, SUM));
        vm.prank(carol);
        coordinator.request(ask, "input");
        ask = newAsk(bob);
        vm.expectRevert(abi.encodeWithSelector(ILedger.NotAllowed.selector, bob, alice, 0, SUM));
        vm.prank(alice);
        coordinator.request(ask, "input");
    }

    function test_APrepaidRequestAboveTheBalanceReverts() external {
        _deposit(alice, SUM - 1);
        vm.prank(alice);
        coordinator.allow(bob, type(uint96).max);
        Ask memory ask = newAsk(alice);
        vm.expectRevert(abi.encodeWithSelector(ILedger.InsufficientBalance.selector, alice, SUM - 1, SUM));
        vm.prank(bob);
        coordinator.request(ask, "input");
    }

    function test_ARefundGoesToTheAccountThatPaid() external {
        _deposit(alice, SUM);
        vm.prank(alice);
        coordinator.allow(bob, type(uint96).max);
        Request memory r = send(bob, newAsk(alice), "input", 0);
        roll(101);
        coordinator.refund(r);
        assertEq(coordinator.balanceOf(ETH, alice), SUM);
        assertEq(coordinator.balanceOf(ETH, bob), 0);
    }

    // The lock

    function test_WhileItIsPaidAReceiverCanChangeNothingButAskAndDeposit() external {
        Reenterer receiver = new Reenterer(address(coordinator));
        _deposit(address(receiver), 5 ether);
        Fulfillment memory f;
        Result memory r;
        bytes[] memory calls = new bytes[](22);
        uint256 n;
        calls[n++] = abi.encodeCall(ILedger.withdraw, (payable(address(receiver)), 1));
        calls[n++] = abi.encodeCall(ILedger.allow, (bob, 1));
        calls[n++] = abi.encodeCall(IModelRegistry.registerModel, (card("other"), ""));
        calls[n++] = abi.encodeCall(IModelRegistry.claimName, ("name", modelId));
        calls[n++] = abi.encodeCall(INodeRegistry.registerNode, (alice, "", ""));
        calls[n++] = abi.encodeCall(INodeRegistry.revokeSigner, (address(receiver), new SeatRef[](0)));
        calls[n++] = abi.encodeCall(INodeRegistry.joinSeat, (modelId, ANY_INDEX));
        calls[n++] = abi.encodeCall(INodeRegistry.activateSeat, (modelId, 0));
        calls[n++] = abi.encodeCall(INodeRegistry.rekeySeat, (modelId, 0));
        calls[n++] = abi.encodeCall(INodeRegistry.leaveSeat, (modelId, 0));
        calls[n++] = abi.encodeCall(INodeRegistry.releaseSeat, (modelId, 0));
        calls[n++] = abi.encodeCall(IGovernance.scheduleParameters, (parameters()));
        calls[n++] = abi.encodeCall(IGovernance.cancelParameters, ());
        calls[n++] = abi.encodeCall(IGovernance.applyParameters, ());
        calls[n++] = abi.encodeCall(IGovernance.setPaused, (true));
        calls[n++] = abi.encodeCall(IGovernance.transferOwnership, (bob));
        calls[n++] = abi.encodeCall(IGovernance.acceptOwnership, ());
        calls[n++] = abi.encodeCall(IInferenceCoordinator.fulfill, (f));
        calls[n++] = abi.encodeCall(IInferenceCoordinator.fulfillBatch, (new Fulfillment[](1)));
        calls[n++] = abi.encodeCall(IInferenceCoordinator.redeliver, (r, "", 0));
        calls[n++] = abi.encodeCall(IInferenceCoordinator.refund, (r.request));
        calls[n++] = abi.encodeCall(IInferenceCoordinator.claim, (new Result[](1)));
        assertEq(n, 22);
        for (uint256 i; i < n; ++i) {
            (bool succeeded, bytes memory data) = _callWhilePaid(receiver, calls[i]);
            assertFalse(succeeded, vm.toString(i));
            assertEq(data, abi.encodeWithSelector(IErrors.Locked.selector), vm.toString(i));
        }

        bool done;
        (done,) = _callWhilePaid(receiver, abi.encodeCall(ILedger.deposit, (bob)));
        assertTrue(done, "deposit");
        (done,) =
            _callWhilePaid(receiver, abi.encodeCall(IInferenceCoordinator.request, (newAsk(address(receiver)), "")));
        assertTrue(done, "request");
    }

    function test_TheLockOpensAgainAfterACallThatReverted() external {
        _deposit(alice, 1 ether);
        address payable refuser = payable(address(new Refuser()));
        vm.startPrank(alice);
        vm.expectRevert(abi.encodeWithSelector(ILedger.TransferFailed.selector, refuser, 1 ether));
        coordinator.withdraw(refuser, 1 ether);
        coordinator.withdraw(carol, 1 ether);
        vm.stopPrank();
        assertEq(carol.balance, 1 ether);
    }

    function _callWhilePaid(Reenterer receiver, bytes memory call) private returns (bool, bytes memory) {
        receiver.prepare(call);
        receiver.act(abi.encodeCall(ILedger.withdraw, (payable(address(receiver)), 0.01 ether)));
        return (receiver.succeeded(), receiver.answer());
    }

    function _deposit(address account, uint256 amount) private {
        vm.prank(alice);
        coordinator.deposit{value: amount}(account);
    }
}
