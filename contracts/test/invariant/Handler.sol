// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {InferenceCoordinator} from "../../src/InferenceCoordinator.sol";
import {IGovernance} from "../../src/interfaces/IGovernance.sol";
import {IInferenceCoordinator} from "../../src/interfaces/IInferenceCoordinator.sol";
import {SeatRef} from "../../src/interfaces/INodeRegistry.sol";
import {Ask, Fulfillment, Outcome, Request, Result} from "../../src/types/Request.sol";
import {SwitchConsumer} from "../utils/Receivers.sol";
import {Entry, Stage} from "./Book.sol";
import {SeatActions} from "./SeatActions.sol";

/// @title Everything that everybody can do, always validly: an action that reverts is a failure
/// @dev All choices of an action come from its seed. One that finds nothing to act on returns; one that needs time to
/// pass waits in some of its calls, so that short sequences reach late states.
contract Handler is SeatActions {
    address private sink = makeAddr("sink");

    constructor(InferenceCoordinator coordinator_, bytes32[2] memory models_, address governor_)
        SeatActions(coordinator_, models_, governor_)
    {}

    /// @notice All actions.
    function actions() external pure returns (bytes4[] memory list) {
        list = new bytes4[](23);
        list[0] = this.attached.selector;
        list[1] = this.prepaid.selector;
        list[2] = this.fulfillOne.selector;
        list[3] = this.fulfillMany.selector;
        list[4] = this.refundOne.selector;
        list[5] = this.claimMany.selector;
        list[6] = this.redeliverOne.selector;
        list[7] = this.endTwice.selector;
        list[8] = this.depositFor.selector;
        list[9] = this.withdrawSome.selector;
        list[10] = this.joinOne.selector;
        list[11] = this.activateOne.selector;
        list[12] = this.departOne.selector;
        list[13] = this.releaseOne.selector;
        list[14] = this.revokeAll.selector;
        list[15] = this.rekeyOne.selector;
        list[16] = this.schedule.selector;
        list[17] = this.applyScheduled.selector;
        list[18] = this.pause.selector;
        list[19] = this.refuse.selector;
        list[20] = this.wait.selector;
        list[21] = this.strayCall.selector;
        list[22] = this.cancel.selector;
    }

    /// @notice Their names in `done`, but for those that only prepare others.
    function names() external pure returns (string[26] memory) {
        return [
            "attached",
            "prepaid",
            "fulfill",
            "fulfill without output",
            "batch",
            "skipped",
            "refund",
            "claim",
            "claim of two models",
            "redeliver",
            "redeliver failed",
            "end twice",
            "deposit",
            "withdraw",
            "join",
            "join again",
            "activate",
            "depart",
            "release",
            "trim",
            "revoke by owner",
            "revoke by key",
            "rekey",
            "apply",
            "cancel",
            "refused while paused"
        ];
    }

    // Requests

    function attached(uint256 seed) external guarded(seed) {
        address consumer = consumers[pick(seed, "consumer", 0, 2)];
        Ask memory ask = _terms(seed, accounts[pick(seed, "refund", 0, accounts.length - 1)]);
        if (!_canAsk(consumer, ask)) return;
        _open(send(consumer, ask, "input"));
        ++done["attached"];
    }

    function prepaid(uint256 seed) external guarded(seed) {
        address consumer = consumers[pick(seed, "consumer", 0, 2)];
        address payer = accounts[pick(seed, "payer", 0, accounts.length - 1)];
        Ask memory ask = _terms(seed, payer);
        uint256 sum = uint256(ask.fee) + ask.submitFee;
        if (sum == 0 || balanceOf(payer) < sum || !_canAsk(consumer, ask)) return;
        if (payer != consumer) {
            vm.prank(payer);
            coordinator.allow(consumer, uint96(pick(seed, "cap", sum, type(uint96).max)));
        }
        spender = payer;
        uint256 before = balanceOf(payer);
        _open(send(consumer, ask, "input", 0));
        assertEq(balanceOf(payer), before - sum, "exactly the fees are drawn");
        ++done["prepaid"];
    }

    function fulfillOne(uint256 seed) external guarded(seed) {
        if (chance(seed, "wait")) roll(1);
        uint256 i = find(seed, entries.length, isAnswerable);
        if (i == entries.length) return;
        Fulfillment memory f = answerTo(i, Outcome(pick(seed, "outcome", 0, 2)));
        coordinator.fulfill(f);
        noteFulfilled(i, f);
        ++done[f.outcome == Outcome.Ok ? "fulfill" : "fulfill without output"];
    }

    /// @notice A batch of any requests, ended ones and repetitions among them.
    function fulfillMany(uint256 seed) external guarded(seed) {
        if (entries.length == 0) return;
        if (chance(seed, "wait")) roll(1);
        Fulfillment[] memory batch = new Fulfillment[](pick(seed, "count", 1, 5));
        uint256[] memory chosen = new uint256[](batch.length);
        for (uint256 k = 0; k < batch.length; ++k) {
            uint256 first = pick(seed, vm.toString(k), 0, 2 * entries.length - 1);
            chosen[k] = first % entries.length;
            // Half of them where there are requests to answer, so that repetitions meet an answer of the same batch.
            uint256 answerable = find(first, entries.length, isAnswerable);
            if (first < entries.length && answerable < entries.length) chosen[k] = answerable;
            batch[k] = answerTo(chosen[k], Outcome.Ok);
        }
        coordinator.fulfillBatch(batch);
        for (uint256 k = 0; k < batch.length; ++k) {
            if (isAnswerable(chosen[k])) {
                noteFulfilled(chosen[k], batch[k]);
                ++done["batch"];
            } else {
                ++done["skipped"];
            }
        }
    }

    function refundOne(uint256 seed) external guarded(seed) {
        uint256 i = find(seed, entries.length, isOpen);
        if (i == entries.length) return;
        if (pick(seed, "wait", 0, 3) == 0 && !isRefundable(i)) vm.roll(deadline(i) + 1);
        i = find(seed, entries.length, isRefundable);
        if (i == entries.length) return;
        address to = fields(i).refundTo;
        uint256 before = balanceOf(to);
        coordinator.refund(entries[i].request);
        assertEq(balanceOf(to), before + entries[i].escrow, "the whole escrow is refunded");
        entries[i].stage = Stage.Refunded;
        ++done["refund"];
    }

    function claimMany(uint256 seed) external guarded(seed) {
        uint256 first = find(seed, entries.length, isUnpaid);
        if (first == entries.length) return;
        if (chance(seed, "wait") && !isVested(first)) vm.roll(vestingBlock(first) + 1);
        uint256 count = pick(seed, "count", 1, 4);
        Result[] memory results = new Result[](count);
        uint256 found;
        uint256[3] memory due;
        for (uint256 o = 0; o < 3; ++o) {
            due[o] = balanceOf(owners[o]);
        }
        bytes32 firstModel;
        bool mixed;
        for (; found < count; ++found) {
            uint256 i = find(seed, entries.length, isVested);
            if (i == entries.length) break;
            results[found] = entries[i].result;
            entries[i].paid = true;
            for (uint256 o = 0; o < 3; ++o) {
                if (entries[i].payee == owners[o]) due[o] += entries[i].escrow;
            }
            if (found == 0) firstModel = entries[i].request.modelId;
            mixed = mixed || entries[i].request.modelId != firstModel;
        }
        if (found == 0) return;
        assembly ("memory-safe") {
            mstore(results, found)
        }
        coordinator.claim(results);
        for (uint256 o = 0; o < 3; ++o) {
            assertEq(balanceOf(owners[o]), due[o], "each owner is paid the whole escrow of its answers");
        }
        ++done[mixed ? "claim of two models" : "claim"];
    }

    function redeliverOne(uint256 seed) external guarded(seed) {
        bool refusing = chance(seed, "refusing");
        uint256 i = find(seed, entries.length, isUndelivered);
        if (i == entries.length) return;
        Entry storage e = entries[i];
        address consumer = fields(i).consumer;
        SwitchConsumer(consumer).setRefusing(refusing);
        vm.prank(consumer);
        bool delivered = coordinator.redeliver(e.result, e.result.outcome == Outcome.Ok ? OUTPUT : bytes(""), 100_000);
        assertEq(delivered, !refusing);
        e.delivered = delivered;
        ++done[delivered ? "redeliver" : "redeliver failed"];
    }

    /// @notice What ended once does not end again.
    function endTwice(uint256 seed) external guarded(seed) {
        uint256 i = find(seed, entries.length, isEnded);
        if (i == entries.length) return;
        Request memory r = entries[i].request;
        bytes memory notOpen =
            abi.encodeWithSelector(IInferenceCoordinator.NotOpen.selector, coordinator.requestIdOf(r));
        _refused(abi.encodeCall(coordinator.refund, (r)), notOpen);
        _refused(abi.encodeCall(coordinator.fulfill, (answerTo(i, Outcome.Ok))), notOpen);
        if (entries[i].paid) {
            Result[] memory results = new Result[](1);
            results[0] = entries[i].result;
            uint256 before = _sumOf(owners);
            coordinator.claim(results);
            assertEq(_sumOf(owners), before, "an answer is paid once");
        }
        ++done["end twice"];
    }

    // Money

    function depositFor(uint256 seed) external guarded(seed) {
        address account = accounts[pick(seed, "account", 0, accounts.length - 1)];
        uint256 amount = pick(seed, "amount", 0, 10 ether);
        vm.deal(address(this), amount);
        coordinator.deposit{value: amount}(account);
        ++done["deposit"];
    }

    function withdrawSome(uint256 seed) external guarded(seed) {
        uint256 i = find(seed, accounts.length, hasBalance);
        if (i == accounts.length) return;
        spender = accounts[i];
        uint256 amount = pick(seed, "amount", 1, balanceOf(spender));
        uint256 before = sink.balance;
        vm.prank(spender);
        coordinator.withdraw(payable(sink), amount);
        assertEq(sink.balance, before + amount);
        ++done["withdraw"];
    }

    /// @notice A stranger who calls what is somebody else's is refused.
    function strayCall(uint256 seed) external guarded(seed) {
        address stranger = makeAddr("stranger");
        uint32 index = uint32(pick(seed, "seat", 0, seatCount()));
        bytes[5] memory calls = [
            abi.encodeCall(coordinator.leaveSeat, (modelId, index)),
            abi.encodeCall(coordinator.rekeySeat, (modelId, index)),
            abi.encodeCall(coordinator.revokeSigner, (owners[seed % 3], new SeatRef[](0))),
            abi.encodeCall(coordinator.setPaused, (true)),
            abi.encodeCall(coordinator.withdraw, (payable(stranger), 1))
        ];
        vm.prank(stranger);
        (bool succeeded,) = address(coordinator).call(calls[seed % 5]);
        assertFalse(succeeded, "a stranger's call");
    }

    // Surroundings

    function refuse(uint256 seed) external guarded(seed) {
        SwitchConsumer(consumers[pick(seed, "consumer", 0, 1)]).setRefusing(chance(seed, "on"));
    }

    function wait(uint256 seed) external guarded(seed) {
        roll(pick(seed, "blocks", 1, chance(seed, "long") ? 40 : 3));
    }

    // Helpers

    function isAny(uint256) internal pure returns (bool) {
        return true;
    }

    function hasBalance(uint256 i) internal view returns (bool) {
        return balanceOf(accounts[i]) != 0;
    }

    /// @dev Something random that the coordinator accepts.
    function _terms(uint256 seed, address refundTo) private view returns (Ask memory ask) {
        ask = newAsk(refundTo);
        ask.fee = uint96(pick(seed, "fee", 0, 0.1 ether));
        ask.submitFee = uint96(pick(seed, "submitFee", 0, 0.01 ether));
        ask.deadlineBlocks = uint16(pick(seed, "deadline", 2, chance(seed, "long") ? 8000 : 60));
        ask.callbackGasLimit = chance(seed, "callback") ? 60_000 : 0;
    }

    /// @dev Whether a request can be made now. A pause refuses it.
    function _canAsk(address consumer, Ask memory ask) private returns (bool) {
        if (coordinator.paused()) {
            vm.prank(consumer);
            _refused(
                abi.encodeCall(coordinator.request, (ask, "input")), abi.encodeWithSelector(IGovernance.Paused.selector)
            );
            ++done["refused while paused"];
            return false;
        }
        return liveSeats() != 0;
    }

    function _open(Request memory r) private {
        provideHistory(vm.getBlockNumber());
        Entry storage e = entries.push();
        e.request = r;
        e.escrow = uint256(uint96(uint256(r.escrow))) + uint96(uint256(r.payment));
    }

    function _refused(bytes memory call, bytes memory reason) private {
        (bool succeeded, bytes memory data) = address(coordinator).call(call);
        assertFalse(succeeded);
        assertEq(data, reason);
    }

    function _sumOf(address[3] memory list) private view returns (uint256 sum) {
        for (uint256 i = 0; i < list.length; ++i) {
            sum += balanceOf(list[i]);
        }
    }
}
