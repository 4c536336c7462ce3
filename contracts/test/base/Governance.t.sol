// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {InferenceCoordinator} from "../../src/InferenceCoordinator.sol";
import {IGovernance} from "../../src/interfaces/IGovernance.sol";
import {IInferenceCoordinator} from "../../src/interfaces/IInferenceCoordinator.sol";
import {SeatRef} from "../../src/interfaces/INodeRegistry.sol";
import {IErrors} from "../../src/types/Errors.sol";
import {Parameters} from "../../src/types/Parameters.sol";
import {Ask, Fulfillment, Outcome, Request, Result} from "../../src/types/Request.sol";
import {Fixture, Node} from "../utils/Fixture.sol";

contract GovernanceTest is Fixture {
    address private alice = makeAddr("alice");
    address private bob = makeAddr("bob");

    // Versions and delays

    function test_ADeploymentStartsAtVersionOne() external {
        vm.expectEmit();
        emit IGovernance.OwnershipTransferred(address(0), alice);
        vm.expectEmit();
        emit IGovernance.ParametersApplied(1, parameters());
        coordinator = new InferenceCoordinator(alice, parameters());
        assertEq(coordinator.owner(), alice);
        assertEq(coordinator.parameterVersion(), 1);
        assertFalse(coordinator.paused());
        _assertParameters(1, parameters());
    }

    function test_ScheduledParametersTakeEffectAfterTheDelayAndNotBefore() external {
        Parameters memory next = _different();
        uint256 effective = START + parameters().parameterDelay;
        vm.expectEmit(address(coordinator));
        emit IGovernance.ParametersScheduled(2, next, effective);
        _schedule(next);
        assertEq(coordinator.parameterVersion(), 1);

        vm.roll(effective - 1);
        vm.expectRevert(abi.encodeWithSelector(IErrors.TooEarly.selector, effective - 1, effective));
        coordinator.applyParameters();

        vm.roll(effective);
        vm.expectEmit(address(coordinator));
        emit IGovernance.ParametersApplied(2, next);
        vm.prank(bob);
        coordinator.applyParameters();
        assertEq(coordinator.parameterVersion(), 2);
        _assertParameters(1, parameters());
        _assertParameters(2, next);
    }

    function test_ASecondScheduleReplacesTheFirstAndStartsTheDelayAnew() external {
        _schedule(_different());
        roll(7000);
        Parameters memory second = parameters();
        second.window = 50;
        _schedule(second);
        roll(7199);
        uint256 effective = vm.getBlockNumber() + 1;
        vm.expectRevert(abi.encodeWithSelector(IErrors.TooEarly.selector, effective - 1, effective));
        coordinator.applyParameters();
        vm.roll(effective);
        coordinator.applyParameters();
        assertEq(coordinator.parameterVersion(), 2);
        _assertParameters(2, second);
    }

    function test_TheDelayIsThatOfThePresentVersion() external {
        Parameters memory slow = parameters();
        slow.parameterDelay = 20_000;
        _change(slow);
        uint256 effective = vm.getBlockNumber() + 20_000;
        vm.expectEmit(address(coordinator));
        emit IGovernance.ParametersScheduled(3, parameters(), effective);
        _schedule(parameters());
    }

    function test_NothingScheduledCannotBeApplied() external {
        vm.expectRevert(IGovernance.NothingScheduled.selector);
        coordinator.applyParameters();
        _change(_different());
        vm.expectRevert(IGovernance.NothingScheduled.selector);
        coordinator.applyParameters();
    }

    function test_TheOwnerWithdrawsASchedule() external {
        vm.expectRevert(IGovernance.NothingScheduled.selector);
        vm.prank(governor);
        coordinator.cancelParameters();
        _schedule(_different());
        vm.expectEmit(address(coordinator));
        emit IGovernance.ParametersCanceled(2);
        vm.prank(governor);
        coordinator.cancelParameters();
        roll(7200);
        vm.expectRevert(IGovernance.NothingScheduled.selector);
        coordinator.applyParameters();
        assertEq(coordinator.parameterVersion(), 1);
        _change(_different());
        _assertParameters(2, _different());
    }

    function test_AScheduleExpiresAWeekAfterItCouldBeApplied() external {
        _schedule(_different());
        uint256 last = START + 7200 + 50_400;
        vm.roll(last + 1);
        vm.expectRevert(abi.encodeWithSelector(IGovernance.ScheduleExpired.selector, last + 1, last));
        coordinator.applyParameters();
        uint256 snapshot = vm.snapshotState();
        vm.roll(last);
        coordinator.applyParameters();
        vm.revertToState(snapshot);
        // It can be scheduled again, with its whole delay.
        _change(_different());
        _assertParameters(2, _different());
    }

    function test_AVersionThatWasNeverAppliedCannotBeRead() external {
        _schedule(_different());
        for (uint16 version = 0; version <= 2; version += 2) {
            vm.expectRevert(abi.encodeWithSelector(IGovernance.ParameterOutOfBounds.selector, "version", version, 1, 1));
            coordinator.parameters(version);
        }
    }

    // Requests and seats in flight

    function test_ARequestKeepsTheVestingOfItsVersion() external {
        liveNode("node");
        Parameters memory next = parameters();
        (next.vesting, next.exitDelay) = (1000, 9000);
        _schedule(next);
        roll(7199);
        Request memory r = sendUsual(alice);
        roll(1);
        coordinator.applyParameters();
        Result memory result = fulfill(r, "output");
        Request memory later = sendUsual(alice);
        roll(1);
        Result memory laterResult = fulfill(later, "output");

        vm.roll(result.fulfilledAt + 33);
        claim(result);
        uint256 vested = laterResult.fulfilledAt + 1001;
        vm.roll(vested - 1);
        Result[] memory results = new Result[](1);
        results[0] = laterResult;
        vm.expectRevert(abi.encodeWithSelector(IErrors.TooEarly.selector, vested - 1, vested));
        coordinator.claim(results);
        vm.roll(vested);
        coordinator.claim(results);
    }

    function test_ARequestKeepsTheWindowOfItsVersion() external {
        liveNode("first");
        liveNode("second");
        Parameters memory next = parameters();
        next.window = 100;
        _schedule(next);
        roll(7199);
        Ask memory ask = newAsk(alice);
        ask.deadlineBlocks = 200;
        Request memory before = send(alice, ask, "input");
        roll(1);
        coordinator.applyParameters();
        Request memory later = send(alice, ask, "input");

        // The second rank answers from the third block after the request by the old window, the 101st by the new one.
        roll(2);
        coordinator.fulfill(_bySecondRank(before));
        roll(98);
        Fulfillment memory f = _bySecondRank(later);
        vm.expectRevert(abi.encodeWithSelector(IInferenceCoordinator.RankTooHigh.selector, 1, 1));
        coordinator.fulfill(f);
        roll(1);
        coordinator.fulfill(f);
    }

    function test_ANewBondBindsNewSeatsOnly() external {
        (Node memory node, uint32 index) = liveNode("node");
        Parameters memory next = parameters();
        next.seatBondGwei *= 3;
        _change(next);
        (,,, uint256 bond) = coordinator.seatHolder(modelId, index);
        assertEq(bond, bondOf(parameters()));
        (,,, bond) = coordinator.seatHolder(modelId, join(node));
        assertEq(bond, 3 * bondOf(parameters()));
    }

    // Bounds

    function test_EveryParameterHasItsBounds() external {
        _expectBounds("window", 1, 100, type(uint16).max);
        _expectBounds("activationDelay", 8, 50_000, type(uint32).max);
        _expectBounds("vesting", 32, 50_000, type(uint32).max);
        _expectBounds("exitDelay", 8000 + 32, 1_000_000, type(uint32).max);
        _expectBounds("parameterDelay", 7200, 1_000_000, type(uint32).max);
        _expectBounds("maxCallbackGas", 0, 10_000_000, type(uint32).max);
        _expectBounds("maxQuorum", 1, 16, type(uint8).max);
        _expectBounds("seatBondGwei", 1, 1e13, type(uint64).max);
    }

    function test_TheExitDelayOutlastsEveryDeadlineAndItsVesting() external {
        Parameters memory next = parameters();
        next.vesting = 50_000;
        next.exitDelay = 57_999;
        bytes memory refusal =
            abi.encodeWithSelector(IGovernance.ParameterOutOfBounds.selector, "exitDelay", 57_999, 58_000, 1_000_000);
        vm.expectRevert(refusal);
        vm.prank(governor);
        coordinator.scheduleParameters(next);
        next.exitDelay = 58_000;
        _schedule(next);
    }

    function test_TheBoundsHoldForTheFirstVersionToo() external {
        Parameters memory first = parameters();
        first.window = 0;
        vm.expectRevert(abi.encodeWithSelector(IGovernance.ParameterOutOfBounds.selector, "window", 0, 1, 100));
        new InferenceCoordinator(governor, first);
    }

    function testFuzz_ParametersWithinTheirBoundsAreKeptAsTheyAre(Parameters memory p, bool paused) external {
        p.window = uint16(bound(p.window, 1, 100));
        p.activationDelay = uint32(bound(p.activationDelay, 8, 50_000));
        p.vesting = uint32(bound(p.vesting, 32, 50_000));
        p.exitDelay = uint32(bound(p.exitDelay, 8000 + p.vesting, 1_000_000));
        p.parameterDelay = uint32(bound(p.parameterDelay, 7200, 1_000_000));
        p.maxCallbackGas = uint32(bound(p.maxCallbackGas, 0, 10_000_000));
        p.maxQuorum = uint8(bound(p.maxQuorum, 1, 16));
        p.seatBondGwei = uint64(bound(p.seatBondGwei, 1, 1e13));
        _schedule(p);
        vm.prank(governor);
        coordinator.setPaused(paused);
        roll(7200);
        coordinator.applyParameters();
        assertEq(coordinator.parameterVersion(), 2);
        assertEq(coordinator.paused(), paused);
        _assertParameters(2, p);
    }

    // Pause

    function test_APauseStopsRequestsAndJoins() external {
        (Node memory node,) = liveNode("node");
        _setPaused(true);
        Ask memory ask = newAsk(alice);
        vm.deal(alice, 1 ether);
        vm.expectRevert(IGovernance.Paused.selector);
        vm.prank(alice);
        coordinator.request{value: 0.011 ether}(ask, "input");
        uint256 bond = bondOf(parameters());
        vm.expectRevert(IGovernance.Paused.selector);
        vm.prank(node.owner);
        coordinator.joinSeat{value: bond}(modelId, ANY_INDEX);

        _setPaused(false);
        sendUsual(alice);
        join(node);
    }

    function test_APauseStopsNothingElse() external {
        (Node memory node, uint32 index) = liveNode("node");
        Request memory answered = sendUsual(alice);
        Request memory unanswered = sendUsual(alice);
        uint32 second = join(node);
        _setPaused(true);
        _schedule(parameters());

        roll(8);
        coordinator.activateSeat(modelId, second);
        Result memory result = fulfill(answered, "output");
        roll(100);
        claim(result);
        coordinator.refund(unanswered);
        vm.startPrank(alice);
        coordinator.withdraw(payable(alice), 0.011 ether);
        coordinator.deposit{value: 1}(alice);
        coordinator.allow(bob, 1);
        coordinator.registerModel(card("other"), "");
        coordinator.claimName("name", modelId);
        vm.stopPrank();
        register(Node(node.owner, newKey("next")));
        vm.prank(node.owner);
        coordinator.rekeySeat(modelId, index);
        depart(node, index);
        vm.prank(node.owner);
        coordinator.revokeSigner(node.owner, new SeatRef[](0));
        roll(8033);
        coordinator.releaseSeat(modelId, index);
        coordinator.applyParameters();
        assertTrue(coordinator.paused(), "new parameters leave the pause as it is");
        vm.prank(governor);
        coordinator.transferOwnership(bob);
        vm.prank(bob);
        coordinator.acceptOwnership();
    }

    function test_PausingIsAnEvent() external {
        for (uint256 i; i < 2; ++i) {
            vm.expectEmit(address(coordinator));
            emit IGovernance.PauseSet(i == 0);
            _setPaused(i == 0);
            assertEq(coordinator.paused(), i == 0);
        }
    }

    // Helpers

    /// @dev In the struct's order. No two fields are alike, and none is the fixture's.
    function _different() private pure returns (Parameters memory) {
        return Parameters(7, 300, 400, 9000, 8000, 123_456, 9, 987_654_321);
    }

    function _schedule(Parameters memory next) private {
        vm.prank(governor);
        coordinator.scheduleParameters(next);
    }

    /// @dev Schedules under the fixture's delay, waits and applies.
    function _change(Parameters memory next) private {
        _schedule(next);
        roll(7200);
        coordinator.applyParameters();
    }

    function _setPaused(bool on) private {
        vm.prank(governor);
        coordinator.setPaused(on);
    }

    /// @dev An answer by the seat that was not drawn, of two.
    function _bySecondRank(Request memory r) private view returns (Fulfillment memory) {
        (, uint32 first,) = drawn(r);
        return answerBy(r, Outcome.Ok, "output", 1 - first, new uint32[](0));
    }

    function _assertParameters(uint16 version, Parameters memory expected) private view {
        assertEq(abi.encode(coordinator.parameters(version)), abi.encode(expected));
    }

    function _expectBounds(string memory name, uint256 min, uint256 max, uint256 most) private {
        _expectBound(name, min, min, max);
        _expectBound(name, max, min, max);
        if (min != 0) _expectBound(name, min - 1, min, max);
        if (min != 0) _expectBound(name, 0, min, max);
        if (max != most) _expectBound(name, max + 1, min, max);
        _expectBound(name, most, min, max);
    }

    function _expectBound(string memory name, uint256 value, uint256 min, uint256 max) private {
        if (value < min || value > max) {
            vm.expectRevert(abi.encodeWithSelector(IGovernance.ParameterOutOfBounds.selector, name, value, min, max));
        }
        vm.prank(governor);
        coordinator.scheduleParameters(_with(name, value));
    }

    /// @dev The fixture's parameters with one changed; a long exit delay where a long vesting asks for it.
    function _with(string memory name, uint256 value) private pure returns (Parameters memory p) {
        p = parameters();
        bytes32 field = keccak256(bytes(name));
        if (field == keccak256("window")) p.window = uint16(value);
        else if (field == keccak256("activationDelay")) p.activationDelay = uint32(value);
        else if (field == keccak256("vesting")) (p.vesting, p.exitDelay) = (uint32(value), 100_000);
        else if (field == keccak256("exitDelay")) p.exitDelay = uint32(value);
        else if (field == keccak256("parameterDelay")) p.parameterDelay = uint32(value);
        else if (field == keccak256("maxCallbackGas")) p.maxCallbackGas = uint32(value);
        else if (field == keccak256("maxQuorum")) p.maxQuorum = uint8(value);
        else if (field == keccak256("seatBondGwei")) p.seatBondGwei = uint64(value);
        else revert(name);
    }
}
