// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {INodeRegistry, SeatRef} from "../../src/interfaces/INodeRegistry.sol";
import {Request} from "../../src/types/Request.sol";
import {Node} from "../utils/Fixture.sol";
import {NodeFixture} from "../utils/NodeFixture.sol";

/// @notice How a node proves its signing key, changes it and revokes it.
contract SigningKeysTest is NodeFixture {
    function test_ANodeRegistersAKeyThatProvesItself() external {
        Node memory node = newNode("node");
        vm.expectEmit(address(coordinator));
        emit INodeRegistry.NodeRegistered(node.owner, node.signer, "http://node");
        register(node);
        assertEq(coordinator.signerOf(node.owner), node.signer);
    }

    function test_AProofForAnotherOwnerProvesNothing() external {
        Node memory node = newNode("node");
        bytes memory proof = proofOf(node.signer, node.owner);
        _expectNotProven(user, node.signer, proof);
        register(node);
        _expectNotProven(user, node.signer, proof);
    }

    function test_AProofForAnotherCoordinatorOrChainProvesNothing() external {
        Node memory node = newNode("node");
        bytes memory proof = proofOf(node.signer, node.owner);
        vm.chainId(4242);
        _expectNotProven(node.owner, node.signer, proof);
        proof = proofOf(node.signer, node.owner);
        super.setUp();
        _expectNotProven(node.owner, node.signer, proof);
    }

    function test_AProofByAnotherKeyProvesNothing() external {
        Node memory node = newNode("node");
        bytes memory proof = proofOf(newKey("other"), node.owner);
        _expectNotProven(node.owner, node.signer, proof);
    }

    function test_MalformedProofsProveNothing() external {
        Node memory node = newNode("node");
        bytes memory proof = proofOf(node.signer, node.owner);
        (bytes32 r, bytes32 s, uint8 v) = _split(proof);
        bytes32 order = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141;
        bytes32 twin = bytes32(uint256(order) - uint256(s));
        _expectNotProven(node.owner, node.signer, abi.encodePacked(r, twin, v == 27 ? uint8(28) : uint8(27)));
        _expectNotProven(node.owner, node.signer, abi.encodePacked(r, s, v - 27));
        _expectNotProven(node.owner, node.signer, abi.encodePacked(r, s));
        _expectNotProven(node.owner, node.signer, abi.encodePacked(proof, uint8(0)));
        _expectNotProven(node.owner, node.signer, "");
        // What cannot be recovered is nobody's, and nobody's key is not zero's.
        _expectNotProven(node.owner, address(0), abi.encodePacked(bytes32(0), bytes32(0), uint8(27)));
    }

    function test_AKeyBelongsToOneNode() external {
        Node memory node = newNode("node");
        register(node);
        Node memory other = newNode("other");
        _expectTaken(other.owner, node.signer, node.owner);
        newSigner(node, "next");
        _expectTaken(other.owner, node.signer, node.owner);
    }

    function test_ANodeMayReturnToAKeyItDidNotRevoke() external {
        Node memory node = newNode("node");
        register(node);
        newSigner(node, "next");
        register(node);
        assertEq(coordinator.signerOf(node.owner), node.signer);
    }

    function test_ANewKeyLeavesSeatsAsTheyAre() external {
        (Node memory node, uint32 index) = liveNode("node");
        newSigner(node, "next");
        (address signer,,) = coordinator.seat(modelId, index);
        assertEq(signer, node.signer);
        assertEq(liveSeats(), 1);
    }

    function test_TheOwnerRevokesItsKeyAndTakesItOffSeats() external {
        (Node memory node, uint32 index) = liveNode("node");
        _revokesAtOnce(node.owner, node, index);
    }

    function test_TheKeyItselfRevokesItAndTakesItOffSeats() external {
        (Node memory node, uint32 index) = liveNode("node");
        _revokesAtOnce(node.signer, node, index);
    }

    function test_ARevokedKeyAnswersNothingRequestsInFlightIncluded() external {
        (Node memory node, uint32 index) = liveNode("node");
        Request memory r = sendUsual(user);
        roll(1);
        assertEq(refusalOf(r, index, node.signer), "");
        revoke(node.owner, node, refs(index));
        assertNotEligible(r, index, node.signer);
    }

    function test_ARevokedKeyIsNoOnesAgain() external {
        (Node memory node,) = liveNode("node");
        revoke(node.owner, node, new SeatRef[](0));
        _expectTaken(node.owner, node.signer, node.owner);
        _expectTaken(newNode("other").owner, node.signer, node.owner);
    }

    function test_ARevokedKeyJoinsNothing() external {
        (Node memory node,) = liveNode("node");
        revoke(node.owner, node, new SeatRef[](0));
        uint256 bond = bondOf(parameters());
        vm.expectRevert(abi.encodeWithSelector(INodeRegistry.NoSigner.selector, node.owner));
        vm.prank(node.owner);
        coordinator.joinSeat{value: bond}(modelId, ANY_INDEX);
    }

    function test_FurtherSeatsCanBeRevokedLater() external {
        (Node memory node, uint32 first) = liveNode("node");
        uint32 second = liveSeat(node);
        revoke(node.signer, node, refs(first));
        vm.recordLogs();
        revoke(node.signer, node, refs(second));
        assertEq(vm.getRecordedLogs().length, 1, "the key was revoked before");
        assertEq(liveSeats(), 0);
        (address signer,,) = coordinator.seat(modelId, second);
        assertEq(signer, address(0));
    }

    function test_AnOldKeyRevokesItselfAndLeavesTheNewOne() external {
        (Node memory node, uint32 index) = liveNode("node");
        Node memory renewed = newSigner(node, "next");
        uint32 second = liveSeat(renewed);
        revoke(node.signer, node, refs(index));
        assertEq(coordinator.signerOf(node.owner), renewed.signer);
        expectSeatNotReady(second);
        revoke(node.signer, node, refs(second));
        assertEq(liveSeats(), 1);
    }

    function test_NobodyElseRevokesAKey() external {
        (Node memory node, uint32 index) = liveNode("node");
        (Node memory other,) = liveNode("other");
        SeatRef[] memory seats = refs(index);
        address[3] memory callers = [user, other.owner, other.signer];
        for (uint256 i; i < callers.length; ++i) {
            vm.expectRevert(abi.encodeWithSelector(INodeRegistry.SignerNotProven.selector, callers[i], node.owner));
            revoke(callers[i], node, seats);
        }
    }

    function test_AStrangerRevokesNothingOfNobodys() external {
        vm.expectRevert(abi.encodeWithSelector(INodeRegistry.SignerNotProven.selector, user, address(0)));
        vm.prank(user);
        coordinator.revokeSigner(address(0), new SeatRef[](0));
    }

    function test_AKeyTakesNoOtherNodesSeats() external {
        (Node memory node,) = liveNode("node");
        (Node memory other, uint32 index) = liveNode("other");
        SeatRef[] memory seats = refs(index);
        vm.expectRevert(abi.encodeWithSelector(INodeRegistry.NotSeatOwner.selector, modelId, index, other.owner));
        revoke(node.signer, node, seats);
    }

    function _revokesAtOnce(address caller, Node memory node, uint32 index) private {
        vm.expectEmit(address(coordinator));
        emit INodeRegistry.SignerRevoked(node.owner, node.signer);
        vm.expectEmit(address(coordinator));
        emit INodeRegistry.SeatRevoked(modelId, index);
        revoke(caller, node, refs(index));
        assertEq(coordinator.signerOf(node.owner), address(0));
        assertEq(liveSeats(), 0);
        (address signer,,) = coordinator.seat(modelId, index);
        assertEq(signer, address(0));
        // Bond and liability stay.
        (address owner,, bool live, uint256 bond) = coordinator.seatHolder(modelId, index);
        assertEq(owner, node.owner);
        assertFalse(live);
        assertEq(bond, bondOf(parameters()));
        expectSeatNotReady(index);
        coordinator.activateSeat(modelId, index);
    }

    function _expectNotProven(address owner, address signer, bytes memory proof) private {
        vm.expectRevert(abi.encodeWithSelector(INodeRegistry.SignerNotProven.selector, signer, owner));
        vm.prank(owner);
        coordinator.registerNode(signer, proof, "");
    }

    function _expectTaken(address owner, address signer, address holder) private {
        bytes memory proof = proofOf(signer, owner);
        vm.expectRevert(abi.encodeWithSelector(INodeRegistry.SignerTaken.selector, signer, holder));
        vm.prank(owner);
        coordinator.registerNode(signer, proof, "");
    }

    function _split(bytes memory proof) private pure returns (bytes32 r, bytes32 s, uint8 v) {
        assembly ("memory-safe") {
            r := mload(add(proof, 32))
            s := mload(add(proof, 64))
            v := byte(0, mload(add(proof, 96)))
        }
    }
}
