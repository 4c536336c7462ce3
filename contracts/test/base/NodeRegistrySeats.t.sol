// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IInferenceCoordinator} from "../../src/interfaces/IInferenceCoordinator.sol";
import {INodeRegistry, SeatRef} from "../../src/interfaces/INodeRegistry.sol";
import {IErrors} from "../../src/types/Errors.sol";
import {Fulfillment, Outcome, Request} from "../../src/types/Request.sol";
import {Node} from "../utils/Fixture.sol";
import {NodeFixture} from "../utils/NodeFixture.sol";

/// @notice How seats are taken, activated and given new keys.
contract SeatsTest is NodeFixture {
    function test_ASeatIsTakenWithTheExactBond() external {
        Node memory node = newNode("node");
        register(node);
        uint256 bond = bondOf(parameters());
        for (uint256 sent = bond - 1; sent <= bond + 1; sent += 2) {
            vm.expectRevert(abi.encodeWithSelector(INodeRegistry.WrongBond.selector, sent, bond));
            vm.prank(node.owner);
            coordinator.joinSeat{value: sent}(modelId, ANY_INDEX);
        }
        uint48 from = uint48(START + 8);
        vm.expectEmit(address(coordinator));
        emit INodeRegistry.SeatJoined(modelId, 0, node.owner, node.signer, from, bond);
        assertEq(join(node), 0);

        (address signer, uint48 seatFrom, uint48 until) = coordinator.seat(modelId, 0);
        assertEq(signer, node.signer);
        assertEq(seatFrom, from);
        assertEq(until, NOT_LEAVING);
        (address owner, uint48 since, bool live, uint256 held) = coordinator.seatHolder(modelId, 0);
        assertEq(owner, node.owner);
        assertEq(since, START);
        assertFalse(live);
        assertEq(held, bond);
        assertEq(address(coordinator).balance, bond);
        assertEq(join(node), 1);
    }

    function test_ASeatNeedsARegisteredModelAndKey() external {
        Node memory node = newNode("node");
        uint256 bond = bondOf(parameters());
        vm.startPrank(node.owner);
        vm.expectRevert(abi.encodeWithSelector(INodeRegistry.NoSigner.selector, node.owner));
        coordinator.joinSeat{value: bond}(modelId, ANY_INDEX);
        vm.expectRevert(abi.encodeWithSelector(IErrors.UnknownModel.selector, keccak256("none")));
        coordinator.joinSeat{value: bond}(keccak256("none"), ANY_INDEX);
    }

    function test_OnlyTheNextIndexIsTakenByName() external {
        (Node memory node,) = liveNode("node");
        uint256 bond = bondOf(parameters());
        uint32[3] memory others = [0, 2, ANY_INDEX - 1];
        for (uint256 i; i < 3; ++i) {
            vm.expectRevert(abi.encodeWithSelector(INodeRegistry.SeatNotFree.selector, modelId, others[i]));
            vm.prank(node.owner);
            coordinator.joinSeat{value: bond}(modelId, others[i]);
        }
        assertEq(join(node, modelId, 1), 1);
    }

    function test_SeatsOfTwoModelsAreCountedApart() external {
        (Node memory node,) = liveNode("node");
        bytes32 other = coordinator.registerModel(card("other"), "");
        assertEq(join(node, other, ANY_INDEX), 0);
        roll(8);
        coordinator.activateSeat(other, 0);
        (,,, uint32 seatCount, uint32 live) = coordinator.model(other);
        assertEq(seatCount, 1);
        assertEq(live, 1);
        assertEq(liveSeats(), 1);
    }

    function test_ASeatIsActivatedOnceItsDelayHasPassed() external {
        Node memory node = newNode("node");
        register(node);
        join(node);
        roll(7);
        vm.expectRevert(abi.encodeWithSelector(IErrors.TooEarly.selector, START + 7, START + 8));
        coordinator.activateSeat(modelId, 0);
        roll(1);
        assertEq(liveSeats(), 0);
        vm.expectEmit(address(coordinator));
        emit INodeRegistry.SeatActivated(modelId, 0);
        vm.prank(user);
        coordinator.activateSeat(modelId, 0);
        assertEq(liveSeats(), 1);
        (,, bool live,) = coordinator.seatHolder(modelId, 0);
        assertTrue(live);
        expectSeatNotReady(0);
        coordinator.activateSeat(modelId, 0);
    }

    function test_ASeatWithARevokedKeyIsNotActivated() external {
        Node memory node = newNode("node");
        register(node);
        join(node);
        roll(8);
        revoke(node.signer, node, new SeatRef[](0));
        expectSeatNotReady(0);
        coordinator.activateSeat(modelId, 0);
        rekey(newSigner(node, "next"), 0);
        roll(8);
        coordinator.activateSeat(modelId, 0);
        assertEq(liveSeats(), 1);
    }

    function test_ASeatNobodyHoldsIsNotActivated() external {
        expectSeatNotReady(3);
        coordinator.activateSeat(modelId, 3);
    }

    function test_ASeatThatJoinedTooLateAnswersNothingEarlier() external {
        (Node memory node, uint32 index) = liveNode("node");
        Node memory late = newNode("late");
        register(late);
        uint32 lateIndex = join(late);
        roll(7);
        Request memory before = sendUsual(user);
        roll(1);
        coordinator.activateSeat(modelId, lateIndex);
        Request memory after_ = sendUsual(user);
        // Long after, when every rank may answer.
        roll(50);
        assertNotEligible(before, lateIndex, late.signer);
        assertEq(refusalOf(before, index, node.signer), "");
        assertEq(refusalOf(after_, lateIndex, late.signer), "");
    }

    function test_ASeatTakenAfterARequestIsUnknownToIt() external {
        (Node memory node,) = liveNode("node");
        Request memory r = sendUsual(user);
        liveSeat(node);
        roll(50);
        Fulfillment memory f = answerBy(r, Outcome.Ok, "output", 1, new uint32[](0));
        vm.expectRevert(abi.encodeWithSelector(IInferenceCoordinator.UnknownSeat.selector, 1, 1));
        coordinator.fulfill(f);
    }

    function test_ASeatWithANewKeyIsActivatedAnew() external {
        (Node memory node, uint32 index) = liveNode("node");
        liveNode("other");
        Request memory inFlight = sendUsual(user);
        Node memory renewed = newSigner(node, "next");
        uint48 from = uint48(vm.getBlockNumber() + 8);
        vm.expectEmit(address(coordinator));
        emit INodeRegistry.SeatRekeyed(modelId, index, renewed.signer, from);
        rekey(renewed, index);
        assertEq(liveSeats(), 1);
        (address signer, uint48 seatFrom,) = coordinator.seat(modelId, index);
        assertEq(signer, renewed.signer);
        assertEq(seatFrom, from);

        vm.roll(from - 1);
        vm.expectRevert(abi.encodeWithSelector(IErrors.TooEarly.selector, from - 1, from));
        coordinator.activateSeat(modelId, index);
        vm.roll(from);
        coordinator.activateSeat(modelId, index);
        assertEq(liveSeats(), 2);
        Request memory r = sendUsual(user);
        roll(50);
        assertNotEligible(inFlight, index, node.signer);
        assertNotEligible(inFlight, index, renewed.signer);
        assertEq(refusalOf(r, index, renewed.signer), "");
    }

    function test_ARevokedSeatComesBackWithANewKey() external {
        (Node memory node, uint32 index) = liveNode("node");
        revoke(node.owner, node, refs(index));
        vm.expectRevert(abi.encodeWithSelector(INodeRegistry.NoSigner.selector, node.owner));
        rekey(node, index);
        rekey(newSigner(node, "next"), index);
        roll(8);
        coordinator.activateSeat(modelId, index);
        assertEq(liveSeats(), 1);
    }

    function test_OnlyAHeldSeatWithAnOldKeyIsRekeyedAndByItsOwner() external {
        (Node memory node, uint32 index) = liveNode("node");
        expectSeatNotReady(index);
        rekey(node, index);
        (Node memory other,) = liveNode("other");
        vm.expectRevert(abi.encodeWithSelector(INodeRegistry.NotSeatOwner.selector, modelId, index, node.owner));
        rekey(other, index);
        vm.expectRevert(abi.encodeWithSelector(INodeRegistry.NotSeatOwner.selector, modelId, 9, address(0)));
        rekey(other, 9);
        newSigner(node, "next");
        depart(node, index);
        expectSeatNotReady(index);
        rekey(node, index);
    }
}
