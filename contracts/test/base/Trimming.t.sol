// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {INodeRegistry} from "../../src/interfaces/INodeRegistry.sol";
import {RequestLib} from "../../src/libraries/RequestLib.sol";
import {Ask, Fulfillment, Outcome, Request, Result} from "../../src/types/Request.sol";
import {Node} from "../utils/Fixture.sol";
import {NodeFixture} from "../utils/NodeFixture.sol";

/// @notice How indices that nobody has a bond behind are given up.
contract TrimmingTest is NodeFixture {
    using RequestLib for Request;

    uint256 private constant EXIT = 8033;

    Node private node;
    Node private squatter;

    function setUp() public override {
        super.setUp();
        (node,) = liveNode("node");
        squatter = newNode("squatter");
        register(squatter);
    }

    function test_HolesThatNobodyHasABondBehindAreGivenUpWithTheLastRelease() external {
        uint256 before = _costOfAnAnswer();
        _squat(128);
        assertEq(seatCount(), 129);
        roll(EXIT);
        for (uint32 i = 1; i < 128; ++i) {
            vm.prank(user);
            coordinator.releaseSeat(modelId, i);
        }
        assertEq(seatCount(), 129, "below a bond");
        vm.expectEmit(address(coordinator));
        emit INodeRegistry.SeatsTrimmed(modelId, 1);
        vm.prank(user);
        uint256 gas = gasleft();
        coordinator.releaseSeat(modelId, 128);
        assertLt(gas - gasleft(), 200_000, "128 indices are one word or two");
        assertEq(seatCount(), 1);
        assertApproxEqAbs(_costOfAnAnswer(), before, 3000, "an answer costs what it did");
    }

    function test_HolesAreGivenUpInWhateverOrderTheyAreReleased() external {
        _squat(9);
        roll(EXIT);
        uint32[9] memory order = [uint32(9), 5, 7, 8, 2, 6, 1, 3, 4];
        uint32[9] memory counts = [uint32(9), 9, 9, 7, 7, 5, 5, 5, 1];
        for (uint256 i; i < 9; ++i) {
            coordinator.releaseSeat(modelId, order[i]);
            assertEq(seatCount(), counts[i]);
        }
    }

    function test_TrimmingStopsBelowASeatThatIsHeld() external {
        _squat(3);
        uint32 held = join(node);
        _squat(3);
        roll(EXIT);
        for (uint32 i = 1; i <= 7; ++i) {
            if (i != held) coordinator.releaseSeat(modelId, i);
        }
        assertEq(seatCount(), held + 1);
        // The holes below are taken from the lowest on.
        assertEq(join(squatter), 1);
        assertEq(join(squatter), 2);
        assertEq(join(squatter), 3);
        assertEq(join(squatter), held + 1);
    }

    function test_IndicesThatWereGivenUpAreGivenOutAnew() external {
        _squat(4);
        roll(EXIT);
        _release(4);
        for (uint32 i = 1; i <= 5; ++i) {
            assertEq(join(squatter), i);
            assertEq(seatCount(), i + 1);
        }
    }

    function test_AModelThatEverybodyLeftHasNoIndices() external {
        depart(node, 0);
        roll(EXIT);
        coordinator.releaseSeat(modelId, 0);
        assertEq(seatCount(), 0);
        assertEq(join(node), 0);
        roll(8);
        coordinator.activateSeat(modelId, 0);
        Request memory r = sendUsual(user);
        roll(1);
        fulfill(r, "output");
    }

    function test_ARequestInFlightKeepsItsDrawThroughATrim() external {
        Request memory r = _sendLastingBeside(20);
        roll(1);
        (, uint32 index, uint32[] memory holes) = drawn(r);
        roll(9);
        _release(20);
        assertEq(seatCount(), 1);
        Fulfillment memory f = answerBy(r, Outcome.Ok, "output", index, holes);
        assertEq(r.unpack().seatCount, 21);
        coordinator.fulfill(f);
    }

    function test_AnIndexThatWasGivenUpStaysAHoleToOlderRequestsWhoeverTakesIt() external {
        Request memory r = _sendLastingBeside(20);
        roll(10);
        _release(20);
        for (uint32 i = 1; i <= 20; ++i) {
            assertEq(liveSeat(squatter), i);
        }
        // Every rank may answer by now.
        for (uint32 i = 1; i <= 20; ++i) {
            assertNotEligible(r, i, squatter.signer);
        }
        (, uint32 index, uint32[] memory holes) = drawn(r);
        assertEq(index, 0);
        coordinator.fulfill(answerBy(r, Outcome.Ok, "output", index, holes));
    }

    function test_PayForAnAnswerOfAnIndexThatWasGivenUpGoesToItsFormerHolder() external {
        uint32 index = liveSeat(squatter);
        Request memory r;
        uint32 by;
        do {
            r = sendUsual(user);
            roll(1);
            (, by,) = drawn(r);
        } while (by != index);
        Result memory result = fulfill(r, "output");
        depart(squatter, index);
        roll(EXIT);
        coordinator.releaseSeat(modelId, index);
        assertEq(seatCount(), 1);
        Node memory next = newNode("next");
        register(next);
        assertEq(join(next), index);
        claim(result);
        assertEq(coordinator.balanceOf(ETH, squatter.owner), bondOf(parameters()) + 0.011 ether);
        assertEq(coordinator.balanceOf(ETH, next.owner), 0);
    }

    /// @dev Seats that are left in the block in which they were taken.
    function _squat(uint32 seats) private {
        for (uint32 i; i < seats; ++i) {
            depart(squatter, join(squatter));
        }
    }

    /// @dev Releases the seats from index 1 on.
    function _release(uint32 seats) private {
        for (uint32 i = 1; i <= seats; ++i) {
            coordinator.releaseSeat(modelId, i);
        }
    }

    /// @dev A request that can be answered for 8,000 blocks, sent ten blocks before so many squatted seats are free.
    function _sendLastingBeside(uint32 seats) private returns (Request memory) {
        _squat(seats);
        roll(EXIT - 10);
        Ask memory ask = newAsk(user);
        ask.deadlineBlocks = 8000;
        return send(user, ask, "input");
    }

    /// @dev An average of ten, and what each lists.
    function _costOfAnAnswer() private returns (uint256 gas) {
        for (uint256 i; i < 10; ++i) {
            Request memory r = sendUsual(user);
            roll(1);
            Fulfillment memory f = answer(r, "output");
            vm.cool(address(coordinator));
            uint256 before = gasleft();
            coordinator.fulfill(f);
            gas += (before - gasleft()) / 10;
        }
    }

    function seatCount() private view returns (uint32 count) {
        (,,, count,) = coordinator.model(modelId);
    }
}
