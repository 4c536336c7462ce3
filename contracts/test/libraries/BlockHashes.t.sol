// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Test} from "forge-std/Test.sol";
import {BlockHashes} from "../../src/libraries/BlockHashes.sol";

contract BlockHashesTest is Test {
    bytes32 private constant KEPT = keccak256("kept");

    function setUp() external {
        vm.roll(1000);
    }

    function test_TheLast256BlocksComeFromTheOpcode() external {
        _keep(999, KEPT);
        _keep(744, KEPT);
        assertEq(this.get(999), this.recent(999));
        assertEq(this.get(744), this.recent(744));
        assertNotEq(this.get(744), KEPT);
        assertNotEq(this.get(744), 0);
    }

    function test_OlderBlocksComeFromTheHistory() external {
        _keep(743, KEPT);
        assertEq(this.get(743), KEPT);
        assertEq(this.get(742), 0);
    }

    function test_ABlockThatIsNotSealedHasNoHash() external {
        _keep(1000, KEPT);
        _keep(1001, KEPT);
        assertEq(this.get(1000), 0);
        assertEq(this.get(1001), 0);
    }

    function test_AHistoryThatRevertsOrAnswersOtherSizesKnowsNothing() external {
        bytes[4] memory answers = [bytes(""), hex"01", abi.encodePacked(KEPT, uint8(1)), abi.encode(KEPT, KEPT)];
        for (uint256 i; i < 4; ++i) {
            vm.mockCall(BlockHashes.HISTORY, abi.encode(700), answers[i]);
            assertEq(this.get(700), 0);
        }
        vm.mockCallRevert(BlockHashes.HISTORY, abi.encode(700), abi.encode(KEPT));
        assertEq(this.get(700), 0);
    }

    function get(uint256 blockNumber) external view returns (bytes32) {
        return BlockHashes.get(blockNumber);
    }

    function recent(uint256 blockNumber) external view returns (bytes32) {
        return blockhash(blockNumber);
    }

    function _keep(uint256 blockNumber, bytes32 hash) private {
        vm.mockCall(BlockHashes.HISTORY, abi.encode(blockNumber), abi.encode(hash));
    }
}
