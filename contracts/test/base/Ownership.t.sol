// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IGovernance} from "../../src/interfaces/IGovernance.sol";
import {Fixture} from "../utils/Fixture.sol";

/// @notice How the ownership passes, under the names of Ownable2Step.
contract OwnershipTest is Fixture {
    address private alice = makeAddr("alice");
    address private bob = makeAddr("bob");

    function test_OnlyTheOwnerGoverns() external {
        vm.startPrank(alice);
        bytes memory refusal = abi.encodeWithSelector(IGovernance.NotOwner.selector, alice);
        vm.expectRevert(refusal);
        coordinator.scheduleParameters(parameters());
        vm.expectRevert(refusal);
        coordinator.setPaused(true);
        vm.expectRevert(refusal);
        coordinator.cancelParameters();
        vm.expectRevert(refusal);
        coordinator.transferOwnership(alice);
        vm.expectRevert(refusal);
        coordinator.acceptOwnership();
    }

    function test_OwnershipPassesWhenTheOtherTakesIt() external {
        vm.expectEmit(address(coordinator));
        emit IGovernance.OwnershipTransferStarted(governor, alice);
        _offer(alice);
        assertEq(coordinator.owner(), governor);
        vm.expectRevert(abi.encodeWithSelector(IGovernance.NotOwner.selector, governor));
        vm.prank(governor);
        coordinator.acceptOwnership();

        vm.expectEmit(address(coordinator));
        emit IGovernance.OwnershipTransferred(governor, alice);
        vm.prank(alice);
        coordinator.acceptOwnership();
        assertEq(coordinator.owner(), alice);
        vm.expectRevert(abi.encodeWithSelector(IGovernance.NotOwner.selector, governor));
        vm.prank(governor);
        coordinator.setPaused(true);
    }

    function test_AnOfferIsTakenOnce() external {
        _offer(alice);
        vm.startPrank(alice);
        coordinator.acceptOwnership();
        coordinator.transferOwnership(bob);
        vm.stopPrank();
        vm.prank(bob);
        coordinator.acceptOwnership();
        vm.expectRevert(abi.encodeWithSelector(IGovernance.NotOwner.selector, bob));
        vm.prank(bob);
        coordinator.acceptOwnership();
    }

    function test_OfferingZeroWithdrawsTheOffer() external {
        _offer(alice);
        _offer(address(0));
        vm.expectRevert(abi.encodeWithSelector(IGovernance.NotOwner.selector, alice));
        vm.prank(alice);
        coordinator.acceptOwnership();
    }

    function test_TheLatestOfferCounts() external {
        _offer(alice);
        _offer(bob);
        vm.expectRevert(abi.encodeWithSelector(IGovernance.NotOwner.selector, alice));
        vm.prank(alice);
        coordinator.acceptOwnership();
        vm.prank(bob);
        coordinator.acceptOwnership();
        assertEq(coordinator.owner(), bob);
    }

    function _offer(address to) private {
        vm.prank(governor);
        coordinator.transferOwnership(to);
    }
}
