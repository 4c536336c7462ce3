// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {INodeRegistry} from "../../src/interfaces/INodeRegistry.sol";
import {IErrors} from "../../src/types/Errors.sol";
import {Parameters} from "../../src/types/Parameters.sol";
import {Ask, Request, Result} from "../../src/types/Request.sol";
import {Node} from "../utils/Fixture.sol";
import {NodeFixture} from "../utils/NodeFixture.sol";

/// @notice How seats leave, when bonds are free, and who is paid for answers of a seat that changed hands.
contract ExitTest is NodeFixture {
    uint256 private constant FEES = 0.011 ether;

    function test_ASeatThatLeavesAnswersRequestsUpToItsLastBlockAndNoLaterOnes() external {
        (Node memory node, uint32 index) = liveNode("node");
        liveNode("other");
        Request memory before = sendUsual(user);
        roll(1);
        uint48 until = uint48(vm.getBlockNumber() + 1);
        vm.expectEmit(address(coordinator));
        emit INodeRegistry.SeatLeft(modelId, index, until);
        depart(node, index);
        Request memory sameBlock = sendUsual(user);
        roll(1);
        Request memory later = sendUsual(user);
        roll(50);
        assertEq(refusalOf(before, index, node.signer), "");
        assertEq(refusalOf(sameBlock, index, node.signer), "");
        assertNotEligible(later, index, node.signer);
    }

    function test_ALeavingSeatIsNotLiveAndDoesNotComeBack() external {
        (Node memory node, uint32 index) = liveNode("node");
        depart(node, index);
        assertEq(liveSeats(), 0);
        roll(8);
        expectSeatNotReady(index);
        coordinator.activateSeat(modelId, index);
        expectSeatNotReady(index);
        depart(node, index);
    }

    function test_NobodyOwnsASeatThatNobodyHolds() external {
        (, uint32 index) = _released("node");
        bytes memory refusal = abi.encodeWithSelector(INodeRegistry.NotSeatOwner.selector, modelId, index, address(0));
        vm.startPrank(address(0));
        vm.expectRevert(refusal);
        coordinator.leaveSeat(modelId, index);
        vm.expectRevert(refusal);
        coordinator.rekeySeat(modelId, index);
        vm.stopPrank();
    }

    function test_OnlyItsOwnerLeavesASeat() external {
        (Node memory node, uint32 index) = liveNode("node");
        (Node memory other,) = liveNode("other");
        vm.expectRevert(abi.encodeWithSelector(INodeRegistry.NotSeatOwner.selector, modelId, index, node.owner));
        depart(other, index);
        vm.expectRevert(abi.encodeWithSelector(INodeRegistry.NotSeatOwner.selector, modelId, 9, address(0)));
        depart(other, 9);
    }

    function test_ASeatNeverActivatedLeavesWithoutBeingCounted() external {
        (Node memory node,) = liveNode("node");
        uint32 second = join(node);
        depart(node, second);
        assertEq(liveSeats(), 1);
    }

    function test_ARevokedSeatLeavesAndIsReleased() external {
        (Node memory node, uint32 index) = liveNode("node");
        revoke(node.signer, node, refs(index));
        depart(node, index);
        assertEq(liveSeats(), 0);
        roll(8033);
        coordinator.releaseSeat(modelId, index);
        assertEq(coordinator.balanceOf(ETH, node.owner), bondOf(parameters()));
    }

    function test_ALeavingSeatCanStillBeRevoked() external {
        (Node memory node, uint32 index) = liveNode("node");
        Request memory r = sendUsual(user);
        depart(node, index);
        roll(1);
        revoke(node.signer, node, refs(index));
        assertEq(liveSeats(), 0);
        assertNotEligible(r, index, node.signer);
    }

    function test_ABondIsFreeAfterTheExitDelayOnceAndForItsOwner() external {
        (Node memory node, uint32 index) = liveNode("node");
        uint256 bond = bondOf(parameters());
        expectSeatNotReady(index);
        coordinator.releaseSeat(modelId, index);
        depart(node, index);
        uint256 free = vm.getBlockNumber() + 1 + 8032;
        vm.roll(free - 1);
        vm.expectRevert(abi.encodeWithSelector(IErrors.TooEarly.selector, free - 1, free));
        coordinator.releaseSeat(modelId, index);
        (address owner,,, uint256 held) = coordinator.seatHolder(modelId, index);
        assertEq(owner, node.owner);
        assertEq(held, bond);

        vm.roll(free);
        vm.expectEmit(address(coordinator));
        emit INodeRegistry.SeatReleased(modelId, index, node.owner, bond);
        vm.prank(user);
        coordinator.releaseSeat(modelId, index);
        assertEq(coordinator.balanceOf(ETH, node.owner), bond);
        (owner,,, held) = coordinator.seatHolder(modelId, index);
        assertEq(owner, address(0));
        assertEq(held, 0);
        (address signer, uint48 from, uint48 until) = coordinator.seat(modelId, index);
        assertEq(signer, address(0));
        assertEq(from | until, 0);
        expectSeatNotReady(index);
        coordinator.releaseSeat(modelId, index);
        assertEq(coordinator.balanceOf(ETH, node.owner), bond);
    }

    function test_AnIndexIsNotFreeBeforeItsRelease() external {
        (Node memory node, uint32 index) = liveNode("node");
        depart(node, index);
        roll(8033);
        uint256 bond = bondOf(parameters());
        vm.expectRevert(abi.encodeWithSelector(INodeRegistry.SeatNotFree.selector, modelId, index));
        vm.prank(node.owner);
        coordinator.joinSeat{value: bond}(modelId, index);
    }

    function test_AReleasedIndexIsTakenAgainAndRanksStayTheirNumber() external {
        (Node memory node, uint32 index) = _released("node");
        Node memory next = newNode("next");
        register(next);
        assertEq(join(next, modelId, index), index);
        (,,, uint32 seatCount,) = coordinator.model(modelId);
        assertEq(seatCount, 1);
        (address owner, uint48 since,,) = coordinator.seatHolder(modelId, index);
        assertEq(owner, next.owner);
        assertEq(since, vm.getBlockNumber());
        vm.expectRevert(abi.encodeWithSelector(INodeRegistry.NotSeatOwner.selector, modelId, index, next.owner));
        depart(node, index);
        roll(8);
        coordinator.activateSeat(modelId, index);
        Request memory r = sendUsual(user);
        roll(1);
        fulfill(r, "output");
    }

    function test_WhoeverJoinsTakesAReleasedIndexBeforeANewOne() external {
        (Node memory node, uint32 index) = _released("node");
        Node memory next = newNode("next");
        register(next);
        assertEq(join(next), index);
        assertEq(join(next), 1);
        assertEq(join(node), 2);
    }

    function test_IndicesComeBackFromTheLowestOnAndNewOnesAfterThem() external {
        Node memory node = newNode("node");
        register(node);
        for (uint32 i; i < 4; ++i) {
            assertEq(join(node), i);
            if (i != 3) depart(node, i);
        }
        roll(8033);
        uint32[3] memory order = [uint32(1), 0, 2];
        for (uint256 i; i < 3; ++i) {
            coordinator.releaseSeat(modelId, order[i]);
        }
        assertEq(join(node), 0);
        uint256 bond = bondOf(parameters());
        vm.expectRevert(abi.encodeWithSelector(INodeRegistry.SeatNotFree.selector, modelId, 2));
        vm.prank(node.owner);
        coordinator.joinSeat{value: bond}(modelId, 2);
        assertEq(join(node, modelId, 1), 1);
        assertEq(join(node), 2);
        assertEq(join(node), 4);
    }

    function test_TheBondPaidIsTheBondReleased() external {
        (Node memory node, uint32 index) = liveNode("node");
        Parameters memory next = parameters();
        next.seatBondGwei *= 5;
        _change(next);
        depart(node, index);
        roll(8033);
        coordinator.releaseSeat(modelId, index);
        assertEq(coordinator.balanceOf(ETH, node.owner), bondOf(parameters()));
    }

    function test_TheEndIsFixedWhenASeatLeavesAndIsTheLatestOfItsTime() external {
        (Node memory node, uint32 index) = liveNode("node");
        uint32 second = liveSeat(node);
        Parameters memory slow = parameters();
        slow.exitDelay = 20_000;
        _change(slow);
        uint32 third = liveSeat(node);
        Parameters memory quick = parameters();
        _change(quick);
        uint32 fourth = liveSeat(node);

        depart(node, index);
        depart(node, third);
        depart(node, fourth);
        uint256 left = vm.getBlockNumber();
        vm.roll(left + 8033);
        coordinator.releaseSeat(modelId, fourth);
        slow.exitDelay = 900_000;
        _change(slow);
        vm.roll(left + 20_000);
        for (uint32 i = 0; i < 4; ++i) {
            if (i == second || i == fourth) continue;
            vm.expectRevert(abi.encodeWithSelector(IErrors.TooEarly.selector, left + 20_000, left + 20_001));
            coordinator.releaseSeat(modelId, i);
        }
        roll(1);
        coordinator.releaseSeat(modelId, index);
        coordinator.releaseSeat(modelId, third);
        assertEq(coordinator.balanceOf(ETH, node.owner), 3 * bondOf(parameters()));
    }

    function test_TheBondOutlastsARequestUnderAChangeAppliedInTheLastBlock() external {
        (Node memory node, uint32 index) = liveNode("node");
        liveNode("other");
        Parameters memory next = parameters();
        (next.vesting, next.exitDelay) = (50_000, 58_000);
        vm.prank(governor);
        coordinator.scheduleParameters(next);
        roll(7200);
        uint256 left = vm.getBlockNumber();
        depart(node, index);
        coordinator.applyParameters();
        Request memory r = sendUsual(user);
        roll(100);
        assertEq(refusalOf(r, index, node.signer), "", "the seat may still answer");
        _releaseAt(left + 58_001, index);
    }

    function test_AChangeThatIsNotDueDoesNotHoldABond() external {
        (Node memory node, uint32 index) = liveNode("node");
        Parameters memory next = parameters();
        next.exitDelay = 900_000;
        vm.prank(governor);
        coordinator.scheduleParameters(next);
        roll(7199);
        depart(node, index);
        roll(8033);
        coordinator.releaseSeat(modelId, index);
    }

    function test_ASchedulesBondHoldsNobodyOnceItIsWithdrawnOrExpired() external {
        (Node memory node, uint32 index) = liveNode("node");
        uint32 second = liveSeat(node);
        Parameters memory next = parameters();
        next.exitDelay = 900_000;
        vm.startPrank(governor);
        coordinator.scheduleParameters(next);
        coordinator.cancelParameters();
        vm.stopPrank();
        roll(7200);
        depart(node, index);
        roll(8033);
        coordinator.releaseSeat(modelId, index);

        vm.prank(governor);
        coordinator.scheduleParameters(next);
        // In the last block in which it can be applied it still holds a bond.
        roll(7200 + 50_400);
        uint256 snapshot = vm.snapshotState();
        depart(node, second);
        uint256 free = vm.getBlockNumber() + 1 + 900_000;
        roll(8033);
        vm.expectRevert(abi.encodeWithSelector(IErrors.TooEarly.selector, vm.getBlockNumber(), free));
        coordinator.releaseSeat(modelId, second);
        vm.revertToState(snapshot);
        roll(1);
        depart(node, second);
        roll(8033);
        coordinator.releaseSeat(modelId, second);
    }

    function test_LeavingCostsNoMoreAfterManyVersions() external {
        (Node memory node,) = liveNode("node");
        uint256[3] memory gas;
        uint32[3] memory index = [join(node), join(node), join(node)];
        for (uint256 i; i < 3; ++i) {
            for (uint256 k; k < 15; ++k) {
                _change(parameters());
            }
            vm.cool(address(coordinator));
            vm.prank(node.owner);
            gas[i] = gasleft();
            coordinator.leaveSeat(modelId, index[i]);
            gas[i] -= gasleft();
        }
        assertEq(coordinator.parameterVersion(), 46);
        assertApproxEqAbs(gas[1], gas[0], 100);
        assertApproxEqAbs(gas[2], gas[0], 100);
    }

    /// @dev A seat is released in this block and in none before it.
    function _releaseAt(uint256 free, uint32 index) private {
        vm.roll(free - 1);
        vm.expectRevert(abi.encodeWithSelector(IErrors.TooEarly.selector, free - 1, free));
        coordinator.releaseSeat(modelId, index);
        roll(1);
        coordinator.releaseSeat(modelId, index);
    }

    /// @dev Ten versions are looked at: what older ones asked for has vested by then.
    function test_TheBondOutlastsTheOldestVersionInFlight() external {
        (Node memory node,) = liveNode("node");
        Parameters memory long = parameters();
        (long.vesting, long.exitDelay) = (50_000, 58_000);
        _change(long);
        uint32 index = liveSeat(node);
        uint32 second = liveSeat(node);
        uint256 superseded;
        for (uint256 version = 3; version <= 11; ++version) {
            _change(parameters());
            if (version == 3) superseded = vm.getBlockNumber();
        }
        depart(node, index);
        uint256 left = vm.getBlockNumber();
        _change(parameters());
        depart(node, second);
        assertGt(vm.getBlockNumber(), superseded + 8000 + 50_000, "all that version 2 asked for has vested");

        roll(8033);
        coordinator.releaseSeat(modelId, second);
        _releaseAt(left + 58_001, index);
    }

    // Pay

    function test_PayForAnOldAnswerGoesToTheFormerHolder() external {
        address[3] memory owners;
        Result[] memory results = new Result[](3);
        for (uint256 i; i < 3; ++i) {
            Node memory node = newNode(vm.toString(i));
            owners[i] = node.owner;
            register(node);
            join(node, modelId, i == 0 ? ANY_INDEX : 0);
            roll(8);
            coordinator.activateSeat(modelId, 0);
            Request memory r = sendUsual(user);
            roll(1);
            results[i] = fulfill(r, "output");
            if (i == 2) break;
            depart(node, 0);
            roll(8033);
            coordinator.releaseSeat(modelId, 0);
            vm.prank(node.owner);
            coordinator.withdraw(payable(node.owner), bondOf(parameters()));
        }
        roll(33);
        coordinator.claim(results);
        for (uint256 i; i < 3; ++i) {
            assertEq(coordinator.balanceOf(ETH, owners[i]), FEES, vm.toString(i));
        }
    }

    function test_PayGoesToTheFormerHolderOfAFreeIndex() external {
        (Node memory node, uint32 index) = liveNode("node");
        Request memory r = sendUsual(user);
        roll(1);
        Result memory result = fulfill(r, "output");
        depart(node, index);
        roll(8033);
        coordinator.releaseSeat(modelId, index);
        claim(result);
        assertEq(coordinator.balanceOf(ETH, node.owner), bondOf(parameters()) + FEES);
    }

    function test_ThePayOfARevokedSeatIsItsOwners() external {
        (Node memory node, uint32 index) = liveNode("node");
        Request memory r = sendUsual(user);
        roll(1);
        Result memory result = fulfill(r, "output");
        revoke(node.signer, node, refs(index));
        roll(33);
        claim(result);
        assertEq(coordinator.balanceOf(ETH, node.owner), FEES);
        assertEq(coordinator.balanceOf(ETH, node.signer), 0);
    }

    function test_TheLastAnswerOfALeavingSeatIsPaidToIt() external {
        (Node memory node, uint32 index) = liveNode("node");
        Ask memory ask = newAsk(user);
        ask.deadlineBlocks = 8000;
        Request memory r = send(user, ask, "input");
        depart(node, index);
        uint256 requested = vm.getBlockNumber();
        vm.roll(requested + 8000);
        provideHistory(requested);
        Result memory result = fulfill(r, "output");
        roll(33);
        coordinator.releaseSeat(modelId, index);
        Node memory next = newNode("next");
        register(next);
        join(next, modelId, index);
        claim(result);
        assertEq(coordinator.balanceOf(ETH, node.owner), bondOf(parameters()) + FEES);
        assertEq(coordinator.balanceOf(ETH, next.owner), 0);
    }

    function _released(string memory name) private returns (Node memory node, uint32 index) {
        (node, index) = liveNode(name);
        depart(node, index);
        roll(8033);
        coordinator.releaseSeat(modelId, index);
    }

    function _change(Parameters memory next) private {
        vm.prank(governor);
        coordinator.scheduleParameters(next);
        roll(7200);
        coordinator.applyParameters();
    }
}
