// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Test} from "forge-std/Test.sol";
import {InferenceConsumer} from "../../src/InferenceConsumer.sol";
import {DigitMint} from "../../src/examples/DigitMint.sol";
import {IInferenceCoordinator} from "../../src/interfaces/IInferenceCoordinator.sol";
import {Tensor} from "../../src/libraries/Tensor.sol";
import {MockInferenceCoordinator} from "../../src/mocks/MockInferenceCoordinator.sol";
import {DType} from "../../src/types/DType.sol";
import {Outcome} from "../../src/types/Request.sol";

contract DigitMintTest is Test {
    MockInferenceCoordinator private mock = new MockInferenceCoordinator();
    DigitMint private mint = new DigitMint(IInferenceCoordinator(address(mock)), keccak256("digits"));
    address private artist = makeAddr("artist");
    bytes private image = new bytes(64);

    function setUp() external {
        for (uint256 i; i < 64; ++i) {
            image[i] = bytes1(uint8(i % 17));
        }
        vm.deal(artist, 1 ether);
    }

    function _claim(uint8 digit) private returns (bytes32) {
        vm.prank(artist);
        return mint.claim{value: 1 gwei}(digit, image);
    }

    /// @dev An answer that is as sure of `digit` as said, in millionths.
    function _sees(uint256 digit, int256 sure) private pure returns (bytes memory) {
        int256[] memory probabilities = new int256[](10);
        probabilities[digit] = sure;
        probabilities[(digit + 1) % 10] = 1_000_000 - sure;
        return Tensor.ints(DType.I32, 6, Tensor.dims(1, 10), probabilities);
    }

    function _token() private view returns (uint256) {
        return uint256(keccak256(image));
    }

    function test_ARecognisedDigitIsMintedToItsArtist() external {
        bytes32 id = _claim(7);
        assertEq(mock.inputOf(id), bytes.concat(hex"01060004", hex"00000001000000010000000800000008", image));
        vm.expectEmit(address(mint));
        emit DigitMint.Transfer(address(0), artist, _token());
        mock.answer(id, _sees(7, 990_000));
        assertEq(mint.ownerOf(_token()), artist);
        assertEq(mint.digitOf(_token()), 7);
        assertEq(mint.balanceOf(artist), 1);
    }

    function test_NothingIsMintedForAnotherDigitOrAnUnsureOne() external {
        bytes[3] memory answers = [_sees(1, 990_000), _sees(7, 799_999), _sees(7, 400_000)];
        for (uint256 i; i < 3; ++i) {
            bytes32 id = _claim(7);
            vm.expectEmit(address(mint));
            emit DigitMint.Rejected(id, Outcome.Ok);
            mock.answer(id, answers[i]);
            assertEq(mint.ownerOf(_token()), address(0));
        }
        mock.answer(_claim(7), _sees(7, 800_000));
        assertEq(mint.ownerOf(_token()), artist);
    }

    function test_NothingIsMintedForAFailure() external {
        for (uint256 o = 1; o <= 2; ++o) {
            bytes32 id = _claim(0);
            mock.fail(id, Outcome(o));
            assertEq(mint.ownerOf(_token()), address(0));
        }
    }

    function test_AnImageIsMintedOnce() external {
        bytes32 first = _claim(7);
        vm.prank(makeAddr("rival"));
        bytes32 second = mint.claim(7, image);
        mock.answer(first, _sees(7, 990_000));
        mock.answer(second, _sees(7, 990_000));
        assertEq(mint.ownerOf(_token()), artist);
        vm.expectRevert(abi.encodeWithSelector(DigitMint.AlreadyMinted.selector, _token()));
        mint.claim(7, image);
    }

    function test_ADrawingIsEightByEightDigitsInInk() external {
        vm.expectRevert(abi.encodeWithSelector(DigitMint.NotADigit.selector, 10));
        mint.claim(10, image);
        vm.expectRevert(abi.encodeWithSelector(DigitMint.WrongImageSize.selector, 63, 64));
        mint.claim(1, new bytes(63));
        image[63] = 0x11;
        vm.expectRevert(abi.encodeWithSelector(DigitMint.TooMuchInk.selector, 63, 17, 16));
        mint.claim(1, image);
    }

    function test_ATokenIsItsOwnersToGive() external {
        mock.answer(_claim(7), _sees(7, 990_000));
        address to = makeAddr("collector");
        uint256 token = _token();
        vm.expectRevert(abi.encodeWithSelector(DigitMint.NotTokenOwner.selector, address(this)));
        mint.transfer(to, token);
        vm.startPrank(artist);
        vm.expectRevert(DigitMint.ZeroAddress.selector);
        mint.transfer(address(0), token);
        mint.transfer(to, token);
        assertEq(mint.ownerOf(token), to);
        assertEq(mint.balanceOf(artist), 0);
        assertEq(mint.balanceOf(to), 1);
    }

    function test_AnAnswerComesFromTheCoordinatorAndOnce() external {
        bytes32 id = _claim(7);
        bytes memory output = _sees(7, 990_000);
        vm.expectRevert(abi.encodeWithSelector(InferenceConsumer.NotCoordinator.selector, address(this)));
        mint.onInference(id, Outcome.Ok, output);
        mock.answer(id, output);
        vm.prank(address(mock));
        vm.expectRevert(abi.encodeWithSelector(DigitMint.NotWaiting.selector, id));
        mint.onInference(id, Outcome.Ok, output);
        assertEq(mint.balanceOf(artist), 1);
    }

    /// @notice Nothing is called while minting, so there is nothing to re-enter from: the only callee is the
    /// coordinator, and a claim made during an answer is one of its own.
    function test_AClaimDuringAnAnswerIsSeparate() external {
        bytes32 first = _claim(7);
        image[0] = 0x05;
        bytes32 second = _claim(7);
        mock.answer(second, _sees(7, 990_000));
        image[0] = 0x00;
        assertEq(mint.ownerOf(_token()), address(0));
        mock.answer(first, _sees(7, 990_000));
        assertEq(mint.ownerOf(_token()), artist);
        assertEq(mint.balanceOf(artist), 2);
    }

    function test_TheFeeComesBackIfNobodyAnswers() external {
        mock.expire(_claim(7));
        assertEq(mock.balanceOf(address(0), artist), 1 gwei);
    }
}
