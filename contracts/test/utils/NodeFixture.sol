// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IInferenceCoordinator} from "../../src/interfaces/IInferenceCoordinator.sol";
import {INodeRegistry, SeatRef} from "../../src/interfaces/INodeRegistry.sol";
import {Fulfillment, Outcome, Request} from "../../src/types/Request.sol";
import {Fixture, Node} from "./Fixture.sol";

/// @notice What the tests of nodes and seats need.
abstract contract NodeFixture is Fixture {
    uint48 internal constant NOT_LEAVING = type(uint48).max;

    address internal user = makeAddr("user");

    function newSigner(Node memory node, string memory name) internal returns (Node memory renewed) {
        renewed = Node(node.owner, newKey(name));
        register(renewed);
    }

    function rekey(Node memory node, uint32 index) internal {
        vm.prank(node.owner);
        coordinator.rekeySeat(modelId, index);
    }

    function revoke(address caller, Node memory node, SeatRef[] memory seats) internal {
        vm.prank(caller);
        coordinator.revokeSigner(node.owner, seats);
    }

    function expectSeatNotReady(uint32 index) internal {
        vm.expectRevert(abi.encodeWithSelector(INodeRegistry.SeatNotReady.selector, modelId, index));
    }

    /// @dev What a seat's answer to a request is refused for, or nothing.
    function refusalOf(Request memory r, uint32 index, address signer) internal returns (bytes memory) {
        Fulfillment memory f = answerSigned(r, Outcome.Ok, "output", index, new uint32[](0), signer);
        uint256 state = vm.snapshotState();
        try coordinator.fulfill(f) {
            vm.revertToState(state);
            return "";
        } catch (bytes memory refusal) {
            return refusal;
        }
    }

    function assertNotEligible(Request memory r, uint32 index, address signer) internal {
        assertEq(
            refusalOf(r, index, signer), abi.encodeWithSelector(IInferenceCoordinator.SeatNotEligible.selector, index)
        );
    }
}
