// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IInferenceCoordinator} from "../src/interfaces/IInferenceCoordinator.sol";
import {IModelRegistry} from "../src/interfaces/IModelRegistry.sol";
import {INodeRegistry, SeatRef} from "../src/interfaces/INodeRegistry.sol";
import {Parameters} from "../src/types/Parameters.sol";
import {Ask, Fulfilment, Outcome, Request, Result} from "../src/types/Request.sol";
import {Fixture, Node} from "./utils/Fixture.sol";

/// @notice What both test contracts of nodes and seats need.
abstract contract NodeFixture is Fixture {
    uint48 internal constant NOT_LEAVING = type(uint48).max;

    address internal user = makeAddr("user");

    function refs(uint32 index) internal view returns (SeatRef[] memory seats) {
        seats = new SeatRef[](1);
        seats[0] = SeatRef(modelId, index);
    }

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
        Fulfilment memory f = answerSigned(r, Outcome.Ok, "output", index, new uint32[](0), signer);
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
        coordinator.joinSeat{value: bond}(modelId, NEW_INDEX);
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

contract JoiningTest is NodeFixture {
    function test_ASeatIsTakenWithTheExactBond() external {
        Node memory node = newNode("node");
        register(node);
        uint256 bond = bondOf(parameters());
        for (uint256 sent = bond - 1; sent <= bond + 1; sent += 2) {
            vm.expectRevert(abi.encodeWithSelector(INodeRegistry.WrongBond.selector, sent, bond));
            vm.prank(node.owner);
            coordinator.joinSeat{value: sent}(modelId, NEW_INDEX);
        }
        uint48 from = uint48(START + 8);
        vm.expectEmit(address(coordinator));
        emit INodeRegistry.SeatJoined(modelId, 0, node.owner, node.signer, from, bond);
        assertEq(join(node), 0);

        (address signer, uint48 seatFrom, uint48 until) = coordinator.seat(modelId, 0);
        assertEq(signer, node.signer);
        assertEq(seatFrom, from);
        assertEq(until, NOT_LEAVING);
        (address owner, uint48 since, bool live, uint256 held) = coordinator.seatHolder(modelId, 0);
        assertEq(owner, node.owner);
        assertEq(since, START);
        assertFalse(live);
        assertEq(held, bond);
        assertEq(address(coordinator).balance, bond);
        assertEq(join(node), 1);
    }

    function test_ASeatNeedsARegisteredModelAndKey() external {
        Node memory node = newNode("node");
        uint256 bond = bondOf(parameters());
        vm.startPrank(node.owner);
        vm.expectRevert(abi.encodeWithSelector(INodeRegistry.NoSigner.selector, node.owner));
        coordinator.joinSeat{value: bond}(modelId, NEW_INDEX);
        vm.expectRevert(abi.encodeWithSelector(IModelRegistry.UnknownModel.selector, keccak256("none")));
        coordinator.joinSeat{value: bond}(keccak256("none"), NEW_INDEX);
    }

    function test_ATakenIndexOrOneNeverGivenOutIsNotFree() external {
        (Node memory node,) = liveNode("node");
        uint256 bond = bondOf(parameters());
        for (uint32 index; index < 3; ++index) {
            vm.expectRevert(abi.encodeWithSelector(INodeRegistry.SeatNotFree.selector, modelId, index));
            vm.prank(node.owner);
            coordinator.joinSeat{value: bond}(modelId, index);
        }
    }

    function test_SeatsOfTwoModelsAreCountedApart() external {
        (Node memory node,) = liveNode("node");
        bytes32 other = coordinator.registerModel(card("other"), "");
        assertEq(join(node, other, NEW_INDEX), 0);
        roll(8);
        coordinator.activateSeat(other, 0);
        (,,, uint32 seatCount, uint32 live) = coordinator.model(other);
        assertEq(seatCount, 1);
        assertEq(live, 1);
        assertEq(liveSeats(), 1);
    }

    function test_ASeatIsActivatedOnceItsDelayHasPassed() external {
        Node memory node = newNode("node");
        register(node);
        join(node);
        roll(7);
        vm.expectRevert(abi.encodeWithSelector(INodeRegistry.TooEarly.selector, START + 7, START + 8));
        coordinator.activateSeat(modelId, 0);
        roll(1);
        assertEq(liveSeats(), 0);
        vm.expectEmit(address(coordinator));
        emit INodeRegistry.SeatActivated(modelId, 0);
        vm.prank(user);
        coordinator.activateSeat(modelId, 0);
        assertEq(liveSeats(), 1);
        (,, bool live,) = coordinator.seatHolder(modelId, 0);
        assertTrue(live);
        expectSeatNotReady(0);
        coordinator.activateSeat(modelId, 0);
    }

    function test_ASeatNobodyHoldsIsNotActivated() external {
        expectSeatNotReady(3);
        coordinator.activateSeat(modelId, 3);
    }

    function test_ASeatThatJoinedTooLateAnswersNothingEarlier() external {
        (Node memory node, uint32 index) = liveNode("node");
        Node memory late = newNode("late");
        register(late);
        uint32 lateIndex = join(late);
        roll(7);
        Request memory before = sendUsual(user);
        roll(1);
        coordinator.activateSeat(modelId, lateIndex);
        Request memory after_ = sendUsual(user);
        // Long after, when every rank may answer.
        roll(50);
        assertNotEligible(before, lateIndex, late.signer);
        assertEq(refusalOf(before, index, node.signer), "");
        assertEq(refusalOf(after_, lateIndex, late.signer), "");
    }

    function test_ASeatTakenAfterARequestIsUnknownToIt() external {
        (Node memory node,) = liveNode("node");
        Request memory r = sendUsual(user);
        liveSeat(node);
        roll(50);
        Fulfilment memory f = answerBy(r, Outcome.Ok, "output", 1, new uint32[](0));
        vm.expectRevert(abi.encodeWithSelector(IInferenceCoordinator.UnknownSeat.selector, 1, 1));
        coordinator.fulfill(f);
    }

    function test_ASeatWithANewKeyIsActivatedAnew() external {
        (Node memory node, uint32 index) = liveNode("node");
        liveNode("other");
        Request memory inFlight = sendUsual(user);
        Node memory renewed = newSigner(node, "next");
        uint48 from = uint48(vm.getBlockNumber() + 8);
        vm.expectEmit(address(coordinator));
        emit INodeRegistry.SeatRekeyed(modelId, index, renewed.signer, from);
        rekey(renewed, index);
        assertEq(liveSeats(), 1);
        (address signer, uint48 seatFrom,) = coordinator.seat(modelId, index);
        assertEq(signer, renewed.signer);
        assertEq(seatFrom, from);

        vm.roll(from - 1);
        vm.expectRevert(abi.encodeWithSelector(INodeRegistry.TooEarly.selector, from - 1, from));
        coordinator.activateSeat(modelId, index);
        vm.roll(from);
        coordinator.activateSeat(modelId, index);
        assertEq(liveSeats(), 2);
        Request memory r = sendUsual(user);
        roll(50);
        assertNotEligible(inFlight, index, node.signer);
        assertNotEligible(inFlight, index, renewed.signer);
        assertEq(refusalOf(r, index, renewed.signer), "");
    }

    function test_ARevokedSeatComesBackWithANewKey() external {
        (Node memory node, uint32 index) = liveNode("node");
        revoke(node.owner, node, refs(index));
        vm.expectRevert(abi.encodeWithSelector(INodeRegistry.NoSigner.selector, node.owner));
        rekey(node, index);
        rekey(newSigner(node, "next"), index);
        roll(8);
        coordinator.activateSeat(modelId, index);
        assertEq(liveSeats(), 1);
    }

    function test_OnlyAHeldSeatWithAnOldKeyIsRekeyedAndByItsOwner() external {
        (Node memory node, uint32 index) = liveNode("node");
        expectSeatNotReady(index);
        rekey(node, index);
        (Node memory other,) = liveNode("other");
        vm.expectRevert(abi.encodeWithSelector(INodeRegistry.NotSeatOwner.selector, modelId, index, node.owner));
        rekey(other, index);
        vm.expectRevert(abi.encodeWithSelector(INodeRegistry.NotSeatOwner.selector, modelId, 9, address(0)));
        rekey(other, 9);
        newSigner(node, "next");
        depart(node, index);
        expectSeatNotReady(index);
        rekey(node, index);
    }
}
