// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Test} from "forge-std/Test.sol";
import {InferenceConsumer} from "../../src/InferenceConsumer.sol";
import {LendingDesk} from "../../src/examples/LendingDesk.sol";
import {IInferenceCoordinator} from "../../src/interfaces/IInferenceCoordinator.sol";
import {Tensor} from "../../src/libraries/Tensor.sol";
import {MockInferenceCoordinator} from "../../src/mocks/MockInferenceCoordinator.sol";
import {DType} from "../../src/types/DType.sol";
import {Outcome, Result} from "../../src/types/Request.sol";

/// @notice A borrower that takes its loan again while it is being paid out.
contract GreedyBorrower {
    LendingDesk private immutable desk;
    bytes32 private _id;
    bytes public refusal;

    constructor(LendingDesk desk_) {
        desk = desk_;
    }

    function applyForLoan() external returns (bytes32) {
        uint32[5] memory figures;
        uint8[13] memory categories;
        return desk.applyForLoan(12, 1_000, figures, categories);
    }

    function accept(bytes32 id) external {
        _id = id;
        desk.accept(id);
    }

    receive() external payable {
        try desk.accept(_id) {}
        catch (bytes memory reason) {
            refusal = reason;
        }
    }
}

/// @notice A borrower that cannot be paid.
contract PennilessBorrower {
    function act(address target, bytes calldata data) external returns (bytes memory) {
        (bool ok, bytes memory result) = target.call(data);
        if (ok) return result;
        assembly ("memory-safe") {
            revert(add(result, 0x20), mload(result))
        }
    }
}

contract LendingDeskTest is Test {
    MockInferenceCoordinator private mock = new MockInferenceCoordinator();
    LendingDesk private desk;
    address private member = makeAddr("member");
    uint96 private constant UNIT = 1e12;

    function setUp() external {
        desk = new LendingDesk{value: 1 ether}(IInferenceCoordinator(address(mock)), keccak256("credit"), UNIT);
        desk.setMember(member, true);
        vm.deal(member, 1 ether);
    }

    receive() external payable {}

    function _apply(uint32 amount) private returns (bytes32) {
        vm.prank(member);
        return
            desk.applyForLoan{value: 1 gwei}(
                24, amount, [uint32(2), 2, 38, 2, 1], [2, 0, 3, 1, 2, 3, 0, 2, 1, 0, 1, 0, 1]
            );
    }

    function _risk(int256 millionths) private pure returns (bytes memory) {
        int256[] memory one = new int256[](1);
        one[0] = millionths;
        return Tensor.ints(DType.I32, 6, Tensor.dims(1, 1), one);
    }

    function _status(bytes32 id) private view returns (LendingDesk.Status status) {
        (,,,,,, status,) = desk.loans(id);
    }

    /// @dev Until the member may apply again.
    function _pause() private {
        vm.warp(desk.mayApplyFrom(member));
    }

    function _quoted() private returns (bytes32 id) {
        id = _apply(3_500);
        mock.answer(id, _risk(200_000));
    }

    function test_TheModelIsAskedWithBothInputs() external {
        bytes32 id = _apply(3_500);
        assertEq(
            mock.inputOf(id),
            bytes.concat(
                hex"0208000200000001000000070000001800000dac0000000200000002000000260000000200000001",
                hex"0600020000000100",
                hex"00000d02000301020300020100010001"
            )
        );
        (address borrower, uint96 principal,,,, uint16 months, LendingDesk.Status status,) = desk.loans(id);
        assertEq(borrower, member);
        assertEq(principal, 3_500 * UNIT);
        assertEq(months, 24);
        assertEq(uint256(status), uint256(LendingDesk.Status.Asked));
    }

    function test_AGoodRiskIsQuotedLentAndRepaid() external {
        bytes32 id = _quoted();
        (, uint96 principal, uint96 interest,,,,,) = desk.loans(id);
        // (1.03 − 0.2 · 0.4) / 0.8 − 1 = 18.75%
        assertEq(interest, principal * 1875 / 10_000);
        assertEq(uint256(_status(id)), uint256(LendingDesk.Status.Quoted));

        uint256 before = member.balance;
        vm.prank(member);
        desk.accept(id);
        assertEq(member.balance - before, principal);
        assertEq(desk.openLoan(member), id);

        vm.startPrank(member);
        vm.expectRevert(
            abi.encodeWithSelector(LendingDesk.WrongAmount.selector, principal, uint256(principal) + interest)
        );
        desk.repay{value: principal}(id);
        desk.repay{value: principal + interest}(id);
        assertEq(desk.openLoan(member), 0);
        assertEq(address(desk).balance, 1 ether + interest);
        vm.expectRevert(abi.encodeWithSelector(LendingDesk.WrongStatus.selector, id, LendingDesk.Status.Repaid));
        desk.repay{value: principal + interest}(id);
    }

    function testFuzz_TheInterestPaysForTheLosses(uint96 principal, uint256 risk) external view {
        risk = bound(risk, 0, desk.MAX_RISK());
        principal = uint96(bound(principal, 1e6, 1e27));
        uint256 owed = principal + desk.interestFor(principal, risk);
        uint256 expected = (owed * (1e18 - risk) + principal * risk / 1e18 * desk.RECOVERY()) / 1e18;
        assertApproxEqAbs(expected, uint256(principal) * 1.03e18 / 1e18, 2);
    }

    function test_ABadRiskIsDeclined() external {
        bytes32 id = _apply(3_500);
        mock.answer(id, _risk(400_001));
        assertEq(uint256(_status(id)), uint256(LendingDesk.Status.Declined));
        _pause();
        id = _apply(3_500);
        mock.answer(id, _risk(400_000));
        assertEq(uint256(_status(id)), uint256(LendingDesk.Status.Quoted));
    }

    function test_WhatIsNoProbabilityIsDeclined() external {
        int256[3] memory odd = [int256(-1), 1_000_000, 2_000_000_000];
        for (uint256 i; i < odd.length; ++i) {
            bytes32 id = _apply(3_500);
            vm.expectEmit(address(desk));
            emit LendingDesk.Declined(id, Outcome.Ok, 1e18);
            mock.answer(id, _risk(odd[i]));
            assertEq(uint256(_status(id)), uint256(LendingDesk.Status.Declined));
            _pause();
        }
    }

    function test_AFailureIsNoLoan() external {
        for (uint256 o = 1; o <= 2; ++o) {
            bytes32 id = _apply(3_500);
            vm.expectEmit(address(desk));
            emit LendingDesk.Declined(id, Outcome(o), 1e18);
            mock.fail(id, Outcome(o));
            vm.prank(member);
            vm.expectRevert(abi.encodeWithSelector(LendingDesk.WrongStatus.selector, id, LendingDesk.Status.Declined));
            desk.accept(id);
        }
    }

    function test_AQuoteIsItsBorrowersForADay() external {
        bytes32 id = _quoted();
        vm.expectRevert(abi.encodeWithSelector(LendingDesk.NotBorrower.selector, address(this)));
        desk.accept(id);
        uint256 expiry = block.timestamp + 1 days;
        vm.warp(expiry + 1);
        vm.prank(member);
        vm.expectRevert(abi.encodeWithSelector(LendingDesk.QuoteExpired.selector, expiry));
        desk.accept(id);
        vm.warp(expiry);
        vm.prank(member);
        desk.accept(id);
    }

    function test_OneLoanAtATime() external {
        bytes32 first = _quoted();
        vm.prank(member);
        desk.accept(first);
        desk.setMember(member, true);
        bytes32 second = _quoted();
        vm.prank(member);
        vm.expectRevert(abi.encodeWithSelector(LendingDesk.HasOpenLoan.selector, first));
        desk.accept(second);
    }

    function test_ARemovedMemberDrawsNoLoan() external {
        bytes32 id = _quoted();
        desk.setMember(member, false);
        vm.prank(member);
        vm.expectRevert(abi.encodeWithSelector(LendingDesk.NotMember.selector, member));
        desk.accept(id);
    }

    function test_AQuoteEndsWithTheMembershipItWasAskedFor() external {
        bytes32 removed = _quoted();
        desk.setMember(member, false);
        desk.setMember(member, true);
        bytes32 late = _apply(3_500);
        desk.setMember(member, true);
        mock.answer(late, _risk(200_000));
        bytes memory notMember = abi.encodeWithSelector(LendingDesk.NotMember.selector, member);
        vm.startPrank(member);
        vm.expectRevert(notMember);
        desk.accept(removed);
        vm.expectRevert(notMember);
        desk.accept(late);
        vm.stopPrank();
        bytes32 id = _quoted();
        vm.prank(member);
        desk.accept(id);
    }

    function test_ALoanIsDueWhenItsMonthsAreOver() external {
        bytes32 id = _quoted();
        vm.expectRevert(abi.encodeWithSelector(LendingDesk.WrongStatus.selector, id, LendingDesk.Status.Quoted));
        desk.declareDefault(id);
        uint256 due = block.timestamp + 24 * 30 days;
        vm.prank(member);
        desk.accept(id);
        (, uint96 principal, uint96 interest,, uint40 noted,,,) = desk.loans(id);
        assertEq(noted, due);
        vm.warp(due);
        vm.expectRevert(abi.encodeWithSelector(LendingDesk.NotOverdue.selector, due));
        desk.declareDefault(id);

        vm.warp(due + 1);
        vm.expectEmit(address(desk));
        emit LendingDesk.Defaulted(id);
        desk.declareDefault(id);
        assertEq(uint256(_status(id)), uint256(LendingDesk.Status.Defaulted));
        assertEq(desk.membershipOf(member), 0);
        assertEq(desk.openLoan(member), id);
        vm.expectRevert(abi.encodeWithSelector(LendingDesk.WrongStatus.selector, id, LendingDesk.Status.Defaulted));
        desk.declareDefault(id);
        desk.repay{value: principal + interest}(id);
        assertEq(uint256(_status(id)), uint256(LendingDesk.Status.Repaid));
        assertEq(desk.openLoan(member), 0);
    }

    function test_ALoanLastsFromOneMonthToSeventyTwo() external {
        uint16[2] memory wrong = [uint16(0), 73];
        uint32[5] memory figures;
        uint8[13] memory categories;
        vm.startPrank(member);
        for (uint256 i; i < 2; ++i) {
            vm.expectRevert(abi.encodeWithSelector(LendingDesk.WrongDuration.selector, wrong[i], 72));
            desk.applyForLoan(wrong[i], 1_000, figures, categories);
        }
        desk.applyForLoan(72, 1_000, figures, categories);
    }

    /// @notice Nobody asks again and again until the risk comes out low.
    function test_AMemberAppliesOnceInThirtyDays() external {
        bytes32 id = _apply(3_500);
        uint256 next = block.timestamp + 30 days;
        bytes memory tooSoon = abi.encodeWithSelector(LendingDesk.TooSoon.selector, next);
        vm.expectRevert(tooSoon);
        _apply(3_500);
        mock.answer(id, _risk(300_000));
        vm.warp(next - 1);
        vm.expectRevert(tooSoon);
        _apply(3_500);
        vm.warp(next);
        mock.answer(_apply(3_500), _risk(200_000));
        vm.prank(member);
        vm.expectRevert(abi.encodeWithSelector(LendingDesk.QuoteExpired.selector, next - 29 days));
        desk.accept(id);
    }

    function test_AnApplicationWithoutAnAnswerMayBeCorrected() external {
        mock.fail(_apply(3_500), Outcome.BadInput);
        mock.expire(_apply(3_500));
        vm.expectRevert(abi.encodeWithSelector(LendingDesk.TooSoon.selector, desk.mayApplyFrom(member)));
        _apply(3_500);
        // Of a request that nobody answers the desk is not told.
        desk.setMember(member, true);
        _apply(3_500);
    }

    function test_TheOwnerRedeliversAnAnswerThatFailedToArrive() external {
        bytes32 id = _apply(3_500);
        bytes memory output = _risk(200_000);
        vm.mockCallRevert(address(desk), abi.encodeWithSelector(desk.onInference.selector), "");
        (bool delivered,) = mock.tryAnswer(id, Outcome.Ok, output);
        assertFalse(delivered);
        vm.clearMockedCalls();
        vm.roll(block.number + 601);
        Result memory result = mock.resultOf(id);
        vm.prank(member);
        vm.expectRevert(abi.encodeWithSelector(LendingDesk.NotOwner.selector, member));
        desk.redeliver(result, output, 150_000);
        assertTrue(desk.redeliver(result, output, 150_000));
        assertEq(uint256(_status(id)), uint256(LendingDesk.Status.Quoted));
    }

    function test_TheDeskLendsWhatItHas() external {
        bytes32 id = _quoted();
        desk.withdraw(1 ether);
        vm.prank(member);
        vm.expectRevert(abi.encodeWithSelector(LendingDesk.NotEnoughFunds.selector, 0, 3_500 * uint256(UNIT)));
        desk.accept(id);
        payable(address(desk)).transfer(1 ether);
        vm.prank(member);
        desk.accept(id);
    }

    function test_ABorrowerThatReentersGetsOneLoan() external {
        GreedyBorrower greedy = new GreedyBorrower(desk);
        desk.setMember(address(greedy), true);
        bytes32 id = greedy.applyForLoan();
        mock.answer(id, _risk(100_000));
        greedy.accept(id);
        assertEq(address(greedy).balance, 1_000 * UNIT);
        assertEq(
            greedy.refusal(), abi.encodeWithSelector(LendingDesk.WrongStatus.selector, id, LendingDesk.Status.Lent)
        );
    }

    function test_ABorrowerThatCannotBePaidKeepsItsQuote() external {
        PennilessBorrower poor = new PennilessBorrower();
        desk.setMember(address(poor), true);
        uint32[5] memory figures;
        uint8[13] memory categories;
        poor.act(address(desk), abi.encodeCall(desk.applyForLoan, (12, 1_000, figures, categories)));
        bytes32 id = mock.lastRequestId();
        mock.answer(id, _risk(100_000));
        vm.expectRevert(LendingDesk.TransferFailed.selector);
        poor.act(address(desk), abi.encodeCall(desk.accept, (id)));
        assertEq(uint256(_status(id)), uint256(LendingDesk.Status.Quoted));
    }

    function test_OnlyMembersApplyAndOnlyTheOwnerRuns() external {
        uint32[5] memory figures;
        uint8[13] memory categories;
        vm.expectRevert(abi.encodeWithSelector(LendingDesk.NotMember.selector, address(this)));
        desk.applyForLoan(12, 1_000, figures, categories);
        vm.startPrank(member);
        vm.expectRevert(abi.encodeWithSelector(LendingDesk.NotOwner.selector, member));
        desk.setMember(member, true);
        vm.expectRevert(abi.encodeWithSelector(LendingDesk.NotOwner.selector, member));
        desk.withdraw(1);
    }

    function test_TheFeeIsExactAndComesBackIfNobodyAnswers() external {
        bytes32 id = _apply(3_500);
        mock.expire(id);
        assertEq(mock.balanceOf(address(0), member), 1 gwei);
        assertEq(uint256(_status(id)), uint256(LendingDesk.Status.Asked));
    }

    function test_AnAnswerComesFromTheCoordinatorAndOnce() external {
        bytes32 id = _quoted();
        vm.expectRevert(abi.encodeWithSelector(InferenceConsumer.NotCoordinator.selector, address(this)));
        desk.onInference(id, Outcome.Ok, _risk(0));
        vm.prank(address(mock));
        vm.expectRevert(abi.encodeWithSelector(LendingDesk.WrongStatus.selector, id, LendingDesk.Status.Quoted));
        desk.onInference(id, Outcome.Ok, _risk(0));
    }
}
