// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IInferenceCoordinator} from "../src/interfaces/IInferenceCoordinator.sol";
import {IErrors} from "../src/types/Errors.sol";
import {Parameters} from "../src/types/Parameters.sol";
import {Fulfillment, Request, Result} from "../src/types/Request.sol";
import {LiveNodeFixture, Node} from "./utils/Fixture.sol";

/// @notice Pay: when it is due, to whom, and how often.
contract ClaimsTest is LiveNodeFixture {
    address private stranger = makeAddr("stranger");

    function test_PayVestsAndIsCollectedOnce() external {
        Request memory r = askFor(stranger, 0);
        roll(1);
        Result memory result = fulfill(r, "output");
        uint256 vested = vm.getBlockNumber() + 32;
        vm.roll(vested);
        Result[] memory results = new Result[](1);
        results[0] = result;
        vm.expectRevert(abi.encodeWithSelector(IErrors.TooEarly.selector, vested, vested + 1));
        coordinator.claim(results);
        vm.roll(vested + 1);
        vm.prank(stranger);
        coordinator.claim(results);
        assertEq(coordinator.balanceOf(ETH, node.owner), 0.011 ether, "to the seat's owner, whoever calls");
        assertEq(coordinator.balanceOf(ETH, stranger), 0);
        assertEq(flagsOf(r), 2 | 8);
        vm.recordLogs();
        coordinator.claim(results);
        assertEq(vm.getRecordedLogs().length, 0, "nothing was paid");
        assertEq(coordinator.balanceOf(ETH, node.owner), 0.011 ether);
    }

    /// @dev Else whoever claims one item of a large claim first makes the whole of it fail.
    function test_AnItemThatIsPaidAlreadyIsPassedOver() external {
        Result[] memory results = new Result[](4);
        for (uint256 i = 0; i < 3; ++i) {
            Request memory r = askFor(stranger, 0);
            roll(1);
            results[i] = fulfill(r, "output");
        }
        results[3] = results[0]; // twice in one claim
        roll(33);
        vm.prank(stranger);
        claim(results[1]);
        bytes32[] memory paid = new bytes32[](2);
        (paid[0], paid[1]) = (coordinator.requestIdOf(results[0].request), coordinator.requestIdOf(results[2].request));
        vm.expectEmit(address(coordinator));
        emit IInferenceCoordinator.Claimed(paid);
        coordinator.claim(results);
        assertEq(coordinator.balanceOf(ETH, node.owner), 3 * 0.011 ether);
        for (uint256 i = 0; i < 3; ++i) {
            assertEq(flagsOf(results[i].request), 2 | 8);
        }
    }

    function test_WhoeverCarriesAnAnswerEarnsNothing() external {
        Request memory r = askFor(address(this), 0);
        roll(1);
        Fulfillment memory f = answer(r, "output");
        vm.prank(stranger);
        coordinator.fulfill(f);
        Result memory result = resultOf(f);
        roll(33);
        vm.prank(stranger);
        claim(result);
        assertEq(coordinator.balanceOf(ETH, stranger), 0);
        assertEq(coordinator.balanceOf(ETH, node.owner), 0.011 ether);
    }

    /// @dev Seats of both have the same index, and other owners.
    function test_OneClaimOfTwoModelsPaysEachOwner() external {
        Result[] memory results = new Result[](2);
        results[0] = answered();
        modelId = coordinator.registerModel(card("other"), "");
        (Node memory other, uint32 index) = liveNode("other");
        assertEq(index, 0);
        results[1] = answered();
        roll(33);
        coordinator.claim(results);
        assertEq(coordinator.balanceOf(ETH, node.owner), 0.011 ether);
        assertEq(coordinator.balanceOf(ETH, other.owner), 0.011 ether);
    }

    function test_OneClaimOfTwoVersionsWaitsForEach() external {
        Result[] memory results = new Result[](2);
        results[0] = answered();
        Parameters memory next = parameters();
        (next.vesting, next.exitDelay) = (1000, 9000);
        vm.prank(governor);
        coordinator.scheduleParameters(next);
        roll(7200);
        coordinator.applyParameters();
        results[1] = answered();
        uint256 vested = results[1].fulfilledAt + 1001;
        roll(33);
        vm.expectRevert(abi.encodeWithSelector(IErrors.TooEarly.selector, vm.getBlockNumber(), vested));
        coordinator.claim(results);
        vm.roll(vested);
        coordinator.claim(results);
        assertEq(coordinator.balanceOf(ETH, node.owner), 2 * 0.011 ether);
    }

    function answered() private returns (Result memory) {
        Request memory r = askFor(stranger, 0);
        roll(1);
        return fulfill(r, "output");
    }

    function test_OnlyTheRecordedResultIsPaid() external {
        Request memory r = askFor(stranger, 0);
        (Node memory other,) = liveNode("other");
        Request memory open = askFor(stranger, 0);
        roll(1);
        Result memory result = fulfill(r, "output");
        roll(33);
        bytes32 id = coordinator.requestIdOf(r);
        bytes memory mismatch = abi.encodeWithSelector(IInferenceCoordinator.ResultMismatch.selector, id);
        Result[] memory results = new Result[](1);
        results[0] = result;
        results[0].seats = hex"00000001"; // the other node's seat
        vm.expectRevert(mismatch);
        coordinator.claim(results);
        results[0].seats = hex"00000000";
        results[0].fulfilledAt -= 1;
        vm.expectRevert(mismatch);
        coordinator.claim(results);
        results[0].request = open;
        vm.expectRevert(
            abi.encodeWithSelector(IInferenceCoordinator.ResultMismatch.selector, coordinator.requestIdOf(open))
        );
        coordinator.claim(results);
        assertEq(coordinator.balanceOf(ETH, other.owner), 0);
    }
}
