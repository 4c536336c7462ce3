// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IInferenceConsumer} from "../src/interfaces/IInferenceConsumer.sol";
import {Ask, Fulfillment, Outcome, Request, Result} from "../src/types/Request.sol";
import {Build} from "./utils/Build.sol";
import {Fixture, Node} from "./utils/Fixture.sol";

/// @notice Gas of each call in steady state, kept in `snapshots/` so that a change shows in review.
/// @dev These are the calls alone, as one transaction each; `./scripts/bench gas` measures receipts.
contract GasSnapshotsTest is Fixture, IInferenceConsumer {
    bytes private constant INPUT = hex"01030002000000010000000400000033000000230000000e00000002";
    bytes private constant OUTPUT = hex"01030602000000010000000300000001000000020000eb82";

    uint256 private word;

    function onInference(bytes32, Outcome, bytes calldata output) external {
        word = uint256(keccak256(output)) ^ block.number;
    }

    function bytecode() internal pure override returns (string memory) {
        return Build.shipped("InferenceCoordinator");
    }

    function setUp() public override {
        super.setUp();
        liveNode("node");
        coordinator.deposit{value: 10 ether}(address(this));
        // The first answer and claim of an account write fresh words; what is measured comes after them.
        roll(1);
        Request memory r = _ask();
        roll(1);
        Result memory result = fulfill(r, OUTPUT);
        roll(33);
        claim(result);
    }

    /// forge-config: default.isolate = true
    function test_RequestWithEthAttached() external {
        Ask memory ask = _terms();
        coordinator.request{value: uint256(ask.fee) + ask.submitFee}(ask, INPUT);
        vm.snapshotGasLastCall("coordinator", "request, ETH attached");
    }

    /// forge-config: default.isolate = true
    function test_RequestFromABalance() external {
        coordinator.request(_terms(), INPUT);
        vm.snapshotGasLastCall("coordinator", "request, from a balance");
    }

    /// forge-config: default.isolate = true
    function test_Answer() external {
        Request memory r = _ask();
        roll(1);
        coordinator.fulfill(answer(r, OUTPUT));
        vm.snapshotGasLastCall("coordinator", "fulfill");
    }

    /// @dev Seats that left are holes: every answer lists those of a lower rank than its seat's.
    /// forge-config: default.isolate = true
    function test_AnswerPastHoles() external {
        Node memory gone = newNode("gone");
        register(gone);
        for (uint256 i = 0; i < 20; ++i) {
            depart(gone, join(gone));
        }
        Fulfillment memory f;
        do {
            roll(1);
            Request memory r = _ask();
            roll(1);
            f = answer(r, OUTPUT);
        } while (f.holes.length != 10);
        coordinator.fulfill(f);
        vm.snapshotGasLastCall("coordinator", "fulfill past 10 holes");
    }

    /// forge-config: default.isolate = true
    function test_BatchOf8AndItsClaim() external {
        Fulfillment[] memory fs = new Fulfillment[](8);
        Request[] memory rs = new Request[](8);
        for (uint256 i = 0; i < 8; ++i) {
            rs[i] = _ask();
        }
        roll(1);
        Result[] memory results = new Result[](8);
        for (uint256 i = 0; i < 8; ++i) {
            fs[i] = answer(rs[i], OUTPUT);
            results[i] = resultOf(fs[i]);
        }
        coordinator.fulfillBatch(fs);
        vm.snapshotGasLastCall("coordinator", "fulfillBatch of 8");
        roll(33);
        coordinator.claim(results);
        vm.snapshotGasLastCall("coordinator", "claim of 8");
    }

    /// forge-config: default.isolate = true
    function test_Refund() external {
        Request memory r = _ask();
        roll(101);
        coordinator.refund(r);
        vm.snapshotGasLastCall("coordinator", "refund");
    }

    /// forge-config: default.isolate = true
    function test_SeatFromJoinToRelease() external {
        Node memory node = newNode("second");
        register(node);
        uint32 index = join(node);
        vm.snapshotGasLastCall("coordinator", "joinSeat");
        roll(8);
        coordinator.activateSeat(modelId, index);
        vm.snapshotGasLastCall("coordinator", "activateSeat");
        depart(node, index);
        vm.snapshotGasLastCall("coordinator", "leaveSeat");
        roll(8033);
        coordinator.releaseSeat(modelId, index);
        vm.snapshotGasLastCall("coordinator", "releaseSeat");
    }

    function _terms() private view returns (Ask memory ask) {
        ask = newAsk(address(this));
        ask.callbackGasLimit = 100_000;
    }

    function _ask() private returns (Request memory) {
        return send(address(this), _terms(), INPUT);
    }
}
