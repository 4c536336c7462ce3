// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IModelRegistry} from "../../src/interfaces/IModelRegistry.sol";
import {Feature, IErrors} from "../../src/types/Errors.sol";
import {Agreement, AgreementKind, ModelCard} from "../../src/types/ModelCard.sol";
import {Fixture} from "../utils/Fixture.sol";

contract ModelRegistryTest is Fixture {
    uint32 private constant MAX_BYTES = 131_072;

    address private alice = makeAddr("alice");
    address private bob = makeAddr("bob");

    function test_AnybodyRegistersACardUnderItsHash() external {
        ModelCard memory c = card("other");
        bytes32 expected = keccak256(abi.encode(c));
        vm.expectEmit(address(coordinator));
        emit IModelRegistry.ModelRegistered(expected, c, "ipfs:other");
        vm.prank(alice);
        assertEq(coordinator.registerModel(c, "ipfs:other"), expected);
        (bool registered, uint32 maxInput, uint32 maxOutput, uint32 seatCount, uint32 live) =
            coordinator.model(expected);
        assertTrue(registered);
        assertEq(maxInput, c.maxInputBytes);
        assertEq(maxOutput, c.maxOutputBytes);
        assertEq(seatCount, 0);
        assertEq(live, 0);
    }

    function test_AFurtherRegistrationAddsItsHintAndChangesNothing() external {
        liveNode("node");
        ModelCard memory c = card("model");
        vm.expectEmit(address(coordinator));
        emit IModelRegistry.HintAdded(modelId, bob, "ipfs:moved");
        vm.prank(bob);
        assertEq(coordinator.registerModel(c, "ipfs:moved"), modelId);
        vm.recordLogs();
        coordinator.registerModel(c, "");
        assertEq(vm.getRecordedLogs().length, 0, "no hint, no event");
        (bool registered,,, uint32 seatCount, uint32 live) = coordinator.model(modelId);
        assertTrue(registered);
        assertEq(seatCount, 1);
        assertEq(live, 1);
    }

    function test_AModelNeverRegisteredIsNotRegistered() external view {
        (bool registered,,,,) = coordinator.model(keccak256("none"));
        assertFalse(registered);
    }

    function testFuzz_EveryFieldOfACardChangesItsId(bytes32 fileHash, bytes32 details, bytes32 profile, uint128 atol)
        external
    {
        ModelCard memory c = card("model");
        vm.assume(fileHash != 0);
        vm.assume(
            fileHash != c.fileHash || details != c.detailsHash || profile != c.profileHash
                || atol != c.agreement[0].atol
        );
        (c.fileHash, c.detailsHash, c.profileHash, c.agreement[0].atol) = (fileHash, details, profile, atol);
        assertNotEq(coordinator.registerModel(c, ""), modelId);
    }

    function test_ACardWithoutAFileHashIsInvalid() external {
        ModelCard memory c = card("other");
        c.fileHash = 0;
        _expectInvalid(c, "fileHash");
    }

    function test_ACardHasOneToSixteenOutputs() external {
        ModelCard memory c = card("other");
        c.agreement = new Agreement[](0);
        _expectInvalid(c, "agreement");
        c.agreement = new Agreement[](17);
        _expectInvalid(c, "agreement");
        c.agreement = new Agreement[](16);
        coordinator.registerModel(c, "");
    }

    function test_EachKindOfAgreementTakesItsOwnTolerancesOnly() external {
        _expectTolerances(Agreement(AgreementKind.Exact, 0, 0, 0), true);
        _expectTolerances(Agreement(AgreementKind.Exact, 1, 0, 0), false);
        _expectTolerances(Agreement(AgreementKind.Exact, 0, 1, 0), false);
        _expectTolerances(Agreement(AgreementKind.Exact, 0, 0, 1), false);
        _expectTolerances(Agreement(AgreementKind.Elementwise, 0, 0, 0), true);
        _expectTolerances(Agreement(AgreementKind.Elementwise, 1, 1, 0), true);
        _expectTolerances(Agreement(AgreementKind.Elementwise, 0, 0, 1), false);
        _expectTolerances(Agreement(AgreementKind.Argmax, 0, 0, 0), true);
        _expectTolerances(Agreement(AgreementKind.Argmax, 0, 0, 1), true);
        _expectTolerances(Agreement(AgreementKind.Argmax, 1, 0, 0), false);
        _expectTolerances(Agreement(AgreementKind.Argmax, 0, 1, 0), false);
    }

    function test_AnInvalidAgreementIsFoundAtAnyOutput() external {
        ModelCard memory c = card("other");
        c.agreement = new Agreement[](16);
        c.agreement[15].gap = 1;
        _expectInvalid(c, "agreement");
    }

    function test_SizesAreOneTo131072Bytes() external {
        ModelCard memory c = card("other");
        c.maxInputBytes = 0;
        _expectInvalid(c, "maxInputBytes");
        c.maxInputBytes = MAX_BYTES + 1;
        _expectInvalid(c, "maxInputBytes");
        c.maxInputBytes = MAX_BYTES;
        c.maxOutputBytes = 0;
        _expectInvalid(c, "maxOutputBytes");
        c.maxOutputBytes = MAX_BYTES + 1;
        _expectInvalid(c, "maxOutputBytes");
        c.maxOutputBytes = MAX_BYTES;
        coordinator.registerModel(c, "");
        (c.maxInputBytes, c.maxOutputBytes) = (1, 1);
        coordinator.registerModel(c, "");
    }

    function test_AVerifierIsNotOffered() external {
        ModelCard memory c = card("other");
        c.verifier = alice;
        vm.expectRevert(abi.encodeWithSelector(IErrors.NotOffered.selector, Feature.Verifier));
        coordinator.registerModel(c, "");
    }

    function test_ANameBelongsToItsFirstClaimantWhoMayMoveIt() external {
        bytes32 other = coordinator.registerModel(card("other"), "");
        (bytes32 id, address owner) = coordinator.resolve("iris/v1");
        assertEq(id, 0);
        assertEq(owner, address(0));

        vm.expectEmit(address(coordinator));
        emit IModelRegistry.NameClaimed("iris/v1", modelId, alice);
        vm.prank(alice);
        coordinator.claimName("iris/v1", modelId);
        (id, owner) = coordinator.resolve("iris/v1");
        assertEq(id, modelId);
        assertEq(owner, alice);

        vm.expectEmit(address(coordinator));
        emit IModelRegistry.NameClaimed("iris/v1", other, alice);
        vm.prank(alice);
        coordinator.claimName("iris/v1", other);

        vm.expectRevert(abi.encodeWithSelector(IModelRegistry.NameTaken.selector, "iris/v1", alice));
        vm.prank(bob);
        coordinator.claimName("iris/v1", modelId);
        (id, owner) = coordinator.resolve("iris/v1");
        assertEq(id, other);
        assertEq(owner, alice);
    }

    function test_ANameNeedsARegisteredModel() external {
        vm.expectRevert(abi.encodeWithSelector(IErrors.UnknownModel.selector, keccak256("none")));
        coordinator.claimName("iris", keccak256("none"));
    }

    function test_NamesAreOneToSixtyFourBytes() external {
        bytes memory name = new bytes(65);
        for (uint256 i; i < 65; ++i) {
            name[i] = "a";
        }
        _expectInvalidName("");
        _expectInvalidName(string(name));
        assembly ("memory-safe") {
            mstore(name, 64)
        }
        coordinator.claimName(string(name), modelId);
    }

    function test_NamesHoldTheirAlphabetAndNothingElse() external {
        for (uint256 c; c < 256; ++c) {
            string memory name = string(abi.encodePacked("a", uint8(c), "z"));
            bool valid = (c >= 97 && c <= 122) || (c >= 48 && c <= 57) || c == 46 || c == 95 || c == 45 || c == 47;
            if (!valid) {
                _expectInvalidName(name);
            } else {
                coordinator.claimName(name, modelId);
            }
        }
    }

    function _expectTolerances(Agreement memory a, bool valid) private {
        ModelCard memory c = card("other");
        c.agreement[0] = a;
        if (valid) coordinator.registerModel(c, "");
        else _expectInvalid(c, "agreement");
    }

    function _expectInvalid(ModelCard memory c, string memory field) private {
        vm.expectRevert(abi.encodeWithSelector(IModelRegistry.InvalidCard.selector, field));
        coordinator.registerModel(c, "");
    }

    function _expectInvalidName(string memory name) private {
        vm.expectRevert(abi.encodeWithSelector(IModelRegistry.InvalidName.selector, name));
        coordinator.claimName(name, modelId);
    }
}
