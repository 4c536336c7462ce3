// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Test} from "forge-std/Test.sol";
import {IInferenceCoordinator} from "../../src/interfaces/IInferenceCoordinator.sol";
import {ILedger} from "../../src/interfaces/ILedger.sol";
import {RequestFields} from "../../src/libraries/RequestLib.sol";
import {Tensor} from "../../src/libraries/Tensor.sol";
import {MockInferenceCoordinator} from "../../src/mocks/MockInferenceCoordinator.sol";
import {DType} from "../../src/types/DType.sol";
import {Ask, Result} from "../../src/types/Request.sol";
import {GuideSnippets} from "./GuideSnippets.sol";

/// @notice What the guide for contract authors shows is code that compiles and does what the page says.
contract GuideTest is Test {
    MockInferenceCoordinator private mock = new MockInferenceCoordinator();
    GuideSnippets private guide = new GuideSnippets(IInferenceCoordinator(address(mock)), keccak256("model"));
    bytes private one = Tensor.raw(DType.I32, 6, Tensor.dims(1), hex"000f4240");

    function test_EverySnippetIsPartOfACompiledFile() external {
        string[4] memory files = [
            "src/examples/IrisClassifier.sol",
            "src/examples/LendingDesk.sol",
            "test/examples/IrisClassifier.t.sol",
            "test/examples/GuideSnippets.sol"
        ];
        string[] memory parts = vm.split(vm.readFile("../docs/guides/contract-author.md"), "```solidity\n");
        assertGe(parts.length, 8);
        for (uint256 i = 1; i < parts.length; ++i) {
            string memory snippet = vm.split(parts[i], "```")[0];
            bool found;
            for (uint256 f; f < files.length; ++f) {
                if (vm.contains(vm.readFile(files[f]), snippet)) found = true;
            }
            assertTrue(found, snippet);
        }
    }

    /// @dev The README has it four spaces further left.
    function test_TheReadmeShowsTheExampleAsItIs() external {
        string[] memory parts = vm.split(vm.readFile("../README.md"), "```solidity\n");
        assertEq(parts.length, 2);
        string[] memory lines = vm.split(vm.split(parts[1], "```")[0], "\n");
        string memory snippet;
        for (uint256 i; i + 1 < lines.length; ++i) {
            snippet = string.concat(snippet, bytes(lines[i]).length == 0 ? "" : "    ", lines[i], "\n");
        }
        assertTrue(vm.contains(vm.readFile("src/examples/IrisClassifier.sol"), snippet), snippet);
    }

    function test_WhatIsBuiltIsCanonical() external view {
        uint8[13] memory codes;
        bytes[] memory built = guide.build([int32(51), 35, 14, 2], codes, new bytes(64), 0x3f800000);
        assertEq(built[0][0], bytes1(0x02));
        for (uint256 i; i < built.length; ++i) {
            Tensor.validateMemory(built[i]);
        }
    }

    function test_WhatIsReadIsWhatWasAnswered() external view {
        int256[] memory values = new int256[](3);
        (values[0], values[1], values[2]) = (250_000, 700_000, 50_000);
        (uint256 winner, int256 first, int256 wad, int256 total) =
            guide.read(Tensor.ints(DType.I32, 6, Tensor.dims(1, 3), values));
        assertEq(winner, 1);
        assertEq(first, 250_000);
        assertEq(wad, 0.25e18);
        assertEq(total, 1e18);
    }

    function test_TextsGoInAndComeOut() external {
        assertEq(mock.inputOf(guide.askLanguage(unicode"où")), hex"0106000200000001000000036fc3b9");
        bytes memory texts = mock.inputOf(guide.askText(unicode"où"));
        assertEq(guide.readText(texts), unicode"où");
    }

    function test_TermsAreTaken() external {
        RequestFields memory f = mock.fieldsOf(guide.askForMore(one));
        assertEq(f.outputWidth, 16);
        assertEq(f.outputDecimals, 18);
        assertEq(f.callbackGasLimit, 250_000);
        assertEq(f.deadlineBlocks, 50);
        mock.answerLast(one);
        assertEq(guide.sum(), 1e18);
    }

    function test_APrepaidRequestNeedsBalanceAndLeave() external {
        vm.expectRevert(
            abi.encodeWithSelector(ILedger.NotAllowed.selector, address(this), address(guide), 0, 0.0001 ether)
        );
        guide.askPrepaid(one);
        mock.deposit{value: 1 ether}(address(this));
        mock.allow(address(guide), 0.0001 ether);
        guide.askPrepaid(one);
        assertEq(mock.balanceOf(address(0), address(this)), 0.9999 ether);
    }

    function test_AResultOfAnotherConsumerProvesNothing() external {
        RequestFields memory f = mock.fieldsOf(guide.askWithoutCallback(one));
        Ask memory ask;
        (ask.modelId, ask.refundTo, ask.quorum) = (f.modelId, address(this), f.quorum);
        (ask.deadlineBlocks, ask.outputWidth, ask.outputDecimals) = (f.deadlineBlocks, f.outputWidth, f.outputDecimals);
        bytes32 id = mock.request(ask, one);
        mock.answer(id, one);
        Result memory result = mock.resultOf(id);
        vm.expectRevert(GuideSnippets.WrongResult.selector);
        guide.prove(result, one);
    }

    function test_AResultWithoutCallbackIsProven() external {
        bytes32 id = guide.askWithoutCallback(one);
        mock.answer(id, one);
        assertEq(guide.sum(), 0);
        Result memory result = mock.resultOf(id);
        vm.expectRevert(GuideSnippets.WrongResult.selector);
        guide.prove(result, hex"00");
        guide.prove(result, one);
        assertEq(guide.sum(), 1e18);
        result.fulfilledAt += 1;
        vm.expectRevert(GuideSnippets.WrongResult.selector);
        guide.prove(result, one);
    }
}
