// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Test} from "forge-std/Test.sol";
import {InferenceConsumer} from "../../src/InferenceConsumer.sol";
import {IrisClassifier} from "../../src/examples/IrisClassifier.sol";
import {IInferenceCoordinator} from "../../src/interfaces/IInferenceCoordinator.sol";
import {Tensor} from "../../src/libraries/Tensor.sol";
import {MockInferenceCoordinator} from "../../src/mocks/MockInferenceCoordinator.sol";
import {DType} from "../../src/types/DType.sol";
import {Outcome} from "../../src/types/Request.sol";

contract IrisClassifierTest is Test {
    MockInferenceCoordinator mock = new MockInferenceCoordinator();
    IrisClassifier iris = new IrisClassifier(IInferenceCoordinator(address(mock)), keccak256("iris"));

    function test_AFlowerIsClassified() external {
        vm.roll(1_000);
        bytes32 id = iris.classify{value: 1 gwei}([int32(51), 35, 14, 2]);
        // One tensor, i32 with one decimal, 1 × 4: 5.1, 3.5, 1.4 and 0.2 cm.
        assertEq(mock.inputOf(id), hex"0103010200000001000000040000003300000023" hex"0000000e00000002");

        // What a node would answer: 0.1%, 98%, 1.9% as integers of 6 decimals.
        int256[] memory probabilities = new int256[](3);
        (probabilities[0], probabilities[1], probabilities[2]) = (1_000, 980_000, 19_000);
        mock.answer(id, Tensor.ints(DType.I32, 6, Tensor.dims(1, 3), probabilities));

        (IrisClassifier.Species species, uint48 atBlock) = iris.latest();
        assertEq(uint256(species), uint256(IrisClassifier.Species.Versicolor));
        assertEq(atBlock, 1_000);
    }

    /// @dev `isolate` makes each call from here a transaction of its own, as on a chain: only so is the gas true.
    /// forge-config: default.isolate = true
    function test_TheCallbackFitsItsGas() external {
        iris.classify{value: 1 gwei}([int32(51), 35, 14, 2]);
        mock.answerLast(hex"0103060200000001000000030000000000000000000f4240");
        assertLt(mock.lastCallbackGas(), 100_000);
    }

    function test_AFailureIsNoSpecies() external {
        iris.classify{value: 1 gwei}([int32(51), 35, 14, 2]);
        mock.answerLast(hex"0103060200000001000000030000000000000000000f4240");
        (IrisClassifier.Species species,) = iris.latest();
        assertEq(uint256(species), uint256(IrisClassifier.Species.Virginica));
        iris.classify{value: 1 gwei}([int32(-1), 0, 0, 0]);
        mock.failLast(Outcome.BadInput);
        (species,) = iris.latest();
        assertEq(uint256(species), uint256(IrisClassifier.Species.Unknown));
    }

    function test_TheAnswerToTheNewestRequestIsKeptWhicheverArrivesLast() external {
        bytes32 older = iris.classify([int32(51), 35, 14, 2]);
        bytes32 newer = iris.classify([int32(63), 33, 60, 25]);
        mock.answer(newer, hex"0103060200000001000000030000000000000000000f4240");
        mock.answer(older, hex"010306020000000100000003000f42400000000000000000");
        (IrisClassifier.Species species,) = iris.latest();
        assertEq(uint256(species), uint256(IrisClassifier.Species.Virginica));
        assertEq(iris.latestRequest(), newer);
    }

    function test_NobodyElseAnswers() external {
        vm.expectRevert(abi.encodeWithSelector(InferenceConsumer.NotCoordinator.selector, address(this)));
        iris.onInference(bytes32(0), Outcome.Ok, "");
    }
}
